"""Figures that only show whether the others can be trusted. The rules in checks/ judge them.

Pure. Figures of the client itself (lag, CPU) are in `Summary.client` and come from host/client_health.py.
"""

from __future__ import annotations

import math

import numpy as np

from loadstone.metrics.columns import Columns, Requests, decoding
from loadstone.stats import warmup
from loadstone.summary import Window
from loadstone.units import S_PER_NS, Array, Mask

# Batches of consecutive values, long enough for most correlation to stay within a batch.
BATCHES = 10
# Student's t with BATCHES - 2 degrees of freedom, two-sided 99.9 %, as three figures of every run are tested.
T999 = 5.041
# Events from which a response says something about how it was sent, and responses from which many say it.
SEVERAL = 3
ENOUGH = 20
# Tokens over events below which a server counts fewer tokens than it sends. Parts of a tool call may share a token.
FEWER = 0.75
# Seconds that the port of a closed connection stays taken (Linux, TCP_TIMEWAIT_LEN).
TIME_WAIT = 60.0


def figures(columns: Columns, steady: Window | None) -> dict[str, float | None]:
    """Return fractions and ratios by name; None if unknown."""
    r, events = columns.requests, int(columns.events.lengths.sum())
    known = r.ok & ~np.isnan(r.asked) & ~np.isnan(r.output_tokens)
    # Rate of sending over the planned rate, from the first to the last measured request; of a retried request its first
    # attempt counts.
    first = (r.measured | r.superseded) & (r.attempt == 0) & ~np.isnan(r.sent)
    sending = np.ptp(r.sent[first]) if first.sum() >= 2 else 0
    # Most connections opened to one server within the time that a port stays in TIME_WAIT.
    most: float | None = None
    opened = (r.connect > 0) & ~np.isnan(r.sent)
    servers = np.nan_to_num(r.server)
    for server in np.unique(servers):
        at = np.sort(r.sent[opened & (servers == server)])
        within = np.searchsorted(at, at + TIME_WAIT / S_PER_NS, "right") - np.arange(len(at))
        most = max(most or 0.0, float(within.max(initial=0)))
    # Answers of which all events came in one read; the others may share reads too.
    buffered = r.ok & r.buffered
    whole = float((r.packets - 1)[buffered].sum())
    events -= int(r.packets[buffered].sum())
    several = r.ok & r.streamed & (r.packets >= SEVERAL)
    answered = r.measured & r.ok & r.streamed
    reasoning_only = answered & ~np.isnan(r.first) & np.isnan(r.first_answer)
    return {
        "shared_reads": (columns.events.shared_reads - whole) / events if events else None,
        "buffered": fraction(r.buffered[several]),
        "unterminated": fraction(r.unterminated[r.measured & r.ok]),
        "not_streamed": fraction(~r.streamed[r.measured & r.ok]),
        "reasoning_only": fraction(reasoning_only[answered]),
        **_rejected_counts(columns),
        **_tokens_and_events(r),
        "length_missed": fraction((r.output_tokens != r.asked)[known]),
        "kernel_stamped": fraction(r.stamped[r.ok & r.streamed]),
        "unfinished": fraction(~r.finished[r.ok & r.streamed]),
        "rate_ratio": float(np.ptp(r.scheduled[first]) / sending) if sending else None,
        "little": _little(r, steady),
        "opened_a_minute": most,
        **_trends(r, steady),
    }


def _rejected_counts(columns: Columns) -> dict[str, float | None]:
    """Return the fraction of successes with a count that cannot be true, and the most frequent such count."""
    total = int(columns.requests.ok.sum())
    found: dict[str, float | None] = {}
    for name, counts in columns.rejected.items():
        found[f"rejected_{name}"] = counts.total() / total if total else None
        found[f"rejected_{name}_count"] = float(counts.most_common(1)[0][0]) if counts else None
    return found


def _tokens_and_events(r: Requests) -> dict[str, float | None]:
    """Return figures that show that the server counts other tokens than it sends.

    `fewer_tokens`: fraction of responses with clearly fewer tokens than events. `token_multiple`: if nearly all of them
    have exactly so many times as many tokens as events, or as events and a stop token. Servers that send several tokens
    in each event have a rest in the last one, unless all their responses have the same length.
    """
    rows = (
        r.ok & r.streamed & ~r.buffered & (r.hidden_tokens == 0) & (r.packets >= SEVERAL) & ~np.isnan(r.output_tokens)
    )
    tokens, events, exact = r.output_tokens[rows], r.packets[rows], r.output_tokens[rows] == r.asked[rows]
    fewer = fraction(tokens < FEWER * events)
    varied = len(tokens) >= ENOUGH and len(np.unique(events % 2)) == 2 and exact.mean() < 0.5
    for divisor in (events, events + 1) if varied else ():
        multiple = float(np.median(tokens / divisor))
        if multiple >= 2 and multiple == round(multiple) and (tokens == multiple * divisor).mean() >= 0.95:
            return {"fewer_tokens": fewer, "token_multiple": multiple}
    return {"fewer_tokens": fewer, "token_multiple": None}


def _little(r: Requests, steady: Window | None) -> float | None:
    """Return request rate times mean time in flight over the concurrency, of the steady window (Little's law: 1)."""
    if steady is None or not steady.requests or not steady.rates:
        return None
    inside = (r.sent >= steady.start / S_PER_NS) & (r.sent <= steady.end / S_PER_NS)
    level = steady.rates["concurrency"] or 0.0
    if not level or not inside.any():
        return None
    stay = float(np.mean((r.end - r.sent)[inside])) * S_PER_NS
    return (steady.rates["request_rate"] or 0.0) * stay / level


def _trends(r: Requests, steady: Window | None) -> dict[str, float | None]:
    """Return how the measured part begins, and how its steady window goes on.

    `warmup_*`: measured requests until a transient of this figure ends; `_shift`: by how much it shifts the mean.
    `drift_*`: change of the figure after that; `_margin`: half-width of its interval. Both are relative to the mean.
    """
    time, tokens = decoding(r)
    latency = np.where(r.streamed, np.nan, r.end - r.sent)
    tested = {"ttft": r.first - r.sent, "latency": latency, "tpot": time / tokens}
    trends: dict[str, float | None] = {}
    begin, end = (math.inf, -math.inf) if steady is None else (steady.start / S_PER_NS, steady.end / S_PER_NS)
    for name, values in tested.items():
        rows = r.measured & r.ok & ~np.isnan(values)
        start, sent = warmup.find_warmup(values[rows]), r.sent[rows]
        since = -math.inf if start is None else float(sent[start.length])
        begin = max(begin, since)
        trends[f"warmup_{name}"] = None if start is None else float((r.measured & (r.sent < since)).sum())
        trends[f"warmup_{name}_shift"] = None if start is None else start.shift
    # Figures of consecutive batches: means, and rates of the ends. None if there are too few values.
    batched: dict[str, Array] = {}
    for name, values in tested.items():
        rows = r.measured & r.ok & (r.sent >= begin) & (r.sent <= end)
        steady_values = values[rows & ~np.isnan(values)]
        size = len(steady_values) // BATCHES
        batches = steady_values[: size * BATCHES].reshape(BATCHES, size)
        batched[name] = batches.mean(axis=1) if size >= BATCHES else steady_values[:0]
    ended = r.end[r.ok & (r.end >= begin) & (r.end < end)]
    batched["qps"] = np.histogram(ended, BATCHES, (begin, end))[0] if len(ended) >= BATCHES**2 else np.empty(0)
    for name, of_batches in batched.items():
        trends[f"drift_{name}"], trends[f"drift_{name}_margin"] = drift(of_batches) or (None, None)
    return trends


def drift(means: Array) -> tuple[float, float] | None:
    """Return the change from begin to end and the half-width of its 99.9 % interval, relative to the mean.

    By the least-squares line through the means of equal batches (Draper & Smith, Applied Regression Analysis, 1.4).
    """
    if len(means) != BATCHES or not means.mean() > 0:
        return None
    at = (np.arange(BATCHES) + 0.5) / BATCHES - 0.5
    means = means / means.mean()
    slope = float(at @ means / (at @ at))
    rest = means - 1 - slope * at
    return slope, T999 * float(np.sqrt(rest @ rest / (BATCHES - 2) / (at @ at)))


def fraction(mask: Mask) -> float | None:
    """Return how many entries are true, as a fraction; None of no entries."""
    return float(mask.mean()) if len(mask) else None
