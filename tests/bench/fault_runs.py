"""Run a load test with a planted fault, and read what it says of itself. Used by tests/bench/faults.py."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct

from loadstone.engine.run_folder import load_records
from loadstone.records import Record
from loadstone.results import read_summary
from loadstone.summary import Summary

KEY = "sk-planted-0123456789abcdef"
# A protocol of a user's own whose process holds Python's lock for 150 ms, again and again.
BLOCKING = """
import threading, time
from loadstone.apis.openai import Chat as Base

def block():
    while True:
        time.sleep(0.3)
        began = time.monotonic()
        while time.monotonic() - began < 0.15:
            3 ** 200000 % 7

class Blocking(Base):
    pass

threading.Thread(target=block, daemon=True).start()
"""
# Requests that the server of the present fault has seen, and the folder of its runs.
POSTS = [0]
FOLDER = [""]
# Doubts about this client and its machine.
CLIENT = {
    "client CPU", "wait for a core", "event-loop lag", "longest stall", "send lag", "share of this machine's ceiling",
}  # fmt: skip
# Seconds after which a run is given up.
PATIENCE = 60


class Seen(Struct):
    """What a run left. said: its words on stderr and stdout. posts: requests that the server saw."""

    status: int
    said: str
    folder: Path
    posts: int = 0
    seconds: float = 0.0

    @property
    def summary(self) -> Summary:
        return read_summary(self.folder)

    @property
    def records(self) -> list[Record]:
        return list(load_records(self.folder))

    @property
    def doubts(self) -> dict[str, str]:
        verdict = self.summary.verdict
        return {doubt.what: doubt.severity for doubt in verdict.doubts} if verdict else {}

    def named(self) -> str:
        """Return in a few words what the run says of itself."""
        if not (self.folder / "run.json").exists():
            return f"exit {self.status}: {self.said.strip().splitlines()[-1][:150] if self.said.strip() else '-'}"
        counts = self.summary.counts
        failures = ", ".join(f"{kind} {count}" for kind, count in counts.by_error.items())
        doubts = ", ".join(f"{what} ({severity})" for what, severity in self.doubts.items() if what not in CLIENT)
        words = max(self.summary.failures, key=lambda failure: failure[2], default=("", "", 0))[1]
        return (
            f"exit {self.status}; {counts.succeeded} ok, {failures or '0 failed'}; {doubts or 'no doubt'}; {words[:90]}"
        )


Check = Callable[[Seen], bool]


class Fault(Struct):
    """A fault, with the run that meets it.

    serve: yields the address of a server; None: `flags` have it.
    expected: what has to be named, in words. check: whether it was.
    flags: of the run, beside -n and -c. wrap: what the command is started with. also: done while the run goes on.
    clean: nothing is planted. scraped: the metrics of the server are read.
    """

    name: str
    expected: str
    check: Check
    serve: Callable[[], AbstractContextManager[str]] | None = None
    flags: Sequence[object] = ()
    wrap: Sequence[str] = ()
    environment: dict[str, str] = {}
    also: Callable[[subprocess.Popen[str]], None] | None = None
    requests: int = 30
    concurrency: int = 4
    clean: bool = False
    scraped: bool = False


# What must be seen


def fails(kind: str, *words: str, count: int = 10) -> Check:
    """Requests failed with this kind, and their messages hold these words of the server."""

    def check(seen: Seen) -> bool:
        errors = [record.error for record in seen.records if record.error is not None]
        as_expected = all(error.kind == kind and all(word in error.message for word in words) for error in errors)
        return len(errors) == count and as_expected

    return check


def doubts(*names: str, severity: str | None = None) -> Check:
    """One of these doubts is raised."""
    return lambda seen: any(seen.doubts.get(name, "") == (severity or seen.doubts.get(name)) for name in names)


def refuses(*words: str) -> Check:
    """The run is refused in one sentence with these words, and nothing is written."""

    def check(seen: Seen) -> bool:
        lines = [line for line in seen.said.splitlines() if line]
        return seen.status == 2 and "Traceback" not in seen.said and all(word in lines[-1] for word in words)

    return check


def unharmed(seen: Seen) -> bool:
    """Nothing failed, and no doubt but those about this machine's own lag was raised."""
    counts = seen.summary.counts
    return seen.status == 0 and counts.failed == 0 and counts.succeeded > 0 and not seen.doubts.keys() - CLIENT


def both(*checks: Check) -> Check:
    return lambda seen: all(check(seen) for check in checks)


def every_request_recorded(seen: Seen) -> bool:
    """Requests that the server saw = rows + resends."""
    rows = [record for record in seen.records if record.sent is not None]
    return seen.posts == len(rows) + sum(record.resent or 0 for record in rows)


def figure(name: str, low: float | None, high: float | None = None) -> Check:
    """The mean of a metric lies between two values (seconds, tokens); None: it is unknown."""

    def check(seen: Seen) -> bool:
        metric = seen.summary.metrics.get(name)
        mean = None if metric is None else metric.mean
        return mean is None if low is None else mean is not None and low <= mean <= (high or low)

    return check


def no_key(seen: Seen) -> bool:
    """The key is in no file, and was not shown."""
    files = [path.read_bytes() for path in seen.folder.rglob("*") if path.is_file()]
    return KEY not in seen.said and not any(KEY.encode() in content for content in files)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"OPENAI_API_KEY": KEY, "COLUMNS": "200"}


def run_command(url: str | None, folder: Path, flags: Sequence[object], requests: int, concurrency: int) -> list[str]:
    command: list[object] = [sys.executable, "-m", "loadstone", "run", "-o", folder, "--quiet", "--no-html", *flags]
    command += ["--url", url] if url else []
    command += ["-n", requests] if requests else []
    command += ["-c", concurrency] if concurrency and "--rate" not in flags else []
    return [str(word) for word in command]


def meet(fault: Fault, root: Path) -> Seen:
    """Run with the fault, and return what was seen."""
    folder = root / "run"
    FOLDER[0] = str(root)
    POSTS[0] = 0
    (root / "blocking.py").write_text(BLOCKING)
    began = time.monotonic()
    with fault.serve() if fault.serve else contextlib.nullcontext() as url:
        flags = fault.flags
        if url and not any(str(flag).startswith(("--scrape", "--no-scrape")) for flag in flags) and not fault.scraped:
            flags = (*flags, "--no-scrape")
        command = [*fault.wrap, *run_command(url, folder, flags, fault.requests, fault.concurrency)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root,
            env=environment() | fault.environment,
        ) as process:  # fmt: skip
            helper = threading.Thread(target=fault.also, args=(process,), daemon=True) if fault.also else None
            if helper:
                helper.start()
            try:
                said, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                said = f"given up after {PATIENCE} s"
                process.communicate()
    return Seen(process.returncode, said, folder, POSTS[0], time.monotonic() - began)
