"""Start exact servers and runs of the client on separate cores, and collect what both recorded.

`run.py` decides what is run and evaluates it.
"""

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
from loadstone.errors import ConfigError, ServerError, UsageError
from loadstone.host import child_process, machine, process_usage
from loadstone.host.client_health import allowed_cores
from loadstone.host.process_usage import Usage
from loadstone.records import Record
from loadstone.selftest.ceiling_search import UsageSample
from loadstone.selftest.truth import TruthRow, server_start

# Seconds between samples of the CPU time of both sides.
EVERY = 0.1
# Seconds that a run may take beyond its plan.
PATIENCE = 30.0
# Bytes that are enough to recognize a truth: a server may have kept a gigabyte of it.
FIRST = 1_000_000
KIND = "application/x-ndjson"
_END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_truth_decoder = msgspec.json.Decoder(TruthRow)
# Proxies would be part of what is measured.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CoreSplit(Struct, frozen=True):
    """The cores of the servers and of the client; None where the operating system chooses."""

    servers: list[int] | None
    client: list[int] | None


class Server(Struct, frozen=True):
    """A server under load; `pid` is None on another machine."""

    url: str
    pid: int | None = None


class ClientRun(Struct, frozen=True):
    """The results of one run of the client.

    started_at: s of this machine's monotonic clock.
    client, verdict: as the run reported them.
    """

    records: list[Record]
    truth: list[TruthRow]
    samples: list[UsageSample]
    started_at: float
    client: dict[str, float | None]
    verdict: dict[str, Any]


def split_cores() -> CoreSplit:
    """Divide the cores of this process between servers and client. Raise UsageError if there is only one."""
    cores = allowed_cores()
    if cores is None:
        return CoreSplit(None, None)
    if len(cores) < 2:
        raise UsageError(
            "selftest needs a core for the server beside that of the client: give --url of a `loadstone serve` "
            "on a second machine"
        )
    return CoreSplit(*machine.split_cores(cores, machine.physical_core))


@contextlib.contextmanager
def start_servers(ttft: str, itl: str, cores: Sequence[int] | None) -> Iterator[list[Server]]:
    """Run an exact server on each core until the context ends; one server if `cores` is None."""
    arguments = ["serve", "--port", "0", "--ttft", ttft, "--itl", itl]
    servers: list[Server] = []
    with contextlib.ExitStack() as stack:
        for pinned in [None] if cores is None else [[core] for core in cores]:
            process = stack.enter_context(_child(arguments, pinned, stdout=subprocess.PIPE))
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            if not url:
                raise ServerError("the exact server did not start; `loadstone serve` says why")
            servers.append(Server(url, process.pid))
        yield servers


@contextlib.contextmanager
def _child(arguments: list[str], cores: Sequence[int] | None, **files: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that never outlives the context, in a session of its own: only this process receives Ctrl-C."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with defer_interrupts():
            process = child_process.start("loadstone", *arguments, stdin=subprocess.DEVNULL, **files)
        if cores is not None:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        if process is not None:
            with process:
                process.terminate()
                try:
                    process.wait(1.0)
                except subprocess.TimeoutExpired:
                    process.kill()


def interrupt_on_signals() -> None:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that our servers do not outlive us. Ignored signals stay so (nohup)."""
    for number in _END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def defer_interrupts() -> Iterator[None]:
    """Hold back interrupts until the context ends: in the middle of a start they would orphan a process."""
    if threading.current_thread() is not threading.main_thread():  # others are not interrupted
        yield
        return
    deferred: list[int] = []
    handlers = [signal.signal(number, lambda number, _: deferred.append(number)) for number in _END_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_END_SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
    for number in deferred:
        signal.raise_signal(number)


def run_client(servers: Sequence[Server], cores: Sequence[int] | None, seconds: float, *flags: str) -> ClientRun:
    """Run the client as a user would, for about so many `seconds`. Raise UsageError if it fails."""
    for server in servers:
        _request_truth(server.url, "DELETE")
    with tempfile.TemporaryDirectory(prefix="loadstone-") as temporary:
        folder, log = Path(temporary, "run"), Path(temporary, "log")
        urls = [argument for server in servers for argument in ("--url", server.url)]
        arguments = ["run", *urls, *flags, "--quiet", "--as", "json", "-o", str(folder)]
        with log.open("wb") as file, _child(arguments, cores, stdout=subprocess.DEVNULL, stderr=file) as process:
            samples = _sample_usage(process, servers, time.monotonic() + seconds + PATIENCE)
        if process.returncode not in (0, 1) or not (folder / "summary.json").exists():
            lines = log.read_text("utf-8", "replace").splitlines()
            reason = lines[-1].removeprefix("loadstone: ") if lines else "it said nothing"
            raise UsageError(f"a run of the self-test failed: {reason}")
        records = list(run_folder.load_records(folder))
        truth = [row for server in servers for row in fetch_truth(server.url)]
        run = run_folder.load_run(folder)
        verdict = msgspec.json.decode((folder / "summary.json").read_bytes())["verdict"]
    started_at = server_start(records, truth) if all(server.pid for server in servers) else None
    if started_at is None:  # servers on another machine have another monotonic clock
        started_at = datetime.datetime.fromisoformat(run.began or "").timestamp() - time.time() + time.monotonic()
    return ClientRun(records, truth, samples, started_at, run.client, verdict)


def _sample_usage(process: subprocess.Popen[bytes], servers: Sequence[Server], until: float) -> list[UsageSample]:
    """Sample the CPU and memory of both sides until the client has ended."""
    samples: list[UsageSample] = []
    while process.poll() is None:
        if time.monotonic() > until:
            raise UsageError("a run of the self-test did not end in time: end what else runs on this machine")
        server_usage = [Usage() if server.pid is None else process_usage.measure(server.pid) for server in servers]
        samples.append(UsageSample(time.monotonic(), process_usage.measure(process.pid), server_usage))
        time.sleep(EVERY)
    return samples


def fetch_truth(url: str) -> list[TruthRow]:
    """Return what the server at `url` recorded since the last DELETE. Raise UsageError."""
    return decode_truth(url, _request_truth(url, "GET"))


def check_server(url: str) -> Server:
    """Return the server at `url` if it is an exact one.

    Raise UsageError if it does not answer or keeps no truth, and for TLS, whose cost is in no ceiling.
    """
    if not url.lower().startswith("http://"):
        raise ConfigError(
            f"{url} is no plain http:// address, over which ceilings are found: give --url http://HOST:PORT",
            field="url",
        )
    decode_truth(url, _request_truth(url, "GET", FIRST))
    return Server(url)


def decode_truth(url: str, content: bytes) -> list[TruthRow]:
    """Decode the complete lines of a truth. Raise UsageError if they are of another version."""
    try:
        return [_truth_decoder.decode(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ServerError(f"{url}/truth is not that of a `loadstone serve` of this version: {exc}") from exc


def _request_truth(url: str, method: str, max_bytes: int | None = None) -> bytes:
    """Return the response of /truth, cut at `max_bytes`. Raise UsageError."""
    advice = "selftest needs `loadstone serve` there"
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/truth", method=method)
        with _direct.open(request, timeout=PATIENCE) as response:
            content: bytes = response.read(max_bytes)
            kind = response.headers.get_content_type()
    except urllib.error.HTTPError as exc:
        raise ServerError(f"{url} has no /truth (HTTP {exc.code}): {advice}, not another server") from exc
    except (OSError, ValueError, HTTPException) as exc:
        raise ServerError(f"no answer from {url}: {getattr(exc, 'reason', None) or exc}; {advice}") from exc
    if method == "GET" and kind != KIND:
        raise ServerError(f"{url}/truth is {kind}, not the {KIND} of a `loadstone serve`: give the --url of one")
    return content
