"""Figures of the check that come from the records: drift, and how fast connections are opened."""

from __future__ import annotations

import numpy as np
import pytest

from loadstone.metrics.columns import build
from loadstone.metrics.diagnostics import BATCHES, drift, figures
from loadstone.records import Pieces, Record, Usage
from loadstone.results import measure

S = 1_000_000_000


def request(index: int, at: float, ttft: float = 0.1, gap: float = 0.01, connect: int = 0, server: int = 0) -> Record:
    """Eight tokens."""
    sent = round(at * S)
    first, last = sent + round(ttft * S), sent + round((ttft + 7 * gap) * S)
    return Record(
        index=index, prompt="p", scheduled=sent, sent=sent, connect=connect, server=server, first_byte=first,
        first=first, first_answer=first, last=last, end=last, finish="length", usage=Usage(1, 8),
        pieces=Pieces([0, *[round(gap * S)] * 7], [1] * 8),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("means", "change"),
    [
        (np.ones(BATCHES), 0.0),
        (np.linspace(0.75, 1.25, BATCHES), 0.5 / 0.9),
        (np.linspace(12.5, 7.5, BATCHES), -0.5 / 0.9),
    ],
)
def test_a_line_is_its_own_drift(means: np.ndarray[tuple[int], np.dtype[np.float64]], change: float) -> None:
    assert drift(means) == pytest.approx((change, 0.0), abs=1e-6)


def test_no_drift_is_told_of_too_little() -> None:
    assert drift(np.ones(3)) is None
    assert drift(np.zeros(BATCHES)) is None


def test_chance_is_seldom_taken_for_drift() -> None:
    """Independent values cross their 99.9 % interval once in a thousand times, correlated ones a little more often."""
    rng = np.random.default_rng(1)
    noise = rng.lognormal(0, 1, (2000, BATCHES, 20)).mean(axis=2)
    crossed = [abs(change) > margin for change, margin in filter(None, map(drift, noise))]
    assert np.mean(crossed) < 0.004


def test_a_rise_of_ttft_is_found_beside_a_steady_tpot() -> None:
    checks = measure([request(i, i * 0.01, ttft=0.1 + i * 2e-4) for i in range(1000)]).checks
    change, margin = checks["drift_ttft"], checks["drift_ttft_margin"]
    assert change is not None
    assert margin is not None
    assert change - margin > 0.25
    assert checks["drift_tpot"] == pytest.approx(0.0, abs=1e-6)
    assert checks["drift_qps"] is not None
    assert checks["drift_latency"] is None, "answers were streamed"


def test_a_warm_up_is_told_in_requests_and_not_called_a_drift_as_well() -> None:
    """The first tokens of the first 150 of 1,000 come late; TPOT is the same all along."""
    chance = np.random.default_rng(1).uniform(0.08, 0.12, 1000)
    rows = [request(i, i * 0.01, ttft=chance[i] * (2.5 if i < 150 else 1), gap=0.1) for i in range(1000)]
    checks = measure(rows).checks
    assert checks["warmup_ttft"] == pytest.approx(150, abs=15)
    assert checks["warmup_ttft_shift"] == pytest.approx(0.225, abs=0.02)
    assert (checks["warmup_tpot"], checks["warmup_tpot_shift"]) == (None, None)
    change, margin = checks["drift_ttft"], checks["drift_ttft_margin"]
    assert change is not None
    assert margin is not None
    assert abs(change) < margin
    verdict = measure(rows).verdict
    assert verdict is not None
    assert [(doubt.what, doubt.severity) for doubt in verdict.doubts if doubt.what in ("warm-up", "drift")] == [
        ("warm-up", "suspect")
    ]


def test_a_short_run_has_no_drift() -> None:
    checks = measure([request(i, i * 0.01, ttft=0.1 + i * 2e-4) for i in range(99)]).checks
    assert {value for name, value in checks.items() if name.startswith("drift")} == {None}


def test_answers_that_are_not_streamed_drift_by_their_latency() -> None:
    rows = [
        Record(index=i, prompt="p", streamed=False, scheduled=i * S, sent=i * S, end=(i + 1) * S + i * S // 100)
        for i in range(300)
    ]
    checks = measure(rows).checks
    assert (checks["drift_latency"] or 0) > 0.25
    assert checks["drift_ttft"] is None


@pytest.mark.parametrize(
    ("rows", "most"),
    [
        ([], None),
        ([request(0, 1.0)], 0.0),
        ([request(i, float(i), connect=5) for i in range(100)], 61.0),
        ([request(i, float(i), connect=5, server=i % 2) for i in range(100)], 31.0),
        ([request(i, 100.0 * i, connect=5) for i in range(3)], 1.0),
        ([Record(index=0, prompt="p", scheduled=0, connect=5, end=1), request(1, 0.0, connect=5)], 1.0),
    ],
)
def test_connections_opened_in_a_minute(rows: list[Record], most: float | None) -> None:
    assert figures(build(rows), None)["opened_a_minute"] == most
