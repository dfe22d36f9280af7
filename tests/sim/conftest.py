"""The fixture that runs a test and the simulated server in one event loop, once for each kind of loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadstone.sim.server import Server
from loadstone.sim.settings import Settings
from support.sim_client import Test


def loops() -> Iterator[Any]:
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    try:
        import uvloop
    except ImportError:
        return
    yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.fixture(params=loops())
def live(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs a test against a server in the same loop; no exception may reach the loop's handler."""

    def run(test: Test, **settings: Any) -> Any:
        strays: list[Any] = []

        async def main() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
            server = Server(Settings(**{"port": 0, "ttft": "2ms", "itl": "1ms"} | settings))
            await server.start()
            try:
                async with asyncio.timeout(20):
                    return await test(server)
            finally:
                await server.close()
                assert not server.connections

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(main())
        assert strays == []
        return result

    return run
