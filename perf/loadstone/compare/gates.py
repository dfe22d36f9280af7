"""Gates: objectives that a comparison must meet for a build to pass. config/slo.py has their grammar.

Pure. `ttft.p99 <= +5%` limits the change against base, `ttft.p99 <= 500ms` the new side alone. A gate is met if the
whole interval is within it, missed if none of the interval is, and otherwise unresolved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.compare.verdicts import Interval, SideComparison
from loadstone.config.slo import ATTAINMENT, METRICS, WHOLE, Objective
from loadstone.metrics import slo
from loadstone.metrics.slo import Outcome
from loadstone.report.page import Section, Table


class GateResult(Struct, frozen=True):
    """A gate applied to one new side.

    name: the gate as typed
    side: name of the new side
    reason: a sentence with the figures
    """

    name: str
    side: str
    status: Outcome
    reason: str


def judge(gates: Sequence[Objective], against: Sequence[SideComparison]) -> list[GateResult]:
    """Apply each gate to each new side."""
    return [_apply(gate, side) for side in against for gate in gates]


def failed(results: Sequence[GateResult], strict: bool = False) -> list[GateResult]:
    """Return the gates that fail the build: missed ones and, if `strict`, unresolved ones too."""
    return [gate for gate in results if gate.status == "missed" or (strict and gate.status == "unresolved")]


def section(results: Sequence[GateResult]) -> list[Section]:
    """Return the section of a page that shows the gates; none without gates."""
    rows = [[gate.name, one_line(gate.side), gate.status, gate.reason] for gate in results]
    return [Section("Gates", [Table("Gates", ["gate", "of", "", "why"], rows)])] if rows else []


def missed_sentence(results: Sequence[GateResult]) -> str:
    """Return a sentence that names the gates missed; empty if there are none."""
    missed = [gate.name for gate in results if gate.status == "missed"]
    return f"{len(missed)} of {len(results)} gates missed: {'; '.join(missed)}." if missed else ""


def figure_name(gate: Objective) -> str:
    """Return the name of the figure that a gate is on: that of a metric alone is its mean."""
    return gate.name if gate.figure or METRICS[gate.metric][0] in WHOLE else f"{gate.metric}.mean"


def _apply(gate: Objective, against: SideComparison) -> GateResult:
    name, side, cache = figure_name(gate), against.name, against.cache
    figure = next((figure for figure in against.figures if figure.name == name), None)
    # No figure of the server is what a prefix cache has made: a change between two caches, or a side with a warm one.
    by_cache = cache is not None and not cache.comparable and (gate.relative or cache.new_warm)
    if cache and by_cache and (figure is None or figure.verdict == "not comparable"):
        return GateResult(gate.text, side, "missed", f"{name} is not comparable: {cache.measured}")
    value = None if figure is None else figure.change if gate.relative else figure.new
    if figure is None or value is None:
        reason = "was not measured, or of too few requests"
        if gate.requests:
            reason = f"is unknown: some response has no {' or no '.join(gate.requests)}, or there are too few requests"
        elif gate.metric == ATTAINMENT:
            reason = "is unknown: it needs --goodput in every run and responses with these metrics, or a term that"
            reason += " names what a request must meet: goodput(ttft<200ms) >= 99%"
        if figure is not None and figure.new is not None:
            reason = "has no change: " + ("base has none" if figure.base is None else "it is 0 on one side")
        return GateResult(gate.text, side, "missed", f"{name} {reason}")
    interval = figure.change_interval if gate.relative else figure.new_interval
    return by_interval(gate, side, name, value, interval, lambda value: _format(value, figure.unit, gate.relative))


def by_interval(
    gate: Objective,
    side: str,
    name: str,
    value: float,
    interval: Interval | None,
    show: Callable[[float], str],
    sample: str = "requests or runs",
) -> GateResult:
    """Return the result of a gate by the interval of its figure.

    show: formats a value of the figure
    sample: what there must be more of for a narrower interval
    """
    if interval is None:
        why = f"{name} is {show(value)}; too few {sample} for an interval"
        return GateResult(gate.text, side, "unresolved", why)
    status = slo.judge(slo.Estimate(value, *interval), gate)
    ends = " to ".join(map(show, interval))
    reason = _REASONS[status].format(sample)
    return GateResult(gate.text, side, status, f"{name} is {show(value)} (95 % interval {ends}): {reason}")


_REASONS: dict[Outcome, str] = {
    "met": "all of it is within the gate",
    "missed": "none of it is within the gate",
    "unresolved": "the limit lies inside it; more {} would decide",
}


def _format(value: float, of: str, relative: bool) -> str:
    """Return a value in the unit `of`, or as a change in %."""
    if relative:
        return f"{value:+.1%}"
    forms = {"s": f"{value * 1e3:.4g} ms", "share": f"{value:.2%}"}
    return forms.get(of, f"{value:,.4g} {of}" if of != "/s" else f"{value:,.4g}/s")
