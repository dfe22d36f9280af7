"""What a sweep says about one replica of a server: figures over the load that it carries, a curve for each stack.

Pure. A stack is what all settings but the load have in common; a sweep over two of them holds two stacks. Requests a
second are the common measure of load: those asked for where arrivals were planned (open loop), those that came through
where a number of clients was kept busy (closed loop).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from loadstone.capacity import queueing
from loadstone.checks.finding import run_config
from loadstone.checks.rules import DRIFT
from loadstone.errors import UsageError
from loadstone.metrics.slo import FIGURES as KINDS
from loadstone.metrics.slo import Estimate, Objective, Outcome, estimate
from loadstone.summary import Summary
from loadstone.sweep.points import MeasuredPoint, Sweep, rates_under_load

# Figures that every curve has as far as they were measured, besides those of the objectives.
FIGURES = (
    *("ttft.p50", "ttft.p95", "ttft.p99", "tpot.p50", "tpot.p95", "tpot.p99"),
    *("latency.mean", "latency.p50", "latency.p95", "latency.p99"),
)
LOAD = ("rate", "concurrency")
# Settings of how long is measured, which make no other stack.
LENGTH = ("requests", "duration", "warmup", "cooldown", "grace", "seed", "skip", "output", "label")
# Least share of a rise in concurrency that must show in throughput; below it the server is saturated.
GAIN = 0.1


class OperatingPoint(Struct, frozen=True, kw_only=True):
    """A point of a curve. `asked`: the rate or concurrency that was set; `load`: requests a second of one replica;
    `figures` by name such as `ttft.p99`; `doubts`: why its runs are suspect; tokens: means of a request.

    saturated: more load would not come through; drifting: latencies rose with the time it lasted, beyond chance.
    carried: of a closed loop, the load at random arrivals that each kind of figure stands for (bursts.py).
    called: objectives by name that somebody who knows every request has judged already.
    server: limits that the server itself told of."""

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
        """The load at which a figure such as `ttft.p99` is expected to be what it is here."""
        return self.carried.get(name.partition(".")[2], self.load)


class Curve(Struct, frozen=True, kw_only=True):
    """Spots of one stack by rising load, or rising concurrency. `left_out`: points that were not used, and why."""

    label: str
    loop: Literal["open", "closed"]
    arrivals: str | None
    spots: list[OperatingPoint]
    left_out: list[str]
    gpus: int | None
    # Input and output tokens of a request, means over all.
    tokens: tuple[float | None, float | None]


# By name of a point, and of an objective, or QUEUE.
PointJudgements = Mapping[str, Mapping[str, Outcome]]
# Called missed where the queue grew to the end, whatever the objectives.
QUEUE = "queue"


def build_curves(
    sweep: Sweep, label: str, objectives: Sequence[Objective], judgements: PointJudgements | None = None
) -> list[Curve]:
    """The stacks of a sweep. `judgements` go before what summaries say. Raises UsageError where one has fewer than two
    loads."""
    stacks: dict[str, list[MeasuredPoint]] = {}
    for point in sweep.points:
        stacks.setdefault(_stack(point.settings), []).append(point)
    if not stacks:
        raise UsageError(f"the sweep {label} has no points: run it with two rates or more")
    return [
        _curve(
            points, f"{label} ({settings})" if len(stacks) > 1 else label, sweep.grid.gpus, objectives, judgements or {}
        )
        for settings, points in stacks.items()
    ]


def _stack(settings: dict[str, Any]) -> str:
    """All that is varied besides the load, in words."""
    others = {name: value for name, value in settings.items() if name not in (*LOAD, *LENGTH)}
    return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in sorted(others.items())) or "all"


def _curve(
    points: Sequence[MeasuredPoint],
    label: str,
    gpus: int | None,
    objectives: Sequence[Objective],
    calls: PointJudgements,
) -> Curve:
    usable = {point.name: [run for run in point.runs if _usable(run)] for point in points}
    reasons = {point.name: _why_not(point, usable[point.name]) for point in points}
    left_out = [f"{name}: {why}" for name, why in reasons.items() if why]
    runs = {name: found for name, found in usable.items() if not reasons[name]}
    rates = {bool(run_config(found[0]).get("rate")) for found in runs.values()}
    if len(rates) > 1:
        raise UsageError(f"the sweep {label} mixes rates and concurrencies: plan from one with either of them")
    spots = [_spot(name, found, objectives, calls.get(name, {})) for name, found in runs.items()]
    spots.sort(key=lambda spot: (spot.asked, spot.load))
    if len({spot.load for spot in spots}) < 2:
        raise UsageError(_too_few(label, len(spots), left_out))
    open_ = True in rates
    arrivals = sorted({str(run_config(found[0]).get("arrivals")) for found in runs.values()})
    return Curve(
        label=label,
        loop="open" if open_ else "closed",
        arrivals=" and ".join(arrivals) if open_ else None,
        spots=spots if open_ else _random(list(_saturated(spots))),
        left_out=left_out,
        gpus=gpus,
        tokens=(_mean(spot.input_tokens for spot in spots), _mean(spot.output_tokens for spot in spots)),
    )


def _too_few(label: str, count: int, left_out: Sequence[str]) -> str:
    reasons = f" ({'; '.join(left_out)})" if left_out else ""
    points = "point" if count == 1 else "points"
    return f"the sweep {label} has {count} usable {points}{reasons}: a plan takes two loads or more; sweep more"


def _usable(run: Summary) -> bool:
    return run.counts.succeeded > 0 and not (run.verdict is not None and run.verdict.status == "invalid")


def _why_not(point: MeasuredPoint, usable: Sequence[Summary]) -> str:
    """Why a point is left out; empty where it is not."""
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
    """What was asked, and requests a second."""
    asked = run_config(run)
    if asked.get("stages") or asked.get("arrivals") == "replay":
        return None
    if asked.get("rate"):
        return asked["rate"], asked["rate"]
    through = rates_under_load(run).get("qps")
    return (float(asked["concurrency"]), through) if asked.get("concurrency") and through else None


def _spot(
    name: str, runs: Sequence[Summary], objectives: Sequence[Objective], called: Mapping[str, Outcome]
) -> OperatingPoint:
    loads = [load for run in runs if (load := _load(run)) is not None]
    wanted = dict.fromkeys((*FIGURES, *(objective.name for objective in objectives)))
    found = {name: _pooled([_figure(name, run) for run in runs]) for name in wanted}
    doubts = [doubt.what for run in runs if run.verdict is not None for doubt in run.verdict.doubts]
    return OperatingPoint(
        name=name,
        asked=loads[0][0],
        load=sum(load for _, load in loads) / len(loads),
        concurrency=_mean(run.rates.get("concurrency") for run in runs),
        figures={figure: pooled for figure, pooled in found.items() if pooled is not None},
        input_tokens=_mean(_tokens(run, "input_tokens") for run in runs),
        output_tokens=_mean(_tokens(run, "output_tokens") for run in runs),
        requests=sum(run.counts.succeeded for run in runs),
        runs=len(runs),
        saturated=called.get(QUEUE) == "missed" or any(run.run.get("ended") == "saturated" for run in runs),
        drifting=any(map(_drifts, runs)),
        doubts=list(dict.fromkeys(doubts)),
        server=list(dict.fromkeys(said for run in runs for said in _said(run))),
        called=dict(called),
    )


def _figure(name: str, run: Summary) -> Estimate | None:
    metric, _, figure = name.partition(".")
    return estimate(metric, figure, run.metrics, run.rates)


def _said(run: Summary) -> Iterator[str]:
    """Limits that the server's own metrics tell of, where they were asked for: its KV cache, and how many it runs."""
    side = getattr(run, "server", None)
    if side is None:
        return
    yield from side.remarks
    for source in side.sources:
        waiting, running = (source.whole.metrics.get(name) for name in ("waiting", "running"))
        if waiting is not None and running is not None and (waiting.mean or 0.0) >= 1:
            yield f"{waiting.mean:.3g} requests waited in the server on average, where at most {running.max:.0f} ran"


def _pooled(found: Sequence[Estimate | None]) -> Estimate | None:
    """The mean over repeats, in the interval that holds all of theirs."""
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    lows, highs = [one.low for one in known if one.low is not None], [one.high for one in known if one.high is not None]
    return Estimate(
        sum(one.value for one in known) / len(known),
        min(lows) if len(lows) == len(known) else None,
        max(highs) if len(highs) == len(known) else None,
    )


def _drifts(run: Summary) -> bool:
    """An open loop that may be falling behind (check.py's doubt of that name)."""
    change, margin = run.checks.get("drift_ttft"), run.checks.get("drift_ttft_margin")
    known = change is not None and margin is not None and bool(run_config(run).get("rate"))
    return known and (change or 0.0) - (margin or 0.0) > DRIFT


def _saturated(spots: Sequence[OperatingPoint]) -> Iterator[OperatingPoint]:
    """Of a closed loop: saturated where more clients than before bring hardly more throughput."""
    best: OperatingPoint | None = None
    for spot in spots:
        full = best is not None and spot.load / best.load - 1 < GAIN * (spot.asked / best.asked - 1)
        yield msgspec.structs.replace(spot, saturated=full or spot.saturated)
        best = spot if best is None or spot.load > best.load else best


def _random(spots: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Of a closed loop: with the loads at random arrivals."""
    levels, throughput = [spot.asked for spot in spots], [spot.load for spot in spots]
    loads = {figure: queueing.arrival_rates(levels, throughput, figure) for figure in KINDS} if spots else {}
    return [
        msgspec.structs.replace(spot, carried={figure: loads[figure][place] for figure in loads})
        for place, spot in enumerate(spots)
    ]


def _tokens(run: Summary, name: str) -> float | None:
    metric = run.metrics.get(name)
    return None if metric is None else metric.mean


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
