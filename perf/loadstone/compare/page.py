"""The report of a comparison: the verdict, the circumstances that differ, gates, figures, and how to read them.

charts.py draws its charts. Times are in ms; what is unknown is `-`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from loadstone.checks.finding import one_line
from loadstone.compare import charts, gates
from loadstone.compare.gates import GateResult
from loadstone.compare.verdicts import ERROR_RATE_MARGIN, HEADLINE, Comparison, Figure, Interval, SideComparison
from loadstone.config.slo import METRICS
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
    "attainment": "SLOs met",
}
_TONES: dict[str, Tone] = {"better": "good", "same": "good", "worse": "bad", "mixed": "doubt", "inconclusive": "doubt",
                           "not comparable": "doubt"}  # fmt: skip
_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "mixed": "better in some figures and worse in others than",
    "same": "the same as",
    "inconclusive": "not distinguishable from",
    "not comparable": "not comparable with",
}
# Metrics that usually equal another one: they are shown only where they differ from it.
_TWINS = {"ttfat": "ttft", "packet_time": "tpot", "itl": "gap", "ttft_scheduled": "ttft"}
_COLUMNS = ["times in ms", "base", "new", "change", "95 % interval", "p", "verdict", "needed"]
# Characters of a setting's values.
_LONGEST = 60


def page(
    comparison: Comparison,
    judged: Sequence[GateResult] = (),
    curves: Mapping[str, Sequence[Sequence[Curve]]] | None = None,
) -> Page:
    """Return the comparison as a page.

    judged: the gates
    curves: by metric, the distributions of the runs of each side, for the charts
    """
    names = [side.name for side in comparison.sides]
    sections = [Section("What is compared", list(_circumstances(comparison))), *gates.section(judged)]
    for against in comparison.against:
        sections.append(Section(f"{against.name} against {names[0]}", list(_figures(against, comparison))))
    if curves:
        sections.append(Section("Distributions", charts.distributions(names, curves)))
    sections.append(Section("How to read this", [Prose(text) for text in _explanations(comparison)]))
    return Page(f"{', '.join(names[1:])} against {names[0]}", _lead(comparison, judged), sections)


def json(comparison: Comparison, judged: Sequence[GateResult] = ()) -> str:
    """Return the comparison with its gates as JSON; docs/comparing.md has the fields."""
    return to_json(msgspec.to_builtins(comparison) | {"gates": msgspec.to_builtins(judged)})


def label(name: str) -> str:
    """Return the name of a figure for people: `TTFT p99` for `ttft.p99`."""
    metric, _, stat = name.partition(".")
    if metric not in METRICS:
        return name  # of a gate, such as goodput(ttft<200ms)
    return f"{LABELS.get(metric, _RATES.get(metric, metric))} {stat}".strip()


def _lead(comparison: Comparison, judged: Sequence[GateResult]) -> Prose:
    missed = gates.missed_sentence(judged)
    texts = [missed] if missed else []
    texts += [_summary(against, comparison) for against in comparison.against]
    verdicts = [against.verdict for against in comparison.against]
    order = ("worse", "not comparable", "mixed", "inconclusive", "better", "same")
    tone = _TONES[min(verdicts, key=order.index)] if all(map(is_certain, comparison.against)) else "doubt"
    return Prose(" ".join(texts), "bad" if missed else tone)


def is_certain(against: SideComparison) -> bool:
    """Return True if nothing but the server explains a difference: caches and loads were alike, runs without doubts."""
    return not (against.cache or against.load or against.doubts)


def _reservations(against: SideComparison) -> Iterator[str]:
    """Yield what must be said before the figures."""
    if against.cache:
        if against.cache.comparable:
            yield f"The prefix cache is part of the difference: {against.cache.measured}."
        else:
            cause = "a server that has seen prompts before is no better for it"
            yield f"Not comparable: {against.cache.measured}, and {cause}; repeat with other prompts (--seed)."
    if against.load:
        yield f"The load differs: {'; '.join(against.load)}."
    if against.doubts:
        more = f" and {len(against.doubts) - 2} more runs" if len(against.doubts) > 2 else ""
        yield f"Not valid: {'; '.join(map(one_line, against.doubts[:2]))}{more}."


def _summary(against: SideComparison, comparison: Comparison) -> str:
    """Return the verdict on one side as a sentence, and a second one with its headline figures."""
    head = [figure for figure in against.figures if figure.family in HEADLINE]
    parts = []
    for verdict in ("worse", "better"):
        figures = [figure for figure in head if figure.verdict == verdict]
        if figures:
            # The most significant figure, and how many more.
            first = min(figures, key=lambda figure: (figure.p or 0.0, -abs(figure.change or 0.0)))
            more = f" and {len(figures) - 1} more" if len(figures) > 1 else ""
            change = f"{_change(first)} (95 % interval {_interval(first)})"
            parts.append(f"{verdict}: {label(first.name)} {change}{more}")
    if count := sum(figure.verdict == "same" for figure in head):
        parts.append(f"same within {comparison.margin * 100:g}%: {count} figures")
    if undecided := [figure for figure in head if figure.verdict == "inconclusive"]:
        parts.append(_undecided(undecided))
    text = "; ".join(parts) + "." if parts else ""
    if against.verdict == "not comparable":
        return " ".join(_reservations(against))
    verdict_text = f"{one_line(against.name)} is {_WORDS[against.verdict]} {one_line(comparison.sides[0].name)}."
    return " ".join([*_reservations(against), f"{verdict_text} {text[:1].upper()}{text[1:]}"])


def _undecided(figures: Sequence[Figure]) -> str:
    count = "1 figure" if len(figures) == 1 else f"{len(figures)} figures"
    planned = [figure for figure in figures if figure.wanted is not None]
    if not planned:
        return f"inconclusive: {count}"
    fewest, most = (pick(planned, key=lambda figure: figure.wanted or 0) for pick in (min, max))
    ends = f"{label(fewest.name)} {_needed(fewest)}" + (
        f", {label(most.name)} {_needed(most)}" if most != fewest else ""
    )
    return f"inconclusive: {count}, for which more is needed ({ends})"


def _circumstances(comparison: Comparison) -> Iterator[Block]:
    """Yield what may explain a difference: prompts, settings and clients."""
    if comparison.same_prompts is False:
        yield Prose("The runs did not send the same requests: a difference may be that of the prompts.", "doubt")
    elif comparison.same_prompts:
        yield Prose("All sides sent the same requests" + (", in the same order." if comparison.same_schedule else "."))

    rows, mixed = [], []
    for setting in comparison.settings:
        rows.append([setting.name, *(one_line(" | ".join(value), _LONGEST) for value in setting.values)])
        if any(len(value) > 1 for value in setting.values):
            mixed.append(setting.name)
    if rows:
        note = f"runs of one side differ in {', '.join(mixed)}" if mixed else ""
        yield Table("Settings that differ", ["", *(side.name for side in comparison.sides)], rows, note)
    else:
        yield Prose("No setting, server, host or version differs, as far as the runs report them.")

    rows = [
        [
            one_line(run.run),
            run.status,
            f"{run.succeeded:,}",
            f"{run.failed:,}",
            _format(run.cached_share, "{:.1%}"),
            _format(run.cpu_share, "{:.0%}"),
            number(run.loop_lag_p99, "s"),
            number(run.send_lag_p99, "s"),
            one_line("; ".join(run.doubts)) or "-",
        ]
        for side in comparison.sides
        for run in side.runs
    ]
    columns = [
        "run",
        "check",
        "succeeded",
        "failed",
        "cached input",
        "client CPU",
        "loop lag p99, ms",
        "send lag p99, ms",
        "doubts",
    ]
    yield Table("Runs", columns, rows)


def _figures(against: SideComparison, comparison: Comparison) -> Iterator[Block]:
    head = [figure for figure in against.figures if figure.family in HEADLINE]
    yield charts.forest([(label(figure.name), figure) for figure in head], comparison.margin, is_certain(against))
    yield _table("Headline figures", head)
    values = {figure.name: (figure.base, figure.new) for figure in against.figures}
    further = []
    for figure in against.figures:
        metric, _, stat = figure.name.partition(".")
        if figure.family not in HEADLINE and values[figure.name] != values.get(f"{_TWINS.get(metric)}.{stat}"):
            further.append(figure)
    if further:
        yield _table("Further figures", further)


def _table(title: str, figures: Sequence[Figure]) -> Table:
    rows = [
        [
            label(figure.name),
            _value(figure.base, figure),
            _value(figure.new, figure),
            _change(figure),
            _interval(figure),
            p_value(figure.p),
            figure.verdict,
            _needed(figure),
        ]
        for figure in figures
    ]
    return Table(title, _COLUMNS, rows, numeric=True)


def _value(value: float | None, figure: Figure) -> str:
    return _format(value, "{:.2%}") if figure.unit == "share" else number(value, figure.unit)


def _change(figure: Figure) -> str:
    """Return the change in %; of an error rate in points, and in the unit of the figure where base is 0."""
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


def _needed(figure: Figure) -> str:
    return "" if figure.wanted is None else f"{figure.wanted:,} {figure.wanted_of} a side"


def p_value(p: float | None) -> str:
    """Return a p-value for people; none is shown as 0."""
    return "below 0.001" if p is not None and p < 0.0005 else _format(p, "{:.3f}")


def _format(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _explanations(comparison: Comparison) -> Iterator[str]:
    margin = f"{comparison.margin * 100:g}%"
    yield (
        f"same: the whole 95 % interval of the change is within {margin} (--margin; fractions of requests: within "
        f"{ERROR_RATE_MARGIN * 100:g} points). better, worse, differs: outside, and not by chance (p below 0.05). "
        f"inconclusive: neither is certain; needed: with so many a side, a change of {margin} is detected in 80 % of "
        "trials."
    )
    yield (
        "Each metric's figures, and the rates together, are a family of tests. p is adjusted by Holm's method, so that "
        "in at most 5 % of comparisons a family shows a difference where there is none; over all families it is more."
    )
    if any(len(side.runs) == 1 for side in comparison.sides):
        yield (
            "A side with one run does not show how runs differ from each other (restarts, other tenants, heat): its "
            "intervals are of this one run. Give several runs a side, made with run --repeat, to include that."
        )
    else:
        yield "Intervals come from how the runs of a side differ, and are never narrower than each run's own."
