"""The simulated server: its listener, its routes, and the one queue of all chunks that are due.

One heap of due times and one alarm serve all streams; what is due is sent, in order, and never early.
Bytes and stamps are left to `answer` and `http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import ssl
import stat
import time
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Any

import msgspec

from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.host.timer import Alarm, make_alarm
from loadstone.sim import bodies, metrics, truth
from loadstone.sim import request as asks
from loadstone.sim.bodies import Page
from loadstone.sim.engine.loop import EngineLoop
from loadstone.sim.engine.presets import profile
from loadstone.sim.engine.responses import BatchedStream, BatchedWhole
from loadstone.sim.formats import FORMATS
from loadstone.sim.http import Connection, Request
from loadstone.sim.response import Response, Streamed, Whole
from loadstone.sim.settings import Settings
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import Format, ParsedRequest
from loadstone.sim.truth import Row

# Seconds for which the fault `refuse` keeps the listener closed.
REFUSAL = 0.3
BACKLOG = 4096
# ns that the queue waits for its next chunk without going to sleep, which with the waking up takes as long.
AWAKE = 10_000
# ns after which it lets requests be read, if there are any.
STRETCH = 200_000


class Server:
    """`await start()`, then `url` says where; `truth` has the rows so far; `await close()` ends everything."""

    def __init__(self, settings: Settings) -> None:
        if wanted := profile(settings):
            settings = msgspec.structs.replace(settings, max_model_len=wanted.limits.longest)
        self.settings, self.profile = settings, wanted
        self.desk = ServerState(settings)
        self.connections: set[Connection] = set()
        self.url = ""
        self.closed = False
        self._tls = _tls(settings)
        self._port = settings.port
        self._number = 0
        self._heap: list[tuple[int, int, Response]] = []
        self._set: int | None = None
        self._alarm: Alarm | None = None
        self._drive: EngineLoop | None = None
        self._listener: asyncio.AbstractServer | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def truth(self) -> list[dict[str, Any]]:
        return [row.to_dict() for row in self.desk.rows]

    async def start(self) -> None:
        """Bind and serve. Raises UsageError when the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        await self._listen()
        self._alarm = make_alarm(self._loop, self._ring)
        if self.profile:
            self._drive = EngineLoop(self.desk, self.profile, self._loop)
        scheme = "https" if self._tls else "http"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"unix:{self.settings.unix}" if self.settings.unix else f"{scheme}://{host}:{self._port}"

    async def close(self) -> None:
        """Stop listening, drop every connection, forget every timer."""
        self.closed = True
        if self._reopening:
            self._reopening.cancel()
        if self._opening:
            self._opening.cancel()
        if self._listener:
            self._listener.close()
        for connection in list(self.connections):
            connection.drop()
        self._heap.clear()
        if self._drive:
            self._drive.close()
        if self._alarm:
            self._alarm.close()
            self._alarm = None
        if self.settings.unix:
            _unlink(self.settings.unix)
        for _ in range(1000):
            await asyncio.sleep(0)
            if not self.connections:
                return

    async def _listen(self) -> None:
        sock = _bound(self.settings, self._port)
        if not self.settings.unix:
            self._port = sock.getsockname()[1]
        create = self._loop.create_unix_server if self.settings.unix else self._loop.create_server
        self._listener = await create(lambda: Connection(self), sock=sock, ssl=self._tls, backlog=BACKLOG)

    # the queue

    def schedule(self, answer: Response, due: int) -> None:
        """`answer` is to advance at `due`."""
        heappush(self._heap, (due, answer.row.number, answer))
        if due <= time.monotonic_ns():
            self._ring()
        elif self._set is None or due < self._set:
            self._arm(due)

    def _ring(self) -> None:
        heap, now = self._heap, time.monotonic_ns()
        end = now + STRETCH
        while heap and now < end:
            due, number, answer = heap[0]
            if due > now:
                if due > (now := time.monotonic_ns()) + AWAKE:
                    break
                while due > now:
                    now = time.monotonic_ns()
            due = answer.advance(now)
            if due:
                heapreplace(heap, (due, number, answer))
            else:
                heappop(heap)
        self._arm(heap[0][0] if heap else None)

    def _arm(self, at: int | None) -> None:
        if self._alarm and (at is not None or self._set is not None):
            self._alarm.set(at)
        self._set = at

    # requests

    def handle(self, wire: Connection, request: Request) -> None:
        if request.path in FORMATS and request.method == b"POST":
            self._post(wire, request)
        else:
            wire.respond(self._page(request))

    def _page(self, request: Request) -> Page:
        if not self._allowed(request):
            return bodies.UNAUTHORIZED
        route = ROUTES.get(request.path)
        if route is None:
            return bodies.not_allowed(b"POST") if request.path in FORMATS else bodies.NOT_FOUND
        action = route.get(request.method)
        return action(self) if action else bodies.not_allowed(b", ".join(route))

    def _allowed(self, request: Request) -> bool:
        key = self.settings.api_key
        if key is None or not request.path.startswith(b"/v1"):
            return True
        scheme, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and given == key.encode()

    def _post(self, wire: Connection, request: Request) -> None:
        form = FORMATS[request.path]
        row = self._row(request, form)
        if row.fault in ABRUPT:
            self.desk.rows.append(row)
            return ABRUPT[row.fault](self, wire)
        page = None if self._allowed(request) else bodies.UNAUTHORIZED
        if row.fault is not None:
            page = page or bodies.fault_page(row.fault, self.settings.model)
        asked = form.refusal(page) if page else asks.read(request.body, form, self.settings)
        if self.desk.memory and isinstance(asked, ParsedRequest):
            known = self.desk.memory.recall(asked)
            asked = form.refusal(known) if isinstance(known, Page) else known
        if self._drive and isinstance(asked, ParsedRequest) and not self._drive.fits(asked):
            asked = form.refusal(bodies.EMPTY)
        if isinstance(asked, Page):
            return self._refuse_politely(wire, row, asked)
        return wire.begin(self._answer(wire, row, asked))

    def _answer(self, wire: Connection, row: Row, ask: ParsedRequest) -> Response:
        if self._drive:
            return (BatchedStream if ask.stream else BatchedWhole)(self._drive, wire, row, ask)
        return (Streamed if ask.stream else Whole)(self.desk, wire, row, ask)

    def _row(self, request: Request, form: Format) -> Row:
        number, self._number = self._number, self._number + 1
        header = request.headers.get(b"x-request-id")
        name = header.decode("latin-1") if header is not None else None
        own = form.prefix + (name or f"{random.getrandbits(64):016x}")
        return Row(number, own, name, request.received, self.desk.faults.choose(number), request.received)

    def _refuse_politely(self, wire: Connection, row: Row, page: Page) -> None:
        row.seal(time.monotonic_ns())
        self.desk.rows.append(row)
        wire.respond(page)

    def refuse(self, wire: Connection) -> None:
        """Reset this connection and take no new ones for a while."""
        wire.reset()
        if self._listener and not self._reopening:
            self._listener.close()
            self._reopening = self._loop.call_later(REFUSAL, self._reopen)

    def _reopen(self) -> None:
        self._opening = self._loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self._listen()
            self._reopening = None
        except UsageError:  # an outgoing connection of this machine may have got the port meanwhile
            self._reopening = self._loop.call_later(REFUSAL / 10, self._reopen)

    def metrics(self) -> Page:
        """GET /metrics."""
        if self._drive:
            return self._drive.metrics()
        return metrics.exact(self.desk.counters, self.settings.model)

    def clear(self) -> Page:
        """DELETE /truth."""
        self.desk.rows.clear()
        return Page(200, b"", None)


ROUTES: dict[bytes, dict[bytes, Callable[[Server], Page]]] = {
    b"/v1/models": {b"GET": lambda s: bodies.models(s.settings.model, s.desk.created, s.settings.max_model_len)},
    b"/health": {b"GET": lambda _: bodies.HEALTH},
    b"/metrics": {b"GET": Server.metrics},
    b"/truth": {b"GET": lambda s: truth.page(list(s.desk.rows)), b"DELETE": Server.clear},
}
ABRUPT: dict[str | None, Callable[[Server, Connection], None]] = {
    "refuse": Server.refuse,
    "reset": lambda _, wire: wire.reset(),
}


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.certfile:
        if settings.keyfile:
            raise UsageError("--keyfile is the key of a certificate: give that with --certfile FILE")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile)
    except OSError as exc:
        raise UsageError(f"cannot use {settings.certfile} for TLS: give a PEM certificate and its key") from exc
    return context


def _bound(settings: Settings, port: int) -> socket.socket:
    """A bound socket, not yet listening. Raises UsageError."""
    sock = _socket(settings)
    try:
        if settings.unix:
            _unlink(settings.unix)
            sock.bind(settings.unix)
        else:
            sock.bind((settings.host, port))
    except OSError as exc:
        sock.close()
        where = settings.unix or f"{settings.host}:{port}"
        raise UsageError(f"cannot listen on {where} ({exc.strerror or exc}): choose another --host or --port") from exc
    return sock


def _socket(settings: Settings) -> socket.socket:
    if settings.unix:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _unlink(path: str) -> None:
    """Remove a socket left behind; never anything else."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)


async def serve(
    settings: Settings, started: Callable[[str], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Serve until `stop` is set or the task is cancelled. Raises UsageError for settings that cannot be."""
    server = Server(settings)
    await server.start()
    try:
        if started:
            started(server.url)
        await (stop or asyncio.Event()).wait()
    finally:
        await server.close()


def run(settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """`serve` on the fastest event loop there is, until interrupted. For a process of its own.

    What was loaded so far is frozen: else the garbage collector would visit it again and again, and halt all streams.
    """
    gc.collect()
    gc.freeze()
    event_loop.run(serve(settings, started))
