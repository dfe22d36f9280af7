"""This machine: what it is, its cores, and the ceilings that self-tests have found on it, kept in one file.

The file is read leniently: what is unreadable, of another version or of another machine counts as not there.
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
from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.host.ceiling import FORMAT, Ceiling, Identity
from loadstone.records import ArrivalClock
from loadstone.transport import Target, address
from loadstone.transport.factory import choose_arrival_clock
from loadstone.version import __version__

VARIABLE = "LOADSTONE_CEILING"
# Ceilings kept in the file: a home folder may serve many machines.
KEPT = 32


class Saved(Struct, frozen=True):
    """Content of the file."""

    ceilings: list[Ceiling] = []
    format: int = FORMAT


def ceiling_path() -> Path:
    """$LOADSTONE_CEILING, or ceiling.json in the user's cache folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "loadstone" / "ceiling.json"


def identity(transport: str, clock: str) -> Identity:
    return Identity(
        host=platform.node(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        loadstone=__version__,
        python=platform.python_version(),
        event_loop=event_loop.loop_factory().__module__.partition(".")[0],
        transport=transport,
        clock=clock,
    )


def arrival_clock(config: Config) -> ArrivalClock:
    """Whose clock stamps the arrivals of a run: the kernel's if it does for each of the servers."""
    targets = [address.parse_url(url)[0] for url in config.urls or ["http://127.0.0.1"]]
    own = config.own_model or any(
        choose_arrival_clock(config.clock, config.transport, target) == "user" for target in targets
    )
    return "user" if own else "kernel"


def is_local(target: Target) -> bool:
    """Whether a server is on this machine, by its address."""
    name = target.host.lower()
    return target.unix is not None or name in ("localhost", "::1", platform.node().lower()) or name.startswith("127.")


def load_ceiling(config: Config) -> dict[str, Any] | None:
    """Figures of the ceiling that holds for a run on this machine, as run.json keeps them; None where there is none. A
    run over TLS has none: ceilings are found over plain HTTP, and encryption costs."""
    if any(url.lower().startswith("https:") for url in config.urls):
        return None
    wanted = identity(config.transport, arrival_clock(config))
    return next((ceiling.figures() for ceiling in saved_ceilings()[0] if ceiling.identity == wanted), None)


def saved_ceilings() -> tuple[list[Ceiling], str | None]:
    """All that are kept, and what is wrong with the file, if anything is."""
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
    """Raises UsageError where no ceiling can be kept: better known before than after minutes of measuring."""
    file = ceiling_path()
    with _writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def save_ceiling(ceiling: Ceiling) -> Path | None:
    """Keep it, in place of an earlier one of the same identity; not a quick one in place of a full one, which gives
    None. The file is whole at any time. Raises UsageError."""
    check_writable()
    kept = saved_ceilings()[0]
    if ceiling.quick and any(other.identity == ceiling.identity and not other.quick for other in kept):
        return None
    file, others = ceiling_path(), [other for other in kept if other.identity != ceiling.identity]
    content = msgspec.json.format(msgspec.json.encode(Saved([ceiling, *others][:KEPT])), indent=2)
    half = file.with_name(f"{file.name}.{os.getpid()}")
    with _writing(file):
        half.write_bytes(content + b"\n")
        os.replace(half, file)
    return file


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}; name another file in {VARIABLE}") from exc


def split_cores(cores: Sequence[int], siblings: Callable[[int], object]) -> tuple[list[int], list[int]]:
    """Cores for servers and for the client: from 4 on a server for each but two, three at most, as one sustains less
    than a client. Threads of one core (`siblings` are the same) stay together where they can."""
    ordered = sorted(cores, key=lambda core: (str(siblings(core)), core))
    servers = max(1, min(3, len(ordered) - 2))
    return ordered[:servers], ordered[servers:]


def physical_core(core: int) -> str:
    """Names the physical core, where the system tells."""
    file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return str(core)


def _cpu() -> str:
    """Model name of the processor, as exact as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
