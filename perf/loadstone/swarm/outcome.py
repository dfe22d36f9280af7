"""How a run of a swarm ended, for run.json. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.engine import run_metadata
from loadstone.engine.worker import WorkerResult
from loadstone.host.client_health import worst_client
from loadstone.summary import ClockInfo, EndReason
from loadstone.swarm import clock_sync
from loadstone.swarm.members import Members

# `ended` of a run that lost records: the same as when a worker process of `loadstone run` dies.
LOST = EndReason.WORKER

# The sentence for each value of `ended`.
REASON_TEXTS = {
    EndReason.DONE: "everything that was planned has been sent",
    EndReason.DURATION: "the time given, by Locust or by --duration, was over",
    EndReason.STAGES: "the stages were over",
    EndReason.INTERRUPTED: "stopped by the operator before the end of the plan",
}


class RunEnding(Struct, frozen=True, kw_only=True):
    """What the end of a run adds to run.json. The fields are those of RunInfo."""

    ended: EndReason
    ended_because: str
    unsent_turns: int
    ended_at: str
    client: dict[str, float | None]
    workers: list[dict[str, Any]]
    clocks: list[ClockInfo]
    lost: list[str]


class StopContext(Struct, frozen=True, kw_only=True):
    """What is known when Locust stops a test.

    stop_condition: the reason that --stop-error-rate or --stop-saturated gave, None if neither was met.
    over: the plan was over.
    endless: the plan had no end.
    interrupted: by Ctrl-C or SIGTERM.
    timed: Locust's --run-time had passed.
    """

    stop_condition: EndReason | None
    over: bool
    endless: bool
    interrupted: bool
    timed: bool


def end_reason(context: StopContext) -> EndReason:
    """Return `ended` of run.json for the processes that have not ended by themselves."""
    if context.stop_condition is not None:
        return context.stop_condition
    if context.over:
        return EndReason.DONE
    if context.interrupted:
        return EndReason.INTERRUPTED
    return EndReason.DURATION if context.endless or context.timed else EndReason.INTERRUPTED


class StopDeadline:
    """A limit on the wait for records: `seconds` since the last one arrived."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._records = -1
        self._since = 0.0

    def passed(self, records: int, now: float) -> bool:
        """Return True if too long no record has arrived. `records`: how many have; `now`: seconds of any clock."""
        if records != self._records:
            self._records, self._since = records, now
        return now - self._since > self._seconds


def run_ending(members: Members, stop_reason: EndReason, explanation: str | None, origin: int) -> RunEnding:
    """Return what the end of a run adds to run.json.

    stop_reason: of the StopSending message.
    explanation: a sentence, if a stop condition has ended the run.
    origin: ns of the master's clock at the start of the run.
    """
    lost = list(members.loss_sentences(origin))
    results: list[WorkerResult] = []
    workers: list[dict[str, int | float | str | None]] = []
    clocks: list[ClockInfo] = []
    for member in members:
        # Client health, of each process that has ended and not died.
        for shard in member.shards:
            if shard.result is not None:
                results.append(shard.result)
                workers.append(
                    {"worker": shard.process, "machine": member.name, "host": member.host, **shard.result.client}
                )
        # Offset, error and drift of the machine's clock.
        if member.clock_before is not None:
            offset = clock_sync.summary(member.clock_before, member.clock_after)
            clocks.append(ClockInfo(worker=member.name, host=member.host, **offset))
    ends = [result.ended for result in results]
    write_error = next((result.write_error for result in results if result.write_error), None)
    ended = next((end for end in ends if end is not EndReason.DONE), EndReason.DONE) if ends else stop_reason
    return RunEnding(
        ended=LOST if lost else ended,
        ended_because="; ".join(lost) if lost else explanation or write_error or REASON_TEXTS.get(ended, ended),
        unsent_turns=sum(result.unsent_turns for result in results),
        ended_at=run_metadata.now(),
        client=worst_client([result.client for result in results]) if results else {},
        workers=workers,
        clocks=clocks,
        lost=lost,
    )
