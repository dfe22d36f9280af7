"""Figures that only serve to doubt the others, from the columns of a run; check.py judges them.

Pure. What the client tells of itself (lag, CPU) is in `Summary.client` and comes from health.py.
"""

from __future__ import annotations

import numpy as np

from loadstone.columns import Columns, Mask, Requests
from loadstone.records import Window

NS = 1e-9


def figures(columns: Columns, steady: Window | None) -> dict[str, float | None]:
    """By name, shares and ratios; None where they cannot be told."""
    r, events = columns.requests, len(columns.events.owner)
    told = r.ok & ~np.isnan(r.asked) & ~np.isnan(r.output_tokens)
    return {
        "shared_reads": columns.shared_reads / events if events else None,
        "length_missed": _share((r.output_tokens != r.asked)[told]),
        "unfinished": _share(~r.finished[r.ok & r.streamed]),
        "rate_ratio": _rate_ratio(r),
        "little": _little(r, steady),
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


def _share(mask: Mask) -> float | None:
    return float(mask.mean()) if len(mask) else None
