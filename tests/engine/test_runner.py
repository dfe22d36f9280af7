"""Test the real runner in virtual time: schedules, caps, ends, timeouts. Nothing here sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from loadstone.config.schema import Config
from loadstone.engine.runner import Runner
from loadstone.records import Failure, FailureCause
from loadstone.results import measure
from loadstone.schedule import plan
from loadstone.schedule.plan import DatasetShape, Load
from loadstone.transport import Exchange, Request, TransportError
from support.streams import DONE, chunk, token
from support.virtual_runs import Run, S, at, steady
from support.virtual_time import Scripted, Step


def test_closed_loop_keeps_its_slots_full() -> None:
    run = Run(Load(concurrency=2, requests=5), Scripted(steady()))
    assert run.go() == "done"
    assert run.transport.started == pytest.approx([0, 0, 0.7, 0.7, 1.4])
    assert [r.prompt for r in run.by_index()] == ["p0", "p1", "p2", "p3", "p0"]
    assert all(r.error is None for r in run.records)
    last = run.by_index()[4]
    assert (last.scheduled, last.sent, last.first, last.last) == (
        round(1.4 * S),
        round(1.4 * S),
        round(1.9 * S),
        round(2.1 * S),
    )


def test_the_slots_of_a_closed_loop_open_one_after_the_other() -> None:
    run = Run(Load(concurrency=3, requests=3), Scripted(steady()), stagger=200_000)
    run.go()
    assert run.transport.started == pytest.approx([0, 0.0002, 0.0004])
    assert [r.scheduled for r in run.by_index()] == [0, 200_000, 400_000]


def test_a_request_that_waited_for_its_slot_keeps_its_schedule() -> None:
    run = Run(Load(rate=2, arrivals="constant", concurrency=1, requests=2), Scripted(steady(ttft=0.5, itl=0.25)))
    run.go()
    second = run.by_index()[1]
    assert (second.scheduled, second.sent) == (S // 2, S)
    summary = measure(run.records)
    assert summary.metrics["ttft"].max == pytest.approx(0.5)
    assert summary.metrics["ttft_scheduled"].max == pytest.approx(1.0)
    assert summary.metrics["wait"].max == pytest.approx(0.5)


def test_open_loop_sends_at_absolute_times_whatever_comes_back() -> None:
    run = Run(Load(rate=200, arrivals="constant", requests=2_000), Scripted(steady(ttft=30)), prompts=7)
    run.go()
    assert [r.sent for r in run.by_index()] == pytest.approx([i * S / 200 for i in range(2_000)], abs=10)
    assert [r.scheduled for r in run.by_index()] == [i * S // 200 for i in range(2_000)]


def test_poisson_arrivals_are_those_of_the_plan() -> None:
    run = Run(Load(rate=50, requests=100, seed=3), Scripted(steady()))
    run.go()
    assert [r.scheduled for r in run.by_index()] == plan.make_plan(
        Load(rate=50, requests=100, seed=3), DatasetShape(["p"])
    ).offsets.tolist()


def test_connecting_is_not_part_of_ttft() -> None:
    run = Run(Load(concurrency=1, requests=1), Scripted(steady(), connect=2.0))
    run.go()
    (record,) = run.records
    assert (record.connect, record.sent, record.first) == (2 * S, 2 * S, round(2.5 * S))
    assert run.carrier.send_lags.tolist() == [0]


def test_warm_up_hands_over_without_draining() -> None:
    run = Run(Load(concurrency=2, requests=4, warmup=2), Scripted(lambda n, _: steady(itl=0.1 + 0.05 * n)(n, _)))
    run.go()
    assert [r.phase for r in run.by_index()] == ["warmup"] * 2 + ["measure"] * 4
    first_measured, other_warm_up = run.by_index()[2], run.by_index()[1]
    assert first_measured.sent is not None
    assert first_measured.sent < other_warm_up.end
    assert measure(run.records).metrics["ttft"].n == 4


def test_duration_lets_finish_within_the_grace_and_cuts_off_the_rest() -> None:
    def script(number: int, _: Request) -> list[Step]:
        return steady(itl=0.1)(number, _) if number else [(0.5, chunk() + token()), (1_000, token())]

    run = Run(Load(concurrency=2), Scripted(script), duration=1.0, grace=2.0)
    assert run.go() == "duration"
    stopped = [r for r in run.records if r.error]
    assert [r.error for r in stopped] == [Failure(FailureCause.STOPPED, "in flight when the run ended (duration)")]
    assert stopped[0].end == 3 * S
    assert stopped[0].first == S // 2
    assert run.transport.cancelled == 1
    assert max(run.transport.started) < 1.0
    assert len(run.records) == len(run.transport.started)


def test_the_clock_of_a_duration_starts_after_the_warm_up() -> None:
    run = Run(Load(concurrency=1, warmup=2), Scripted(steady()), duration=1.0, grace=5)
    run.go()
    measured = [r for r in run.by_index() if r.phase == "measure"]
    assert [r.sent for r in measured] == pytest.approx([1.4 * S, 2.1 * S], abs=10)


def test_stop_once_drains_and_twice_cuts_off() -> None:
    once = Run(Load(concurrency=3), Scripted(steady(itl=1.0)))
    assert once.go(at(0.6, lambda runner: runner.stop("interrupted", 10))) == "interrupted"
    assert [r.error for r in once.records] == [None] * 3

    twice = Run(Load(concurrency=3), Scripted(steady(itl=1.0)))

    def both(runner: Runner) -> None:
        at(0.6, lambda runner: runner.stop("interrupted", 10))(runner)
        at(0.8, lambda runner: runner.stop("interrupted"))(runner)

    assert twice.go(both) == "interrupted"
    assert {r.error.kind for r in twice.records if r.error} == {"stopped"}
    assert [r.end for r in twice.records] == pytest.approx([0.8 * S] * 3, abs=10)


def test_arrivals_that_never_got_a_slot_are_recorded() -> None:
    load = Load(rate=10, arrivals="constant", concurrency=1, requests=50)
    run = Run(load, Scripted(steady(ttft=100)))
    run.go(at(0.55, lambda runner: runner.stop("interrupted")))
    waited = run.by_index()[1:]
    assert [r.index for r in waited] == [1, 2, 3, 4, 5]
    assert [r.scheduled for r in waited] == [i * S // 10 for i in range(1, 6)]
    assert {(r.sent, r.error.message if r.error else "") for r in waited} == {
        (None, "waiting for a slot when the run ended (interrupted)")
    }


def test_every_failure_is_a_row_and_the_load_goes_on() -> None:
    failures = [
        Failure(FailureCause.CONNECT, "refused"),
        Failure(FailureCause.TRUNCATED, "gone"),
        Failure(FailureCause.PROTOCOL, "what"),
    ]

    def script(number: int, _: Request) -> Sequence[Step]:
        return [(0.1, TransportError(failures[number]))] if number < 3 else steady()(number, _)

    run = Run(Load(concurrency=1, requests=5), Scripted(script))
    assert run.go() == "done"
    assert [r.error for r in run.by_index()] == [*failures, None, None]
    assert run.carrier.failed == 3


TIMEOUTS: list[tuple[str, Config, list[Step], str, float]] = [
    ("no head", Config(ttft_timeout=2), [(50, token())], "no output after 2 s (--ttft-timeout)", 2),
    ("role only", Config(ttft_timeout=2), [(1, chunk()), (50, token())], "no output after 2 s (--ttft-timeout)", 2),
    (
        "stalled",
        Config(idle_timeout=1.5),
        [(3, token()), (1, token()), (50, DONE)],
        "no output for 1.5 s (--idle-timeout)",
        5.5,
    ),
    (
        "no end",
        Config(idle_timeout=1),
        [(0.5, token("a", "stop")), (50, DONE)],
        "no output for 1 s (--idle-timeout)",
        1.5,
    ),
    (
        "slow but alive",
        Config(idle_timeout=2, timeout=7.5),
        [(1.5, token())] * 9,
        "not complete after 7.5 s (--timeout)",
        7.5,
    ),
    (
        "first of all",
        Config(ttft_timeout=5, idle_timeout=1, timeout=9),
        [(50, token())],
        "no output after 5 s (--ttft-timeout)",
        5,
    ),
]


@pytest.mark.parametrize(("limits", "steps", "message", "end"), [c[1:] for c in TIMEOUTS], ids=[c[0] for c in TIMEOUTS])
def test_timeouts(limits: Config, steps: list[Step], message: str, end: float) -> None:
    run = Run(
        Load(concurrency=1, requests=2), Scripted(lambda n, r: steps if n == 0 else steady()(n, r)), limits=limits
    )
    assert run.go() == "done"
    first, second = run.by_index()
    assert first.error == Failure(FailureCause.TIMEOUT, message)
    assert first.end == pytest.approx(end * S, abs=10)
    assert second.error is None
    assert run.transport.cancelled == 1


def test_each_of_many_requests_has_its_limits_from_its_own_start() -> None:
    """Though one timer serves them all: the first ends in time, those that began behind it do not."""
    waits = {0: 1.0, 1: 50.0, 2: 1.5, 3: 50.0}
    run = Run(
        Load(concurrency=4, requests=4),
        Scripted(lambda number, _: [(waits[number], token("a", "stop") + DONE)]),
        limits=Config(timeout=2),
    )
    run.go()
    failed = [record for record in run.by_index() if record.error]
    assert [record.index for record in failed] == [1, 3]
    assert [record.end - record.scheduled for record in failed] == pytest.approx([2 * S, 2 * S], abs=10)


def test_a_run_within_its_limits_is_not_touched() -> None:
    run = Run(
        Load(concurrency=1, requests=3),
        Scripted(steady()),
        limits=Config(ttft_timeout=0.6, idle_timeout=0.2, timeout=0.8),
    )
    run.go()
    assert [r.error for r in run.records] == [None] * 3


def test_text_is_kept_only_when_asked_for() -> None:
    silent = Run(Load(concurrency=1, requests=1), Scripted(steady()))
    silent.go()
    assert silent.records[0].text is None
    kept = Run(Load(concurrency=1, requests=1), Scripted(steady()), keep_text=lambda _: True)
    kept.go()
    assert kept.records[0].text == " w0 w1 end"


def test_an_error_of_our_own_is_not_swallowed() -> None:
    def broken(number: int, _: Request) -> Sequence[Step]:
        raise ZeroDivisionError

    run = Run(Load(concurrency=1, requests=1), Scripted(broken))
    with pytest.raises(ZeroDivisionError):
        run.go()


def test_reads_and_pieces_of_a_record() -> None:
    run = Run(
        Load(concurrency=1, requests=1),
        Scripted(lambda *_: [(1, chunk() + token() + token("ab")), (2, token("c", "stop") + DONE)]),
    )
    run.go()
    (record,) = run.records
    assert record.pieces is not None
    assert (record.pieces.times, record.pieces.chars, record.reads) == ([0, 0, 2 * S], [5, 2, 1], 2)
    assert (record.first_byte, record.first, record.last, record.end) == (S, S, 3 * S, 3 * S)


def test_requests_that_fail_at_once_do_not_keep_the_loop_for_themselves() -> None:
    """As they do when no file or port is free: the run could not be stopped by time, nor by Ctrl-C."""

    class Full(Scripted):
        async def exchange(self, request: Request, exchange: Exchange) -> None:
            self.started.append(0.0)
            if len(self.started) == 10:
                asyncio.get_running_loop().call_soon(run.runner.stop, "enough")
            raise TransportError(Failure(FailureCause.CONNECT, "too many open files"))

    run = Run(Load(concurrency=2, requests=10_000), Full(lambda number, request: []))
    assert run.go() == "enough"
    assert len(run.records) < 20
