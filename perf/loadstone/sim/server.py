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
from loadstone.sim.engine.responses import EngineStreamedResponse, EngineWholeResponse
from loadstone.sim.formats import FORMATS
from loadstone.sim.http import Connection, Request
from loadstone.sim.response import Response, StreamedResponse, WholeResponse
from loadstone.sim.settings import Settings
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import Format, ParsedRequest
from loadstone.sim.truth import TruthRow

# Seconds for which the fault `refuse` keeps the listener closed.
LISTENER_PAUSE = 0.3
BACKLOG = 4096
# ns that the queue waits for its next chunk without going to sleep, which with the waking up takes as long.
SPIN_NS = 10_000
# ns after which it lets requests be read, if there are any.
MAX_TURN_NS = 200_000


class Server:
    """`await start()`, then `url` says where; `truth` has the rows so far; `await close()` ends everything."""

    def __init__(self, settings: Settings) -> None:
        if wanted := profile(settings):
            settings = msgspec.structs.replace(settings, max_model_len=wanted.limits.max_sequence_tokens)
        self.settings, self.profile = settings, wanted
        self.state = ServerState(settings)
        self.connections: set[Connection] = set()
        self.url = ""
        self.closed = False
        self._tls = _tls(settings)
        self._port = settings.port
        self._request_count = 0
        self._heap: list[tuple[int, int, Response]] = []
        self._alarm_time: int | None = None
        self._alarm: Alarm | None = None
        self._engine_loop: EngineLoop | None = None
        self._listener: asyncio.AbstractServer | None = None
        self._reopen_timer: asyncio.TimerHandle | None = None
        self._reopen_task: asyncio.Task[None] | None = None

    @property
    def truth(self) -> list[dict[str, Any]]:
        return [row.to_dict() for row in self.state.truth_rows]

    async def start(self) -> None:
        """Bind and serve. Raises UsageError when the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        await self._listen()
        self._alarm = make_alarm(self._loop, self._advance_due)
        if self.profile:
            self._engine_loop = EngineLoop(self.state, self.profile, self._loop)
        scheme = "https" if self._tls else "http"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"unix:{self.settings.unix}" if self.settings.unix else f"{scheme}://{host}:{self._port}"

    async def close(self) -> None:
        """Stop listening, drop every connection, forget every timer."""
        self.closed = True
        if self._reopen_timer:
            self._reopen_timer.cancel()
        if self._reopen_task:
            self._reopen_task.cancel()
        if self._listener:
            self._listener.close()
        for connection in list(self.connections):
            connection.abort()
        self._heap.clear()
        if self._engine_loop:
            self._engine_loop.close()
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

    def schedule(self, response: Response, due: int) -> None:
        """`response` is to advance at `due`."""
        heappush(self._heap, (due, response.truth_row.number, response))
        if due <= time.monotonic_ns():
            self._advance_due()
        elif self._alarm_time is None or due < self._alarm_time:
            self._set_alarm(due)

    def _advance_due(self) -> None:
        heap, now = self._heap, time.monotonic_ns()
        end = now + MAX_TURN_NS
        while heap and now < end:
            due, number, answer = heap[0]
            if due > now:
                if due > (now := time.monotonic_ns()) + SPIN_NS:
                    break
                while due > now:
                    now = time.monotonic_ns()
            due = answer.advance(now)
            if due:
                heapreplace(heap, (due, number, answer))
            else:
                heappop(heap)
        self._set_alarm(heap[0][0] if heap else None)

    def _set_alarm(self, at: int | None) -> None:
        if self._alarm and (at is not None or self._alarm_time is not None):
            self._alarm.set(at)
        self._alarm_time = at

    # requests

    def handle(self, connection: Connection, request: Request) -> None:
        if request.path in FORMATS and request.method == b"POST":
            self._post(connection, request)
        else:
            connection.send_page(self._page(request))

    def _page(self, request: Request) -> Page:
        if not self._allowed(request):
            return bodies.UNAUTHORIZED
        route = ROUTES.get(request.path)
        if route is None:
            return bodies.method_not_allowed(b"POST") if request.path in FORMATS else bodies.NOT_FOUND
        action = route.get(request.method)
        return action(self) if action else bodies.method_not_allowed(b", ".join(route))

    def _allowed(self, request: Request) -> bool:
        key = self.settings.api_key
        if key is None or not request.path.startswith(b"/v1"):
            return True
        scheme, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and given == key.encode()

    def _post(self, wire: Connection, request: Request) -> None:
        form = FORMATS[request.path]
        row = self._row(request, form)
        if row.fault in RESET_FAULTS:
            self.state.truth_rows.append(row)
            return RESET_FAULTS[row.fault](self, wire)
        page = None if self._allowed(request) else bodies.UNAUTHORIZED
        if row.fault is not None:
            page = page or bodies.fault_page(row.fault, self.settings.model)
        asked = form.error_page(page) if page else asks.parse_body(request.body, form, self.settings)
        if self.state.answers and isinstance(asked, ParsedRequest):
            known = self.state.answers.apply(asked)
            asked = form.error_page(known) if isinstance(known, Page) else known
        if self._engine_loop and isinstance(asked, ParsedRequest) and not self._engine_loop.fits(asked):
            asked = form.error_page(bodies.EMPTY_PROMPT)
        if isinstance(asked, Page):
            return self._refuse_politely(wire, row, asked)
        return wire.start_response(self._answer(wire, row, asked))

    def _answer(self, wire: Connection, row: TruthRow, ask: ParsedRequest) -> Response:
        if self._engine_loop:
            return (EngineStreamedResponse if ask.stream else EngineWholeResponse)(self._engine_loop, wire, row, ask)
        return (StreamedResponse if ask.stream else WholeResponse)(self.state, wire, row, ask)

    def _row(self, request: Request, form: Format) -> TruthRow:
        number, self._request_count = self._request_count, self._request_count + 1
        header = request.headers.get(b"x-request-id")
        name = header.decode("latin-1") if header is not None else None
        own = form.id_prefix + (name or f"{random.getrandbits(64):016x}")
        return TruthRow(number, own, name, request.received, self.state.faults.choose(number), request.received)

    def _refuse_politely(self, wire: Connection, row: TruthRow, page: Page) -> None:
        row.finish(time.monotonic_ns())
        self.state.truth_rows.append(row)
        wire.send_page(page)

    def refuse(self, connection: Connection) -> None:
        """Reset this connection and take no new ones for a while."""
        connection.reset()
        if self._listener and not self._reopen_timer:
            self._listener.close()
            self._reopen_timer = self._loop.call_later(LISTENER_PAUSE, self._reopen)

    def _reopen(self) -> None:
        self._reopen_task = self._loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self._listen()
            self._reopen_timer = None
        except UsageError:  # an outgoing connection of this machine may have got the port meanwhile
            self._reopen_timer = self._loop.call_later(LISTENER_PAUSE / 10, self._reopen)

    def metrics(self) -> Page:
        """GET /metrics."""
        if self._engine_loop:
            return self._engine_loop.metrics()
        return metrics.exact_page(self.state.counters, self.settings.model)

    def clear_truth(self) -> Page:
        """DELETE /truth."""
        self.state.truth_rows.clear()
        return Page(200, b"", None)


ROUTES: dict[bytes, dict[bytes, Callable[[Server], Page]]] = {
    b"/v1/models": {b"GET": lambda s: bodies.models(s.settings.model, s.state.created, s.settings.max_model_len)},
    b"/health": {b"GET": lambda _: bodies.HEALTH},
    b"/metrics": {b"GET": Server.metrics},
    b"/truth": {b"GET": lambda s: truth.page(list(s.state.truth_rows)), b"DELETE": Server.clear_truth},
}
RESET_FAULTS: dict[str | None, Callable[[Server, Connection], None]] = {
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
