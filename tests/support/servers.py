"""Servers to run the command against: the simulated one, in a thread or in a process of its own, and scripted ones.

Also the command itself, run in this process, which spares its start. Assertions are the tests' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from loadstone.cli.main import main
from loadstone.engine.run_folder import load_records
from loadstone.host import event_loop
from loadstone.records import Record
from loadstone.sim.server import Server
from loadstone.sim.settings import Settings

T = TypeVar("T")
Capture = pytest.CaptureFixture[str]
# Seconds after which a test that hangs is given up.
PATIENCE = 20.0
QUICK = {"ttft": "2ms", "itl": "500us", "default_tokens": 6}
ENVIRONMENT = ("OPENAI_API_KEY", *(f"{name}_proxy" for name in ("http", "https", "all", "no")))


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def loadstone(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """The command, in this process."""
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return Done(status, *capsys.readouterr())


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence with which the command refuses these arguments."""
    done = loadstone(capsys, *arguments)
    assert done.status == 2, done
    assert done.out == ""
    assert done.err.startswith("loadstone: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    return done.err.removeprefix("loadstone: ").rstrip("\n")


def clean(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No key and no proxy of whoever runs the tests, and a folder of its own to write to."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(folder)


def post(url: str, body: dict[str, Any]) -> tuple[int, bytes, bytes]:
    """Status, content type and body of the answer to a JSON request."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers.get("content-type", "").encode(), answer.read()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.headers.get("content-type", "").encode(), exc.read()


def records(folder: Path) -> list[Record]:
    """What a run has recorded, in the order of its plan."""
    return sorted(load_records(folder), key=lambda record: record.index)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


class Sim:
    """The simulated server in a thread of its own."""

    def __init__(self, *faults: str, **settings: Any) -> None:
        quick = QUICK if settings.get("engine", "exact") == "exact" else {"default_tokens": QUICK["default_tokens"]}
        self.settings = Settings(**{"port": 0, **quick, "faults": list(faults), **settings})
        self.server = Server(self.settings)
        self._loop = event_loop.loop_factory()()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated server")

    def __enter__(self) -> Sim:
        self._thread.start()
        try:
            self.call(self.server.start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.server.close())
        self._end()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def truth(self) -> list[dict[str, Any]]:
        """The requests that have ended, as the server knows them."""

        async def look() -> list[dict[str, Any]]:
            return self.server.truth

        return self.call(look())

    def replace(self, **settings: Any) -> None:
        """Close the server, and open another in its place."""
        port = int(self.url.rpartition(":")[2])
        self.call(self.server.close())
        self.server = Server(Settings(**{**QUICK, "port": port, **settings}))
        self.call(self.server.start())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


def command(*arguments: object) -> list[str]:
    """The command as a process of its own is given it."""
    return [sys.executable, "-m", "loadstone", *(str(argument) for argument in arguments)]


@contextlib.contextmanager
def spawned(*faults: str, **settings: Any) -> Iterator[str]:
    """`loadstone serve` in a process of its own; gives its URL."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {"port": 0, **QUICK, **settings}.items()]
    with subprocess.Popen(
        command("serve", *flags, *(f"--fault={fault}" for fault in faults)), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class Asked(NamedTuple):
    """A request to a scripted server."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Script = Callable[[Asked], tuple[int, str]]
MODELS = json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}]})


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[str]:
    """A server that answers each request with the status and body that the script says; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = script(Asked(self.command, self.path, headers, json.loads(body) if body else None))
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that has left is no news, least of all on the stderr that the next test looks at."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


posix = pytest.mark.skipif(os.name != "posix", reason="needs signals, unix sockets or a pseudo-terminal")
