"""Test retries and limits per minute: the real runner in virtual time, and what reports show of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.checks.rules import judge
from loadstone.engine import lost_requests, rate_limit
from loadstone.engine.rate_limit import RateLimiter
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy, retry_after
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.records import Failure, FailureCause, Prompt, Record, Usage
from loadstone.results import measure
from loadstone.schedule import plan
from loadstone.schedule.partition import Partition
from loadstone.schedule.plan import DatasetShape, Load
from loadstone.transport import Exchange, Request, TransportError
from support import virtual_time
from support.servers import Capture, Sim, clean, read_json, records
from support.servers import loadstone as command
from support.streams import answer

S = 1_000_000_000
PATH = "/v1/chat/completions"
Headers = list[tuple[bytes, bytes]]
# Status and headers of an error, how the exchange fails, or None for a good answer.
Reply = tuple[int, Headers] | Failure | None


class Failing:
    """A transport whose exchange `number` is answered as `reply(number)` says, each after half a second."""

    def __init__(self, reply: Callable[[int], Reply]) -> None:
        self._reply = reply
        self.requests: list[Request] = []

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        told = self._reply(len(self.requests))
        self.requests.append(request)
        exchange.connect, exchange.sent = 0, virtual_time.clock()
        await asyncio.sleep(0.5)
        if isinstance(told, Failure):
            raise TransportError(told)
        status, exchange.headers = told or (200, [(b"content-type", b"text/event-stream")])
        exchange.status, exchange.first_byte, exchange.reads = status, virtual_time.clock(), 1
        exchange.sink(b"".join(answer(3)) if told is None else b'{"error": {"message": "no"}}', virtual_time.clock())
        exchange.end = virtual_time.clock()

    async def close(self) -> None:
        pass


class Run:
    def __init__(
        self,
        load: Load,
        reply: Callable[[int], Reply],
        retries: RetryPolicy | None = None,
        limits: dict[str, float] | None = None,
        rows: list[Prompt] | None = None,
        share: Partition | None = None,
        **times: Any,
    ) -> None:
        self.records: list[Record] = []
        self.transport = Failing(reply)
        rows = rows or [Prompt(id="p", text="hell" * 10, output_len=10)]
        self.plan = plan.make_plan(load, DatasetShape([row.id for row in rows], [1 + len(row.later) for row in rows]))
        jobs = PreparedRequests(rows, Chat(), [base.RequestSettings(model="m")], PATH, ())
        endpoints = [Endpoint(self.transport, PATH)]
        rate_limiter = None if limits is None else RateLimiter(**limits, workers=share.workers if share else 1)
        sender = Sender(
            self.plan,
            jobs,
            Chat(),
            endpoints,
            self.records.append,
            clock=virtual_time.clock,
            retries=retries,
            request_ids="r-",
            rate_limiter=rate_limiter,
        )
        self.runner = Runner(sender, partition=share, stagger=0, **times)

    def go(self, stop: float | None = None) -> str:
        async def work() -> str:
            if stop is not None:
                asyncio.get_running_loop().call_later(stop, self.runner.stop, "interrupted")
            return await self.runner.run()

        ended: str = virtual_time.run(work())
        return ended

    def told(self) -> list[tuple[int, int, str | None, bool]]:
        """Index, attempt, kind of failure, whether made again; in order of ending."""
        return [(r.index, r.attempt, r.error.kind if r.error else None, r.superseded) for r in self.records]

    @property
    def sent(self) -> list[float]:
        return [(record.sent or 0) / S for record in self.records]


def first_fail(count: int, reply: Reply) -> Callable[[int], Reply]:
    return lambda number: reply if number < count else None


ONE = Load(concurrency=1, requests=1)
BUSY: Reply = (503, [])


def test_an_attempt_is_a_record_of_its_own() -> None:
    run = Run(ONE, first_fail(2, BUSY), RetryPolicy(max_retries=5))
    assert run.go() == "done"
    assert run.told() == [(0, 0, "status", True), (0, 1, "status", True), (0, 2, None, False)]
    assert {record.scheduled for record in run.records} == {0}
    waits = [after - before - 0.5 for before, after in pairwise(run.sent)]
    assert 0.25 <= waits[0] <= 0.5
    assert 0.5 <= waits[1] <= 1.0
    names = [dict(request.own_headers)["X-Request-Id"] for request in run.transport.requests]
    assert names == ["r-0", "r-0.1", "r-0.2"]
    sender = run.runner.sender
    assert (sender.finished, sender.failed, sender.written) == (1, 0, 3)
    assert sender.send_lags.tolist() == [0, 0, 0], "waiting is not this client's being late"


def test_the_waits_are_those_of_the_seed() -> None:
    def sent(seed: int) -> list[float]:
        run = Run(ONE, first_fail(3, BUSY), RetryPolicy(max_retries=3, seed=seed))
        run.go()
        return run.sent

    assert sent(1) == sent(1) != sent(2)


def test_retries_come_to_an_end() -> None:
    run = Run(Load(concurrency=1, requests=2), lambda _: BUSY, RetryPolicy(max_retries=1))
    assert run.go() == "done"
    assert run.told() == [
        (0, 0, "status", True), (0, 1, "status", False), (1, 0, "status", True), (1, 1, "status", False),
    ]  # fmt: skip
    assert run.runner.sender.failed == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422])
def test_what_the_client_asked_wrongly_is_not_asked_again(status: int) -> None:
    run = Run(ONE, lambda _: (status, []), RetryPolicy(max_retries=3))
    run.go()
    assert run.told() == [(0, 0, "status", False)]


@pytest.mark.parametrize("kind", ["tls", "timeout", "protocol", "truncated", "empty", "server"])
def test_what_was_answered_or_cannot_help_is_not_asked_again(kind: Any) -> None:
    run = Run(ONE, lambda _: Failure(kind, "so"), RetryPolicy(max_retries=3))
    run.go()
    assert run.told() == [(0, 0, kind, False)]


@pytest.mark.parametrize(
    "reply", [(429, []), (500, []), (502, []), (504, []), (529, []), Failure(FailureCause.CONNECT, "lost")]
)
def test_what_may_pass_is_asked_again(reply: Reply) -> None:
    run = Run(ONE, first_fail(1, reply), RetryPolicy(max_retries=3))
    run.go()
    assert [(attempt, error) for _, attempt, error, _ in run.told()][1:] == [(1, None)]


def test_without_retries_nothing_is_made_again() -> None:
    run = Run(ONE, lambda _: BUSY)
    run.go()
    assert run.told() == [(0, 0, "status", False)]


DATE = (b"Date", b"Sat, 21 Nov 2026 10:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"Retry-After", b"7")], 7.0),
        ([(b"retry-after", b" 0.5 ")], 0.5),
        ([(b"Retry-After", b"Sat, 21 Nov 2026 10:00:12 GMT"), DATE], 12.0),
        ([(b"Retry-After", b"Sat, 21 Nov 2026 09:00:00 GMT"), DATE], 0.0),
        ([(b"Retry-After", b"-3")], 0.0),
        ([(b"Retry-After", b"Sat, 21 Nov 2026 10:00:12 GMT")], None),
        ([(b"Retry-After", b"soon"), DATE], None),
        ([], None),
    ],
)
def test_what_a_server_asks_to_wait(headers: Headers, seconds: float | None) -> None:
    exchange = Exchange(lambda *_: None)
    exchange.headers = headers
    assert retry_after(exchange.header) == seconds


def test_a_server_is_waited_for_within_bounds() -> None:
    run = Run(ONE, first_fail(1, (429, [(b"Retry-After", b"7")])), RetryPolicy(max_retries=1))
    run.go()
    assert 7 <= run.sent[1] - 0.5 <= 7.5
    bound = Run(ONE, first_fail(1, (429, [(b"Retry-After", b"3600")])), RetryPolicy(max_retries=1, max_wait=20))
    bound.go()
    assert bound.sent[1] - 0.5 == 20
    many = Run(ONE, first_fail(12, BUSY), RetryPolicy(max_retries=12, max_wait=3))
    many.go()
    assert max(after - before for before, after in pairwise(many.sent)) <= 3.5


def test_other_slots_go_on_meanwhile_and_a_retry_keeps_its_own() -> None:
    run = Run(
        Load(concurrency=2, requests=5), first_fail(1, (429, [(b"retry-after", b"10")])), RetryPolicy(max_retries=1)
    )
    run.go()
    ends = {record.index: record.end / S for record in run.records if not record.superseded}
    assert [ends[index] for index in (1, 2, 3, 4)] == [0.5, 1.0, 1.5, 2.0]
    assert 11 <= ends[0] <= 11.5


def test_an_open_loop_keeps_its_times() -> None:
    run = Run(Load(rate=1, arrivals="constant", requests=4), first_fail(1, BUSY), RetryPolicy(max_retries=1))
    run.go()
    assert [r.sent for r in run.records if not r.attempt] == [0, S, 2 * S, 3 * S]


def test_a_stop_does_not_wait_for_retries() -> None:
    for load in (Load(concurrency=1), Load(rate=0.01, arrivals="constant", requests=5)):
        run = Run(load, lambda _: (429, [(b"retry-after", b"50")]), RetryPolicy(max_retries=3))
        assert run.go(stop=5) == "interrupted"
        assert run.told() == [(0, 0, "status", True), (0, 1, "stopped", False)]
        assert run.records[1].end == 5 * S
        assert run.records[1].sent is None


def test_a_stop_at_the_very_instant_of_a_failure_does_not_wait_for_retries() -> None:
    run = Run(
        Load(concurrency=1), lambda _: Failure(FailureCause.CONNECT, "lost"), RetryPolicy(max_retries=3, max_wait=60)
    )
    keep = run.runner.sender._on_record

    def stop(record: Record) -> None:
        keep(record)
        if len(run.records) == 3:
            asyncio.get_running_loop().call_soon(run.runner.stop, "interrupted")

    run.runner.sender._on_record = stop
    run.go()
    assert run.told()[2:] == [(0, 2, "connect", True), (0, 3, "stopped", False)]
    assert run.records[3].end == run.records[2].end


def test_what_fails_while_a_run_ends_has_failed() -> None:
    run = Run(Load(concurrency=1), lambda _: BUSY, RetryPolicy(max_retries=3), duration=0.2, grace=5)
    assert run.go() == "duration"
    assert run.told() == [(0, 0, "status", False)]


def test_a_later_turn_follows_the_attempt_that_succeeded() -> None:
    talk = Prompt(id="t", text="a", later=[Prompt(id="t", text="b")])
    run = Run(
        Load(concurrency=1, requests=1),
        lambda n: BUSY if n in (0, 2) else None,
        RetryPolicy(max_retries=1),
        rows=[talk],
    )
    run.go()
    assert [(r.turn, r.attempt, r.superseded, r.abandoned) for r in run.records] == [
        (1, 0, True, 0), (1, 1, False, 0), (2, 0, True, 0), (2, 1, False, 0),
    ]  # fmt: skip
    final = Run(Load(concurrency=1, requests=1), lambda _: BUSY, RetryPolicy(max_retries=1), rows=[talk])
    final.go()
    assert [r.abandoned for r in final.records] == [0, 1]


def test_attempts_that_were_made_again_are_in_no_count_but_their_own() -> None:
    run = Run(
        Load(concurrency=2, requests=40, warmup=2), lambda n: BUSY if n % 3 == 0 else None, RetryPolicy(max_retries=4)
    )
    run.go()
    again = sum(record.superseded for record in run.records)
    assert again > 10
    summary = measure(run.records)
    counts = summary.counts
    assert (counts.completed, counts.succeeded, counts.failed, counts.retried) == (40, 40, 0, again)
    assert (counts.warmup, counts.by_error) == (2, {})
    assert summary.failures == []
    assert summary.rates["error_rate"] == 0
    assert summary.metrics["latency"].n == 40
    assert summary.metrics["latency"].max == pytest.approx(0.5), "of the attempt that was answered"
    waited = summary.metrics["latency_scheduled"].max
    assert waited is not None
    assert waited > 1.0, "the attempts before, and the waits, are in what the user waited"


def test_a_rate_with_retries_is_not_called_late() -> None:
    run = Run(
        Load(rate=10, arrivals="constant", requests=30), lambda n: BUSY if n == 29 else None, RetryPolicy(max_retries=1)
    )
    run.go()
    assert measure(run.records).checks["rate_ratio"] == pytest.approx(1.0)


def test_a_process_that_died_before_it_tried_again_owes_the_request() -> None:
    run = Run(Load(concurrency=1, requests=2), lambda _: BUSY, RetryPolicy(max_retries=1))
    run.go()
    written = lost_requests.WrittenRecords(run.records[:3])
    assert (written.turns_over(run.plan, 0), written.turns_over(run.plan, 1)) == (1, 0)


def test_old_records_had_one_attempt() -> None:
    old = msgspec.json.decode(b'{"index":0,"prompt":"p","scheduled":0,"end":1}', type=Record)
    assert (old.attempt, old.superseded) == (0, False)


# limits a minute


def test_requests_leave_evenly_and_are_wanted_when_they_may_go() -> None:
    run = Run(Load(concurrency=8, requests=20), lambda _: None, limits={"rpm": 60})
    run.go()
    assert sorted(run.sent) == pytest.approx(list(range(20)))
    assert [record.scheduled for record in run.records] == [record.sent for record in run.records]
    assert run.runner.sender.send_lags.tolist() == [0] * 20


def test_tokens_are_estimated_and_then_settled() -> None:
    """A prompt of 40 characters and 10 tokens to come are 20 tokens; the server counts 3 and 3."""
    run = Run(Load(concurrency=1, requests=4), lambda _: None, limits={"tpm": 120})
    run.go()
    assert run.sent == pytest.approx([0, 3, 6, 9]), "6 tokens at 2 a second, as they are known before the next leaves"
    together = Run(Load(concurrency=4, requests=4), lambda _: None, limits={"tpm": 120})
    together.go()
    assert together.sent[:2] == pytest.approx([0, 10]), "20 tokens, as nothing is known yet"


def test_arrivals_are_shaped_by_the_limits_and_the_run_is_not_called_late() -> None:
    run = Run(Load(rate=10, arrivals="constant", requests=30), lambda _: None, limits={"rpm": 120})
    run.go()
    assert run.sent == pytest.approx([0.5 * place for place in range(30)])
    told = {"began": "x", "ended": "done", "config": {"rate": 10.0, "rpm": 120.0}, "schedule": {"loop": "open"}}
    summary = measure(run.records, told)
    assert summary.checks["rate_ratio"] == pytest.approx(1.0)
    assert not {"request rate", "concurrency"} & {doubt.what for doubt in judge(summary).doubts}


def test_arrivals_held_back_at_the_end_are_recorded_and_slots_are_not() -> None:
    open_ = Run(Load(rate=10, arrivals="constant", requests=30), lambda _: None, limits={"rpm": 60})
    open_.go(stop=2.25)
    assert len(open_.records) == 23, "all that had arrived by then"
    held = [record for record in open_.records if record.error]
    assert {record.error.message for record in held if record.error and record.sent is None} == {
        "held back by --rpm or --tpm when the run ended (interrupted)"
    }
    assert min(record.scheduled for record in held if record.sent is None) == 3 * S // 10
    closed = Run(Load(concurrency=4), lambda _: None, limits={"rpm": 60})
    closed.go(stop=2.2)
    assert [r.error.kind if r.error else None for r in closed.records] == [None, None, "stopped"]


def test_retries_are_requests_too() -> None:
    run = Run(Load(concurrency=1, requests=2), first_fail(2, BUSY), RetryPolicy(max_retries=2), {"rpm": 6})
    run.go()
    assert run.sent == pytest.approx([0, 10, 20, 30])


def test_processes_share_the_limits() -> None:
    runs = [Run(Load(rate=10, arrivals="constant", requests=20), lambda _: None, limits={"rpm": 60},
                share=Partition(worker=worker, workers=2, cycle=2)) for worker in range(2)]  # fmt: skip
    for run in runs:
        run.go()
    assert max(max(run.sent) for run in runs) == pytest.approx(18, abs=0.2)
    assert sum(len(run.records) for run in runs) == 20


def test_later_turns_are_held_back_too() -> None:
    talk = Prompt(id="t", text="a", later=[Prompt(id="t", text="b")])
    run = Run(Load(concurrency=1, requests=2), lambda _: None, limits={"rpm": 30}, rows=[talk])
    run.go()
    assert run.sent == pytest.approx([0, 2, 4, 6])


def test_estimates() -> None:
    assert rate_limit.estimate_prompt_tokens(Prompt(id="p", tokens=[1, 2, 3])) == 3
    parts = [{"type": "text", "text": "abcd" * 5}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 10_000}}]
    assert rate_limit.estimate_prompt_tokens(Prompt(id="p", messages=[{"role": "user", "content": parts}])) == 5
    rate_limiter = RateLimiter(tpm=60)
    plain = Prompt(id="p", text="abcd")
    assert rate_limiter.estimate(plain, None) == 1
    rate_limiter.settle(1, Usage(prompt=1, completion=8))
    assert rate_limiter.estimate(plain, None) == 9, "as many as the answers so far had"
    assert rate_limiter.estimate(plain, 2) == 3
    assert rate_limiter.reserve(0, 3) == 8 * S
    assert rate_limiter.delayed == (1, 8 * S)


# over HTTP


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_gets_through_a_server_that_is_often_busy(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    clean(monkeypatch, tmp_path)
    with Sim("503:0.3", seed=3) as sim:
        flags = ("-n", 30, "-c", 8, "--retries", 9, "--retry-longest", "10ms", "--workers", workers, "--as", "json")
        done = command(capsys, "run", "--url", sim.url, "-o", "run", "--quiet", *flags)
        truth = [row for row in sim.truth if row["fault"] == "503"]
    assert done.status == 0
    found = records(Path("run"))
    assert len([record for record in found if record.superseded]) == len(truth) > 3
    counts = read_json(Path("run/summary.json"))["counts"]
    assert (counts["completed"], counts["failed"], counts["retried"]) == (30, 0, len(truth))
    assert sorted(record.index for record in found if not record.superseded) == list(range(30))


def test_limits_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    clean(monkeypatch, tmp_path)
    with Sim() as sim:
        done = command(capsys, "run", "--url", sim.url, "-o", "run", "--quiet", "-n", 10, "-c", 8, "--rpm", 1800)
    assert done.status == 0
    assert "at most 1,800 requests per minute" in done.out
    found = records(Path("run"))
    assert found[-1].scheduled >= 0.29 * S
    assert read_json(Path("run/run.json"))["held_back"]["requests"] >= 7
