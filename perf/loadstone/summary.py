"""The figures of a run: `Summary`, which reports are made from, and its parts.

Plain frozen structs with a JSON form; times are seconds. `metrics/` computes them, `summary.json` holds them.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from loadstone.records import FORMAT

Status = Literal["valid", "suspect", "invalid"]
# Why a run ended: `ended` in run.json. A worker that cannot write its records has the error's text instead.
EndReason = Literal["done", "duration", "stages", "interrupted", "errors", "saturated", "worker", "orphaned", "error"]
# Ends by which a run was carried out as planned.
COMPLETE: tuple[EndReason, ...] = ("done", "duration", "stages")
# `ended_because` in run.json, for ends that have no special cause.
END_REASONS: dict[str, str] = {
    "done": "everything that was planned has been sent",
    "duration": "the time given by --duration was over",
    "stages": "the stages were over",
    "interrupted": "interrupted by the operator",
}

# Percentiles of a Metric, by their names in summary.json.
PERCENTILES = {
    "p1": 0.01,
    "p5": 0.05,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
}


class Metric(Struct, frozen=True):
    """Distribution of one measured quantity. None: nothing was measured, or there are too few samples.

    unit: unit of the values.
    n: number of samples.
    mean, std, min, p1 ... max: of the samples; `p999` is the 99.9th percentile.
    ci95: 95 % confidence intervals, by the name of the figure; None where there is none.
    note: how the values were measured, if that is special.
    refused: why there is no interval, by the name of the figure.
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
    whole, steady: what it reported in the whole run and in the steady window.
    """

    url: str
    kinds: list[str]
    scrapes: int
    missed: int
    whole: ServerWindow
    steady: ServerWindow | None


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
