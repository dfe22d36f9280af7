"""The numbers of a run: `Summary`, what its reports are made of, and the parts of it.

Plain frozen structs with a JSON form; times are seconds. `metrics/` computes them, `summary.json` holds them.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from loadstone.records import FORMAT

Status = Literal["valid", "suspect", "invalid"]


class Metric(Struct, frozen=True):
    """Distribution of one measured quantity: `n` samples, in `unit`. None: nothing was measured, or too few samples.
    `refused`: why there is no interval, by the name of the figure."""

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


class Counts(Struct, frozen=True):
    """Measured requests. completed = succeeded + failed; `empty` is part of failed; `stopped` and `cancelled` ones did
    not complete. `abandoned`: later turns of conversations that were not sent, as a turn before had failed. `retried`:
    attempts that failed and were made again (--retries), which are in no other count. `resent`: measured
    requests that were sent again after a keep-alive race, which are in the other counts too."""

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


class Window(Struct, frozen=True):
    """A stretch of the run, in seconds since it began, and what was measured in it."""

    name: str
    start: float
    end: float
    requests: int
    metrics: dict[str, Metric]
    rates: dict[str, float | None]


class Doubt(Struct, frozen=True):
    """A reason not to trust a number: what was measured, against which limit, and what to do about it."""

    what: str
    severity: Literal["suspect", "invalid"]
    measured: str
    limit: str
    advice: str


class Verdict(Struct, frozen=True):
    status: Status
    doubts: list[Doubt]


class ServerWindow(Struct, frozen=True):
    """A stretch of the run, in seconds since it began, by a server's own account. `metrics`: gauges as it showed them,
    and times from its histograms; `counts`: what its counters grew by; `rates`: what follows from these."""

    start: float
    end: float
    metrics: dict[str, Metric]
    counts: dict[str, float]
    rates: dict[str, float | None]


class Source(Struct, frozen=True, kw_only=True):
    """A page of metrics: whose it is (`kinds`), how often it was asked for, and how often in vain."""

    url: str
    kinds: list[str]
    scrapes: int
    missed: int
    whole: ServerWindow
    steady: ServerWindow | None


class ClientServerMetric(Struct, frozen=True):
    """The same quantity by the client and by the server, in seconds over the whole run: (client, server) for `mean` and
    percentiles; `bounds` of the server's histogram between which a percentile lies, in words; `difference` of the
    means; what it is made of, in a sentence."""

    name: str
    points: dict[str, tuple[float | None, float | None]]
    bounds: dict[str, str]
    difference: float | None
    explanation: str


class ClientServerCount(Struct, frozen=True):
    """How many the client and the server counted from the first request sent to the end of the last, warm-up and all.
    `client`: of requests that had output; `most`: with those that failed without. None where the client cannot know."""

    name: str
    client: float | None
    most: float | None
    server: float


class ServerSide(Struct, frozen=True):
    """What the servers said of themselves; of several the sum stands beside the client's."""

    sources: list[Source]
    beside: list[ClientServerMetric]
    tallies: list[ClientServerCount]
    remarks: list[str]


class Summary(Struct, frozen=True, kw_only=True):
    """What summary.json holds. Times are seconds, shares 0 to 1."""

    format: int = FORMAT
    run: dict[str, Any]
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
