"""The messages between the master and the processes without gevent that it starts, prepare.py and finish.py. Pure."""

from __future__ import annotations

from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.server_metrics.process import ScrapeSpec
from loadstone.swarm.outcome import RunEnding


class PrepareRequest(Struct, frozen=True, kw_only=True):
    """Prepare a run.

    config: its settings.
    processes: number of worker processes on all machines.
    user_driven: the number of Locust's users is the concurrency.
    spec_folder: where to write the WorkerSpec of each process, one file per process.
    """

    config: Config
    processes: int
    user_driven: bool
    spec_folder: str


class PreparedPlan(Struct, frozen=True, kw_only=True):
    """The prepared run.

    folder: run folder.
    partitions: number of partitions of the plan, one per process; there may be fewer than processes.
    open: the plan is an open loop.
    endless: only Locust ends the run.
    levels: concurrency of a closed loop by plan, (seconds, users); empty for an open loop.
    grace: seconds that requests in flight have when the run stops.
    scrape: metrics of the servers to collect, None for none.
    refusal: why the run cannot be prepared; all other fields are unset then.
    """

    folder: str = ""
    partitions: int = 0
    open: bool = False
    endless: bool = False
    levels: list[tuple[float, int]] = []
    grace: float = 0.0
    scrape: ScrapeSpec | None = None
    refusal: str | None = None


class LostProcess(Struct, frozen=True, kw_only=True):
    """A process that did not deliver all its records.

    process: its number.
    at: ns since the start of the run at which its requests count as lost.
    slots: most requests it can have had in flight; None if the plan determines that.
    cause: for the records of its lost requests.
    """

    process: int
    at: int
    slots: int | None
    cause: str


class FinishRequest(Struct, frozen=True, kw_only=True):
    """Finish a run.

    folder: run folder.
    spec_folder: as of PrepareRequest.
    view: format of the printed report.
    ending: what the end adds to run.json. idle: workers that joined too late to take part.
    users: highest number of users; None if the plan determined the concurrency.
    """

    config: Config
    folder: str
    spec_folder: str
    view: str
    lost_processes: list[LostProcess]
    ending: RunEnding
    idle: list[str]
    users: int | None = None
