"""Whether a load meets objectives: called met, missed or unresolved by the interval of what was measured at it. Pure.

A percentile below a limit means that at most so many requests are above it: a share, which can be counted over several
runs, and called long before the percentile itself is known. Failures are above every limit. A met load must also last:
an open loop whose queue is growing, or that ended before its answers did, has shown nothing yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, takewhile
from statistics import NormalDist

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.checks.rules import client_faults
from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.measure import meets_all, per_request
from loadstone.metrics.saturation import SaturationDetector
from loadstone.metrics.slo import Objective, Outcome, combine, estimate, judge
from loadstone.stats.describe import PERCENTILES, effective_size
from loadstone.stats.distributions import lower, student_t, upper
from loadstone.summary import Summary
from loadstone.units import S_PER_NS, Array, Mask

# Chance that a load is called wrongly, shared among the looks at it.
RISK = 0.05
# At the number in flight, in the time of a probe. The detector's own time is a second a look.
LOOKS = 128
# The load must last so many times the median answer before it can be called met.
LASTS = 4
# Share of the rate below which it is not that rate that was met: what check.py calls request rate.
SENT = 0.95
# Rise of TTFT over the steady window that forbids to call a load met: what check.py calls drift.
RISING = 0.1


class Tally(Struct, frozen=True):
    """One objective in one run: how many of `count` requests were on the wrong side, and of how many independent ones
    that tells as much; for a mean, `value` is the mean and `error` its standard error."""

    count: int
    value: float
    effective_count: float
    error: float | None = None
    # Where nothing can be counted: how the run's own interval has it.
    judgement: Outcome | None = None
    # The percentile in each fifth of the run, s.
    fifths: tuple[float, ...] = ()


class Evidence(Struct, frozen=True):
    """What one run says of each objective. `queue_growth`: the server fell behind, in words; `inconclusive`: it may have, but the
    run was too short to tell, TTFT was still on the rise, or not all of the load was sent; `client_doubt`: why it cannot tell
    that a load is missed, as the client itself has made answers late."""

    tallies: list[Tally]
    seconds: float
    queue_growth: str | None = None
    inconclusive: str | None = None
    client_doubt: str | None = None


class ObjectiveResult(Struct, frozen=True):
    """An objective, called: `value` with its interval against `limit`. `share`: they are the share of requests on the
    wrong side and what is allowed of it, else seconds."""

    objective: str
    call: Outcome
    value: float | None
    low: float | None
    high: float | None
    limit: float
    share: bool
    # Called because all stretches of the runs were far on one side of the limit.
    far: bool = False


class Probe(Struct, frozen=True):
    """A load, called from all its runs. `why`: what decided, where it is not the looks alone. `unfit`: where it
    would be missed, how many of the last runs in a row the client spoiled."""

    load: float
    call: Outcome
    runs: int
    requests: int
    seconds: float
    looks: list[ObjectiveResult]
    why: str | None = None
    # Called the same way before its last run, which was made to see whether it holds.
    confirmed: bool = False
    unfit: int = 0


def read_evidence(columns: Columns, summary: Summary, objectives: Sequence[Objective]) -> Evidence:
    """What a run has to say. `summary` is that of the same records."""
    r, open_loop = columns.requests, (summary.run.get("schedule") or {}).get("loop") == "open"
    sent = r.sent[~np.isnan(r.sent)]
    seconds = float(sent.max() - sent.min()) * S_PER_NS if len(sent) else 0.0
    found = queue_growth(r) if open_loop else None
    return Evidence(
        tallies=[_tally(columns, summary, objective) for objective in objectives],
        seconds=seconds,
        queue_growth=found,
        inconclusive=_short(summary, seconds, open_loop),
        client_doubt=next(iter(client_faults(summary)), None),
    )


def judge_load(load: float, found: Sequence[Evidence], objectives: Sequence[Objective], looks: int) -> Probe:
    """The load by all its runs together. A client that was unfit makes answers look later than they were: what is met
    all the same is met, but what is missed only if the other runs say so. `looks`: how often the load may be called
    before it has to be decided."""
    risk, fit = RISK / 2 / max(1, looks), [run for run in found if run.client_doubt is None]
    every = _looks(found, objectives, risk)
    seen = [one if one.call == "met" else fair for one, fair in zip(every, _looks(fit, objectives, risk), strict=True)]
    judged, why = combine(look.call for look in seen), None
    if fit and fit[-1].queue_growth:
        judged, why = "missed", fit[-1].queue_growth
    elif judged == "met" and found and (why := found[-1].queue_growth or found[-1].inconclusive):
        judged = "unresolved"
    requests = sum(max((tally.count for tally in run.tallies), default=0) for run in found)
    late = found and (found[-1].queue_growth or combine(look.call for look in every) == "missed")
    unfit = len(list(takewhile(lambda run: run.client_doubt, reversed(found)))) if late else 0
    told = "; ".join(part for part in (why, _spoiled(found, judged)) if part) or None
    return Probe(load, judged, len(found), requests, sum(run.seconds for run in found), seen, told, unfit=unfit)


def _looks(found: Sequence[Evidence], objectives: Sequence[Objective], risk: float) -> list[ObjectiveResult]:
    return [_look(one, [run.tallies[at] for run in found], risk) for at, one in enumerate(objectives)]


def _spoiled(found: Sequence[Evidence], judged: Outcome) -> str | None:
    """Runs with an unfit client, and what they count for."""
    told = [run.client_doubt for run in found if run.client_doubt]
    if not told:
        return None
    said = "which makes answers look late: met all the same" if judged == "met" else "and they do not count"
    return f"in {len(told)} of {len(found)} runs the client was unfit ({told[-1]}), {said}"


def make_probe(load: float, found: Sequence[Evidence], objectives: Sequence[Objective], looks: int) -> Probe:
    """The same, and whether a further run has confirmed it."""
    now, fit = judge_load(load, found, objectives, looks), [run for run in found if run.client_doubt is None]
    counts = fit if judge_load(load, fit, objectives, looks).call == now.call else found
    before = judge_load(load, counts[:-1], objectives, looks) if len(counts) > 1 else None
    confirmed = before is not None and before.call == now.call != "unresolved"
    return msgspec.structs.replace(now, confirmed=confirmed)


def queue_growth(r: Requests) -> str | None:
    """That the queue of an open loop grew to the end, in words; None where it did not. The detector of --stop-saturated
    looks again at what is over, in a time in which the probe took as long as it needs to judge."""
    sent, ends = np.sort(r.sent[~np.isnan(r.sent)]), np.sort(r.end[~np.isnan(r.sent)])
    if len(sent) < LOOKS:
        return None
    answered = ~np.isnan(r.first) & ~np.isnan(r.scheduled)
    at, waits = r.first[answered], ((r.first - r.scheduled)[answered]) * S_PER_NS
    order = np.argsort(at)
    at, waits = at[order], waits[order]
    edges = np.linspace(sent[0], sent[-1], LOOKS + 1)
    scale, detector = LOOKS / ((sent[-1] - sent[0]) * S_PER_NS), SaturationDetector()
    for number, (begin, end) in enumerate(pairwise(edges), 1):
        for wait in waits[np.searchsorted(at, begin, "right") : np.searchsorted(at, end, "right")].tolist():
            detector.add_ttft(wait * scale)
        gone = int(np.searchsorted(sent, end, "right"))
        detector.observe(float(number), gone, gone - int(np.searchsorted(ends, end, "right")))
    found = detector.verdict()
    if found is None:
        return None
    return f"the queue grew: in flight rose from {found.in_flight[0]:.0f} to {found.in_flight[1]:.0f}"


def _short(summary: Summary, seconds: float, open_loop: bool) -> str | None:
    """Why the end of the run may have come before the load had shown what it does."""
    latency = summary.metrics.get("latency")
    usual = latency.p50 if latency else None
    if usual and seconds < LASTS * usual:
        return f"an answer takes {usual:.3g} s, and the load lasted {seconds:.3g} s"
    change, margin = summary.checks.get("drift_ttft"), summary.checks.get("drift_ttft_margin")
    sent = summary.checks.get("rate_ratio")
    if open_loop and sent is not None and sent < SENT:
        return f"only {sent:.0%} of the rate was sent"
    if open_loop and change is not None and margin is not None and change - margin > RISING:
        return f"TTFT was still rising ({change:+.0%} over the steady window)"
    return None


def _tally(columns: Columns, summary: Summary, objective: Objective) -> Tally:
    wrong, values = _wrong(columns, summary, objective)
    if wrong is not None:
        return _counted(wrong, values, objective)
    metric = summary.metrics.get(objective.metric)
    interval = metric.ci95.get("mean") if metric else None
    if objective.figure == "mean" and metric and metric.mean is not None and interval:
        error = (interval[1] - interval[0]) / 2 / NormalDist().inv_cdf(0.975)
        return Tally(metric.n, metric.mean, metric.n, error)
    found = estimate(objective.metric, objective.figure, summary.metrics, summary.rates)
    return Tally(metric.n if metric else 0, found.value if found else 0.0, 0.0, judgement=judge(found, objective))


def _wrong(columns: Columns, summary: Summary, objective: Objective) -> tuple[Mask | None, Array]:
    """Which of the judged requests, in the order sent, are on the wrong side, and the values behind it, inf for a
    failure; None where the objective is not one of single requests."""
    r = columns.requests
    rows, values = r.measured & r.judged, per_request(r)
    if objective.metric == "error_rate":
        return ~r.ok[rows], np.zeros(0)
    if objective.metric == "attainment":
        missing = _missing(r, summary)
        return None if missing is None else missing[rows], np.zeros(0)
    if objective.metric not in values or objective.figure not in PERCENTILES:
        return None, np.zeros(0)
    value = np.where(r.ok, values[objective.metric][0], np.inf)[rows]
    value = value[~np.isnan(value)]
    return value > objective.limit, value


def _missing(r: Requests, summary: Summary) -> Mask | None:
    """Requests that do not meet all objectives of --goodput; None where that cannot be told of all."""
    slos: dict[str, float] = (summary.run.get("config") or {}).get("goodput") or {}
    met = meets_all(r, slos, r.measured & r.ok)
    return None if met is None else ~met


def _counted(wrong: Mask, values: Array, objective: Objective) -> Tally:
    """Where none or few are wrong, how they come together is not seen in them, but in the slowest tenth."""
    if not len(wrong):
        return Tally(0, 0.0, 0.0)
    worth = effective_size(wrong.astype(np.float64))
    answered = values[np.isfinite(values)]
    if len(answered) >= LOOKS:
        worth = min(worth, effective_size((answered > np.quantile(answered, 0.9)).astype(np.float64)))
    stretches = percentile_by_fifths(values, PERCENTILES[objective.figure]) if len(values) else ()
    return Tally(len(wrong), float(wrong.mean()), worth, fifths=stretches)


def _look(objective: Objective, tallies: Sequence[Tally], risk: float) -> ObjectiveResult:
    whole = [tally.judgement for tally in tallies if tally.judgement is not None]
    weighed = [tally for tally in tallies if tally.count]
    count = sum(tally.count for tally in weighed)
    if not tallies:
        return ObjectiveResult(str(objective), "unresolved", None, None, None, objective.limit, share=False)
    if whole or not count:
        last, judged = tallies[-1], whole[-1] if whole else "unresolved"
        return ObjectiveResult(str(objective), judged, last.value, None, None, objective.limit, share=False)
    value = sum(tally.value * tally.count for tally in weighed) / count
    if any(tally.error is not None for tally in weighed):
        error = math.sqrt(sum(((tally.error or 0.0) * tally.count) ** 2 for tally in weighed)) / count
        half = NormalDist().inv_cdf(1 - risk) * error
        return _called(objective, value, value - half, value + half, objective.limit, share=False)
    worth = sum(tally.effective_count for tally in weighed)
    low, high = lower(value, worth, risk), upper(value, worth, risk)
    look = _called(objective, value, low, high, allowed_fraction(objective), share=True)
    if look.call == "unresolved" and all(tally.fifths for tally in weighed):
        judged = judge_by_fifths([figure for tally in weighed for figure in tally.fifths], objective.limit, risk)
        return msgspec.structs.replace(look, call=judged, far=judged != "unresolved")
    return look


def _called(objective: Objective, value: float, low: float, high: float, limit: float, share: bool) -> ObjectiveResult:
    judged: Outcome = "met" if high <= limit else "missed" if low > limit else "unresolved"
    return ObjectiveResult(str(objective), judged, value, low, high, limit, share)


def allowed_fraction(objective: Objective) -> float:
    """The share of requests that may be on the wrong side."""
    if objective.metric == "attainment":
        return 1 - objective.limit
    return objective.limit if objective.metric == "error_rate" else 1 - PERCENTILES[objective.figure]


FIFTHS = 5
# How many times the figure of each stretch the limit must be, or the other way round.
APART = 1.25


def percentile_by_fifths(values: Array, share: float) -> tuple[float, ...]:
    """The percentile in each fifth of the values, which are in the order sent; inf for a failure. None of them where
    a fifth is too small to have it."""
    if len(values) // FIFTHS * (1 - share) < 1:
        return ()
    return tuple(float(np.quantile(part, share, method="higher")) for part in np.array_split(values, FIFTHS))


def judge_by_fifths(figures: Sequence[float], limit: float, risk: float) -> Outcome:
    """Met or missed where every stretch is far on one side of the limit, and the limit further from their mean than
    chance explains (Student's t over stretches)."""
    if len(figures) < FIFTHS:
        return "unresolved"
    if min(figures) >= APART * limit and _beyond([min(figure, 1e3 * limit) for figure in figures], limit, risk):
        return "missed"
    met = max(figures) * APART <= limit and _beyond(figures, limit, risk)
    return "met" if met else "unresolved"


def _beyond(figures: Sequence[float], limit: float, risk: float) -> bool:
    error = float(np.std(figures, ddof=1)) / math.sqrt(len(figures))
    return abs(limit - float(np.mean(figures))) > student_t(1 - risk, len(figures) - 1) * error
