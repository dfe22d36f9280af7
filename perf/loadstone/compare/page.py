"""A comparison as a page for people: the verdict, what differs around it, gates, figures, and how to read them.

Its charts are overlay.py's. Times in ms; what is not known is `-`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from loadstone.checks.finding import plain
from loadstone.compare import charts
from loadstone.compare.gates import Judged
from loadstone.compare.verdicts import HEADLINE, POINTS, Against, Comparison, Figure, Health, Interval, Setting
from loadstone.metrics.chart_data import Curve
from loadstone.report.json import to_json
from loadstone.report.page import Block, Page, Prose, Section, Table, Tone
from loadstone.report.run_tables import LABELS, number

_RATES = {
    "qps": "QPS",
    "output_throughput": "output throughput",
    "total_throughput": "total throughput",
    "goodput": "goodput",
    "error_rate": "error rate",
}
_TONES: dict[str, Tone] = {"better": "good", "same": "good", "worse": "bad", "mixed": "doubt", "inconclusive": "doubt"}
# Metrics that are mostly one and the same: shown where they are not.
_TWINS = {"ttfat": "ttft", "packet_time": "tpot", "itl": "gap", "ttft_scheduled": "ttft"}
_COLUMNS = ["times in ms", "base", "new", "change", "95 % interval", "p", "verdict", "would take"]
_LONGEST = 60


def page(
    comparison: Comparison, judged: Sequence[Judged] = (), curves: Mapping[str, Sequence[Sequence[Curve]]] | None = None
) -> Page:
    """`curves`: by metric, the distributions of the runs of each side, for the charts."""
    names = [side.name for side in comparison.sides]
    sections = [
        Section("What is compared", list(_setting(comparison))),
        *([Section("Gates", [_gates(judged)])] if judged else []),
        *(Section(f"{against.name} against {names[0]}", list(_figures(against, comparison)))
          for against in comparison.against),
        *([Section("Distributions", charts.distributions(names, curves))] if curves else []),
        Section("How to read this", [Prose(text) for text in _reading(comparison)]),
    ]  # fmt: skip
    return Page(f"{', '.join(names[1:])} against {names[0]}", _lead(comparison, judged), sections)


def json(comparison: Comparison, judged: Sequence[Judged] = ()) -> str:
    """The comparison as it is, with its gates; docs/comparing.md tells the fields."""
    return to_json(msgspec.to_builtins(comparison) | {"gates": msgspec.to_builtins(judged)})


def label(name: str) -> str:
    """`TTFT p99` for `ttft.p99`."""
    metric, _, stat = name.partition(".")
    return f"{LABELS.get(metric, _RATES.get(metric, metric))} {stat}".strip()


def _lead(comparison: Comparison, judged: Sequence[Judged]) -> Prose:
    texts = [_sentence(against, comparison) for against in comparison.against]
    missed = [gate for gate in judged if gate.status == "missed"]
    if missed:
        texts.insert(0, f"{len(missed)} of {len(judged)} gates missed: {'; '.join(gate.name for gate in missed)}.")
    verdicts = [against.verdict for against in comparison.against]
    tone = _TONES[min(verdicts, key=("worse", "mixed", "inconclusive", "better", "same").index)]
    return Prose(" ".join(texts), "bad" if missed else tone)


def _sentence(against: Against, comparison: Comparison) -> str:
    head = [figure for figure in against.figures if figure.family in HEADLINE]
    parts = [f"{verdict}: {_most(found)}" for verdict in ("worse", "better")
             if (found := [figure for figure in head if figure.verdict == verdict])]  # fmt: skip
    count = sum(figure.verdict == "same" for figure in head)
    parts += [f"same within {comparison.margin * 100:g}%: {count} figures"] if count else []
    parts += [_undecided(open_)] if (open_ := [figure for figure in head if figure.verdict == "inconclusive"]) else []
    return f"{plain(against.name)} is {_WORDS[against.verdict]} {plain(comparison.sides[0].name)}. " + _capital(
        "; ".join(parts) + "." if parts else ""
    )


_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "mixed": "better in part and worse in part than",
    "same": "the same as",
    "inconclusive": "not told apart from",
}


def _most(found: Sequence[Figure]) -> str:
    """The surest of them, with its interval, and how many more."""
    first = min(found, key=lambda figure: (figure.p or 0.0, -abs(figure.change or 0.0)))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{label(first.name)} {_change(first)} (95 % interval {_interval(first)}){more}"


def _undecided(found: Sequence[Figure]) -> str:
    told = [figure for figure in found if figure.wanted is not None]
    figures = "1 figure" if len(found) == 1 else f"{len(found)} figures"
    if not told:
        return f"inconclusive: {figures}"
    least, most = (pick(told, key=lambda figure: figure.wanted or 0) for pick in (min, max))
    ends = f"{label(least.name)} {_wanted(least)}" + (f", {label(most.name)} {_wanted(most)}" if most != least else "")
    return f"inconclusive: {figures}, which would take ({ends})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _setting(comparison: Comparison) -> Iterator[Block]:
    """What is around the figures: prompts, settings, clients."""
    names = [side.name for side in comparison.sides]
    if comparison.same_prompts is False:
        yield Prose("The runs did not send the same requests: a difference may be that of the prompts.", "doubt")
    elif comparison.same_prompts:
        yield Prose("All sides sent the same requests" + (", in the same order." if comparison.same_schedule else "."))
    rows = [[setting.name, *(plain(" | ".join(value), _LONGEST) for value in setting.values)]
            for setting in comparison.settings]  # fmt: skip
    if rows:
        yield Table("Settings that differ", ["", *names], rows, _within(comparison.settings))
    else:
        yield Prose("No setting, server, host or version differs, as far as the runs tell.")
    yield _health([(side.name, run) for side in comparison.sides for run in side.runs])


def _within(settings: Sequence[Setting]) -> str:
    mixed = [setting.name for setting in settings if any(len(value) > 1 for value in setting.values)]
    return f"runs of one side differ in {', '.join(mixed)}" if mixed else ""


def _health(runs: Sequence[tuple[str, Health]]) -> Table:
    rows = [
        [
            plain(run.run),
            run.status,
            f"{run.succeeded:,}",
            f"{run.failed:,}",
            _form(run.cpu_share, "{:.0%}"),
            number(run.loop_lag_p99, "s"),
            number(run.send_lag_p99, "s"),
            plain("; ".join(run.doubts)) or "-",
        ]
        for _, run in runs
    ]
    columns = ["run", "check", "succeeded", "failed", "client CPU", "loop lag p99, ms", "send lag p99, ms", "doubts"]
    return Table("Runs", columns, rows)


def _gates(judged: Sequence[Judged]) -> Table:
    rows = [[gate.name, plain(gate.side), gate.status, gate.reason] for gate in judged]
    return Table("Gates", ["gate", "of", "", "why"], rows)


def _figures(against: Against, comparison: Comparison) -> Iterator[Block]:
    head = [figure for figure in against.figures if figure.family in HEADLINE]
    rest = [figure for figure in against.figures if figure.family not in HEADLINE]
    yield charts.forest([(label(figure.name), figure) for figure in head], comparison.margin)
    yield _table("Headline figures", head)
    if other := [figure for figure in rest if not _twin(figure, against.figures)]:
        yield _table("Further figures", other)


def _twin(figure: Figure, figures: Sequence[Figure]) -> bool:
    metric, _, stat = figure.name.partition(".")
    other = next((each for each in figures if each.name == f"{_TWINS.get(metric)}.{stat}"), None)
    return other is not None and (figure.base, figure.new) == (other.base, other.new)


def _table(title: str, figures: Sequence[Figure]) -> Table:
    rows = [
        [
            label(figure.name),
            _value(figure.base, figure),
            _value(figure.new, figure),
            _change(figure),
            _interval(figure),
            chance(figure.p),
            figure.verdict,
            _wanted(figure),
        ]
        for figure in figures
    ]
    return Table(title, _COLUMNS, rows, numeric=True)


def _value(value: float | None, figure: Figure) -> str:
    return _form(value, "{:.2%}") if figure.unit == "share" else number(value, figure.unit)


def _change(figure: Figure) -> str:
    """In %, of an error rate in points; where base is 0 as it is."""
    if figure.unit == "share":
        return "-" if figure.difference is None else f"{figure.difference * 100:+.2f} points"
    if figure.change is None:
        return "-" if figure.difference is None else _signed(figure.difference, figure)
    return f"{figure.change:+.1%}"


def _interval(figure: Figure) -> str:
    if figure.unit == "share":
        return _ends(figure.difference_interval, lambda end: f"{end * 100:+.2f}")
    if figure.change_interval is None:
        return _ends(figure.difference_interval, lambda end: _signed(end, figure))
    return _ends(figure.change_interval, lambda end: f"{end:+.1%}")


def _ends(interval: Interval | None, show: Callable[[float], str]) -> str:
    return "-" if interval is None else f"{show(interval[0])} to {show(interval[1])}"


def _signed(value: float, figure: Figure) -> str:
    return ("-" if value < 0 else "+") + number(abs(value), figure.unit)


def _wanted(figure: Figure) -> str:
    return "" if figure.wanted is None else f"{figure.wanted:,} {figure.wanted_of} a side"


def chance(p: float | None) -> str:
    """No p is 0."""
    return "below 0.001" if p is not None and p < 0.0005 else _form(p, "{:.3f}")


def _form(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _reading(comparison: Comparison) -> Iterator[str]:
    margin = f"{comparison.margin * 100:g}%"
    yield (
        f"same: the whole 95 % interval of the change is within {margin} (--margin; error rates: within "
        f"{POINTS * 100:g} points). better, worse, differs: outside, and not by chance (p below 0.05). inconclusive: "
        f"the runs cannot tell; would take: with so many a side a change of {margin} is found in 80 % of trials."
    )
    yield (
        "Each metric's figures, and the rates together, are a family of tests: p is adjusted by Holm's method, so that "
        "in 5 % of comparisons at most a family has a difference where there is none; over all families it is more."
    )
    if any(len(side.runs) == 1 for side in comparison.sides):
        yield (
            "A side with one run tells nothing of how runs differ from each other (restarts, other tenants, heat): "
            "intervals are of this one run. Give several a side, made with run --repeat, to have that counted."
        )
    else:
        yield "Intervals are from how the runs of a side differ, and never less than each run's own."
