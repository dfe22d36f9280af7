"""Events put away chunk by chunk are those that were recorded, however small the chunks and wherever they lie."""

from __future__ import annotations

import errno
import itertools
import tempfile
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone.errors import UsageError
from loadstone.metrics import columns, events, spool
from loadstone.metrics.columns import Columns, build
from loadstone.metrics.spool import Spool
from loadstone.records import Pieces, Record, Usage
from loadstone.results import measure
from loadstone.stats import accumulator
from support import example_run
from support.records import MS, failed, streamed, whole

# The spool


@pytest.mark.parametrize("hold", [0, 5, 100])
def test_a_spool_gives_back_what_it_was_given(hold: int) -> None:
    chunks = [[0, 1, 2**32 - 1], [], [2**32, 7], [-1, 5], list(range(50))]
    spooled = Spool(hold)
    for chunk in chunks:
        spooled.add(np.array(chunk, dtype=np.int64))
    assert [spooled[place].tolist() for place in (4, 0, 1, 2, 3)] == [chunks[place] for place in (4, 0, 1, 2, 3)]
    assert {spooled[place].dtype for place in range(5)} == {np.dtype(np.int64)}
    assert spooled.spilled == (hold < 50)


def test_no_room_for_a_spool_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(UsageError, match=r"^no room for .* MB or more in .*: No space left on device; set TMPDIR to "):
        Spool(0).add(np.arange(10))


# Events


def mixture() -> list[Record]:
    """Events of every kind: one token each, told, unknown, sharing reads; and requests without any."""
    told = Pieces([0, 12 * MS, 0, 30 * MS], [1, 9, 1, 5], [1, 3, 0, 2])
    return [
        streamed(5, 10, 20, 50, index=0),
        failed("server", 3, 30, pieces=Pieces([0, 1], [1, 1]), first=3),
        streamed(0, 10, 22, 22, 52, index=1, pieces=told, usage=Usage(10, 6)),
        whole(4, 40),
        streamed(1, 11, 11, 11, 70, index=2, usage=None),
        streamed(2, 12, index=3),
    ]


def flat(found: Columns) -> list[tuple[int, int]]:
    everyone = np.ones(len(found.requests.ok), dtype=bool)
    return [
        pair for rows, at in found.events.arrivals_of(everyone) for pair in zip(rows.tolist(), at.tolist(), strict=True)
    ]


@pytest.fixture(params=[1, 2, 3, 1000])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(events, "CHUNK", request.param)
    monkeypatch.setattr(columns, "BATCH", request.param)
    monkeypatch.setattr(spool, "HOLD", 4)
    return int(request.param)


def test_events_are_at_their_instants(chunk: int) -> None:
    records = mixture()
    found = build(records)
    assert found.events.deltas.spilled
    sent = found.requests.sent.tolist()
    recorded = [record for record in records if record.error is None and record.pieces]
    expected = [
        (sent.index(record.sent), record.first + passed)
        for record in recorded
        if record.pieces and record.first
        for passed in itertools.accumulate(record.pieces.times)
    ]
    assert flat(found) == expected
    assert found.events.lengths.sum() == len(expected) == 12
    assert found.events.shared_reads == 3
    assert found.events.lasts.tolist() == [record.last for record in recorded]
    assert (found.events.firsts.min(), found.events.lasts.max()) == (10 * MS, 70 * MS)


def test_gaps_are_of_the_requests_asked_for(chunk: int) -> None:
    found = build(mixture())
    rows = np.isin(found.requests.sent, [0, 1 * MS]) & found.requests.ok & found.requests.streamed
    gaps = [
        (at / MS, gap / MS, tokens)
        for part in found.events.gaps(rows)
        for at, gap, tokens in zip(
            part.at, part.gap, [1.0] * len(part.gap) if part.tokens is None else part.tokens, strict=True
        )
    ]
    assert gaps[:3] == [(22, 12, 3), (22, 0, 0), (52, 30, 2)]
    assert [gap[:2] for gap in gaps[3:]] == [(11, 0), (11, 0), (70, 59)]
    assert np.isnan([gap[2] for gap in gaps[3:]]).all()


def test_a_told_count_of_another_length_is_no_count() -> None:
    pieces = Pieces([0, 5 * MS], [1, 1], [4])
    assert measure([streamed(0, 10, 15, pieces=pieces, usage=Usage(1, 4))]).metrics["itl"].n == 0


@pytest.mark.parametrize("more", [[], mixture()], ids=["tokens known", "not all known"])
def test_the_size_of_chunks_changes_no_number(more: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    records = more + example_run.records()
    at_once = measure(records, example_run.run())
    for name, value in (("CHUNK", 100), ("HOLD", 150), ("BATCH", 7)):
        module: Any = {"CHUNK": events, "HOLD": spool, "BATCH": columns}[name]
        monkeypatch.setattr(module, name, value)
    in_parts = measure(iter(records), example_run.run())
    assert in_parts.metrics == at_once.metrics
    assert in_parts.steady is not None
    assert at_once.steady is not None
    assert in_parts.steady.metrics == at_once.steady.metrics
    for rates, expected in ((in_parts.rates, at_once.rates), (in_parts.steady.rates, at_once.steady.rates)):
        assert list(rates.values()) == [rate and pytest.approx(rate, rel=1e-12) for rate in expected.values()]
    assert (in_parts.checks, in_parts.counts, in_parts.failures) == (at_once.checks, at_once.counts, at_once.failures)


def test_more_gaps_than_are_sorted_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = measure(example_run.records(), example_run.run())
    monkeypatch.setattr(accumulator, "MAX_EXACT", 1000)
    found = measure(example_run.records(), example_run.run())
    gap, sorted_gap = found.metrics["gap"], exact.metrics["gap"]
    assert (gap.n, gap.min, gap.max) == (sorted_gap.n, sorted_gap.min, sorted_gap.max)
    assert (gap.mean, gap.std) == pytest.approx((sorted_gap.mean, sorted_gap.std), rel=1e-12)
    assert gap.p99 == pytest.approx(sorted_gap.p99, rel=1e-3)
    assert gap.note == "percentiles from a histogram, within 0.1 %; intervals from 64 slices of time"
    assert found.metrics["ttft"] == exact.metrics["ttft"]
    assert found.rates == exact.rates


def test_records_are_not_kept() -> None:
    """A run may be longer than memory: at no time is more than a batch of its records alive."""
    alive = peak = 0

    class Watched(Pieces, frozen=True, weakref=True):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def records() -> Any:
        nonlocal alive, peak
        for index in range(10 * columns.BATCH):
            record = streamed(index, index + 10, index + 20, index=index)
            assert record.pieces is not None
            alive += 1
            peak = max(peak, alive)
            yield msgspec.structs.replace(record, pieces=Watched(record.pieces.times, record.pieces.chars))

    assert measure(records()).counts.succeeded == 10 * columns.BATCH
    assert peak <= 2 * columns.BATCH + 1
