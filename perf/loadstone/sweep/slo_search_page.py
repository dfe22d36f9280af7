"""What a search for objectives has found, as sections of a page: the answer, and every probe with its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from loadstone.config.schema import flag
from loadstone.report.page import Axis, Chart, Mark, Prose, Role, Section, Series, Table, Tone
from loadstone.sweep.grid import describe
from loadstone.sweep.slo_probe import ObjectiveResult, Probe
from loadstone.sweep.slo_search import SearchOutcome, SearchResult, loads_beyond_client

_UNITS = {"rate": "requests/s", "concurrency": "requests in flight"}
_ROLES: dict[str, Role] = {"met": "good", "missed": "bad", "unresolved": "muted"}


def lead(found: SearchResult) -> Prose:
    told = [
        f"{f'At {describe(one.settings)}: ' if one.settings else ''}{answer(found, one)}." for one in found.outcomes
    ]
    unmet = any(one.answer.low is None for one in found.outcomes)
    open_end = any(one.answer.high is None or one.answer.against for one in found.outcomes)
    tone: Tone = "bad" if unmet else "doubt" if open_end else "good"
    told = [f"{one[0].upper()}{one[1:]}" for one in told]
    return Prose(f"Objectives: {', '.join(found.objectives)}. {' '.join(told)}", tone)


def answer(found: SearchResult, one: SearchOutcome) -> str:
    """As an interval, and what keeps it from being narrower."""
    low, high = one.answer.low, one.answer.high
    if low is None:
        tried = min((probe.load for probe in one.probes), default=0.0)
        open_ = any(probe.call == "unresolved" for probe in one.probes if probe.load == tried)
        surely = "surely " if open_ else ""
        said = f"no load that was tried {surely}meets them, down to {_load(found, tried)}"
        said += ", which stayed unresolved" if open_ else ""
        return f"{said}; {one.said}" if loads_beyond_client(one.probes) else said
    if high is None:
        return f"they are met at {_load(found, low)}, and no higher load was missed: {one.said}"
    said = f"they are met up to {_load(found, low)} and missed from {high:g} on ({high / low - 1:.1%} apart)"
    return said + (f"; {one.said}" if one.said else "")


def _load(found: SearchResult, load: float) -> str:
    unit = _UNITS[found.field]
    return f"{load:g} {unit.replace('requests', 'request', 1) if load == 1 else unit}"


def sections(found: SearchResult) -> Iterator[Section]:
    for one in found.outcomes:
        title = f"Search for the {flag(found.field)}"
        title += f" at {describe(one.settings)}" if one.settings else ""
        said = [Prose(f"{answer(found, one).capitalize()}.")] if one.settings else []
        yield Section(title, [*said, _table(found, one), *_charts(found, one)])


def _table(found: SearchResult, one: SearchOutcome) -> Table:
    columns = [flag(found.field), "call", "confirmed", "runs", "requests", "time", *found.objectives, "because"]
    rows = [_row(probe, len(found.objectives)) for probe in one.probes]
    note = "share of requests beyond a limit, with its interval, of what is allowed; failures are beyond every limit"
    return Table("Probes", columns, rows, note, numeric=True)


def _row(probe: Probe, count: int) -> list[str]:
    looks = [_look(look) if look else "-" for look, _ in zip_longest(probe.looks, range(count))]
    confirmed = "yes" if probe.confirmed else ""
    head = [f"{probe.load:g}", probe.call, confirmed, str(probe.runs), f"{probe.requests:,}", f"{probe.seconds:.3g} s"]
    return [*head, *looks, probe.why or ""]


def _look(look: ObjectiveResult) -> str:
    if look.value is None:
        return "-"
    ends = (
        "" if look.low is None or look.high is None else f" ({_figure(look, look.low)} to {_figure(look, look.high)})"
    )
    far = ", far from the limit all through" if look.far else ""
    return f"{_figure(look, look.value)}{ends} of {_figure(look, look.limit)}: {look.call}{far}"


def _figure(look: ObjectiveResult, value: float) -> str:
    return f"{value:.2%}" if look.share else f"{value * 1e3:.4g} ms"


def _charts(found: SearchResult, one: SearchOutcome) -> Iterator[Chart]:
    """For each objective, the evidence against its limit over the load."""
    for at, name in enumerate(found.objectives):
        looks = [(probe.load, probe.looks[at]) for probe in one.probes if at < len(probe.looks)]
        known = [(load, look) for load, look in looks if look.value is not None and look.low is not None]
        if known and any(look.value for _, look in known):
            yield _chart(found, one, name, known)


def _chart(found: SearchResult, one: SearchOutcome, name: str, known: list[tuple[float, ObjectiveResult]]) -> Chart:
    scale, unit = (100.0, "%") if known[0][1].share else (1e3, "ms")
    series = [_series(call, [(load, look) for load, look in known if look.call == call], scale) for call in _ROLES]
    ends = [("met", one.answer.low), ("missed", one.answer.high)]
    marks = [Mark(load, text) for text, load in ends if load is not None]
    limit = Mark(known[0][1].limit * scale, "allowed", "y")
    what = "requests beyond the limit" if known[0][1].share else "mean"
    return Chart(
        title=name,
        x=Axis(flag(found.field), "1/s" if found.field == "rate" else "", log=True),
        y=Axis(what, unit),
        series=[one for one in series if one.x],
        marks=[*marks, limit],
    )


def _series(call: str, found: list[tuple[float, ObjectiveResult]], scale: float) -> Series:
    def scaled(name: str) -> list[float | None]:
        values = [getattr(look, name) for _, look in found]
        return [None if value is None else value * scale for value in values]

    x = [load for load, _ in found]
    return Series(call, x, scaled("value"), "points", _ROLES[call], scaled("low"), scaled("high"))
