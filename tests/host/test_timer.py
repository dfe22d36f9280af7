"""Waiting for an instant: both kinds of alarm, and one that is cancelled. No more than milliseconds are waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from loadstone.host import event_loop, timer

MS = 1_000_000


@pytest.fixture(params=["best", "timer"])
def waiter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], timer.Timer]:
    if request.param == "timer":
        monkeypatch.setattr(timer, "make_alarm", timer.TimerAlarm)
    return lambda: timer.Timer(asyncio.get_running_loop())


@pytest.mark.parametrize("run", [asyncio.run, event_loop.run], ids=["asyncio", "best loop"])
def test_instants_are_waited_for_one_after_the_other(
    waiter: Callable[[], timer.Timer], run: Callable[..., None]
) -> None:
    async def main() -> None:
        until, began = waiter(), time.monotonic_ns()
        for step in range(1, 6):
            due = began + step * 2 * MS
            while time.monotonic_ns() < due:
                await asyncio.wait_for(until.until(due), 5)
        assert time.monotonic_ns() - began >= 10 * MS
        until.close()

    run(main())


def test_an_instant_that_is_past_is_not_waited_for(waiter: Callable[[], timer.Timer]) -> None:
    async def main() -> None:
        until = waiter()
        await asyncio.wait_for(until.until(time.monotonic_ns() - 5 * MS), 5)
        until.close()

    event_loop.run(main())


def test_a_wait_that_is_cancelled_leaves_the_next_one_alone(waiter: Callable[[], timer.Timer]) -> None:
    async def main() -> None:
        until = waiter()
        task = asyncio.ensure_future(until.until(time.monotonic_ns() + 3_600_000 * MS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        due = time.monotonic_ns() + 2 * MS
        while time.monotonic_ns() < due:
            await asyncio.wait_for(until.until(due), 5)
        until.close()

    event_loop.run(main())
