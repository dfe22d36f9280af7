"""Parts of a run: which requests are in them, over which time, and which are not worth showing."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone.records import Record, Usage
from loadstone.results import measure
from loadstone.summary import Window
from support.records import failed, streamed


def grouped(*records: Record, **run: Any) -> dict[str, list[Window]]:
    return measure(records, run).groups


def told(*lengths: int) -> list[Record]:
    return [streamed(10 * i, 10 * i + 5, 10 * i + 9, usage=Usage(length, 2)) for i, length in enumerate(lengths)]


def sizes(parts: list[Window]) -> dict[str, int]:
    return {part.name: part.requests for part in parts}


def talk(*turns: int | None) -> list[Record]:
    return [streamed(100 * i, 100 * i + 10, 100 * i + 30, turn=turn) for i, turn in enumerate(turns)]


def test_a_plain_run_has_no_groups() -> None:
    assert grouped(streamed(0, 10, 20), streamed(0, 10, 20)) == {}
    assert measure([]).groups == {}


def test_metrics_and_rates_of_a_group() -> None:
    records = [
        streamed(0, 100, 150, 200, turn=1, usage=Usage(10, 3, 0)),
        streamed(200, 220, 230, 400, turn=2, usage=Usage(30, 3, 24)),
        failed("server", 400, 500, 400, turn=2),
    ]
    first, later = measure(records, {"config": {"goodput": {"ttft": 0.05}}}).groups["turn"]
    assert set(first.metrics) == {
        "ttft", "ttft_scheduled", "latency", "tpot", "gap", "itl", "input_tokens", "output_tokens", "cached_tokens",
    }  # fmt: skip
    assert (first.name, first.requests, first.metrics["ttft"].mean) == ("1", 1, pytest.approx(0.1))
    assert (later.name, later.requests, later.metrics["ttft"].mean) == ("later", 2, pytest.approx(0.02))
    assert (later.metrics["cached_tokens"].mean, later.rates["cached_share"]) == (24, 0.8)
    assert later.metrics["gap"].n == 2
    assert (later.rates["error_rate"], later.rates["attainment"]) == (0.5, 0.5)
    assert (first.rates["error_rate"], first.rates["attainment"]) == (0, 0)
    whole_run = (0, 0.5)
    assert (first.start, first.end) == (later.start, later.end) == whole_run
    assert (first.rates["qps"], first.rates["output_throughput"], first.rates["concurrency"]) == (2, 6, 0.4)
    assert (later.rates["qps"], later.rates["request_rate"], later.rates["goodput"]) == (2, 4, 2)
    assert later.rates["peak_concurrency"] == 1


@pytest.mark.parametrize(
    ("turns", "shown"),
    [
        ((1, 1, 1), None),
        ((None, None), None),
        ((1, 2, 1, 2, 1), {"1": 3, "later": 2}),
        ((1, 2, 3, 1, 2), {"1": 2, "later": 3, "2": 2, "3": 1}),
        ((1, 2, None), {"1": 1, "later": 1}),
        (range(1, 14), {"1": 1, "later": 12, **{str(turn): 1 for turn in range(2, 11)}}),
    ],
)
def test_turns(turns: tuple[int | None, ...], shown: dict[str, int] | None) -> None:
    groups = grouped(*talk(*turns))
    assert (sizes(groups["turn"]) if groups else None) == shown


@pytest.mark.parametrize(
    ("lengths", "shown"),
    [
        ((100, 150, 200), None),
        ((100, 201), {"64-127": 1, "128-255": 1}),
        ((127, 128, 255, 256), {"64-127": 1, "128-255": 2, "256-511": 1}),
        ((1, 1, 3), {"0-1": 2, "2-3": 1}),
        (tuple(2**power for power in range(8)), {"0-1": 1, **{f"{2**p}-{2 ** (p + 1) - 1}": 1 for p in range(1, 8)}}),
        (
            tuple(2**power for power in range(2, 12)),
            {"4-15": 2, "16-63": 2, "64-255": 2, "256-1023": 2, "1024-4095": 2},
        ),
        ((5, 1_000_000), {"4-7": 1, "524288-1048575": 1}),
    ],
)
def test_bins_of_input_tokens(lengths: tuple[int, ...], shown: dict[str, int] | None) -> None:
    groups = grouped(*told(*lengths))
    assert (sizes(groups["input"]) if groups else None) == shown


def test_bins_hold_successes_and_so_tell_no_error_rate() -> None:
    lost = failed("truncated", 0, 50, usage=Usage(500, 1))
    parts = grouped(*told(10, 100), lost, failed("status", 0, 40))["input"]
    assert sizes(parts) == {"8-15": 1, "64-127": 1}
    assert {part.rates["error_rate"] for part in parts} == {None}


def test_input_that_no_server_tells_has_no_bins() -> None:
    assert grouped(streamed(0, 10, usage=None), streamed(0, 10, usage=Usage(None, 1))) == {}


def test_models_by_name() -> None:
    records = [streamed(0, 10, 20, model=model) for model in ("b", "a", "b")]
    assert sizes(grouped(*records)["model"]) == {"a": 1, "b": 2}
    assert grouped(*(streamed(0, 10, 20, model="only") for _ in range(3))) == {}


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"url": ["http://one:1", "http://two:2"]}, ["1: http://one:1", "2: http://two:2"]),
        ({"url": "http://one:1"}, ["1", "2"]),
        ({}, ["1", "2"]),
    ],
)
def test_servers_by_their_address(config: dict[str, Any], names: list[str]) -> None:
    records = [streamed(0, 10, 20, server=server) for server in (0, 1, 1)]
    assert [part.name for part in grouped(*records, config=config)["server"]] == names


STAGES = [
    {"index": 0, "name": "1s@2", "start": 0.0, "end": 1.0},
    {"index": 1, "name": "1s@4", "start": 1.0, "end": 2.0},
    {"index": 2, "name": "9s@8", "start": 2.0, "end": 11.0},
]


def test_a_stage_has_its_arrivals_and_its_time() -> None:
    """The second request ends in the second stage: its TTFT counts for the first, its end for the second."""
    records = [
        streamed(0, 10, 500, stage=0),
        streamed(500, 900, 1500, stage=0),
        streamed(1000, 1020, 1500, stage=1),
        streamed(1900, 1940, 2500, stage=1),
    ]
    first, second = grouped(*records, stages=STAGES)["stage"]
    assert (first.name, first.start, first.end, first.requests) == ("1: 1s@2", 0, 1, 2)
    assert (second.name, second.start, second.end, second.requests) == ("2: 1s@4", 1, 2, 2)
    assert first.metrics["ttft"].mean == pytest.approx((0.010 + 0.400) / 2)
    assert (first.rates["qps"], second.rates["qps"]) == pytest.approx((1 + 1 / 2, 1 / 2 + 1 + 1 / 6))
    assert (first.rates["concurrency"], second.rates["concurrency"]) == pytest.approx((1.0, 1.1))


def test_a_stage_that_the_end_cut_short_is_as_long_as_it_lasted() -> None:
    records = [streamed(1200, 1300, 1400, stage=1, phase="warmup"), streamed(1500, 1600, 1700, stage=1)]
    second, third = grouped(*records, streamed(2100, 2200, 2400, stage=2), stages=STAGES)["stage"]
    assert (second.start, second.end, second.requests) == (1.5, 2.0, 1)
    assert (third.start, third.end) == pytest.approx((2.0, 2.4))


def test_stages_of_records_alone_last_as_long_as_their_requests() -> None:
    first, second = grouped(streamed(0, 10, 500, stage=0), streamed(900, 950, 1500, stage=1))["stage"]
    assert (first.name, first.start, first.end) == ("1", 0, 0.5)
    assert (second.name, second.start, second.end) == ("2", 0.9, 1.5)


def test_a_run_in_one_stage_has_no_group_of_stages() -> None:
    assert grouped(streamed(0, 10, 20, stage=0), streamed(5, 10, 20, stage=0), stages=STAGES[:1]) == {}


def test_warmup_and_cooldown_are_in_no_group() -> None:
    around = [streamed(0, 10, 20, turn=2, phase="warmup"), streamed(30, 40, 50, turn=2, phase="cooldown")]
    assert grouped(*around, *talk(1, 1)) == {}
