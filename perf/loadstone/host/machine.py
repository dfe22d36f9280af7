"""This machine: its cores, its servers, whose clock stamps arrivals, and where the file of its ceilings is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from loadstone.config.schema import Config
from loadstone.records import ArrivalClock
from loadstone.transport import Target, address
from loadstone.transport.factory import choose_arrival_clock

# Environment variable with the path of the file of ceilings.
VARIABLE = "LOADSTONE_CEILING"


def ceiling_path() -> Path:
    """Return the path of the file: $LOADSTONE_CEILING, or ceiling.json in the user's cache folder."""
    if path := os.environ.get(VARIABLE):
        return Path(path).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "loadstone" / "ceiling.json"


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
