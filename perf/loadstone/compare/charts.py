"""Charts of a comparison: distributions of all sides over each other, and the changes with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from loadstone.compare.verdicts import Figure, Verdict
from loadstone.metrics.chart_data import Curve
from loadstone.report.page import Axis, Chart, Mark, Role, Series
from loadstone.report.run_tables import LABELS

_ROLES: dict[Verdict, Role] = {
    "better": "good", "worse": "bad", "same": "plain", "differs": "doubt", "inconclusive": "muted",
}  # fmt: skip
# From this many times the smallest value on, an axis is in powers of ten.
_SPREAD = 20.0
# A change beyond this and twice the common one leaves the chart, or all others would be one point. None is lower.
_FAR = 1.0


def distributions(names: Sequence[str], curves: Mapping[str, Sequence[Sequence[Curve]]]) -> list[Chart]:
    """One chart for each metric that any side has; several runs of a side are lines of one colour."""
    return [_overlaid(metric, names, sides) for metric, sides in curves.items() if any(sides)]


def _overlaid(metric: str, names: Sequence[str], sides: Sequence[Sequence[Curve]]) -> Chart:
    lowest = min((value for side in sides for curve in side for value in curve.values if value > 0), default=1.0)
    highest = max(curve.values[-1] for side in sides for curve in side)
    wide = bool(highest > _SPREAD * lowest)
    title = LABELS[metric]
    return Chart(
        title=f"{title[0].upper()}{title[1:]}",
        x=Axis(title, "ms", log=wide),
        y=Axis("share at or below", "%", low=0.0, high=102.0),
        series=[
            _line(names[place] if len(side) == 1 else f"{names[place]}, run {number}", curve, _role(place, len(sides)))
            for place, side in enumerate(sides)
            for number, curve in enumerate(side, 1)
        ],
        note="values of 0 have no place on this axis" if wide and any(
            curve.values[0] <= 0 for side in sides for curve in side) else "",
        half=True,
    )  # fmt: skip


def _role(place: int, sides: int) -> Role:
    """With one new side it has its colour; more take those of the palette."""
    return "base" if place == 0 else "new" if sides == 2 else "plain"


def _line(name: str, curve: Curve, role: Role) -> Series:
    values, shares = (curve.values * 1e3).tolist(), (curve.fractions * 1e2).tolist()
    return Series(name, values, shares, kind="step", role=role)


def forest(figures: Sequence[tuple[str, Figure]], margin: float) -> Chart:
    """The change of each figure in %, with its interval; margins are marked."""
    shown = [(label, figure) for label, figure in figures if figure.change is not None]
    found = {verdict: [(label, figure) for label, figure in shown if figure.verdict == verdict] for verdict in _ROLES}
    reach = {label: max(map(abs, figure.change_interval or (figure.change or 0.0,))) for label, figure in shown}
    edge = max(_FAR, 2 * median(reach.values())) if reach else _FAR
    far = [label for label, most in reach.items() if most > edge]
    return Chart(
        title="Changes against base, with 95 % intervals",
        x=Axis("", ""),
        y=Axis("change", "%", low=-100 * _FAR if far else None, high=100 * edge if far else None),
        series=[_changes(verdict, group) for verdict, group in found.items() if group],
        marks=[
            Mark(0.0, "", axis="y"),
            *(Mark(sign * margin * 100, f"{sign * margin * 100:+.3g}%", axis="y") for sign in (1, -1)),
        ],
        note=f"beyond the chart: {', '.join(far)}" if far else "",
    )


def _changes(verdict: Verdict, group: Sequence[tuple[str, Figure]]) -> Series:
    intervals = [figure.change_interval or (None, None) for _, figure in group]
    return Series(
        verdict,
        [label for label, _ in group],
        [None if figure.change is None else 100 * figure.change for _, figure in group],
        kind="points",
        role=_ROLES[verdict],
        low=[None if low is None else 100 * low for low, _ in intervals],
        high=[None if high is None else 100 * high for _, high in intervals],
    )
