"""Parts of a run to measure each on its own: the whole, its steady window, and by stage, turn, model, server or input.

Pure: says which requests and which stretch of time a part is made of, and leaves the numbers to measure.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.windows import Span, sent_within
from loadstone.units import NS_PER_S, Array, Mask

TURNS = 10
# Bins of input tokens at most.
BINS = 8
# How many times the shortest input the longest must be before there are bins.
SPREAD = 2.0


class GroupMembers(Struct, frozen=True):
    """`members` give the distributions; what they share in time, the rates: ends and tokens of `counted` requests that
    fall into the span, and the time that `present` ones (None: all) are in flight. `failures`: are among them."""

    name: str
    span: Span
    members: Mask
    counted: Mask
    present: Mask | None = None
    failures: bool = True


def whole(requests: Requests, span: Span) -> GroupMembers:
    """The measured requests and what came of them."""
    return GroupMembers("whole", span, requests.measured & sent_within(requests, span), requests.measured)


def steady(requests: Requests, span: Span) -> GroupMembers:
    """Measured requests sent in the span; its rates are what the server carried, warm-up and cool-down included."""
    everyone = np.ones_like(requests.measured)
    return GroupMembers("steady", span, requests.measured & sent_within(requests, span), everyone)


def split(columns: Columns, run: Mapping[str, Any], span: Span) -> dict[str, list[GroupMembers]]:
    """By kind, in the order in which they are shown. A kind of which there is one part only is left out."""
    r = columns.requests
    kinds = {
        "stage": _stages(r, run, span),
        "turn": _named(r, span, _turns(r.turn[r.measured]), r.turn),
        "model": _named(r, span, iter(sorted((name, at, at) for at, name in enumerate(columns.models))), r.model),
        "server": _named(r, span, _servers(r.server[r.measured], run), r.server),
        "input": _inputs(r, span),
    }
    parts = {kind: [part for part in found if part.members.any()] for kind, found in kinds.items()}
    return {kind: found for kind, found in parts.items() if len(found) > 1}


def _named(
    r: Requests, span: Span, ranges: Iterator[tuple[str, float, float]], values: Array
) -> Iterator[GroupMembers]:
    """Parts with values from `low` to `high`, both included, over the whole run."""
    for name, low, high in ranges:
        members = r.measured & (values >= low) & (values <= high)
        yield GroupMembers(name, span, members, members, members)


def _inputs(r: Requests, span: Span) -> Iterator[GroupMembers]:
    """Successes alone: of a failure, servers do not tell the input."""
    done = r.measured & r.ok
    for part in _named(r, span, _bins(r.input_tokens[done]), np.where(done, r.input_tokens, np.nan)):
        yield msgspec.structs.replace(part, failures=False)


def _stages(r: Requests, run: Mapping[str, Any], span: Span) -> Iterator[GroupMembers]:
    """Members are the arrivals of a stage, however late they end; rates are of what the server carried meanwhile."""
    told = {stage["index"]: stage for stage in run.get("stages") or ()}
    for index in np.unique(r.stage[r.measured & ~np.isnan(r.stage)]).astype(int).tolist():
        members, stage = r.measured & (r.stage == index), told.get(index)
        if stage is None:
            name, begin, end = str(index + 1), float(r.scheduled[members].min()), float(r.end[members].max())
        else:
            name, begin, end = f"{index + 1}: {stage['name']}", stage["start"] * NS_PER_S, stage["end"] * NS_PER_S
        yield GroupMembers(name, (max(begin, span[0]), min(end, span[1])), members, np.ones_like(r.measured))


def _turns(turns: Array) -> Iterator[tuple[str, float, float]]:
    last = int(np.nan_to_num(turns).max(initial=0))
    yield "1", 1, 1
    yield "later", 2, last
    if last > 2:
        yield from ((str(turn), turn, turn) for turn in range(2, min(last, TURNS) + 1))


def _servers(servers: Array, run: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    urls = (run.get("config") or {}).get("url")
    told = urls if isinstance(urls, list) else []
    for server in np.unique(servers[~np.isnan(servers)]).astype(int).tolist():
        yield f"{server + 1}: {told[server]}" if server < len(told) else str(server + 1), server, server


def _bins(tokens: Array) -> Iterator[tuple[str, float, float]]:
    """Powers of two apart, or of four, eight ... where that would make too many bins."""
    tokens = tokens[~np.isnan(tokens)]
    if not len(tokens) or tokens.max() <= SPREAD * tokens.min():
        return
    powers = np.log2(np.maximum(tokens, 1)).astype(int)
    step = next(step for step in range(1, 64) if len(np.unique(powers // step)) <= BINS)
    for place in np.unique(powers // step).tolist():
        low, high = 2 ** (step * place), 2 ** (step * (place + 1)) - 1
        yield f"{low if place else 0}-{high}", low if place else 0, high
