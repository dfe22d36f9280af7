"""Groups of requests that are measured on their own: the whole run, its steady window, stages, turns, models ...

Pure: defines which requests and which window a group has. measure.py computes the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from msgspec import Struct

from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.windows import Span, sent_within
from loadstone.summary import RunInfo
from loadstone.units import NS_PER_S, Array, Mask

# Turns of a conversation that have a group of their own.
TURNS = 10
# Most bins of input tokens.
BINS = 8
# Ratio of longest to shortest input from which on there are bins.
SPREAD = 2.0


class GroupMembers(Struct, frozen=True):
    """The requests of a group.

    span: window of its rates, ns.
    members: requests of its distributions.
    counted: requests whose ends and tokens within the span make its rates.
    present: requests whose time in flight makes its concurrency; None for all.
    failures: whether failed requests can be members.
    """

    name: str
    span: Span
    members: Mask
    counted: Mask
    present: Mask | None = None
    failures: bool = True


def whole(requests: Requests, span: Span) -> GroupMembers:
    """Return the group of all measured requests."""
    return GroupMembers("whole", span, requests.measured & sent_within(requests, span), requests.measured)


def steady(requests: Requests, span: Span) -> GroupMembers:
    """Return the measured requests sent in the span. Rates are those of the server: all requests count."""
    everyone = np.ones_like(requests.measured)
    return GroupMembers("steady", span, requests.measured & sent_within(requests, span), everyone)


def split(columns: Columns, run: RunInfo, span: Span) -> dict[str, list[GroupMembers]]:
    """Return the groups by kind, in the order of reports. A kind with a single group is left out."""
    r = columns.requests
    done = r.measured & r.ok
    last_turn = int(np.nan_to_num(r.turn[r.measured]).max(initial=0))
    kinds: dict[str, Iterable[GroupMembers]] = {}
    if not np.isnan(r.stage).all():
        kinds["stage"] = _stages(r, run, span)
    if last_turn > 1:
        kinds["turn"] = _named(r, span, _turns(last_turn), r.turn)
    if len(columns.models) > 1:
        names = sorted((name, index, index) for index, name in enumerate(columns.models))
        kinds["model"] = _named(r, span, names, r.model)
    if np.nan_to_num(r.server).any():
        kinds["server"] = _named(r, span, _servers(r.server[r.measured], run), r.server)
    # By input only successful requests: servers do not report the input of failed ones.
    kinds["input"] = _named(
        r, span, _bins(r.input_tokens[done]), np.where(done, r.input_tokens, np.nan), failures=False
    )
    groups = {kind: [group for group in candidates if group.members.any()] for kind, candidates in kinds.items()}
    return {kind: found for kind, found in groups.items() if len(found) > 1}


def _named(
    r: Requests, span: Span, ranges: Iterable[tuple[str, float, float]], values: Array, failures: bool = True
) -> Iterator[GroupMembers]:
    """Yield a group for each range of values; ranges include both ends."""
    for name, low, high in ranges:
        members = r.measured & (values >= low) & (values <= high)
        yield GroupMembers(name, span, members, members, members, failures)


def _stages(r: Requests, run: RunInfo, span: Span) -> Iterator[GroupMembers]:
    """Yield a group for each stage: its arrivals, however late they end. Rates are those of the server meanwhile."""
    stages = {stage.index: stage for stage in run.stages}
    for index in np.unique(r.stage[r.measured & ~np.isnan(r.stage)]).astype(int).tolist():
        members, stage = r.measured & (r.stage == index), stages.get(index)
        if stage is None:
            name, begin, end = str(index + 1), float(r.scheduled[members].min()), float(r.end[members].max())
        else:
            name, begin, end = f"{index + 1}: {stage.name}", stage.start * NS_PER_S, stage.end * NS_PER_S
        yield GroupMembers(name, (max(begin, span[0]), min(end, span[1])), members, np.ones_like(r.measured))


def _turns(last: int) -> Iterator[tuple[str, float, float]]:
    yield "1", 1, 1
    yield "later", 2, last
    if last > 2:
        yield from ((str(turn), turn, turn) for turn in range(2, min(last, TURNS) + 1))


def _servers(servers: Array, run: RunInfo) -> Iterator[tuple[str, float, float]]:
    urls = run.config.url
    names = urls if isinstance(urls, list) else []
    for server in np.unique(servers[~np.isnan(servers)]).astype(int).tolist():
        yield f"{server + 1}: {names[server]}" if server < len(names) else str(server + 1), server, server


def _bins(tokens: Array) -> Iterator[tuple[str, float, float]]:
    """Yield bins of input tokens, bounded by powers of two, or of four, eight ... if there would be too many."""
    tokens = tokens[~np.isnan(tokens)]
    if not len(tokens) or tokens.max() <= SPREAD * tokens.min():
        return
    powers = np.log2(np.maximum(tokens, 1)).astype(int)
    step = next(step for step in range(1, 64) if len(np.unique(powers // step)) <= BINS)
    for index in np.unique(powers // step).tolist():
        low, high = 2 ** (step * index), 2 ** (step * (index + 1)) - 1
        yield f"{low if index else 0}-{high}", low if index else 0, high
