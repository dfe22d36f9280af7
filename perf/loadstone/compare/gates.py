"""Gates: what a comparison must show for a build to pass, as one types it, and whether it does.

Pure. `ttft.p99 <= +5%` is about the change against base, `ttft.p99 <= 500ms` about the new side alone. A gate is missed
where even the end of the interval that favours it breaks it, met where the whole interval keeps it, else unresolved.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from loadstone.compare.estimate import POOLED, SERIES, STATS
from loadstone.compare.verdicts import Against, Figure, Interval, names, unit
from loadstone.errors import UsageError
from loadstone.metrics.slo import Outcome

FORM = "METRIC[.STAT] <= LIMIT, such as 'ttft.p99 <= +5%, output_throughput >= -2%' or 'ttft.p99 <= 500ms'"
_ALIASES = {"e2el": "latency"}
_GATE = re.compile(r"([a-z0-9_]+)(?:\.([a-z0-9_.]+))?\s*(<=|>=|<|>)\s*([+-]?)(\d+\.?\d*|\.\d+)\s*(%|us|ms|s|m|min|/s|)")
_SENSES = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}


class Gate(Struct, frozen=True):
    """`text` as typed. `limit`: a share of base where `relative`, else in the figure's unit."""

    text: str
    figure: str
    sense: str
    limit: float
    relative: bool


class Judged(Struct, frozen=True):
    """`side`: the name of the new side; `reason` is a sentence with the figures."""

    name: str
    side: str
    status: Outcome
    reason: str


def parse(text: str) -> list[Gate]:
    """Gates with commas or semicolons between them. Raises UsageError."""
    parts = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    if not parts:
        raise UsageError(f"--gate takes {FORM}, not {text!r}")
    return [_gate(part) for part in parts]


def _gate(text: str) -> Gate:
    match = _GATE.fullmatch(text)
    if match is None:
        raise UsageError(f"--gate takes {FORM}, not {text!r}")
    metric, stat, sense, sign, number, suffix = match.groups(default="")
    name = _figure(_ALIASES.get(metric, metric), stat, text)
    limit, relative = float(sign + number), suffix == "%" and bool(sign)
    if suffix == "%" and not sign and name != "error_rate":
        raise UsageError(f"--gate {text!r}: a change has its sign, write +{number}% or -{number}%")
    if relative and name == "error_rate":
        raise UsageError(f"--gate {text!r}: an error rate is held against a share of requests, write {number}%")
    return Gate(text, name, sense, limit / 100 if suffix == "%" else _absolute(name, limit, suffix, text), relative)


def _figure(metric: str, stat: str, text: str) -> str:
    """The figure meant; a metric alone means its mean."""
    name = f"{metric}.{stat or 'mean'}" if metric in (*SERIES, *POOLED) else metric + (stat and f".{stat}")
    if name not in names():
        known = [*dict.fromkeys(name.partition(".")[0] for name in names())]
        near = difflib.get_close_matches(metric, known, 1)
        what = f"did you mean {near[0]}?" if near and near[0] != metric else f"statistics are {', '.join(STATS)}"
        raise UsageError(
            f"--gate {text!r}: there is no figure {name}; {what if near else 'known: ' + ', '.join(known)}"
        )
    return name


def _absolute(name: str, limit: float, suffix: str, text: str) -> float:
    of = unit(name)
    if of == "s" and suffix in _SECONDS:
        return limit * _SECONDS[suffix]
    if of == "s" or (suffix and not (suffix == "/s" and of.endswith("/s"))):
        wanted = "a time such as 500ms" if of == "s" else "a share such as 1%" if of == "share" else "a number alone"
        raise UsageError(f"--gate {text!r}: {name} takes {wanted}, or a change such as +5%")
    return limit


def judge(gates: Sequence[Gate], against: Sequence[Against]) -> list[Judged]:
    """Each gate for each new side."""
    return [
        _judged(gate, side.name, {figure.name: figure for figure in side.figures}) for side in against for gate in gates
    ]


def failed(judged: Sequence[Judged], strict: bool = False) -> list[Judged]:
    """The gates that stop a build: missed ones and, if `strict`, unresolved ones too."""
    return [gate for gate in judged if gate.status == "missed" or (strict and gate.status == "unresolved")]


def _judged(gate: Gate, side: str, figures: Mapping[str, Figure]) -> Judged:
    figure = figures.get(gate.figure)
    value = None if figure is None else figure.change if gate.relative else figure.new
    if figure is None or value is None:
        return Judged(gate.text, side, "missed", f"{gate.figure} {_absent(figure)}")
    interval = figure.change_interval if gate.relative else figure.new_interval
    shown = _show(value, figure.unit, gate.relative)
    if interval is None:
        return Judged(gate.text, side, "unresolved", f"{gate.figure} is {shown}; too few requests for an interval")
    ends = " to ".join(_show(end, figure.unit, gate.relative) for end in interval)
    status = _status(gate, interval)
    return Judged(gate.text, side, status, f"{gate.figure} is {shown} (95 % interval {ends}): {_WORDS[status]}")


_WORDS: dict[Outcome, str] = {
    "met": "all of it is within the gate",
    "missed": "none of it is within the gate",
    "unresolved": "the gate is within it, more requests or runs would tell",
}


def _absent(figure: Figure | None) -> str:
    if figure is None or figure.new is None:
        return "was not measured, or of too few requests"
    return "has no change: " + ("base has none" if figure.base is None else "it is 0 on one side")


def _status(gate: Gate, interval: Interval) -> Outcome:
    kept = [_keeps(end, gate) for end in interval]
    return "met" if all(kept) else "unresolved" if any(kept) else "missed"


def _keeps(value: float, gate: Gate) -> bool:
    return bool(_SENSES[gate.sense](value, gate.limit))


def _show(value: float, of: str, relative: bool) -> str:
    if relative:
        return f"{value:+.1%}"
    forms = {"s": f"{value * 1e3:.4g} ms", "share": f"{value:.2%}"}
    return forms.get(of, f"{value:,.4g} {of}" if of != "/s" else f"{value:,.4g}/s")
