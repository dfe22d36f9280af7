"""Where the client is put to the test: exact servers on cores of their own, runs of the client on the others, and what
both ends say afterwards. What is run, and what follows from it, is selftest.py's."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.host import child_process, machine, process_usage
from loadstone.host.client_health import allowed_cores
from loadstone.host.process_usage import Usage
from loadstone.records import Record
from loadstone.selftest.ceiling_search import UsageSample
from loadstone.selftest.truth import TruthRow, server_start

# Seconds between looks at the CPU time of both ends.
EVERY = 0.1
# Seconds that a run may take beyond what it was meant to.
PATIENCE = 30.0
# Bytes that tell whether something is a truth: a server may have kept a gigabyte of it.
FIRST = 1_000_000
KIND = "application/x-ndjson"
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_rows = msgspec.json.Decoder(TruthRow)
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CoreSplit(Struct, frozen=True):
    """Who runs where; None: left to the system."""

    servers: list[int] | None
    client: list[int] | None


class Server(Struct, frozen=True):
    """A server under load; `pid` None: on another machine."""

    url: str
    pid: int | None = None


class ClientRun(Struct, frozen=True):
    """What a run of the client left. `started_at`: the instant it began, s of the monotonic clock here; `client` and
    `verdict`: as the run itself says."""

    records: list[Record]
    truth: list[TruthRow]
    samples: list[UsageSample]
    started_at: float
    client: dict[str, float | None]
    verdict: dict[str, Any]


def split_cores() -> CoreSplit:
    """The cores of this process, for servers and client. Raises UsageError where there is one only."""
    mine = allowed_cores()
    if mine is None:
        return CoreSplit(None, None)
    if len(mine) < 2:
        raise UsageError(
            "selftest needs a core for the server beside that of the client: give --url of a `loadstone serve` "
            "on a second machine"
        )
    return CoreSplit(*machine.split_cores(mine, machine.physical_core))


@contextlib.contextmanager
def start_servers(ttft: str, itl: str, places: Sequence[int] | None) -> Iterator[list[Server]]:
    """Exact servers for as long as the context lasts, one on each core."""
    with contextlib.ExitStack() as stack:
        cores: list[int | None] = [None] if places is None else [*places]
        yield [stack.enter_context(_server(ttft, itl, core)) for core in cores]


@contextlib.contextmanager
def _server(ttft: str, itl: str, core: int | None) -> Iterator[Server]:
    arguments = ["serve", "--port", "0", "--ttft", ttft, "--itl", itl]
    with _child(arguments, None if core is None else [core], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise UsageError("the exact server did not start; `loadstone serve` says why")
        yield Server(url, process.pid)


@contextlib.contextmanager
def _child(arguments: list[str], places: Sequence[int] | None, **files: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that Ctrl-C is for us alone to hear, which never outlives the context."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with _deferred():
            process = child_process.start("loadstone", *arguments, stdin=subprocess.DEVNULL, **files)
        if places is not None:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, places)
        yield process
    finally:
        if process is not None:
            _end(process)


def interrupt_on_signals() -> None:
    """Take being told to end, and the closing of the terminal, for Ctrl-C: servers of ours must not outlive us. What is
    ignored stays so (nohup)."""
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def _deferred() -> Iterator[None]:
    """An interrupt waits until the end of the context: in the middle of a start it would leave a process to nobody."""
    if threading.current_thread() is not threading.main_thread():  # others are not interrupted
        yield
        return
    came: list[int] = []
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in _ENDINGS]
    try:
        yield
    finally:
        for number, handler in zip(_ENDINGS, before, strict=True):
            signal.signal(number, handler)
    for late in came:
        signal.raise_signal(late)


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()


def run_client(servers: Sequence[Server], places: Sequence[int] | None, seconds: float, *flags: str) -> ClientRun:
    """One run of the client, as anybody starts it, of about so many `seconds`. Raises UsageError when it could not."""
    for server in servers:
        _ask(server.url, "DELETE")
    with tempfile.TemporaryDirectory(prefix="loadstone-") as made:
        folder, said = Path(made, "run"), Path(made, "said")
        with said.open("wb") as file:
            arguments = ["run", *_urls(servers), *flags, "--quiet", "--as", "json", "-o", str(folder)]
            with _child(arguments, places, stdout=subprocess.DEVNULL, stderr=file) as process:
                looks = _watch(process, servers, time.monotonic() + seconds + PATIENCE)
        if process.returncode not in (0, 1) or not (folder / "summary.json").exists():
            raise UsageError(f"a run of the self-test failed: {_last_line(said)}")
        return _trial(folder, servers, looks)


def _urls(servers: Sequence[Server]) -> list[str]:
    return [word for server in servers for word in ("--url", server.url)]


def _watch(process: subprocess.Popen[bytes], servers: Sequence[Server], until: float) -> list[UsageSample]:
    """Look now and then until the run has ended."""
    looks: list[UsageSample] = []
    while process.poll() is None:
        if time.monotonic() > until:
            raise UsageError("a run of the self-test did not end in time: end what else runs on this machine")
        others = [Usage() if server.pid is None else process_usage.measure(server.pid) for server in servers]
        looks.append(UsageSample(time.monotonic(), process_usage.measure(process.pid), others))
        time.sleep(EVERY)
    return looks


def _trial(folder: Path, servers: Sequence[Server], looks: list[UsageSample]) -> ClientRun:
    records = list(run_folder.load_records(folder))
    rows = [row for server in servers for row in fetch_truth(server.url)]
    said = run_folder.load_run(folder)
    began = server_start(records, rows) if all(server.pid for server in servers) else None
    if began is None:  # the servers' clocks are not ours
        began = datetime.datetime.fromisoformat(said["began"]).timestamp() - time.time() + time.monotonic()
    verdict = msgspec.json.decode((folder / "summary.json").read_bytes())["verdict"]
    return ClientRun(records, rows, looks, began, said.get("client") or {}, verdict)


def fetch_truth(url: str) -> list[TruthRow]:
    """What the server at `url` says it did since it was told to forget. Raises UsageError."""
    return _told(url, _ask(url, "GET"))


def check_server(url: str) -> Server:
    """The server at `url`, if it is an exact one. Raises UsageError when nobody answers, or it keeps no truth, or over
    TLS: what that costs is in no ceiling."""
    if not url.lower().startswith("http://"):
        raise UsageError(
            f"{url} is no plain http:// address, over which ceilings are found: give --url http://HOST:PORT"
        )
    _told(url, _ask(url, "GET", FIRST))
    return Server(url)


def _told(url: str, content: bytes) -> list[TruthRow]:
    try:
        return [_rows.decode(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UsageError(f"{url}/truth is not that of a `loadstone serve` of this version: {exc}") from exc


def _ask(url: str, method: str, most: int | None = None) -> bytes:
    """The answer, or its first bytes, at `most` so many. Raises UsageError."""
    advice = "selftest needs `loadstone serve` there"
    try:
        with _direct.open(
            urllib.request.Request(f"{url.rstrip('/')}/truth", method=method), timeout=PATIENCE
        ) as answer:
            content: bytes = answer.read(most)
            kind = answer.headers.get_content_type()
    except urllib.error.HTTPError as exc:
        raise UsageError(f"{url} has no /truth (HTTP {exc.code}): {advice}, not another server") from exc
    except (OSError, ValueError, HTTPException) as exc:
        raise UsageError(f"no answer from {url}: {getattr(exc, 'reason', None) or exc}; {advice}") from exc
    if method == "GET" and kind != KIND:
        raise UsageError(f"{url}/truth is {kind}, not the {KIND} of a `loadstone serve`: give the --url of one")
    return content


def _last_line(file: Path) -> str:
    lines = file.read_text("utf-8", "replace").splitlines()
    return lines[-1].removeprefix("loadstone: ") if lines else "it said nothing"
