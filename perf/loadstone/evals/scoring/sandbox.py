"""Run programs that a model wrote, each in processes of its own, and report whether they finished.

`sandbox_child.py` confines a program, in a child process; this file starts the child, sends it the program and reads
the outcome. Nothing here runs unless the operator allowed it (`demand`). docs/code-answers.md says what contains what.
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

from loadstone.errors import UsageError
from loadstone.samples import Sample

CHILD = Path(__file__).with_name("sandbox_child.py")
# Seconds that the guard has for its own work before it is ended itself.
GRACE = 5.0
Means = tuple[Literal["namespaces", "landlock", "seccomp"], ...]
# What confines a program beside its limits, the best first; the first that can be had is taken.
MEANS: tuple[Means, ...] = (
    ("namespaces", "seccomp"),
    ("landlock", "seccomp"),
    ("namespaces",),
    ("seccomp",),
    ("landlock",),
    (),
)
PROBE = "import ctypes, decimal, hashlib, json, random, tempfile\nassert tempfile.TemporaryFile().write(b'.') == 1"
Ending = Literal["passed", "raised", "exited", "time", "memory", "output", "killed", "unrun"]


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a program.

    how: `passed`, it came to its end; `raised`; `exited` before its end; over its `time`, `memory` or `output`;
    `killed` by a signal; `unrun`, the sandbox failed, which says nothing of the program.
    said: the end of what it printed, or why it was not run; seconds: of the whole, by the wall clock.
    """

    passed: bool
    ending: Ending
    output: str
    seconds: float


class Limits(Struct, frozen=True, kw_only=True):
    """What a program may use. memory: of each process, in bytes; file: of each file, and of all that it writes where
    its folder is in memory; processes: with threads; output: bytes that it may print."""

    memory: int = 1 << 30
    file: int = 64 << 20
    processes: int = 16
    output: int = 1 << 20


class Containment(Struct, frozen=True, kw_only=True):
    """What confines programs on this machine, and in words what is not contained. It goes into the results."""

    means: Means
    open: list[str]


def check_allowed(allowed: bool, task: str = "humaneval") -> None:
    """Raises UsageError unless running programs is allowed, and possible here. To be called before anything is sent."""
    if not allowed:
        raise UsageError(
            f"{task} is scored by running the programs that the model writes: say --allow-code-execution to run them"
            " in a sandbox (docs/code-answers.md), or --predict-only to save the answers and run nothing"
        )
    if os.name != "posix":
        raise UsageError(f"{task} runs the model's programs only on Linux and macOS: say --predict-only here")


def run(program: str, *, seconds: float = 10.0, limits: Limits = Limits(), means: Means | None = None) -> Verdict:  # noqa: B008
    """Run a program to its end or to its limits, and clean up after it. `means`: None for the best that can be had."""
    began = time.monotonic()
    chosen = containment().means if means is None else means
    with tempfile.TemporaryDirectory(prefix="loadstone-answer-", ignore_cleanup_errors=True) as folder:
        proven, told, printed, over = _guarded(program, seconds, limits, chosen, folder)
    how = "output" if over else _how(proven, told)
    said = told.get("refused") or printed.decode(errors="replace").strip()
    return Verdict(passed=how == "passed", ending=how, output=said[-500:], seconds=time.monotonic() - began)


def run_all(programs: Iterable[str], *, seconds: float = 10.0, at_once: int | None = None) -> Iterator[Verdict]:
    """Verdicts in the order of the programs, so many at a time; by default one for each processor."""
    containment()
    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        yield from pool.map(lambda program: run(program, seconds=seconds), programs)


class ProgramRunner:
    """A scorer of programs, as evals/scoring.py wants one: pass@1 by running them. What was run `ahead`, several at a
    time, is not run again; `verdicts` keeps what became of each."""

    def __init__(self, seconds: float = 10.0, at_once: int | None = None) -> None:
        self.seconds, self.at_once = seconds, at_once
        self.verdicts: dict[str, Verdict] = {}

    def run_ahead(self, programs: Iterable[str]) -> None:
        new = list(dict.fromkeys(program for program in programs if program not in self.verdicts))
        self.verdicts.update(zip(new, run_all(new, seconds=self.seconds, at_once=self.at_once), strict=True))

    @property
    def confined(self) -> dict[str, list[str]]:
        """By what means, and what these leave open; nothing where nothing was run."""
        found = containment() if self.verdicts else None
        return {} if found is None else {"by": [*found.means, "limits"], "open": found.open}

    def __call__(self, program: str, sample: Sample) -> dict[str, float]:
        """Raises UsageError where the sandbox failed, which says nothing of the program."""
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
    """The best means that work here, tried with a small program each. Raises UsageError where nothing can be run."""
    said = ""
    for means in MEANS:
        verdict = run(PROBE, means=means)
        if verdict.passed:
            return Containment(means=means, open=uncontained(means))
        said = said or verdict.output
    raise UsageError(f"no program can be run here, say --predict-only and score elsewhere: {said}")


def uncontained(means: Means) -> list[str]:
    """What a program could still do, by the means that confine it."""
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


def _how(proven: bool, told: dict[str, Any]) -> Ending:
    if "refused" in told or not told:
        return "unrun"
    if told.get("late"):
        return "time"
    status = told.get("status", -signal.SIGKILL)
    if status == 0:
        return "passed" if proven else "exited"
    return {70: "raised", 71: "memory", -signal.SIGXCPU: "time"}.get(status, "killed" if status < 0 else "exited")  # type: ignore[return-value]


def _guarded(
    program: str, seconds: float, limits: Limits, means: Means, folder: str
) -> tuple[bool, dict[str, Any], bytes, bool]:
    """(whether the token came back, what the guard told, what was printed, whether that was too much).

    The token lies in a pipe, in nobody's memory, and is taken out when the program has come to its end: a program that
    ends the process before, with whatever status, has not brought it.
    """
    token = secrets.token_bytes(32)
    with contextlib.ExitStack() as stack:
        pipes = {name: _pipe(stack) for name in ("token", "proof", "told")}
        os.write(pipes["token"][1], token)
        ours = {"token": pipes["token"][0], "proof": pipes["proof"][1], "told": pipes["told"][1]}
        asked = {"memory": limits.memory, "file": limits.file, "processes": limits.processes, **ours}
        job = {"program": program, "seconds": seconds, "means": means, "folder": folder, **asked}
        guard = _started(tuple(ours.values()), folder)
        printed, over = _followed(guard, json.dumps(job).encode() + b"\n", seconds + GRACE, limits.output)
        told = _read(pipes["told"][0])
        lines = [json.loads(line) for line in told.splitlines()]
        proven = secrets.compare_digest(_read(pipes["proof"][0]), token)
    return proven, {key: value for line in lines for key, value in line.items()}, printed, over


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _read(pipe: int) -> bytes:
    """What lies in a pipe, without waiting for more."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def _started(handles: tuple[int, ...], folder: str) -> subprocess.Popen[bytes]:
    """No site-packages, nothing of the user's, and one hash seed, so that an answer gets the same verdict again."""
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        pass_fds=handles,
        start_new_session=True,
        env={"PYTHONHASHSEED": "0"},
        cwd=folder,
    )


def _followed(guard: subprocess.Popen[bytes], job: bytes, seconds: float, most: int) -> tuple[bytes, bool]:
    """Send the job, then read what is printed until the end of everything; (the end of it, whether it was too much).

    Closing the guard's input ends all that it guards; the guard itself is ended where even that takes too long.
    """
    deadline, printed, count = time.monotonic() + seconds, b"", 0
    with guard, selectors.DefaultSelector() as selector:
        assert guard.stdin
        assert guard.stdout
        selector.register(guard.stdout, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.write(job)
        while ready := selector.select(max(deadline - time.monotonic(), 0)):
            part = os.read(guard.stdout.fileno(), 1 << 16)
            if not part:
                break
            printed, count = (printed + part)[-4096:], count + len(part)
            if count > most and not guard.stdin.closed:
                guard.stdin.close()
        if not ready:
            os.killpg(guard.pid, signal.SIGKILL)
    return printed, count > most
