"""Figures that only serve to doubt the others, from the columns of a run; check.py judges them.

Pure. What the client tells of itself (lag, CPU) is in `Summary.client` and comes from health.py.
"""

from __future__ import annotations

import numpy as np

from loadstone.columns import Array, Columns, Mask, Requests
from loadstone.records import Window

NS = 1e-9
BATCHES = 10
"""Consecutive, so that the correlation of neighbours stays within each."""
T999 = 5.041
"""Student's t with BATCHES - 2 degrees of freedom, two-sided 99.9 %: three figures of every run are looked at."""
TIME_WAIT = 60.0
"""Seconds that the port of a closed connection stays taken (Linux, TCP_TIMEWAIT_LEN)."""


def figures(columns: Columns, steady: Window | None) -> dict[str, float | None]:
    """By name, shares and ratios; None where they cannot be told."""
    r, events = columns.requests, len(columns.events)
    told = r.ok & ~np.isnan(r.asked) & ~np.isnan(r.output_tokens)
    return {
        "shared_reads": columns.events.shared_reads / events if events else None,
        "length_missed": _share((r.output_tokens != r.asked)[told]),
        "kernel_stamped": _share(r.stamped[r.ok & r.streamed]),
        "unfinished": _share(~r.finished[r.ok & r.streamed]),
        "rate_ratio": _rate_ratio(r),
        "little": _little(r, steady),
        "opened_a_minute": _opened(r),
        **_drifts(r, steady),
    }


def _little(r: Requests, steady: Window | None) -> float | None:
    """Rate x mean time in flight over the number in flight, of the steady window."""
    if steady is None or not steady.requests or not steady.rates:
        return None
    inside = (r.sent >= steady.start / NS) & (r.sent <= steady.end / NS)
    level = steady.rates["concurrency"] or 0.0
    if not level or not inside.any():
        return None
    stay = float(np.mean((r.end - r.sent)[inside])) * NS
    return (steady.rates["request_rate"] or 0.0) * stay / level


def _rate_ratio(r: Requests) -> float | None:
    """Rate of sending over the rate planned, by the time it took from the first to the last measured request."""
    rows = r.measured & ~np.isnan(r.sent)
    if rows.sum() < 2 or np.ptp(r.sent[rows]) == 0:
        return None
    return float(np.ptp(r.scheduled[rows]) / np.ptp(r.sent[rows]))


def _opened(r: Requests) -> float | None:
    """Connections opened to one server within the time that a port stays taken, at most."""
    opened = (r.connect > 0) & ~np.isnan(r.sent)
    servers = np.nan_to_num(r.server)
    return max((_most_within(r.sent[opened & (servers == server)]) for server in np.unique(servers)), default=None)


def _most_within(at: Array) -> float:
    at = np.sort(at)
    return float((np.searchsorted(at, at + TIME_WAIT / NS, "right") - np.arange(len(at))).max(initial=0))


def _drifts(r: Requests, steady: Window | None) -> dict[str, float | None]:
    """Change of a figure over the steady window and the half-width of its interval, both relative to its mean."""
    changes: dict[str, tuple[float, float] | None] = dict.fromkeys(("ttft", "latency", "tpot", "qps"))
    if steady is not None:
        begin, end = steady.start / NS, steady.end / NS
        rows = r.measured & r.ok & (r.sent >= begin) & (r.sent <= end)
        ended = r.ok & (r.end >= begin) & (r.end < end)
        with np.errstate(divide="ignore", invalid="ignore"):
            tpot = np.where(r.output_tokens > 1, (r.last - r.first) / (r.output_tokens - 1), np.nan)
        changes = {
            "ttft": drift(_means((r.first - r.sent)[rows])),
            "latency": drift(_means(np.where(r.streamed, np.nan, r.end - r.sent)[rows])),
            "tpot": drift(_means(tpot[rows])),
            "qps": drift(np.histogram(r.end[ended], BATCHES, (begin, end))[0]) if ended.sum() >= BATCHES**2 else None,
        }
    flat = {name: change or (None, None) for name, change in changes.items()}
    return {f"drift_{name}{end}": flat[name][at] for name in flat for at, end in enumerate(("", "_margin"))}


def _means(values: Array) -> Array:
    """Of consecutive batches; none where there are too few values."""
    values = values[~np.isnan(values)]
    size = len(values) // BATCHES
    return values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1) if size >= BATCHES else values[:0]


def drift(means: Array) -> tuple[float, float] | None:
    """Change from begin to end by the least-squares line through the means of equal batches, and the half-width of its
    99.9 % interval, both relative to the mean of all (Draper & Smith, Applied Regression Analysis, 1.4)."""
    if len(means) != BATCHES or not means.mean() > 0:
        return None
    at = (np.arange(BATCHES) + 0.5) / BATCHES - 0.5
    means = means / means.mean()
    slope = float(at @ means / (at @ at))
    rest = means - 1 - slope * at
    return slope, T999 * float(np.sqrt(rest @ rest / (BATCHES - 2) / (at @ at)))


def _share(mask: Mask) -> float | None:
    return float(mask.mean()) if len(mask) else None
