"""What the master and the two clean processes that it starts, prepare.py and closing.py, tell each other. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.server_metrics.process import ScrapeSpec


class Order(Struct, frozen=True, kw_only=True):
    """To prepare a run for `processes` engine processes. `led`: Locust's users say how many requests are in flight.
    `parcels`: folder for the commissions, a file each."""

    config: Config
    processes: int
    led: bool
    parcels: str


class Made(Struct, frozen=True, kw_only=True):
    """What came of it: the run folder, and how many shares there are; or why it is refused. `levels`: users of a
    closed loop by plan, (seconds, users); empty for an open one. `endless`: only Locust ends it. `quest`: metrics
    of the servers to ask for."""

    folder: str = ""
    shares: int = 0
    open: bool = False
    endless: bool = False
    levels: list[tuple[float, int]] = []
    grace: float = 0.0
    quest: ScrapeSpec | None = None
    refused: str | None = None


class Gone(Struct, frozen=True, kw_only=True):
    """A process that did not deliver all. `at`: ns of the run's time when it was last heard of; `slots`: requests it
    had in flight at most, None where the plan says."""

    engine: int
    at: int
    slots: int | None
    why: str


class Closing(Struct, frozen=True, kw_only=True):
    """To bring a run to its end. `tail` goes into run.json; `users`: the most there were, None where the plan said."""

    config: Config
    folder: str
    parcels: str
    view: str
    gone: list[Gone]
    tail: dict[str, Any]
    users: int | None = None
