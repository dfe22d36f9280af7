"""Runs programs that a model wrote, each in processes of its own, and reports whether they finished.

sandbox_child.py confines a program, in a child process; this file starts the child, sends it the program and reads the
outcome. Nothing runs unless the operator allowed it (`check_allowed`). docs/code-answers.md explains which means
contains what.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from loadstone.errors import ConfigError, UsageError
from loadstone.samples import Sample

# Started as a script in the child process.
CHILD = Path(__file__).with_name("sandbox_child.py")
# Seconds that the child has for its own work before it is killed.
GRACE = 5.0
# Kernel features that confine a program.
Means = tuple[Literal["namespaces", "landlock", "seccomp"], ...]
# What confines a program in addition to its limits, the best first. The first that works is used.
MEANS: tuple[Means, ...] = (
    ("namespaces", "seccomp"),
    ("landlock", "seccomp"),
    ("namespaces",),
    ("seccomp",),
    ("landlock",),
    (),
)
# A program that needs what an answer may need; it shows whether a means works here.
PROBE = "import ctypes, decimal, hashlib, json, random, tempfile\nassert tempfile.TemporaryFile().write(b'.') == 1"
Ending = Literal["passed", "raised", "exited", "time", "memory", "output", "killed", "unrun"]


class Verdict(Struct, frozen=True, kw_only=True):
    """The result of a program.

    passed: it ran to its end
    ending: `passed`; `raised` an exception; `exited` before its end; over its `time`, `memory` or `output`; `killed` by
        a signal; `unrun`: the sandbox failed, which says nothing about the program
    output: the end of what it printed, or why it was not run
    seconds: wall time of the whole
    """

    passed: bool
    ending: Ending
    output: str
    seconds: float


class Limits(Struct, frozen=True, kw_only=True):
    """What a program may use.

    memory: bytes, for each process
    file: bytes, for each file; for all files together if its folder is in memory
    processes: number of processes and threads
    output: bytes that it may print
    """

    memory: int = 1 << 30
    file: int = 64 << 20
    processes: int = 16
    output: int = 1 << 20


class Containment(Struct, frozen=True, kw_only=True):
    """What confines programs on this machine. It is part of the results.

    means: what confines them
    open: what a program could still do, in words
    """

    means: Means
    open: list[str]


def check_allowed(allowed: bool, task: str = "humaneval") -> None:
    """Raise UsageError unless programs may be run, and can be run here. To be called before anything is sent."""
    if not allowed:
        raise ConfigError(
            f"{task} is scored by running the programs that the model writes: say --allow-code-execution to run them"
            " in a sandbox (docs/code-answers.md), or --predict-only to save the answers and run nothing",
            field="allow_code",
        )
    if os.name != "posix":
        raise UsageError(f"{task} runs the model's programs only on Linux and macOS: say --predict-only here")


def run(program: str, *, seconds: float = 10.0, limits: Limits = Limits(), means: Means | None = None) -> Verdict:  # noqa: B008
    """Run a program to its end or to its limits, and clean up after it.

    seconds: wall time that it may take
    means: what confines it; None for the best that works here
    """
    started = time.monotonic()
    chosen = containment().means if means is None else means
    folder = tempfile.mkdtemp(prefix="loadstone-answer-")
    try:
        proven, report, printed, too_much = _run_confined(program, seconds, limits, chosen, folder)
    finally:
        remove_tree(os.fsencode(folder))
    ending = "output" if too_much else _ending(proven, report)
    output = report.get("refused") or printed.decode(errors="replace").strip()
    elapsed = time.monotonic() - started
    return Verdict(passed=ending == "passed", ending=ending, output=output[-500:], seconds=elapsed)


def remove_tree(folder: bytes) -> None:
    """Remove a folder and all that a program left in it, as far as it can be removed.

    Nested folders are emptied into the top one, so that neither their depth nor the length of their paths matters.
    """
    moved = 0
    stuck: set[bytes] = set()
    with contextlib.suppress(OSError):
        while entries := [entry for entry in os.scandir(folder) if entry.name not in stuck]:
            for entry in entries:
                try:
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    for child in os.listdir(entry.path):
                        moved += 1
                        os.rename(os.path.join(entry.path, child), os.path.join(folder, b"moved-%d" % moved))
                    os.rmdir(entry.path)
                except OSError:
                    stuck.add(entry.name)
        os.rmdir(folder)


def run_all(programs: Iterable[str], *, seconds: float = 10.0, at_once: int | None = None) -> Iterator[Verdict]:
    """Run programs in parallel, and yield the verdicts in their order.

    seconds: wall time that each may take
    at_once: number of programs that run together; None for one for each processor
    """
    containment()
    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        yield from pool.map(lambda program: run(program, seconds=seconds), programs)


class ProgramRunner:
    """A scorer of programs: pass@1 by running them.

    verdicts: of all programs that have been run; a program that was run ahead is not run again
    """

    def __init__(self, seconds: float = 10.0, at_once: int | None = None) -> None:
        self.seconds, self.at_once = seconds, at_once
        self.verdicts: dict[str, Verdict] = {}

    def run_ahead(self, programs: Iterable[str]) -> None:
        """Run programs in parallel, before they are scored."""
        new = list(dict.fromkeys(program for program in programs if program not in self.verdicts))
        self.verdicts.update(zip(new, run_all(new, seconds=self.seconds, at_once=self.at_once), strict=True))

    @property
    def confined(self) -> dict[str, list[str]]:
        """Return what confined the programs, and what that leaves open; nothing if none was run."""
        if not self.verdicts:
            return {}
        found = containment()
        return {"by": [*found.means, "limits"], "open": found.open}

    def __call__(self, program: str, sample: Sample) -> dict[str, float]:
        """Score a program. Raises UsageError if the sandbox failed, which says nothing about the program."""
        if program not in self.verdicts:
            self.verdicts[program] = run(program, seconds=self.seconds)
        verdict = self.verdicts[program]
        if verdict.ending == "unrun":
            raise UsageError(
                f"the sandbox failed at item {sample.doc_id} of {sample.task}: {verdict.output}; all answers are kept,"
                " score them with --stage score"
            )
        return {"pass@1": float(verdict.passed)}


@functools.cache
def containment() -> Containment:
    """Return the best means that works here, by running a small program with each.

    Raises UsageError if no program can be run.
    """
    reason = ""
    for means in MEANS:
        verdict = run(PROBE, means=means)
        if verdict.passed:
            return Containment(means=means, open=uncontained(means))
        reason = reason or verdict.output
    raise UsageError(f"no program can be run here, say --predict-only and score elsewhere: {reason}")


def uncontained(means: Means) -> list[str]:
    """Return what a program could still do, by the means that confine it."""
    namespaces, seccomp, landlock = (name in means for name in ("namespaces", "seccomp", "landlock"))
    holes = {
        "connect to the network": namespaces or seccomp,
        "read what the user can read": namespaces or landlock,
        "write where the user can write": namespaces or landlock,
        "fill the disk in many files": namespaces,
        "signal the user's processes": namespaces or seccomp,
        "leave processes behind": namespaces or seccomp or sys.platform == "linux",
    }
    return [hole for hole, closed in holes.items() if not closed]


# What exit statuses of a program mean; sandbox_child.py sets the first two.
_STATUSES: dict[int, Ending] = {70: "raised", 71: "memory", -signal.SIGXCPU: "time"}


def _ending(proven: bool, report: dict[str, Any]) -> Ending:
    """Return how a program ended, from the child's report."""
    if "refused" in report or not report:
        return "unrun"
    if report.get("late"):
        return "time"
    status = report.get("status", -signal.SIGKILL)
    if status == 0:
        return "passed" if proven else "exited"
    return _STATUSES.get(status, "killed" if status < 0 else "exited")


def _run_confined(
    program: str, seconds: float, limits: Limits, means: Means, folder: str
) -> tuple[bool, dict[str, Any], bytes, bool]:
    """Run a program in the child process.

    Returns whether the token came back, the child's report, the end of the output, and whether the output was too long.

    The token is in a pipe, in no process's memory, and is read from it only when the program has run to its end. A
    program that ends the process earlier, with whatever status, has not returned it.
    """
    token = secrets.token_bytes(32)
    with contextlib.ExitStack() as stack:
        pipes: dict[str, tuple[int, int]] = {}
        for name in ("token", "proof", "report"):
            pipes[name] = os.pipe()
            for end in pipes[name]:
                stack.callback(os.close, end)
        os.write(pipes["token"][1], token)
        handles = {"token": pipes["token"][0], "proof": pipes["proof"][1], "report": pipes["report"][1]}
        job = {
            "program": program,
            "seconds": seconds,
            "means": means,
            "folder": folder,
            "memory": limits.memory,
            "file": limits.file,
            "processes": limits.processes,
            **handles,
        }
        # No site-packages, nothing of the user's, and one hash seed, so that a program gets the same verdict again.
        child = subprocess.Popen(
            [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=tuple(handles.values()),
            start_new_session=True,
            env={"PYTHONHASHSEED": "0"},
            cwd=folder,
        )
        printed, too_much = _send_and_read(child, json.dumps(job).encode() + b"\n", seconds + GRACE, limits.output)
        report: dict[str, Any] = {}
        for line in _read_available(pipes["report"][0]).splitlines():
            report.update(json.loads(line))
        proven = secrets.compare_digest(_read_available(pipes["proof"][0]), token)
    return proven, report, printed, too_much


def _read_available(pipe: int) -> bytes:
    """Read what is in a pipe, without waiting for more."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def _send_and_read(child: subprocess.Popen[bytes], job: bytes, seconds: float, limit: int) -> tuple[bytes, bool]:
    """Send the job, then read the output until all processes have closed it.

    Returns the end of the output, and whether it was longer than `limit` bytes. Closing the child's input makes it end
    everything it started; the child itself is killed after `seconds`.
    """
    deadline, printed, count = time.monotonic() + seconds, b"", 0
    with child, selectors.DefaultSelector() as selector:
        assert child.stdin
        assert child.stdout
        selector.register(child.stdout, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(job)
        while ready := selector.select(max(deadline - time.monotonic(), 0)):
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                break
            printed = (printed + part)[-4096:]
            count += len(part)
            if count > limit and not child.stdin.closed:
                child.stdin.close()
        if not ready:
            os.killpg(child.pid, signal.SIGKILL)
    return printed, count > limit
