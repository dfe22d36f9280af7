"""How a run of a swarm ended, for run.json. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.engine import run_metadata
from loadstone.engine.worker import WorkerResult
from loadstone.host.client_health import worst_client
from loadstone.swarm import clock_sync
from loadstone.swarm.members import Members

# `ended` of a run that lost records: the same as when a worker process of `loadstone run` dies.
LOST = "worker"

# The sentence for each value of `ended`.
REASON_TEXTS = {
    "done": "everything that was planned has been sent",
    "duration": "the time given, by Locust or by --duration, was over",
    "stages": "the stages were over",
    "interrupted": "stopped by the operator before the end of the plan",
}


class StopContext(Struct, frozen=True, kw_only=True):
    """What is known when Locust stops a test.

    stop_condition: the reason that --stop-error-rate or --stop-saturated gave, None if neither was met.
    over: the plan was over.
    endless: the plan had no end.
    interrupted: by Ctrl-C or SIGTERM.
    timed: Locust's --run-time had passed.
    """

    stop_condition: str | None
    over: bool
    endless: bool
    interrupted: bool
    timed: bool


def end_reason(context: StopContext) -> str:
    """Return `ended` of run.json for the processes that have not ended by themselves."""
    if context.stop_condition is not None:
        return context.stop_condition
    if context.over:
        return "done"
    if context.interrupted:
        return "interrupted"
    return "duration" if context.endless or context.timed else "interrupted"


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


def run_fields(members: Members, stop_reason: str, explanation: str | None, origin: int) -> dict[str, Any]:
    """Return the fields that the end of a run adds to run.json.

    stop_reason: of the StopSending message.
    explanation: a sentence, if a stop condition has ended the run.
    origin: ns of the master's clock at the start of the run.
    """
    lost = list(members.loss_sentences(origin))
    results: list[WorkerResult] = []
    workers: list[dict[str, Any]] = []
    clocks: list[dict[str, Any]] = []
    for member in members:
        # Client health, of each process that has ended and not died.
        for shard in member.shards:
            if shard.result is not None:
                results.append(shard.result)
                place = {"worker": shard.process, "machine": member.name, "host": member.host}
                workers.append(place | shard.result.client)
        # Offset, error and drift of the machine's clock.
        if member.clock_before is not None:
            offset = clock_sync.summary(member.clock_before, member.clock_after)
            clocks.append({"worker": member.name, "host": member.host, **offset})
    ended = next((result.ended for result in results if result.ended != "done"), "done" if results else stop_reason)
    return {
        "ended": LOST if lost else ended,
        "ended_because": "; ".join(lost) if lost else explanation or REASON_TEXTS.get(ended, ended),
        "unsent_turns": sum(result.unsent_turns for result in results),
        "ended_at": run_metadata.now(),
        "client": worst_client([result.client for result in results]) if results else {},
        "workers": workers,
        "clocks": clocks,
        "lost": lost,
    }
