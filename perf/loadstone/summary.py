"""The figures of a run: `Summary`, which reports are made from, and its parts.

Plain frozen structs with a JSON form; times are seconds. `metrics/` computes them, `summary.json` holds them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from loadstone.config.schema import Config
from loadstone.records import FORMAT, ArrivalClock, Resource

Status = Literal["valid", "suspect", "invalid"]


class EndReason(StrEnum):
    """Why a run ended: `ended` in run.json."""

    DONE = "done"
    DURATION = "duration"
    STAGES = "stages"
    INTERRUPTED = "interrupted"  # by the operator
    ERRORS = "errors"  # --stop-error-rate
    SATURATED = "saturated"  # --stop-saturated
    WORKER = "worker"  # a process died
    ORPHANED = "orphaned"  # a worker lost its parent
    WRITE = "write"  # the records could not be written
    ERROR = "error"  # a bug of this program

    @classmethod
    def _missing_(cls, value: object) -> EndReason:  # noqa: ARG003
        """Return WRITE for the text of the error, which former versions wrote in its place."""
        return cls.WRITE


# Ends by which a run was carried out as planned.
COMPLETE = (EndReason.DONE, EndReason.DURATION, EndReason.STAGES)
# `ended_because` in run.json, for ends that have no special cause.
END_REASONS = {
    EndReason.DONE: "everything that was planned has been sent",
    EndReason.DURATION: "the time given by --duration was over",
    EndReason.STAGES: "the stages were over",
    EndReason.INTERRUPTED: "interrupted by the operator",
}


class ScheduleInfo(Struct, frozen=True):
    """The schedule of a run.

    file: its file in the run folder.
    loop: closed (a number in flight) or open (a rate).
    requests: number of requests; None if it is open. prompts: number of prompts. repeats: prompts are sent repeatedly.
    shared: fraction of the prompts (first turns) that another prompt of the run begins alike; None: unknown.
    """

    file: str = "schedule.jsonl"
    loop: Literal["closed", "open"] | None = None
    requests: int | None = None
    prompts: int | None = None
    repeats: bool = False
    seed: int = 0
    shared: float | None = None


class StageInfo(Struct, frozen=True):
    """A stage of the load. start, end: seconds since the run began."""

    index: int
    name: str
    start: float
    end: float


class ServerInfo(Struct, frozen=True):
    """What a server reports of itself.

    models: the models that it lists; None: it does not list any.
    software: its `Server` header.
    problem: why there is no list of models.
    owner: who owns the first model by the list; servers put their own name there.
    context: tokens that the first model takes with its answer, where the list has it.
    """

    models: list[str] | None = None
    software: str | None = None
    problem: str | None = None
    owner: str | None = None
    context: int | None = None


class HostInfo(Struct, frozen=True):
    """The machine of the client.

    open_files: soft limit; None: no limit. local_ports: first and last one.
    """

    system: str = ""
    machine: str = ""
    cores: int | None = None
    allowed_cores: list[int] | None = None
    open_files: int | None = None
    local_ports: list[int] | None = None
    event_loop: str = ""


class CeilingInfo(Struct, frozen=True, kw_only=True):
    """The most that one client process can take, by a self-test; `share`: fraction of it that the run used."""

    events_per_second: float | None = None
    requests_beside: float | None = None
    requests_per_second: float | None = None
    lower_bound: bool = False
    measured_at: str | None = None
    share: float | None = None


class Digest(Struct, frozen=True):
    """SHA-256 digests of the schedule and of the request bodies."""

    schedule: str | None = None
    bodies: str | None = None


class HeldBack(Struct, frozen=True):
    """What --rpm and --tpm held back: number of requests, and the seconds that they waited in all."""

    requests: int
    seconds: float


class ClockInfo(Struct, frozen=True):
    """The clock of a machine of a swarm against the master's. offset, error, drift: seconds."""

    worker: str
    host: str
    offset: float
    error: float
    drift: float | None = None


# The configuration of records on their own.
NO_CONFIG = Config()


class RunInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of run.json: what was asked for, where, and how it ended. Empty for records on their own.

    format: version of the file. began, ended_at: ISO 8601; None: unknown, or not yet.
    config: the settings, without keys.
    model, models: that were requested.
    expected: number of measured requests; None if it was open.
    server: the first of `servers`.
    clock: of arrival times. versions: of libraries, by name.
    ended, ended_because: why it ended; None for a run that goes on or was killed.
    unsent_turns: later turns of conversations that were not sent.
    client: figures of the client, of several processes the worst. workers: those of each process.
    clocks, lost, idle: of a swarm: clocks of machines, sentences on lost processes, workers that joined late.
    """

    format: int | None = None
    began: str | None = None
    config: Config = NO_CONFIG
    model: str | None = None
    models: list[str] = []
    expected: int | None = None
    schedule: ScheduleInfo = ScheduleInfo()
    stages: list[StageInfo] = []
    server: ServerInfo | None = None
    servers: list[ServerInfo] = []
    clock: ArrivalClock | None = None
    ceiling: CeilingInfo | None = None
    host: HostInfo = HostInfo()
    versions: dict[str, str] = {}
    digest: Digest = Digest()
    ended: EndReason | None = None
    ended_because: str | None = None
    unsent_turns: int | None = None
    ended_at: str | None = None
    client: dict[str, float | None] = {}
    workers: list[dict[str, int | float | str | None]] = []
    held_back: HeldBack | None = None
    clocks: list[ClockInfo] = []
    lost: list[str] = []
    idle: list[str] = []

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings by name; none for records on their own."""
        return {} if self.config is NO_CONFIG else msgspec.to_builtins(self.config)


class Metric(Struct, frozen=True):
    """Distribution of one measured quantity. None: nothing was measured, or there are too few samples.

    unit: unit of the values.
    n: number of samples.
    mean, std, min, p1 ... max: of the samples; `p999` is the 99.9th percentile.
    ci95: 95 % confidence intervals, by the name of the figure; None where there is none.
    note: how the values were measured, if that is special.
    refused: why there is no interval, by the name of the figure.
    more: percentiles that --percentiles adds, by name such as `p97.5`.
    """

    unit: str
    n: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    p1: float | None = None
    p5: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = field(default=None, name="p99.9")
    max: float | None = None
    ci95: dict[str, tuple[float, float] | None] = {}
    note: str | None = None
    refused: dict[str, str] = {}
    more: dict[str, float] | UnsetType = UNSET

    def at(self, figure: str) -> float | None:
        """Return a figure by its name in reports, such as `mean` or `p99.9`; None if it was not measured."""
        value: float | None = getattr(self, figure.replace(".", ""), None)
        return value if value is not None or self.more is UNSET else self.more.get(figure)


class Counts(Struct, frozen=True):
    """Numbers of measured requests.

    expected: requests that were planned; None if their number was open.
    completed: those that succeeded or failed.
    succeeded, failed: those with and without a complete response.
    empty: failed requests whose response had no output.
    stopped: requests that were in flight or waiting when the run ended.
    warmup, cooldown: requests of these phases, which are not measured.
    by_error: failed requests by kind of failure.
    cancelled: requests that the client cancelled on purpose.
    abandoned: later turns of conversations that were not sent, because an earlier turn failed.
    retried: failed attempts that were retried (--retries); they are in no other count.
    resent: requests that were resent after a keep-alive race; they are in the other counts too.
    lacking: failed requests for which this machine lacked something, by what it lacked.
    finishes: completed requests by finish reason; `none` for successes without one.
    """

    expected: int | None
    completed: int
    succeeded: int
    failed: int
    empty: int
    stopped: int
    warmup: int
    by_error: dict[str, int]
    cooldown: int = 0
    cancelled: int = 0
    abandoned: int = 0
    retried: int = 0
    resent: int = 0
    lacking: dict[Resource, int] = {}
    finishes: dict[str, int] = {}


class Window(Struct, frozen=True):
    """What was measured in one window of the run.

    name: name of the window.
    start, end: seconds since the run began.
    requests: number of measured requests.
    metrics: distributions by metric.
    rates: rates by name, per second.
    """

    name: str
    start: float
    end: float
    requests: int
    metrics: dict[str, Metric]
    rates: dict[str, float | None]


class Doubt(Struct, frozen=True):
    """A reason not to trust a number.

    what: name of the rule.
    severity: how bad it is.
    measured: what was measured.
    limit: limit that it broke.
    advice: what to do about it.
    """

    what: str
    severity: Literal["suspect", "invalid"]
    measured: str
    limit: str
    advice: str


class Verdict(Struct, frozen=True):
    """Whether the run can be believed, and the reasons for doubt."""

    status: Status
    doubts: list[Doubt]


class ServerWindow(Struct, frozen=True):
    """What a server reported about one window of the run.

    start, end: seconds since the run began.
    metrics: values of its gauges, and times from its histograms.
    counts: growth of its counters.
    rates: rates and ratios of the counts.
    """

    start: float
    end: float
    metrics: dict[str, Metric]
    counts: dict[str, float]
    rates: dict[str, float | None]


class Source(Struct, frozen=True, kw_only=True):
    """A page of metrics.

    url: its address.
    kinds: the servers whose metrics it has (`vLLM`, `DCGM` ...).
    scrapes: how often it was requested.
    missed: scrapes that failed.
    whole, steady: what it reported in the whole run and in the steady window, as far as it was scraped.
    ended: seconds of the run at which the scraping ended, if before the load did.
    """

    url: str
    kinds: list[str]
    scrapes: int
    missed: int
    whole: ServerWindow
    steady: ServerWindow | None
    ended: float | None = None


class ClientServerMetric(Struct, frozen=True):
    """One quantity measured by the client and by the server over the whole run, in seconds.

    name: name of the metric.
    points: (client, server), for `mean` and percentiles.
    bounds: bucket bounds of the server's histogram that enclose each percentile, as text.
    difference: client's mean minus server's mean.
    explanation: what the difference consists of.
    """

    name: str
    points: dict[str, tuple[float | None, float | None]]
    bounds: dict[str, str]
    difference: float | None
    explanation: str


class ClientServerCount(Struct, frozen=True):
    """What the client and the server counted from the first request sent to the end of the last, warm-up included.

    name: name of the count.
    client: count for requests that had output; None if the client cannot know it.
    most: the same with requests that failed without output.
    server: the server's count.
    """

    name: str
    client: float | None
    most: float | None
    server: float


class ServerSide(Struct, frozen=True):
    """What the servers reported about themselves.

    sources: each page of metrics.
    beside: times of the client and of all servers together.
    tallies: counts of the client and of all servers together.
    remarks: sentences about what is unusual.
    """

    sources: list[Source]
    beside: list[ClientServerMetric]
    tallies: list[ClientServerCount]
    remarks: list[str]


class Summary(Struct, frozen=True, kw_only=True):
    """The content of summary.json. Times are seconds, fractions 0 to 1. `reports/README.md` explains each field."""

    format: int = FORMAT
    run: RunInfo = RunInfo()
    counts: Counts
    duration: float | None
    metrics: dict[str, Metric]
    rates: dict[str, float | None]
    sources: dict[str, str]
    steady: Window | None
    client: dict[str, float | None]
    checks: dict[str, float | None]
    verdict: Verdict | None = None
    failures: list[tuple[str, str, int]] = []
    groups: dict[str, list[Window]] = {}
    server: ServerSide | None = None

    @property
    def cached_share(self) -> float | None:
        """Return the fraction of input tokens that the prefix cache held, by usage or else by the server's metrics."""
        share = self.rates.get("cached_share")
        if share is not None or self.server is None:
            return share
        counts = [source.whole.counts for source in self.server.sources]
        queries = sum(count.get("prefix_queries") or 0.0 for count in counts)
        return sum(count.get("prefix_hits") or 0.0 for count in counts) / queries if queries else None
