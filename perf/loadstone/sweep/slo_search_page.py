"""The result of a search for objectives, as sections of a page: the answer, and every probe with its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from loadstone.config.schema import flag
from loadstone.report.page import Axis, Chart, Mark, Prose, Role, Section, Series, Table, Tone
from loadstone.sweep.grid import describe
from loadstone.sweep.slo_probe import ObjectiveResult
from loadstone.sweep.slo_search import SearchOutcome, SearchResult, loads_beyond_client

_UNITS = {"rate": "requests/s", "concurrency": "requests in flight"}
_ROLES: dict[str, Role] = {"met": "good", "missed": "bad", "unresolved": "muted"}


def lead(result: SearchResult) -> Prose:
    """Return the answers of a search, one sentence for each combination of the other settings."""
    sentences = []
    for outcome in result.outcomes:
        text = f"At {describe(outcome.settings)}: " if outcome.settings else ""
        text += f"{answer(result, outcome)}."
        sentences.append(f"{text[0].upper()}{text[1:]}")
    unmet = any(outcome.answer.low is None for outcome in result.outcomes)
    unsure = any(outcome.answer.high is None or outcome.answer.against for outcome in result.outcomes)
    tone: Tone = "bad" if unmet else "doubt" if unsure else "good"
    return Prose(f"Objectives: {', '.join(result.objectives)}. {' '.join(sentences)}", tone)


def answer(result: SearchResult, outcome: SearchOutcome) -> str:
    """Return the answer as an interval, and what keeps it from being narrower."""
    low, high = outcome.answer.low, outcome.answer.high
    if low is None:
        lowest = min((probe.load for probe in outcome.probes), default=0.0)
        unresolved = any(probe.call == "unresolved" for probe in outcome.probes if probe.load == lowest)
        certain = "certainly " if unresolved else ""
        text = f"no load that was tried {certain}meets them, down to {_load(result, lowest)}"
        text += ", which stayed unresolved" if unresolved else ""
        return f"{text}; {outcome.said}" if loads_beyond_client(outcome.probes) else text
    if high is None:
        return f"they are met at {_load(result, low)}, and no higher load was missed: {outcome.said}"
    text = f"they are met up to {_load(result, low)} and missed from {high:g} on ({high / low - 1:.1%} apart)"
    return text + (f"; {outcome.said}" if outcome.said else "")


def _load(result: SearchResult, load: float) -> str:
    unit = _UNITS[result.field]
    return f"{load:g} {unit.replace('requests', 'request', 1) if load == 1 else unit}"


def sections(result: SearchResult) -> Iterator[Section]:
    """Yield a section for each combination of the other settings."""
    for outcome in result.outcomes:
        title = f"Search for the {flag(result.field)}"
        title += f" at {describe(outcome.settings)}" if outcome.settings else ""
        text = [Prose(f"{answer(result, outcome).capitalize()}.")] if outcome.settings else []
        yield Section(title, [*text, _table(result, outcome), *_charts(result, outcome)])


def _table(result: SearchResult, outcome: SearchOutcome) -> Table:
    columns = [flag(result.field), "call", "confirmed", "runs", "requests", "time", *result.objectives, "because"]
    rows = []
    for probe in outcome.probes:
        objectives = [_objective(one) if one else "-" for one, _ in zip_longest(probe.looks, result.objectives)]
        confirmed = "yes" if probe.confirmed else ""
        counts = [str(probe.runs), f"{probe.requests:,}", f"{probe.seconds:.3g} s"]
        rows.append([f"{probe.load:g}", probe.call, confirmed, *counts, *objectives, probe.why or ""])
    note = (
        "fraction of requests beyond a limit, with its interval, of the fraction allowed; failures are beyond every"
        " limit"
    )
    return Table("Probes", columns, rows, note, numeric=True)


def _objective(result: ObjectiveResult) -> str:
    if result.value is None:
        return "-"
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f" ({_value(result, result.low)} to {_value(result, result.high)})"
    far = ", all parts of the run far from the limit" if result.far else ""
    return f"{_value(result, result.value)}{interval} of {_value(result, result.limit)}: {result.call}{far}"


def _value(result: ObjectiveResult, value: float) -> str:
    return f"{value:.2%}" if result.share else f"{value * 1e3:.4g} ms"


def _charts(result: SearchResult, outcome: SearchOutcome) -> Iterator[Chart]:
    """Yield a chart for each objective: what was measured, over the load, with the limit."""
    for index, name in enumerate(result.objectives):
        all_results = [(probe.load, probe.looks[index]) for probe in outcome.probes if index < len(probe.looks)]
        known = [(load, one) for load, one in all_results if one.value is not None and one.low is not None]
        if not any(one.value for _, one in known):
            continue
        share = known[0][1].share
        scale, unit = (100.0, "%") if share else (1e3, "ms")
        calls = {call: [(load, one) for load, one in known if one.call == call] for call in _ROLES}
        ends = [("met", outcome.answer.low), ("missed", outcome.answer.high)]
        yield Chart(
            title=name,
            x=Axis(flag(result.field), "1/s" if result.field == "rate" else "", log=True),
            y=Axis("requests beyond the limit" if share else "mean", unit),
            series=[_series(call, points, scale) for call, points in calls.items() if points],
            marks=[
                *(Mark(load, text) for text, load in ends if load is not None),
                Mark(known[0][1].limit * scale, "allowed", "y"),
            ],
        )


def _series(call: str, points: list[tuple[float, ObjectiveResult]], scale: float) -> Series:
    def scaled(name: str) -> list[float | None]:
        values = [getattr(result, name) for _, result in points]
        return [None if value is None else value * scale for value in values]

    x = [load for load, _ in points]
    return Series(call, x, scaled("value"), "points", _ROLES[call], scaled("low"), scaled("high"))
