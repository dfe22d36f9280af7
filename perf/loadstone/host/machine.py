"""This machine: its identity, its cores, and the ceilings that self-tests have measured on it, stored in one file.

A file that is unreadable or of another version, and ceilings of another machine, count as missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.host import event_loop
from loadstone.host.ceiling import FORMAT, Ceiling, Identity
from loadstone.records import ArrivalClock
from loadstone.transport import Target, address
from loadstone.transport.factory import choose_arrival_clock
from loadstone.version import __version__

# Environment variable with the path of the file.
VARIABLE = "LOADSTONE_CEILING"
# Ceilings kept in the file: many machines may share a home folder.
KEPT = 32


class Saved(Struct, frozen=True):
    """The content of the file."""

    ceilings: list[Ceiling] = []
    format: int = FORMAT


def ceiling_path() -> Path:
    """Return the path of the file: $LOADSTONE_CEILING, or ceiling.json in the user's cache folder."""
    if path := os.environ.get(VARIABLE):
        return Path(path).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "loadstone" / "ceiling.json"


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


def arrival_clock(config: Config) -> ArrivalClock:
    """Return whose clock stamps the arrivals of a run: the kernel's if it can for each of the servers."""
    targets = [address.parse_url(url)[0] for url in config.urls or ["http://127.0.0.1"]]
    own = config.own_model or any(
        choose_arrival_clock(config.clock, config.transport, target) == "user" for target in targets
    )
    return "user" if own else "kernel"


def is_local(target: Target) -> bool:
    """Return True if a server is on this machine, by its address."""
    name = target.host.lower()
    return target.unix is not None or name in ("localhost", "::1", platform.node().lower()) or name.startswith("127.")


def load_ceiling(config: Config) -> dict[str, Any] | None:
    """Return the figures of the ceiling of this machine, as run.json has them; None if there is none.

    A run over TLS has none: ceilings are measured over plain HTTP, and encryption costs.
    """
    if any(url.lower().startswith("https:") for url in config.urls):
        return None
    current = identity(config.transport, arrival_clock(config))
    return next((ceiling.figures() for ceiling in saved_ceilings()[0] if ceiling.identity == current), None)


def saved_ceilings() -> tuple[list[Ceiling], str | None]:
    """Return all stored ceilings, and what is wrong with the file, if anything is."""
    try:
        kept = msgspec.json.decode(ceiling_path().read_bytes(), type=Saved)
    except FileNotFoundError:
        return [], None
    except OSError as exc:
        return [], f"{ceiling_path()} cannot be read: {exc.strerror}"
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
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
        raise ConfigError(f"cannot write {file}: {exc.strerror}; name another file in {VARIABLE}") from exc


def split_cores(cores: Sequence[int], siblings: Callable[[int], object]) -> tuple[list[int], list[int]]:
    """Split cores into those for servers and those for the client.

    A server sustains less than a client: from 4 cores on there is one for each but two, but no more than three. Threads
    of one physical core stay together where possible.
    """
    ordered = sorted(cores, key=lambda core: (str(siblings(core)), core))
    servers = max(1, min(3, len(ordered) - 2))
    return ordered[:servers], ordered[servers:]


def physical_core(core: int) -> str:
    """Return a name of the physical core; the number itself where the system has none."""
    file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return str(core)
