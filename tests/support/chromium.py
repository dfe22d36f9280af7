"""A headless Chromium for tests of web pages, spoken to over its DevTools protocol, where one is installed.

`with Browser() as browser: browser.visit(file, look)` opens a file and lets the coroutine `look(tab)` look at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]
PATIENCE = 60.0
Found = TypeVar("Found")


def installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """A page. `errors`: what its console complained of; `requests`: addresses of other than the file itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self.session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command. What happens meanwhile is noted."""
        self._number += 1
        number = self._number
        told = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(told | ({"sessionId": self.session} if self.session else {}))
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(told["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {told['message']}")

    async def ask(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        told = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait for an expression to be true."""
        ends = time.monotonic() + PATIENCE
        while not await self.ask(script):
            assert time.monotonic() < ends, f"{script} is not true; the console says {self.errors}"
            await asyncio.sleep(0.02)


class Browser:
    def __enter__(self) -> Browser:
        command = installed()
        assert command is not None
        self._home = tempfile.TemporaryDirectory(prefix="loadstone-chromium-", ignore_cleanup_errors=True)
        where = f"--user-data-dir={self._home.name}"
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen([command, *FLAGS, where, "about:blank"], stdout=silent, stderr=silent)
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType] | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()

    def visit(self, file: Path, look: Callable[[Tab], Awaitable[Found]], width: int = 1280) -> Found:
        return asyncio.run(self._visit(file, look, width))

    async def _visit(self, file: Path, look: Callable[[Tab], Awaitable[Found]], width: int) -> Found:
        address = await self._address()
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            target = (await tab.send("Target.createTarget", url="about:blank"))["targetId"]
            attached = await tab.send("Target.attachToTarget", targetId=target, flatten=True)
            tab.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.send(f"{domain}.enable")
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            await tab.send("Emulation.setDeviceMetricsOverride", **size)
            await tab.send("Page.navigate", url=file.resolve().as_uri())
            await tab.until("document.readyState === 'complete' && location.protocol === 'file:'")
            found = await look(tab)
            tab.session = None
            await tab.send("Target.closeTarget", targetId=target)
            return found

    async def _address(self) -> str:
        """Written by the browser as soon as it listens."""
        told, ends = Path(self._home.name) / "DevToolsActivePort", time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, ValueError):
                port, path = told.read_text().split()
                return f"ws://127.0.0.1:{port}{path}"
            assert self._process.poll() is None, "the browser has not begun"
            assert time.monotonic() < ends, "the browser does not listen"
            await asyncio.sleep(0.02)
