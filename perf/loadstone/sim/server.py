"""The simulated server: its listener, its routes, and the queue of the chunks of all responses.

One heap of due times and one alarm serve all streams. Chunks are sent in order of their due times, never early.
response.py builds the bytes and takes the timestamps; http.py sends them.
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

from loadstone.errors import ConfigError, UsageError
from loadstone.host import event_loop
from loadstone.host.timer import Alarm, make_alarm
from loadstone.sim import bodies, metrics, truth
from loadstone.sim import request as requests
from loadstone.sim.bodies import Page
from loadstone.sim.engine.loop import EngineLoop
from loadstone.sim.engine.presets import profile
from loadstone.sim.engine.responses import EngineStreamedResponse, EngineWholeResponse
from loadstone.sim.formats import FORMATS
from loadstone.sim.http import Connection, Request
from loadstone.sim.response import Response, StreamedResponse, WholeResponse
from loadstone.sim.settings import Settings
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import TruthRow

# Seconds for which the fault `refuse` keeps the listener closed.
LISTENER_PAUSE = 0.3
# Connections that the kernel holds until they are accepted: enough for a burst of a whole load test.
BACKLOG = 4096
# ns that the queue waits for its next chunk without sleeping: about as long as falling asleep and waking up takes.
SPIN_NS = 10_000
# ns after which the queue returns to the event loop, so that it can read requests.
MAX_TURN_NS = 200_000
# Turns of the event loop that `close` waits for the connections to end.
CLOSE_TURNS = 1000


class Server:
    """The server. After `await start()`, `url` has its address; `await close()` stops everything.

    truth: rows of the finished requests so far.
    _heap: due time (ns), number of the request and response of all chunks to come.
    _alarm_time: what the alarm is set to, ns.
    """

    def __init__(self, settings: Settings) -> None:
        self.profile = profile(settings)
        if self.profile:
            settings = msgspec.structs.replace(settings, max_model_len=self.profile.limits.max_sequence_tokens)
        self.settings = settings
        self.state = ServerState(settings)
        self.connections: set[Connection] = set()
        self.url = ""
        self.closed = False
        self._tls = _tls_context(settings)
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
        """Return the truth rows of the finished requests."""
        return [row.to_dict() for row in self.state.truth_rows]

    async def start(self) -> None:
        """Start to listen. Raises ConfigError if the address is not available."""
        self._loop = asyncio.get_running_loop()
        await self._listen()
        self._alarm = make_alarm(self._loop, self._advance_due)
        if self.profile:
            self._engine_loop = EngineLoop(self.state, self.profile, self._loop)

        # The address, with the port that the system chose.
        scheme = "https" if self._tls else "http"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"unix:{self.settings.unix}" if self.settings.unix else f"{scheme}://{host}:{self._port}"

    async def close(self) -> None:
        """Stop listening, close every connection, cancel every timer."""
        self.closed = True
        if self._reopen_timer:
            self._reopen_timer.cancel()
        if self._reopen_task:
            self._reopen_task.cancel()
        if self._listener:
            self._listener.close()
        for connection in list(self.connections):
            connection.abort()

        # The queue, the engine and the alarm.
        self._heap.clear()
        if self._engine_loop:
            self._engine_loop.close()
        if self._alarm:
            self._alarm.close()
            self._alarm = None
        if self.settings.unix:
            _remove_socket(self.settings.unix)

        # The transports report the end of their connections only in later turns of the event loop.
        for _ in range(CLOSE_TURNS):
            await asyncio.sleep(0)
            if not self.connections:
                return

    async def _listen(self) -> None:
        """Open the listener. Raises ConfigError if the address is not available."""
        sock = _bind(self.settings, self._port)
        if not self.settings.unix:
            self._port = sock.getsockname()[1]
        create = self._loop.create_unix_server if self.settings.unix else self._loop.create_server
        self._listener = await create(lambda: Connection(self), sock=sock, ssl=self._tls, backlog=BACKLOG)

    # The queue

    def schedule(self, response: Response, due: int) -> None:
        """Call `advance` of a response at `due` (ns)."""
        heappush(self._heap, (due, response.truth_row.number, response))
        if due <= time.monotonic_ns():
            self._advance_due()
        elif self._alarm_time is None or due < self._alarm_time:
            self._set_alarm(due)

    def _advance_due(self) -> None:
        """Call `advance` of all responses that are due, in order, then set the alarm for the next one."""
        heap, now = self._heap, time.monotonic_ns()
        end = now + MAX_TURN_NS
        while heap and now < end:
            due, number, response = heap[0]
            if due > now:
                if due > (now := time.monotonic_ns()) + SPIN_NS:
                    break
                while due > now:
                    now = time.monotonic_ns()
            due = response.advance(now)
            if due:
                heapreplace(heap, (due, number, response))
            else:
                heappop(heap)
        self._set_alarm(heap[0][0] if heap else None)

    def _set_alarm(self, at: int | None) -> None:
        if self._alarm and (at is not None or self._alarm_time is not None):
            self._alarm.set(at)
        self._alarm_time = at

    # Requests

    def handle(self, connection: Connection, request: Request) -> None:
        """Send the response to a request: a POST to a protocol's path, or one of ROUTES."""
        route = ROUTES.get(request.path)
        if request.path in FORMATS and request.method == b"POST":
            self._handle_completion(connection, request)
        elif not self._authorized(request):
            connection.send_page(bodies.UNAUTHORIZED)
        elif route is None:
            known = request.path in FORMATS
            connection.send_page(bodies.method_not_allowed(b"POST") if known else bodies.NOT_FOUND)
        else:
            action = route.get(request.method)
            connection.send_page(action(self) if action else bodies.method_not_allowed(b", ".join(route)))

    def _authorized(self, request: Request) -> bool:
        """Return True if the request has the key, or needs none."""
        key = self.settings.api_key
        if key is None or not request.path.startswith(b"/v1"):
            return True
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and token == key.encode()

    def _handle_completion(self, connection: Connection, request: Request) -> None:
        """Start the response to a POST to a protocol's path."""
        format_ = FORMATS[request.path]
        number = self._request_count
        self._request_count += 1
        header = request.headers.get(b"x-request-id")
        request_id = header.decode("latin-1") if header is not None else None
        response_id = format_.id_prefix + (request_id or f"{random.getrandbits(64):016x}")
        fault = self.state.faults.choose(number)
        row = TruthRow(number, response_id, request_id, request.received, fault, request.received)
        if fault in RESET_FAULTS:
            self.state.truth_rows.append(row)
            return RESET_FAULTS[fault](self, connection)

        # What to respond: an error page, or the parsed request, with a recorded answer if there is one.
        page = None if self._authorized(request) else bodies.UNAUTHORIZED
        if fault is not None:
            page = page or bodies.fault_page(fault, self.settings.model)
        parsed = format_.error_page(page) if page else requests.parse_body(request.body, format_, self.settings)
        if self.state.answers and isinstance(parsed, ParsedRequest):
            answered = self.state.answers.apply(parsed)
            parsed = format_.error_page(answered) if isinstance(answered, Page) else answered
        if self._engine_loop and isinstance(parsed, ParsedRequest) and not self._engine_loop.fits(parsed):
            parsed = format_.error_page(bodies.EMPTY_PROMPT)
        if isinstance(parsed, Page):
            row.finish(time.monotonic_ns())
            self.state.truth_rows.append(row)
            return connection.send_page(parsed)

        response: Response
        if self._engine_loop:
            engine_class = EngineStreamedResponse if parsed.stream else EngineWholeResponse
            response = engine_class(self._engine_loop, connection, row, parsed)
        else:
            response_class = StreamedResponse if parsed.stream else WholeResponse
            response = response_class(self.state, connection, row, parsed)
        return connection.start_response(response)

    def refuse(self, connection: Connection) -> None:
        """Close this connection with RST, and accept no new ones for LISTENER_PAUSE."""
        connection.reset()
        if self._listener and not self._reopen_timer:
            self._listener.close()
            self._reopen_timer = self._loop.call_later(LISTENER_PAUSE, self._reopen)

    def _reopen(self) -> None:
        """Open the listener again, now or as soon as the port is free."""

        async def listen_again() -> None:
            try:
                await self._listen()
                self._reopen_timer = None
            except UsageError:  # an outgoing connection of this machine may have got the port meanwhile
                self._reopen_timer = self._loop.call_later(LISTENER_PAUSE / 10, self._reopen)

        self._reopen_task = self._loop.create_task(listen_again())

    def metrics(self) -> Page:
        """Return GET /metrics."""
        if self._engine_loop:
            return self._engine_loop.metrics()
        return metrics.exact_page(self.state.counters, self.settings.model)

    def clear_truth(self) -> Page:
        """Remove all truth rows, for DELETE /truth."""
        self.state.truth_rows.clear()
        return Page(200, b"", None)


# What the server serves besides the protocols: by path, then by method.
ROUTES: dict[bytes, dict[bytes, Callable[[Server], Page]]] = {
    b"/v1/models": {b"GET": lambda s: bodies.models(s.settings.model, s.state.created, s.settings.max_model_len)},
    b"/health": {b"GET": lambda _: bodies.HEALTH},
    b"/metrics": {b"GET": Server.metrics},
    b"/truth": {b"GET": lambda s: truth.page(list(s.state.truth_rows)), b"DELETE": Server.clear_truth},
}
# Faults that end the connection before the request is read.
RESET_FAULTS: dict[str | None, Callable[[Server, Connection], None]] = {
    "refuse": Server.refuse,
    "reset": lambda _, connection: connection.reset(),
}


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Load the certificate, if there is one. Raises ConfigError if it cannot be used."""
    if not settings.certfile:
        if settings.keyfile:
            raise ConfigError("--keyfile is the key of a certificate: give that with --certfile FILE", field="keyfile")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile)
    except OSError as exc:
        raise ConfigError(f"cannot use {settings.certfile} for TLS: give a PEM certificate and its key") from exc
    return context


def _bind(settings: Settings, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet. Raises ConfigError if the address is not available."""
    if settings.unix:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if settings.unix:
            _remove_socket(settings.unix)
            sock.bind(settings.unix)
        else:
            sock.bind((settings.host, port))
    except OSError as exc:
        sock.close()
        where = settings.unix or f"{settings.host}:{port}"
        raise ConfigError(f"cannot listen on {where} ({exc.strerror or exc}): choose another --host or --port") from exc
    return sock


def _remove_socket(path: str) -> None:
    """Remove a unix socket that an earlier process left, but no other file."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)


async def serve(
    settings: Settings, started: Callable[[str], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run a server until `stop` is set or the task is cancelled. Raises UsageError for invalid settings.

    started: called with the URL once the server listens.
    """
    server = Server(settings)
    await server.start()
    try:
        if started:
            started(server.url)
        await (stop or asyncio.Event()).wait()
    finally:
        await server.close()


def run(settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Run `serve` on the fastest event loop there is, until interrupted; for a process of its own.

    All loaded modules are frozen: otherwise the garbage collector would visit them again and again and delay all
    streams.
    """
    gc.collect()
    gc.freeze()
    event_loop.run(serve(settings, started))
