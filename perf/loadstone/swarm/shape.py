"""A LoadTestShape that follows the plan: Locust's users then only show what the plan does, and the run ends with it.

For arrivals at a rate, replays and stages. What requests are sent when is the processes' business alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from locust import LoadTestShape

if TYPE_CHECKING:
    from loadstone.swarm.master import Run


class PlanShape(LoadTestShape):
    """`find`: the run that is under way, None before it is."""

    find: Callable[[], Run | None] = staticmethod(lambda: None)
    abstract = True

    def tick(self) -> Any:
        """(users, users/s): a user for each worker of an open loop, the plan's level of a closed one."""
        run, workers = self.find(), max(1, getattr(self.runner, "worker_count", 1))
        if run is not None and run.over:
            return None
        level = _level(run) if run is not None and run.made is not None else 0
        users = level or workers
        return users, float(min(users, 100 * workers))


def _level(run: Run) -> int:
    """Of a closed loop by stages; 0 for an open one."""
    assert run.made is not None
    reached = [level for at, level in run.made.levels if at <= max(0.0, run.elapsed())]
    return reached[-1] if reached else 0
