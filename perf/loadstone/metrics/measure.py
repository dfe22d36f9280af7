"""Every formula of a report, computed from request records alone. `reports/README.md` explains them in words.

TTFT, TPOT, ITL, latency and goodput follow vLLM's `bench serve`, with these differences: TTFT waits for output (not
for a role-only chunk) and starts when the request's bytes go to the kernel on an open connection; tokens count when
they arrive; `*_scheduled` metrics start at the scheduled time, so that a client that falls behind cannot hide it
(coordinated omission, G. Tene). Failures are counted and never part of latencies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from loadstone.metrics import diagnostics, groups, saturation, windows
from loadstone.metrics.columns import Columns, Requests, decoding
from loadstone.metrics.events import ONE, Events
from loadstone.metrics.groups import GroupMembers
from loadstone.records import Failure, FailureCause, Resource
from loadstone.stats.accumulator import Accumulator
from loadstone.stats.describe import PERCENTILES, describe
from loadstone.summary import Counts, Metric, RunInfo, Summary, Window
from loadstone.units import S_PER_NS, Array, Mask

Values = dict[str, tuple[Array, str]]
# Metrics of groups.
GROUPED = (
    "ttft", "ttft_scheduled", "latency", "tpot", "input_tokens", "output_tokens", "cached_tokens", "gap", "itl",
)  # fmt: skip


def measure_columns(columns: Columns, run: RunInfo) -> Summary:
    """Return the summary of a run's columns: counts, metrics, rates, windows, groups and diagnostics.

    run: what was asked for and how the client fared; an empty one leaves those figures None.
    The server's side, the share of the machine's ceiling and the verdict are added by `results.measure_columns`.
    """
    slos = run.config.goodput
    more = {name: p / 100 for p in run.config.percentiles or () if (name := f"p{p:g}") not in PERCENTILES}
    span = windows.whole(columns.requests)
    whole = _window(groups.whole(columns.requests, span), columns, slos, more) if span else None
    high = windows.steady(columns.requests, span) if span else None
    steady = _window(groups.steady(columns.requests, high), columns, slos, more) if high else None
    return Summary(
        run=run,
        counts=_counts(columns, run.expected),
        duration=whole.end - whole.start if whole else None,
        metrics=whole.metrics if whole else {},
        rates=whole.rates if whole else {},
        sources=columns.token_source,
        steady=steady,
        client=dict(run.client),
        checks=diagnostics.figures(columns, steady) | _saturation(columns, run, whole),
        groups={
            kind: [_window(part, columns, slos, more, GROUPED) for part in parts]
            for kind, parts in (groups.split(columns, run, span) if span else {}).items()
        },
        failures=most_common(columns.failures),
    )


def _saturation(columns: Columns, run: RunInfo, whole: Window | None) -> dict[str, float | None]:
    """Return the rates of an open loop that the server did not keep up with: sent, and carried. None if it did."""
    found, config = None, run.config
    if whole and (config.rate or run.schedule.loop == "open"):
        limited = config.concurrency is not None and config.rpm is None and config.tpm is None
        capped = limited and (whole.rates.get("peak_concurrency") or 0.0) >= (config.concurrency or 0)
        found = saturation.replay(columns.requests, capped, bool(run.stages))
    return {
        "saturated_sent": None if found is None else found.sent,
        "saturated_carried": None if found is None else found.ended,
    }


def most_common(failures: Counter[Failure]) -> list[tuple[str, str, int]]:
    """Return the most frequent failures, each with its cause, message and number."""
    return [(failure.kind, failure.message, times) for failure, times in failures.most_common(10)]


def count_lacking(failures: Counter[Failure]) -> dict[Resource, int]:
    """Count failures by what this machine lacked."""
    counts = Counter[Resource]()
    for failure, times in failures.items():
        if resource := failure.lacking:
            counts[resource] += times
    return dict(counts)


def _counts(columns: Columns, expected: int | None) -> Counts:
    r, errors = columns.requests, columns.errors
    succeeded, failed = int((r.measured & r.ok).sum()), int((r.measured & r.judged & ~r.ok).sum())
    return Counts(
        expected=expected,
        completed=succeeded + failed,
        succeeded=succeeded,
        failed=failed,
        empty=errors[FailureCause.EMPTY],
        stopped=errors[FailureCause.STOPPED],
        warmup=int(r.warmup.sum()),
        by_error=dict(errors.most_common()),
        cooldown=int(r.cooldown.sum()),
        cancelled=errors[FailureCause.CANCELLED],
        abandoned=int(r.abandoned[r.measured].sum()),
        retried=int(r.superseded.sum()),
        resent=int((r.resent & r.measured).sum()),
        lacking=count_lacking(columns.failures),
        finishes=dict(columns.finishes.most_common()),
    )


def _window(
    group: GroupMembers,
    columns: Columns,
    slos: Mapping[str, float],
    more: Mapping[str, float],
    names: Collection[str] | None = None,
) -> Window:
    """Measure a group: its rates, and the metrics called `names`, all by default.

    more: quantiles to add to those of every metric, by name.
    """
    values, rows = per_request(columns.requests), group.members & columns.requests.ok
    metrics = {
        name: describe(column[rows], unit, more=more)
        for name, (column, unit) in values.items()
        if names is None or name in names
    }
    return Window(
        name=group.name,
        start=group.span[0] * S_PER_NS,
        end=group.span[1] * S_PER_NS,
        requests=int(group.members.sum()),
        metrics=metrics | _per_event(columns.events, rows & ~columns.requests.buffered, more),
        rates=_rates(columns, group) | (_service_levels(columns.requests, values, slos, group) if slos else {}),
    )


def per_request(requests: Requests) -> Values:
    """Return the metrics with one value per request, by name with their unit; NaN where a metric does not apply."""
    r = requests
    time, tokens = decoding(r)
    tpot, done = time / tokens, np.where(r.streamed, r.last, r.end)
    return {
        "ttft": ((r.first - r.sent) * S_PER_NS, "s"),
        "ttft_scheduled": ((r.first - r.scheduled) * S_PER_NS, "s"),
        "ttfat": ((r.first_answer - r.sent) * S_PER_NS, "s"),
        "latency": ((done - r.sent) * S_PER_NS, "s"),
        "latency_scheduled": ((done - r.scheduled) * S_PER_NS, "s"),
        "tpot": (tpot * S_PER_NS, "s"),
        "packet_time": (np.where(r.buffered, np.nan, _over(r.last - r.first, r.packets - 1)) * S_PER_NS, "s"),
        "packets": (r.packets, "events"),
        "input_tokens": (r.input_tokens, "tokens"),
        "output_tokens": (r.output_tokens, "tokens"),
        "cached_tokens": (r.cached_tokens, "tokens"),
        "wait": ((r.sent - r.scheduled) * S_PER_NS, "s"),
        "connect": (np.where(r.connect > 0, r.connect, np.nan) * S_PER_NS, "s"),
    }


def _per_event(events: Events, rows: Mask, more: Mapping[str, float]) -> dict[str, Metric]:
    """Return `gap`, between consecutive output events, and `itl`, which spreads a gap over the tokens of its event."""
    chosen = rows[events.rows]
    span = (float(events.firsts[chosen].min()), float(events.lasts[chosen].max())) if chosen.any() else (0.0, 0.0)
    gaps, itl = Accumulator(span), Accumulator(span)
    one_each = bool((events.counting[chosen] == ONE).all())
    count = known = 0
    for chunk in events.gaps(rows):
        gap: Array = chunk.gap * np.float64(S_PER_NS)
        gaps.add(gap, chunk.at)
        if not one_each:
            tokens = np.ones(len(gap)) if chunk.tokens is None else chunk.tokens
            has_tokens = tokens > 0  # not NaN, which is unknown
            each = tokens[has_tokens]
            times = each.astype(np.int64)
            itl.add(np.repeat(gap[has_tokens] / each, times), np.repeat(chunk.at[has_tokens], times))
            count += len(gap)
            known += int(has_tokens.sum())
    gap_metric = gaps.metric("s", more=more)
    if one_each:
        return {"gap": gap_metric, "itl": gap_metric}
    note = f"tokens per event are known for {known} of {count} gaps (--usage each asks the server for them)"
    return {"gap": gap_metric, "itl": itl.metric("s", None if known == count else note, more)}


def _rates(columns: Columns, group: GroupMembers) -> dict[str, float | None]:
    r, span, counted = columns.requests, group.span, group.counted
    seconds = (span[1] - span[0]) * S_PER_NS
    if seconds <= 0:
        return {}
    ended = counted & r.ok & windows.within(r.end, span)
    sent = counted & windows.within(r.sent, span)
    tokens_in, tokens_out = windows.input_booked(columns, span, counted), windows.output_booked(columns, span, counted)
    total = None if tokens_in is None or tokens_out is None else tokens_in + tokens_out
    cached = ended & ~np.isnan(r.cached_tokens) & ~np.isnan(r.input_tokens)
    cacheable = r.input_tokens[cached].sum()
    return {
        "qps": windows.completed(r, span, counted & r.ok) / seconds,
        "request_rate": float(sent.sum() / seconds),
        "output_throughput": None if tokens_out is None else tokens_out / seconds,
        "input_throughput": None if tokens_in is None else tokens_in / seconds,
        "total_throughput": None if total is None else total / seconds,
        "concurrency": windows.mean_in_flight(r, span, group.present),
        "peak_concurrency": windows.peak_in_flight(r, span, group.present),
        "error_rate": diagnostics.fraction(~r.ok[group.members & r.judged]) if group.failures else None,
        "cached_share": float(r.cached_tokens[cached].sum() / cacheable) if cacheable else None,
    }


def _service_levels(
    r: Requests, values: Values, slos: Mapping[str, float], group: GroupMembers
) -> dict[str, float | None]:
    """Compute goodput and attainment. A failure meets no objective; requests the client cancelled are not judged."""
    seconds = (group.span[1] - group.span[0]) * S_PER_NS
    if seconds <= 0:
        return {}
    judged, rows = group.members & r.judged, group.members & r.ok
    met = {name: _meets(r, values[name][0], rows, name, limit) for name, limit in slos.items()}
    together = _all_met(met)
    return {
        "goodput": None if together is None else float(together.sum() / seconds),
        "attainment": None if together is None else diagnostics.fraction(together[judged]),
        **{
            f"attainment.{name}": None if mask is None else diagnostics.fraction(mask[judged])
            for name, mask in met.items()
        },
    }


def meets_all(r: Requests, slos: Mapping[str, float], rows: Mask) -> Mask | None:
    """Return which of the successful `rows` meet every objective; None if that is unknown for any."""
    values = per_request(r)
    return _all_met({name: _meets(r, values[name][0], rows, name, limit) for name, limit in slos.items()})


def _all_met(met: Mapping[str, Mask | None]) -> Mask | None:
    known = [mask for mask in met.values() if mask is not None]
    return np.logical_and.reduce(known) if len(known) == len(met) else None


def _meets(r: Requests, value: Array, rows: Mask, name: str, limit: float) -> Mask | None:
    """Return which of the successful `rows` meet one objective; None if that is unknown for any.

    A response of one token meets any TPOT, as it has none. A response without an answer (all reasoning) misses `ttfat`.
    If all events came in one read, the time for each is at most the latency over their number.
    """
    counts = {"tpot": r.output_tokens - r.hidden_tokens, "packet_time": r.packets}.get(name)
    if counts is None:
        met = value <= limit
        known = ~np.isnan(value) | (r.streamed if name == "ttfat" else False)
    else:
        single = counts <= 1
        at_most = np.where(r.buffered & (counts > 1), _over(r.last - r.sent, counts - 1) * S_PER_NS, np.nan)
        met = single | (value <= limit) | (at_most <= limit)
        known = ~np.isnan(value) | met
    return rows & met if known[rows].all() else None


def _over(time: Array, count: Array) -> Array:
    return np.divide(time, count, out=np.full_like(time, np.nan), where=count > 0)
