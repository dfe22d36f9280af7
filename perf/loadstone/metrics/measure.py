"""The numbers: every formula of a report, from request records alone. `reports/README.md` gives them in words.

TTFT, TPOT, ITL, latency and goodput follow vLLM's `bench serve`, with these differences: TTFT waits for output (not
for a role-only chunk) and starts when the request's bytes go to the kernel on an open connection; tokens are booked
when they arrive; `*_scheduled` count from when the plan wanted the request, so that a client that falls behind cannot
hide it (coordinated omission, G. Tene). Failures are counted, never mixed into latencies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadstone.metrics import diagnostics, groups, windows
from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.events import ONE, Events, Gaps
from loadstone.metrics.groups import GroupMembers
from loadstone.stats.describe import describe
from loadstone.stats.histogram import Accumulator
from loadstone.summary import Counts, Metric, Summary, Window
from loadstone.units import S_PER_NS, Array, Mask

Values = dict[str, tuple[Array, str]]
# Metrics that groups have.
GROUPED = (
    "ttft", "ttft_scheduled", "latency", "tpot", "input_tokens", "output_tokens", "cached_tokens", "gap", "itl",
)  # fmt: skip


def measure_columns(columns: Columns, run: Mapping[str, Any] | None = None) -> Summary:
    """Return the summary of a run's columns: counts, metrics, rates, windows, groups and diagnostics.

    run: the content of run.json: what was asked for and how the client fared; without it those figures are None.
    The server's side, the share of the machine's ceiling and the verdict are added by `results.measure_columns`.
    """
    run = dict(run or {})
    slos: dict[str, float] = (run.get("config") or {}).get("goodput") or {}
    span = windows.whole(columns.requests)
    whole = _window(groups.whole(columns.requests, span), columns, slos) if span else None
    high = windows.steady(columns.requests, span) if span else None
    steady = _window(groups.steady(columns.requests, high), columns, slos) if high else None
    return Summary(
        run=run,
        counts=_counts(columns, run.get("expected")),
        duration=whole.end - whole.start if whole else None,
        metrics=whole.metrics if whole else {},
        rates=whole.rates if whole else {},
        sources=columns.token_source,
        steady=steady,
        client=dict(run.get("client") or {}),
        checks=diagnostics.figures(columns, steady),
        groups={
            kind: [_window(part, columns, slos, GROUPED) for part in parts]
            for kind, parts in (groups.split(columns, run, span) if span else {}).items()
        },
        failures=[(kind, text, times) for (kind, text), times in columns.failures.most_common(10)],
    )


def _counts(columns: Columns, expected: int | None) -> Counts:
    r, errors = columns.requests, columns.errors
    succeeded, failed = int((r.measured & r.ok).sum()), int((r.measured & r.judged & ~r.ok).sum())
    return Counts(
        expected=expected,
        completed=succeeded + failed,
        succeeded=succeeded,
        failed=failed,
        empty=errors["empty"],
        stopped=errors["stopped"],
        warmup=int(r.warmup.sum()),
        by_error=dict(errors.most_common()),
        cooldown=int(r.cooldown.sum()),
        cancelled=errors["cancelled"],
        abandoned=int(r.abandoned[r.measured].sum()),
        retried=int(r.superseded.sum()),
        resent=int((r.resent & r.measured).sum()),
    )


def _window(
    part: GroupMembers, columns: Columns, slos: Mapping[str, float], wanted: Collection[str] | None = None
) -> Window:
    """Rates, and the `wanted` distributions; None wants all."""
    values, rows = per_request(columns.requests), part.members & columns.requests.ok
    metrics = {
        name: describe(column[rows], unit)
        for name, (column, unit) in values.items()
        if wanted is None or name in wanted
    }
    return Window(
        name=part.name,
        start=part.span[0] * S_PER_NS,
        end=part.span[1] * S_PER_NS,
        requests=int(part.members.sum()),
        metrics=metrics | _per_event(columns.events, rows),
        rates=_rates(columns, part) | _service_levels(columns.requests, values, slos, part),
    )


def per_request(requests: Requests) -> Values:
    """One value a request, in seconds or counts; NaN where it does not apply."""
    r = requests
    decoding, done = r.last - r.first, np.where(r.streamed, r.last, r.end)
    return {
        "ttft": ((r.first - r.sent) * S_PER_NS, "s"),
        "ttft_scheduled": ((r.first - r.scheduled) * S_PER_NS, "s"),
        "ttfat": ((r.first_answer - r.sent) * S_PER_NS, "s"),
        "latency": ((done - r.sent) * S_PER_NS, "s"),
        "latency_scheduled": ((done - r.scheduled) * S_PER_NS, "s"),
        "tpot": (_over(decoding, r.output_tokens - 1) * S_PER_NS, "s"),
        "packet_time": (_over(decoding, r.packets - 1) * S_PER_NS, "s"),
        "packets": (r.packets, "events"),
        "input_tokens": (r.input_tokens, "tokens"),
        "output_tokens": (r.output_tokens, "tokens"),
        "cached_tokens": (r.cached_tokens, "tokens"),
        "wait": ((r.sent - r.scheduled) * S_PER_NS, "s"),
        "connect": (np.where(r.connect > 0, r.connect, np.nan) * S_PER_NS, "s"),
    }


def _per_event(events: Events, rows: Mask) -> dict[str, Metric]:
    """Gaps between consecutive output events, and the same spread over the tokens of each event."""
    span = events.span(rows)
    gaps, spread = Accumulator(span), Accumulator(span)
    one_each = bool((events.counting[rows[events.rows]] == ONE).all())
    count = known = 0
    for chunk in events.gaps(rows):
        gap: Array = chunk.gap * np.float64(S_PER_NS)
        gaps.add(gap, chunk.at)
        if not one_each:
            told = _known(chunk)
            spread.add(*_spread(gap, chunk, told))
            count, known = count + len(gap), known + int(told.sum())
    gap_metric = gaps.metric("s")
    if one_each:
        return {"gap": gap_metric, "itl": gap_metric}
    note = f"tokens per event are known for {known} of {count} gaps (--usage each asks the server for them)"
    return {"gap": gap_metric, "itl": spread.metric("s", None if known == count else note)}


def _known(chunk: Gaps) -> Mask:
    return np.ones(len(chunk.gap), dtype=bool) if chunk.tokens is None else chunk.tokens > 0


def _spread(gap: Array, chunk: Gaps, known: Mask) -> tuple[Array, NDArray[np.int64]]:
    """A value a token, and the instant it came."""
    if chunk.tokens is None:
        return gap, chunk.at
    tokens = chunk.tokens[known]
    times = tokens.astype(np.int64)
    return np.repeat(gap[known] / tokens, times), np.repeat(chunk.at[known], times)


def _rates(columns: Columns, part: GroupMembers) -> dict[str, float | None]:
    r, span, counted = columns.requests, part.span, part.counted
    seconds = (span[1] - span[0]) * S_PER_NS
    if seconds <= 0:
        return {}
    ended = counted & r.ok & windows.within(r.end, span)
    sent = counted & windows.within(r.sent, span)
    incoming, outgoing = windows.input_booked(columns, span, counted), windows.output_booked(columns, span, counted)
    both = None if incoming is None or outgoing is None else incoming + outgoing
    return {
        "qps": float(ended.sum() / seconds),
        "request_rate": float(sent.sum() / seconds),
        "output_throughput": None if outgoing is None else outgoing / seconds,
        "input_throughput": None if incoming is None else incoming / seconds,
        "total_throughput": None if both is None else both / seconds,
        "concurrency": windows.mean_in_flight(r, span, part.present),
        "peak_concurrency": windows.peak_in_flight(r, span, part.present),
        "error_rate": _share(~r.ok[part.members & r.judged]) if part.failures else None,
        "cached_share": _cached_share(r, ended),
    }


def _service_levels(
    r: Requests, values: Values, slos: Mapping[str, float], part: GroupMembers
) -> dict[str, float | None]:
    """Goodput and attainment. A failure meets no objective; a request that the client took back is not judged."""
    seconds = (part.span[1] - part.span[0]) * S_PER_NS
    if not slos or seconds <= 0:
        return {}
    judged, rows = part.members & r.judged, part.members & r.ok
    met = {name: _meets(r, values[name][0], rows, name, limit) for name, limit in slos.items()}
    together = _all_met(met)
    return {
        "goodput": None if together is None else float(together.sum() / seconds),
        "attainment": None if together is None else _share(together[judged]),
        **{f"attainment.{name}": None if mask is None else _share(mask[judged]) for name, mask in met.items()},
    }


def meets_all(r: Requests, slos: Mapping[str, float], rows: Mask) -> Mask | None:
    """Which of the successful `rows` meet every objective; None where that cannot be told of all."""
    values = per_request(r)
    return _all_met({name: _meets(r, values[name][0], rows, name, limit) for name, limit in slos.items()})


def _all_met(met: Mapping[str, Mask | None]) -> Mask | None:
    known = [mask for mask in met.values() if mask is not None]
    return np.logical_and.reduce(known) if len(known) == len(met) else None


def _meets(r: Requests, value: Array, rows: Mask, name: str, limit: float) -> Mask | None:
    """Which of the successful `rows` meet one objective; None where that cannot be told of all. TPOT of a one-token
    answer is met, as it cannot be missed; an answer that never came (all reasoning) misses `ttfat`."""
    single = {"tpot": r.output_tokens <= 1, "packet_time": r.packets <= 1}.get(name, np.zeros_like(rows))
    told = ~np.isnan(value) | single | (r.streamed if name == "ttfat" else False)
    return rows & (single | (value <= limit)) if told[rows].all() else None


def _over(time: Array, count: Array) -> Array:
    return np.divide(time, count, out=np.full_like(time, np.nan), where=count > 0)


def _share(mask: Mask) -> float | None:
    return float(mask.mean()) if len(mask) else None


def _cached_share(r: Requests, rows: Mask) -> float | None:
    told = rows & ~np.isnan(r.cached_tokens) & ~np.isnan(r.input_tokens)
    asked = r.input_tokens[told].sum()
    return float(r.cached_tokens[told].sum() / asked) if asked else None
