"""Charts of a comparison: the distributions of all sides in one chart, and the changes with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from loadstone.compare.verdicts import Figure, Verdict
from loadstone.metrics.chart_data import Curve
from loadstone.report.page import Axis, Chart, Mark, Role, Series
from loadstone.report.run_tables import LABELS

_ROLES: dict[Verdict, Role] = {
    "better": "good", "worse": "bad", "same": "plain", "differs": "doubt", "inconclusive": "muted",
    "not comparable": "muted",
}  # fmt: skip
# The ratio of the largest to the smallest value above which an axis is logarithmic.
_LOG_RATIO = 20.0
# A change beyond this, and beyond twice the median, is left out of the chart: it would squeeze all others into one
# point. No change is below -1.
_FAR = 1.0


def distributions(names: Sequence[str], curves: Mapping[str, Sequence[Sequence[Curve]]]) -> list[Chart]:
    """Return one chart for each metric that any side has; the runs of a side are lines of one colour."""
    return [_distribution(metric, names, sides) for metric, sides in curves.items() if any(sides)]


def _distribution(metric: str, names: Sequence[str], sides: Sequence[Sequence[Curve]]) -> Chart:
    lowest = min((value for side in sides for curve in side for value in curve.values if value > 0), default=1.0)
    highest = max(curve.values[-1] for side in sides for curve in side)
    log = bool(highest > _LOG_RATIO * lowest)
    zeros = any(curve.values[0] <= 0 for side in sides for curve in side)

    series = []
    for index, side in enumerate(sides):
        # One new side has the colour for it; several take those of the palette.
        role: Role = "base" if index == 0 else "new" if len(sides) == 2 else "plain"
        for number, curve in enumerate(side, 1):
            name = names[index] if len(side) == 1 else f"{names[index]}, run {number}"
            values, fractions = (curve.values * 1e3).tolist(), (curve.fractions * 1e2).tolist()
            series.append(Series(name, values, fractions, kind="step", role=role))

    title = LABELS[metric]
    return Chart(
        title=f"{title[0].upper()}{title[1:]}",
        x=Axis(title, "ms", log=log),
        y=Axis("fraction at or below", "%", low=0.0, high=102.0),
        series=series,
        note="a logarithmic axis cannot show values of 0" if log and zeros else "",
        half=True,
    )


def forest(figures: Sequence[tuple[str, Figure]], margin: float, certain: bool = True) -> Chart:
    """Return a chart of the change of each figure in %, with its interval and the margins.

    certain: False where loads differ or runs have doubts, so that no figure is shown as simply better or worse.
    """
    shown = [(label, figure) for label, figure in figures if figure.change is not None]
    reach = {label: max(map(abs, figure.change_interval or (figure.change or 0.0,))) for label, figure in shown}
    edge = max(_FAR, 2 * median(reach.values())) if reach else _FAR
    far = [label for label, farthest in reach.items() if farthest > edge]

    series = []
    for verdict, role in _ROLES.items():
        group = [(label, figure) for label, figure in shown if figure.verdict == verdict]
        intervals = [figure.change_interval or (None, None) for _, figure in group]
        if group:
            series.append(
                Series(
                    verdict,
                    [label for label, _ in group],
                    [None if figure.change is None else 100 * figure.change for _, figure in group],
                    kind="points",
                    role=role if certain or role not in ("good", "bad") else "doubt",
                    low=[None if low is None else 100 * low for low, _ in intervals],
                    high=[None if high is None else 100 * high for _, high in intervals],
                )
            )
    return Chart(
        title="Changes against base, with 95 % intervals",
        x=Axis("", ""),
        y=Axis("change", "%", low=-100 * _FAR if far else None, high=100 * edge if far else None),
        series=series,
        marks=[
            Mark(0.0, "", axis="y"),
            *(Mark(sign * margin * 100, f"{sign * margin * 100:+.3g}%", axis="y") for sign in (1, -1)),
        ],
        note=f"beyond the chart: {', '.join(far)}" if far else "",
    )
