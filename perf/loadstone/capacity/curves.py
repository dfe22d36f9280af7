"""The curves of a sweep: the figures of one replica over its load, one curve for each stack.

Pure. A stack is what all settings but the load have in common; a sweep over two of them holds two stacks. The measure
of load is requests/s: the requested rate where arrivals were planned (open loop), the throughput where a number of
clients was kept busy (closed loop).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from loadstone.capacity import queueing
from loadstone.checks.load import DRIFT
from loadstone.checks.rules import unfit
from loadstone.config.slo import SLO, STATISTICS, Objective
from loadstone.errors import DataError
from loadstone.metrics.slo import Estimate, Outcome, estimate
from loadstone.summary import EndReason, Summary
from loadstone.sweep.points import MeasuredPoint, Sweep, rates_under_load

# Figures that every curve has as far as they were measured, besides those of the objectives.
FIGURES = (
    *("ttft.p50", "ttft.p95", "ttft.p99", "tpot.p50", "tpot.p95", "tpot.p99"),
    *("latency.mean", "latency.p50", "latency.p95", "latency.p99"),
)
LOAD = ("rate", "concurrency")
# Settings of how long is measured, which do not make another stack.
LENGTH = ("requests", "duration", "warmup", "cooldown", "grace", "seed", "skip", "output", "label")
# A rise in concurrency must raise throughput by this fraction of the rise, or the server is saturated.
GAIN = 0.1


class OperatingPoint(Struct, frozen=True, kw_only=True):
    """A point of a curve.

    asked: the rate or concurrency that was set
    load: requests/s of one replica
    concurrency: mean number in flight
    figures: by name such as `ttft.p99`
    input_tokens, output_tokens: means of a request
    saturated: more load would not come through
    drifting: latencies rose during the run, beyond chance
    doubts: why its runs are suspect
    server: limits that the server itself reported
    carried: of a closed loop, the load at random arrivals at which each statistic is the same (queueing.py)
    called: objectives by name that were judged from the records
    """

    name: str
    asked: float
    load: float
    concurrency: float | None
    figures: dict[str, Estimate]
    input_tokens: float | None
    output_tokens: float | None
    requests: int
    runs: int
    saturated: bool = False
    drifting: bool = False
    doubts: list[str] = []
    server: list[str] = []
    carried: dict[str, float] = {}
    called: dict[str, Outcome] = {}

    def load_for(self, name: str) -> float:
        """Return the load at which a figure such as `ttft.p99` is expected to have its value here, requests/s."""
        return self.carried.get(name.partition(".")[2], self.load)


class Curve(Struct, frozen=True, kw_only=True):
    """The points of one stack by rising load, or rising concurrency.

    arrivals: distributions of an open loop
    left_out: points that were not used, with the reason
    gpus: of a replica
    tokens: mean input and output tokens of a request, over all points
    """

    label: str
    loop: Literal["open", "closed"]
    arrivals: str | None
    spots: list[OperatingPoint]
    left_out: list[str]
    gpus: int | None
    tokens: tuple[float | None, float | None]


class PointJudgement(Struct, frozen=True):
    """What the records of a point show.

    called: by name of an objective, or QUEUE
    figures: fractions of requests that meet the objectives of a term such as `goodput(ttft<200ms)>=99%`
    """

    called: dict[str, Outcome] = {}
    figures: dict[str, Estimate] = {}


# By name of a point.
PointJudgements = Mapping[str, PointJudgement]
# The name under which a point is missed because its queue grew to the end, whatever the objectives.
QUEUE = "queue"


def build_curves(
    sweep: Sweep, label: str, objectives: Sequence[Objective], judgements: PointJudgements | None = None
) -> list[Curve]:
    """Return the curve of each stack of a sweep.

    label: name of the sweep
    judgements: from the records; they have precedence over summaries

    Raise DataError where a stack has fewer than two loads.
    """
    stacks: dict[str, list[MeasuredPoint]] = {}
    for point in sweep.points:
        # All that is varied besides the load, in words.
        others = {name: value for name, value in point.settings.items() if name not in (*LOAD, *LENGTH)}
        stack = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in sorted(others.items())) or "all"
        stacks.setdefault(stack, []).append(point)
    if not stacks:
        raise DataError(f"the sweep {label} has no points: run it with two rates or more")
    return [
        _curve(
            points, f"{label} ({stack})" if len(stacks) > 1 else label, sweep.grid.gpus, objectives, judgements or {}
        )
        for stack, points in stacks.items()
    ]


def _curve(
    points: Sequence[MeasuredPoint],
    label: str,
    gpus: int | None,
    objectives: Sequence[Objective],
    judgements: PointJudgements,
) -> Curve:
    # The usable runs of each point, and the points without any.
    runs: dict[str, list[Summary]] = {}
    left_out = []
    for point in points:
        usable = [run for run in point.runs if run.counts.succeeded > 0 and not unfit(run)]
        if reason := _unusable(point, usable):
            left_out.append(f"{point.name}: {reason}")
        else:
            runs[point.name] = usable

    open_loops = {bool(usable[0].run.config.rate) for usable in runs.values()}
    if len(open_loops) > 1:
        raise DataError(f"the sweep {label} mixes rates and concurrencies: plan from one with either of them")
    spots = [
        _operating_point(name, usable, objectives, judgements.get(name, PointJudgement()))
        for name, usable in runs.items()
    ]
    spots.sort(key=lambda spot: (spot.asked, spot.load))
    if len({spot.load for spot in spots}) < 2:
        reasons = f" ({'; '.join(left_out)})" if left_out else ""
        count = f"{len(spots)} usable {'point' if len(spots) == 1 else 'points'}"
        raise DataError(f"the sweep {label} has {count}{reasons}: a plan takes two loads or more; sweep more")
    open_loop = True in open_loops
    arrivals = sorted({str(usable[0].run.config.arrivals) for usable in runs.values()})
    return Curve(
        label=label,
        loop="open" if open_loop else "closed",
        arrivals=" and ".join(arrivals) if open_loop else None,
        spots=spots if open_loop else _at_random_arrivals(spots),
        left_out=left_out,
        gpus=gpus,
        tokens=(_mean(spot.input_tokens for spot in spots), _mean(spot.output_tokens for spot in spots)),
    )


def _unusable(point: MeasuredPoint, usable: Sequence[Summary]) -> str:
    """Return why a point is left out, empty if it is not."""
    if not point.runs:
        return f"could not be run: {point.failed}" if point.failed else "not run yet"
    if not usable:
        doubts = [doubt.what for run in point.runs if run.verdict for doubt in run.verdict.doubts
                  if doubt.severity == "invalid"]  # fmt: skip
        return f"its verdict is invalid ({', '.join(dict.fromkeys(doubts)) or 'no success'})"
    if all(_load(run) is None for run in usable):
        return "its load is neither one rate nor one concurrency"
    return ""


def _load(run: Summary) -> tuple[float, float] | None:
    """Return the rate or concurrency that was set, and requests/s; None if it is not one load."""
    config = run.run.config
    if config.stages or config.arrivals == "replay":
        return None
    if config.rate:
        return config.rate, config.rate
    qps = rates_under_load(run).get("qps")
    return (float(config.concurrency), qps) if config.concurrency and qps else None


def _operating_point(
    name: str, runs: Sequence[Summary], objectives: Sequence[Objective], judgement: PointJudgement
) -> OperatingPoint:
    loads = [load for run in runs if (load := _load(run)) is not None]
    figures = dict(judgement.figures)
    for figure in dict.fromkeys((*FIGURES, *(objective.name for objective in objectives if not objective.requests))):
        metric, _, stat = figure.partition(".")
        pooled = _pool([estimate(metric, stat, run.metrics, run.rates) for run in runs])
        if pooled is not None:
            figures[figure] = pooled
    doubts = [doubt.what for run in runs if run.verdict is not None for doubt in run.verdict.doubts]
    return OperatingPoint(
        name=name,
        asked=loads[0][0],
        load=sum(load for _, load in loads) / len(loads),
        concurrency=_mean(run.rates.get("concurrency") for run in runs),
        figures=figures,
        input_tokens=_mean(_tokens(run, "input_tokens") for run in runs),
        output_tokens=_mean(_tokens(run, "output_tokens") for run in runs),
        requests=sum(run.counts.succeeded for run in runs),
        runs=len(runs),
        saturated=judgement.called.get(QUEUE) == "missed" or any(run.run.ended is EndReason.SATURATED for run in runs),
        drifting=any(map(_drifts, runs)),
        doubts=list(dict.fromkeys(doubts)),
        server=list(dict.fromkeys(text for run in runs for text in _server_limits(run))),
        called=judgement.called,
    )


def _server_limits(run: Summary) -> list[str]:
    """Return limits that the server's own metrics show, where they were scraped: its KV cache, and how many it runs."""
    server = getattr(run, "server", None)
    if server is None:
        return []
    texts = list(server.remarks)
    for source in server.sources:
        waiting, running = (source.whole.metrics.get(name) for name in ("waiting", "running"))
        if waiting is not None and running is not None and (waiting.mean or 0.0) >= 1:
            texts.append(
                f"{waiting.mean:.3g} requests waited in the server on average, where at most {running.max:.0f} ran"
            )
    return texts


def _pool(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Return the mean over repeats, with an interval that holds all of theirs."""
    known = [one for one in estimates if one is not None]
    if not known or len(known) < len(estimates):
        return None
    lows = [one.low for one in known if one.low is not None]
    highs = [one.high for one in known if one.high is not None]
    return Estimate(
        sum(one.value for one in known) / len(known),
        min(lows) if len(lows) == len(known) else None,
        max(highs) if len(highs) == len(known) else None,
    )


def _drifts(run: Summary) -> bool:
    """Return True if an open loop may be falling behind, by the rule of the doubt `drift`."""
    change, margin = run.checks.get("drift_ttft"), run.checks.get("drift_ttft_margin")
    known = change is not None and margin is not None and bool(run.run.config.rate)
    return known and (change or 0.0) - (margin or 0.0) > DRIFT


def _at_random_arrivals(spots: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the points of a closed loop with the loads at random arrivals, and marked where they are saturated."""
    levels, throughput = [spot.asked for spot in spots], [spot.load for spot in spots]
    loads = {stat: queueing.arrival_rates(levels, throughput, stat) for stat in STATISTICS[SLO]}
    result = []
    best: OperatingPoint | None = None
    for index, spot in enumerate(spots):
        # Saturated if more clients than at the best point so far hardly raise throughput.
        saturated = best is not None and spot.load / best.load - 1 < GAIN * (spot.asked / best.asked - 1)
        carried = {stat: loads[stat][index] for stat in loads}
        result.append(msgspec.structs.replace(spot, saturated=saturated or spot.saturated, carried=carried))
        best = spot if best is None or spot.load > best.load else best
    return result


def _tokens(run: Summary, name: str) -> float | None:
    metric = run.metrics.get(name)
    return None if metric is None else metric.mean


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
