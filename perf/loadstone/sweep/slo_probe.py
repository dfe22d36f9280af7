"""Whether a load meets objectives: met, missed or unresolved, by the interval of what was measured at it. Pure.

A percentile below a limit means that at most a certain fraction of requests is above it. That fraction can be counted
over several runs, and decided long before the percentile itself is known. Failures are above every limit. A load that
is met must also last: an open loop with a growing queue, or one that ended before its responses did, proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from statistics import NormalDist

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.checks.rules import client_faults
from loadstone.config.slo import ATTAINMENT, Objective
from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.measure import meets_all, per_request
from loadstone.metrics.saturation import LOOKS, replay
from loadstone.metrics.slo import Outcome, combine, estimate, judge
from loadstone.stats.describe import PERCENTILES, effective_size
from loadstone.stats.distributions import lower, student_t, upper
from loadstone.summary import Summary
from loadstone.units import S_PER_NS, Array, Mask

# Chance that a load is judged wrongly, divided among the times it is judged.
RISK = 0.05
# A load must last so many times the median latency before it can be met.
LASTS = 4
# Fraction of the rate below which it was not that rate that was met: the limit of the doubt `request rate`.
SENT = 0.95
# Rise of TTFT over the steady window above which a load is not met: the limit of the doubt `drift`.
RISING = 0.1
# Groups of a run, in the order sent, whose percentiles are compared with the limit.
FIFTHS = 5
# The limit must be so many times the percentile of each fifth, or the other way round.
APART = 1.25


class Tally(Struct, frozen=True):
    """One objective in one run.

    count: requests
    value: fraction of requests that violate the objective; for a mean, the mean
    effective_count: number of independent requests with as much information
    error: standard error of a mean
    judgement: by the run's own interval, where nothing can be counted
    fifths: the percentile in each fifth of the run, s
    """

    count: int
    value: float
    effective_count: float
    error: float | None = None
    judgement: Outcome | None = None
    fifths: tuple[float, ...] = ()


class Evidence(Struct, frozen=True):
    """What one run shows about each objective.

    seconds: from the first request to the last
    queue_growth: a sentence if the server fell behind
    inconclusive: why the load cannot be met by this run: it was too short, TTFT was still rising, or not all was sent
    client_doubt: why the load cannot be missed by this run: the client itself has delayed responses
    """

    tallies: list[Tally]
    seconds: float
    queue_growth: str | None = None
    inconclusive: str | None = None
    client_doubt: str | None = None


class ObjectiveResult(Struct, frozen=True):
    """An objective at one load, over all runs.

    value: with its interval `low` to `high`, against `limit`
    share: they are fractions of requests that violate the objective, and the fraction allowed; otherwise seconds
    far: decided because all fifths of the runs were far on one side of the limit
    """

    objective: str
    call: Outcome
    value: float | None
    low: float | None
    high: float | None
    limit: float
    share: bool
    far: bool = False


class Probe(Struct, frozen=True):
    """A load, judged by all its runs.

    why: the reason, where the objectives alone do not decide
    confirmed: judged the same way before its last run, which was made to confirm it
    unfit: where it would be missed, how many of the last runs in a row the client spoiled
    """

    load: float
    call: Outcome
    runs: int
    requests: int
    seconds: float
    looks: list[ObjectiveResult]
    why: str | None = None
    confirmed: bool = False
    unfit: int = 0


def read_evidence(columns: Columns, summary: Summary, objectives: Sequence[Objective]) -> Evidence:
    """Return what a run shows. `columns` and `summary` are of the same records."""
    r, open_loop = columns.requests, summary.run.schedule.loop == "open"
    sent = r.sent[~np.isnan(r.sent)]
    seconds = float(sent.max() - sent.min()) * S_PER_NS if len(sent) else 0.0
    return Evidence(
        tallies=[_tally(columns, summary, objective) for objective in objectives],
        seconds=seconds,
        queue_growth=queue_growth(r) if open_loop else None,
        inconclusive=_inconclusive(summary, seconds, open_loop),
        client_doubt=next(iter(client_faults(summary)), None),
    )


def judge_load(load: float, runs: Sequence[Evidence], objectives: Sequence[Objective], looks: int) -> Probe:
    """Judge a load by all its runs combine.

    looks: how often the load may be judged before it must be decided

    A client that is unfit makes responses look later than they were. What is met even so is met, but a load is missed
    only if the other runs show it.
    """
    risk, fit = RISK / 2 / max(1, looks), [run for run in runs if run.client_doubt is None]
    by_all = _judge_objectives(runs, objectives, risk)
    by_fit = _judge_objectives(fit, objectives, risk)
    results = [one if one.call == "met" else other for one, other in zip(by_all, by_fit, strict=True)]
    call, why = combine(result.call for result in results), None
    if fit and fit[-1].queue_growth:
        call, why = "missed", fit[-1].queue_growth
    elif call == "met" and runs and (why := runs[-1].queue_growth or runs[-1].inconclusive):
        call = "unresolved"

    # Runs that the client spoiled, and what they count for.
    doubts = [run.client_doubt for run in runs if run.client_doubt]
    if doubts:
        effect = "which makes responses look late: met all the same" if call == "met" else "and they do not count"
        spoiled = f"in {len(doubts)} of {len(runs)} runs the client was unfit ({doubts[-1]}), {effect}"
        why = f"{why}; {spoiled}" if why else spoiled
    late = runs and (runs[-1].queue_growth or combine(result.call for result in by_all) == "missed")
    return Probe(
        load=load,
        call=call,
        runs=len(runs),
        requests=sum(max((tally.count for tally in run.tallies), default=0) for run in runs),
        seconds=sum(run.seconds for run in runs),
        looks=results,
        why=why or None,
        unfit=len(list(takewhile(lambda run: run.client_doubt, reversed(runs)))) if late else 0,
    )


def _judge_objectives(runs: Sequence[Evidence], objectives: Sequence[Objective], risk: float) -> list[ObjectiveResult]:
    return [
        _judge_objective(objective, [run.tallies[index] for run in runs], risk)
        for index, objective in enumerate(objectives)
    ]


def make_probe(load: float, runs: Sequence[Evidence], objectives: Sequence[Objective], looks: int) -> Probe:
    """Judge a load as `judge_load` does, and whether its last run has confirmed it."""
    now, fit = judge_load(load, runs, objectives, looks), [run for run in runs if run.client_doubt is None]
    counted = fit if judge_load(load, fit, objectives, looks).call == now.call else runs
    before = judge_load(load, counted[:-1], objectives, looks) if len(counted) > 1 else None
    confirmed = before is not None and before.call == now.call != "unresolved"
    return msgspec.structs.replace(now, confirmed=confirmed)


def queue_growth(r: Requests) -> str | None:
    """Return a sentence if the queue of an open loop grew to the end, else None."""
    found = replay(r)
    if found is None:
        return None
    return f"the queue grew: in flight rose from {found.in_flight[0]:.0f} to {found.in_flight[1]:.0f}"


def _inconclusive(summary: Summary, seconds: float, open_loop: bool) -> str | None:
    """Return why the run may have ended before the load had its full effect."""
    latency = summary.metrics.get("latency")
    median = latency.p50 if latency else None
    if median and seconds < LASTS * median:
        return f"a response takes {median:.3g} s, and the load lasted {seconds:.3g} s"
    change, margin = summary.checks.get("drift_ttft"), summary.checks.get("drift_ttft_margin")
    sent = summary.checks.get("rate_ratio")
    if open_loop and sent is not None and sent < SENT:
        return f"only {sent:.0%} of the rate was sent"
    if open_loop and change is not None and margin is not None and change - margin > RISING:
        return f"TTFT was still rising ({change:+.0%} over the steady window)"
    return None


def _tally(columns: Columns, summary: Summary, objective: Objective) -> Tally:
    violations, values = _violations(columns, summary, objective)
    if violations is not None:
        return _count(violations, values, objective)
    if objective.requests:
        return Tally(0, 0.0, 0.0, judgement="unresolved")
    metric = summary.metrics.get(objective.metric)
    interval = metric.ci95.get("mean") if metric else None
    if objective.figure == "mean" and metric and metric.mean is not None and interval:
        error = (interval[1] - interval[0]) / 2 / NormalDist().inv_cdf(0.975)
        return Tally(metric.n, metric.mean, metric.n, error)
    figure = estimate(objective.metric, objective.figure, summary.metrics, summary.rates)
    judgement = judge(figure, objective)
    return Tally(metric.n if metric else 0, figure.value if figure else 0.0, 0.0, judgement=judgement)


def _violations(columns: Columns, summary: Summary, objective: Objective) -> tuple[Mask | None, Array]:
    """Return which of the judged requests, in the order sent, violate the objective, and the values behind it.

    A failure has the value inf. The mask is None where the objective is not one of single requests.
    """
    r = columns.requests
    rows, values = r.measured & r.judged, per_request(r)
    if objective.metric == "error_rate":
        return ~r.ok[rows], np.zeros(0)
    if objective.metric == ATTAINMENT:
        # None where it is unknown for some requests whether they meet the objectives: the term's own, or --goodput.
        slos = objective.requests or summary.run.config.goodput
        met = meets_all(r, slos, r.measured & r.ok) if slos else None
        return None if met is None else ~met[rows], np.zeros(0)
    if objective.metric not in values or objective.figure not in PERCENTILES:
        return None, np.zeros(0)
    value = np.where(r.ok, values[objective.metric][0], np.inf)[rows]
    value = value[~np.isnan(value)]
    return value > objective.limit, value


def _count(violations: Mask, values: Array, objective: Objective) -> Tally:
    """Return the tally of a fraction. With few violations, the slowest tenth shows how far requests are correlated."""
    if not len(violations):
        return Tally(0, 0.0, 0.0)
    count = effective_size(violations.astype(np.float64))
    answered = values[np.isfinite(values)]
    if len(answered) >= LOOKS:
        count = min(count, effective_size((answered > np.quantile(answered, 0.9)).astype(np.float64)))
    fifths = percentile_by_fifths(values, PERCENTILES[objective.figure]) if len(values) else ()
    return Tally(len(violations), float(violations.mean()), count, fifths=fifths)


def _judge_objective(objective: Objective, tallies: Sequence[Tally], risk: float) -> ObjectiveResult:
    counted = [tally for tally in tallies if tally.count]
    count = sum(tally.count for tally in counted)
    if not tallies:
        return ObjectiveResult(str(objective), "unresolved", None, None, None, objective.limit, share=False)

    # Nothing can be counted: the last run's own judgement.
    judgements = [tally.judgement for tally in tallies if tally.judgement is not None]
    if judgements or not count:
        call = judgements[-1] if judgements else "unresolved"
        value = None if objective.metric == ATTAINMENT else tallies[-1].value
        return ObjectiveResult(str(objective), call, value, None, None, objective.limit, share=False)

    # A mean over all requests.
    value = sum(tally.value * tally.count for tally in counted) / count
    if any(tally.error is not None for tally in counted):
        error = math.sqrt(sum(((tally.error or 0.0) * tally.count) ** 2 for tally in counted)) / count
        half = NormalDist().inv_cdf(1 - risk) * error
        return _by_interval(objective, value, value - half, value + half, objective.limit, share=False)

    # A fraction of all requests and, where that is unresolved, percentiles that are far from the limit.
    effective_count = sum(tally.effective_count for tally in counted)
    low, high = lower(value, effective_count, risk), upper(value, effective_count, risk)
    result = _by_interval(objective, value, low, high, allowed_fraction(objective), share=True)
    if result.call == "unresolved" and all(tally.fifths for tally in counted):
        call = judge_by_fifths([figure for tally in counted for figure in tally.fifths], objective.limit, risk)
        return msgspec.structs.replace(result, call=call, far=call != "unresolved")
    return result


def _by_interval(
    objective: Objective, value: float, low: float, high: float, limit: float, share: bool
) -> ObjectiveResult:
    call: Outcome = "met" if high <= limit else "missed" if low > limit else "unresolved"
    return ObjectiveResult(str(objective), call, value, low, high, limit, share)


def allowed_fraction(objective: Objective) -> float:
    """Return the fraction of requests that may violate the objective."""
    if objective.metric == ATTAINMENT:
        return 1 - objective.limit
    return objective.limit if objective.metric == "error_rate" else 1 - PERCENTILES[objective.figure]


def percentile_by_fifths(values: Array, fraction: float) -> tuple[float, ...]:
    """Return a percentile in each fifth of the values; empty where a fifth is too small to have it.

    values: in the order sent; inf for a failure
    """
    if len(values) // FIFTHS * (1 - fraction) < 1:
        return ()
    return tuple(float(np.quantile(fifth, fraction, method="higher")) for fifth in np.array_split(values, FIFTHS))


def judge_by_fifths(figures: Sequence[float], limit: float, risk: float) -> Outcome:
    """Judge an objective by the percentiles of the fifths of all runs, where they are far from the limit.

    A run that is too short for the interval of a fraction can still be clear: if the percentile of every fifth is
    beyond the limit by the factor APART, on the same side, and the limit is further from their mean than chance
    explains (one-sided Student's t over the fifths, with probability `risk`), the objective is met or missed. Fifths
    rather than requests are the sample, because consecutive requests are correlated.
    """
    if len(figures) < FIFTHS:
        return "unresolved"
    # A fifth with failures has the percentile inf: capped, so that a mean exists.
    capped = [min(figure, 1e3 * limit) for figure in figures]
    if min(figures) >= APART * limit and _differs(capped, limit, risk):
        return "missed"
    met = max(figures) * APART <= limit and _differs(figures, limit, risk)
    return "met" if met else "unresolved"


def _differs(figures: Sequence[float], limit: float, risk: float) -> bool:
    error = float(np.std(figures, ddof=1)) / math.sqrt(len(figures))
    return abs(limit - float(np.mean(figures))) > student_t(1 - risk, len(figures) - 1) * error
