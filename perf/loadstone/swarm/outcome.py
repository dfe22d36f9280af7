"""How a run in a swarm ended, and what run.json says of it. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.engine import run_metadata
from loadstone.host.client_health import worst_client
from loadstone.swarm.members import Members

# As when a process of `loadstone run` dies.
LOST = "worker"


class LossReason(Struct, frozen=True, kw_only=True):
    """What is known when Locust stops a test. watcher: the reason of --stop-error-rate or --stop-saturated; over: the
    plan was; endless: it had no end of its own; interrupted: Ctrl-C or SIGTERM; timed: --run-time had passed."""

    watcher: str | None
    over: bool
    endless: bool
    interrupted: bool
    timed: bool


def reason(why: LossReason) -> str:
    """As `ended` in run.json, for the processes that have not ended by themselves."""
    if why.watcher is not None:
        return why.watcher
    if why.over:
        return "done"
    if why.interrupted:
        return "interrupted"
    return "duration" if why.endless or why.timed else "interrupted"


class StopDeadline:
    """How long to wait for records: `seconds` from the last that came. Time is told to it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._records, self._since = -1, 0.0

    def lost(self, records: int, now: float) -> bool:
        """Whether it has been lost, so many records being here by now."""
        if records != self._records:
            self._records, self._since = records, now
        return now - self._since > self._seconds


def tail(roster: Members, halted: str, because: str | None, origin: int) -> dict[str, Any]:
    """What is added to run.json at the end. `because`: in words, where there was a special reason."""
    lost, outcomes = list(roster.lost(origin)), roster.outcomes()
    special = next((outcome.ended for outcome in outcomes if outcome.ended != "done"), "done" if outcomes else halted)
    return {
        "ended": LOST if lost else special,
        "ended_because": "; ".join(lost) if lost else because or BECAUSE.get(special, special),
        "unsent_turns": sum(outcome.unsent_turns for outcome in outcomes),
        "ended_at": run_metadata.now(),
        "client": worst_client([outcome.client for outcome in outcomes]) if outcomes else {},
        "workers": roster.clients(),
        "clocks": roster.clocks(),
        "lost": lost,
    }


BECAUSE = {
    "done": "everything that was planned has been sent",
    "duration": "the time given, by Locust or by --duration, was over",
    "stages": "the stages were over",
    "interrupted": "stopped by the operator before the end of the plan",
}
