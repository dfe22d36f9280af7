"""Virtual time: an event loop whose selector jumps the clock instead of waiting, and a transport that plays scripts."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from loadstone.transport import Exchange, Request, TransportError


class _Jump(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled: in real time this would wait for ever")
        self.now += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop that never waits."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def clock() -> int:
    """ns of the running virtual loop."""
    return round(asyncio.get_running_loop().time() * 1e9)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


# Seconds to wait, then what comes: bytes of the body, or the end of it all.
Step = tuple[float, bytes | TransportError]


class Scripted:
    """A transport without sockets. `script(number, request)` gives the steps of the number-th exchange."""

    def __init__(
        self, script: Callable[[int, Request], Sequence[Step]], status: int = 200, connect: float = 0.0
    ) -> None:
        self._script = script
        self._status = status
        self._connect = connect
        self.started: list[float] = []
        self.cancelled = 0

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        number = len(self.started)
        self.started.append(asyncio.get_running_loop().time())
        try:
            await self._play(self._script(number, request), exchange)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _play(self, steps: Sequence[Step], exchange: Exchange) -> None:
        if self._connect:
            await asyncio.sleep(self._connect)
        exchange.connect = round(self._connect * 1e9)
        exchange.sent = clock()
        for wait, what in steps:
            await asyncio.sleep(wait)
            if isinstance(what, TransportError):
                raise what
            self._hand_over(what, exchange)
        exchange.end = clock()

    def _hand_over(self, data: bytes, exchange: Exchange) -> None:
        if exchange.first_byte is None:
            exchange.first_byte, exchange.status = clock(), self._status
            exchange.headers = [(b"content-type", b"text/event-stream")]
        exchange.reads += 1
        exchange.sink(data, clock())

    async def close(self) -> None:
        pass
