"""Gates: conditions that a comparison must meet for a build to pass, as typed on the command line.

Pure. `ttft.p99 <= +5%` limits the change against base, `ttft.p99 <= 500ms` the new side alone. A gate is met if the
whole interval is within it, missed if none of the interval is, and otherwise unresolved.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from loadstone.compare.estimate import POOLED, SERIES, STATS
from loadstone.compare.verdicts import Figure, SideComparison, figure_names, unit
from loadstone.errors import ConfigError
from loadstone.metrics.slo import Outcome

FORM = "METRIC[.STAT] <= LIMIT, such as 'ttft.p99 <= +5%, output_throughput >= -2%' or 'ttft.p99 <= 500ms'"
_ALIASES = {"e2el": "latency"}
_GATE = re.compile(r"([a-z0-9_]+)(?:\.([a-z0-9_.]+))?\s*(<=|>=|<|>)\s*([+-]?)(\d+\.?\d*|\.\d+)\s*(%|us|ms|s|m|min|/s|)")
_SENSES = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}


class Gate(Struct, frozen=True):
    """A condition.

    text: as typed
    figure: its name, such as `ttft.p99`
    sense: `<=`, `>=`, `<` or `>`
    limit: a fraction of base where `relative`, else in the unit of the figure
    """

    text: str
    figure: str
    sense: str
    limit: float
    relative: bool


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


def parse(text: str) -> list[Gate]:
    """Parse gates separated by commas or semicolons. Raise ConfigError for any that is not valid."""
    parts = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    if not parts:
        raise ConfigError(f"--gate takes {FORM}, not {text!r}", field="gate")
    return [_parse_gate(part) for part in parts]


def _parse_gate(text: str) -> Gate:
    match = _GATE.fullmatch(text)
    if match is None:
        raise ConfigError(f"--gate takes {FORM}, not {text!r}", field="gate")
    metric, stat, sense, sign, number, suffix = match.groups(default="")
    name = _figure_name(_ALIASES.get(metric, metric), stat, text)
    limit = float(sign + number)

    # A percentage with a sign is a change against base; without one, a fraction of requests.
    if suffix == "%" and not sign and name != "error_rate":
        raise ConfigError(f"--gate {text!r}: a change has its sign, write +{number}% or -{number}%", field="gate")
    if suffix == "%" and sign and name == "error_rate":
        raise ConfigError(
            f"--gate {text!r}: an error rate is held against a share of requests, write {number}%", field="gate"
        )
    if suffix == "%":
        return Gate(text, name, sense, limit / 100, relative=bool(sign))

    # An absolute limit, in the unit of the figure.
    of = unit(name)
    if of == "s" and suffix in _SECONDS:
        limit *= _SECONDS[suffix]
    elif of == "s" or (suffix and not (suffix == "/s" and of.endswith("/s"))):
        form = "a time such as 500ms" if of == "s" else "a share such as 1%" if of == "share" else "a number alone"
        raise ConfigError(f"--gate {text!r}: {name} takes {form}, or a change such as +5%", field="gate")
    return Gate(text, name, sense, limit, relative=False)


def _figure_name(metric: str, stat: str, text: str) -> str:
    """Return the name of the figure; a metric alone means its mean. Raise ConfigError for an unknown one."""
    name = f"{metric}.{stat or 'mean'}" if metric in (*SERIES, *POOLED) else metric + (stat and f".{stat}")
    if name not in figure_names():
        known = [*dict.fromkeys(name.partition(".")[0] for name in figure_names())]
        near = difflib.get_close_matches(metric, known, 1)
        what = f"did you mean {near[0]}?" if near and near[0] != metric else f"statistics are {', '.join(STATS)}"
        raise ConfigError(
            f"--gate {text!r}: there is no figure {name}; {what if near else 'known: ' + ', '.join(known)}",
            field="gate",
        )
    return name


def judge(gates: Sequence[Gate], against: Sequence[SideComparison]) -> list[GateResult]:
    """Apply each gate to each new side."""
    return [
        _apply(gate, side.name, {figure.name: figure for figure in side.figures}) for side in against for gate in gates
    ]


def failed(results: Sequence[GateResult], strict: bool = False) -> list[GateResult]:
    """Return the gates that fail the build: missed ones and, if `strict`, unresolved ones too."""
    return [gate for gate in results if gate.status == "missed" or (strict and gate.status == "unresolved")]


def _apply(gate: Gate, side: str, figures: Mapping[str, Figure]) -> GateResult:
    figure = figures.get(gate.figure)
    value = None if figure is None else figure.change if gate.relative else figure.new
    if figure is None or value is None:
        reason = "was not measured, or of too few requests"
        if figure is not None and figure.new is not None:
            reason = "has no change: " + ("base has none" if figure.base is None else "it is 0 on one side")
        return GateResult(gate.text, side, "missed", f"{gate.figure} {reason}")
    interval = figure.change_interval if gate.relative else figure.new_interval
    shown = _format(value, figure.unit, gate.relative)
    if interval is None:
        return GateResult(gate.text, side, "unresolved", f"{gate.figure} is {shown}; too few requests for an interval")
    ends = " to ".join(_format(end, figure.unit, gate.relative) for end in interval)
    within = [bool(_SENSES[gate.sense](end, gate.limit)) for end in interval]
    status: Outcome = "met" if all(within) else "unresolved" if any(within) else "missed"
    return GateResult(gate.text, side, status, f"{gate.figure} is {shown} (95 % interval {ends}): {_REASONS[status]}")


_REASONS: dict[Outcome, str] = {
    "met": "all of it is within the gate",
    "missed": "none of it is within the gate",
    "unresolved": "the limit lies inside it; more requests or runs would decide",
}


def _format(value: float, of: str, relative: bool) -> str:
    """Return a value in the unit `of`, or as a change in %."""
    if relative:
        return f"{value:+.1%}"
    forms = {"s": f"{value * 1e3:.4g} ms", "share": f"{value:.2%}"}
    return forms.get(of, f"{value:,.4g} {of}" if of != "/s" else f"{value:,.4g}/s")
