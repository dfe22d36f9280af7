"""The ceilings that self-tests have measured: what they are, and the file that keeps them.

`selftest/` measures them. A file that is unreadable or of another version, and ceilings of another machine, count as
missing. ceiling.py imports this module only if there is a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.host.machine import VARIABLE, ceiling_path
from loadstone.summary import CeilingInfo
from loadstone.version import __version__

# Version of the stored file.
FORMAT = 1
# Ceilings kept in the file: many machines may share a home folder.
KEPT = 32


class Identity(Struct, frozen=True, kw_only=True):
    """Where and with what a ceiling was measured: it holds for nothing else."""

    host: str
    cpu: str
    cores: int
    loadstone: str
    python: str
    event_loop: str
    transport: str
    clock: str


class Bound(Struct, frozen=True):
    """A figure that one process reached.

    limit: what kept it from more.
    lower: True if that was not the client itself, so that the figure is a lower bound.
    client_share, server_share: CPU, as fractions of a core.
    """

    value: float
    limit: str
    lower: bool
    client_share: float | None = None
    server_share: float | None = None


class Errors(Struct, frozen=True):
    """Reported minus true, in seconds, of the means and of the p99; None where there were too few samples.

    requests, gaps: number of samples.
    """

    requests: int = 0
    gaps: int = 0
    ttft_mean: float | None = None
    ttft_p99: float | None = None
    gap_mean: float | None = None
    gap_p99: float | None = None


class Level(Struct, frozen=True, kw_only=True):
    """A run at a fraction (`share`) of the ceiling.

    events: per second.
    client_share: CPU, as a fraction of a core.
    lag_p99: seconds.
    """

    share: float
    streams: int
    events: float
    errors: Errors
    client_share: float | None
    lag_p99: float | None
    status: str | None = None
    doubts: list[str] = []


class Ceiling(Struct, frozen=True, kw_only=True):
    """The ceiling of one machine.

    events: output events/s.
    beside: requests/s that brought these events.
    requests: one-token responses/s.
    streams: open at the same time.
    """

    identity: Identity
    measured_at: str
    quick: bool
    server: str
    events: Bound
    beside: float
    requests: Bound | None
    streams: Bound | None
    levels: list[Level]
    format: int = FORMAT

    def figures(self) -> CeilingInfo:
        """Return the figures that run.json has."""
        return CeilingInfo(
            events_per_second=self.events.value,
            requests_beside=self.beside,
            requests_per_second=self.requests.value if self.requests else None,
            lower_bound=self.events.lower or bool(self.requests and self.requests.lower),
            measured_at=self.measured_at,
        )


class Saved(Struct, frozen=True):
    """The content of the file."""

    ceilings: list[Ceiling] = []
    format: int = FORMAT


def identity(transport: str, clock: str) -> Identity:
    """Return where and with what a ceiling would be measured now."""
    # The model name of the processor, as exactly as the system has it.
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return Identity(
        host=platform.node(),
        cpu=next(names, platform.processor() or platform.machine()),
        cores=os.cpu_count() or 1,
        loadstone=__version__,
        python=platform.python_version(),
        event_loop=event_loop.loop_factory().__module__.partition(".")[0],
        transport=transport,
        clock=clock,
    )


def saved_ceilings() -> tuple[list[Ceiling], str | None]:
    """Return all stored ceilings, and what is wrong with the file, if anything is."""
    try:
        kept = msgspec.json.decode(ceiling_path().read_bytes(), type=Saved)
    except FileNotFoundError:
        return [], None
    except OSError as exc:
        return [], f"{ceiling_path()} cannot be read: {exc.strerror}"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return [], f"{ceiling_path()} is not a file of ceilings: {exc}"
    if kept.format != FORMAT:
        return [], f"{ceiling_path()} is of another version of Loadstone (format {kept.format})"
    return kept.ceilings, None


def check_writable() -> None:
    """Check that the file can be written, before minutes of measuring. Raises UsageError."""
    file = ceiling_path()
    with _writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def save_ceiling(ceiling: Ceiling) -> Path | None:
    """Store a ceiling in place of an earlier one of the same identity, and return the path of the file.

    A quick ceiling does not replace a full one: then None is returned. No reader ever sees half a file. Raises
    UsageError.
    """
    check_writable()
    kept = saved_ceilings()[0]
    if ceiling.quick and any(other.identity == ceiling.identity and not other.quick for other in kept):
        return None
    file = ceiling_path()
    others = [other for other in kept if other.identity != ceiling.identity]
    content = msgspec.json.format(msgspec.json.encode(Saved([ceiling, *others][:KEPT])), indent=2)
    half = file.with_name(f"{file.name}.{os.getpid()}")
    with _writing(file):
        half.write_bytes(content + b"\n")
        os.replace(half, file)
    return file


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Raise UsageError for an OSError of the context."""
    try:
        yield
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}; name another file in {VARIABLE}") from exc
