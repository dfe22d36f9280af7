"""Lay out the live display as lines of text that fit a width. Pure, without a terminal.

`panel` is for a terminal, `line` and `doubt` are for a log.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from msgspec import Struct

from loadstone.checks.finding import Finding, one_line
from loadstone.live.history import Figures
from loadstone.metrics.request_slo import ALL_SLOS
from loadstone.records import FailureCause
from loadstone.report.page import Tone

# Columns of the label at the beginning of a line.
LABEL = 10
# Fewest columns of a sparkline.
MIN_SPARKLINE = 8
# Most doubts that are shown; a further line counts the others.
DOUBTS = 3
_TONES: dict[str | None, Tone] = {"suspect": "doubt", "invalid": "bad"}


class Glyphs(Struct, frozen=True):
    """The characters of sparklines and of the progress bar."""

    levels: str
    done: str
    left: str


BLOCKS = Glyphs("▁▂▃▄▅▆▇█", "━", "╌")
ASCII = Glyphs("_.-~=+*#", "=", ".")


class Line(Struct, frozen=True):
    text: str
    tone: Tone = "plain"


def panel(figures: Figures, width: int, glyphs: Glyphs = BLOCKS) -> list[Line]:
    """Return at most 15 lines, each shorter than `width` columns, so that none of them wraps."""
    return [Line(crop(row.text, width - 1), row.tone) for row in _rows(figures, width - 1, glyphs)]


def line(figures: Figures) -> str:
    """Format the figures as one line."""
    left = "" if figures.remaining is None else f", {_clock(figures.remaining)} left"
    return (
        f"{_clock(figures.elapsed)}{left}: {_done(figures)}{_kinds(figures)}, {figures.qps:.1f} QPS, "
        f"{figures.tokens_per_second:,.0f} tokens/s, TTFT {_pair(figures.ttft_p50, figures.ttft_p99)}, "
        f"gap {_pair(figures.gap_p50, figures.gap_p99)}{_slos_met(figures)}"
    )


def doubt(figures: Figures, found: Finding) -> str:
    """Format a new doubt as one line."""
    return f"{_clock(figures.elapsed)}: {found.severity}: {_doubt(found)}"


def sparkline(values: Sequence[float | None], width: int, glyphs: Glyphs = BLOCKS) -> str:
    """Draw values from 0 to the highest in at most `width` columns: means of neighbours if needed, a blank for None."""
    shown = resample(values, width)
    most = max((value for value in shown if value is not None), default=0.0)
    top = len(glyphs.levels) - 1
    return "".join(
        " " if value is None else glyphs.levels[round(top * max(0.0, value) / most) if most > 0 else 0]
        for value in shown
    )


def resample(values: Sequence[float | None], width: int) -> list[float | None]:
    """Return the means of equal groups of neighbours, as few values as fit."""
    each = -(-len(values) // width) if width > 0 else 0
    groups = [values[start : start + each] for start in range(0, len(values), each)] if each else []
    known = [[value for value in group if value is not None] for group in groups]
    return [sum(group) / len(group) if group else None for group in known]


def crop(text: str, width: int) -> str:
    """Return the part of a text that fits `width` columns; wide East Asian letters take two, accents none."""
    if text.isascii():
        return text[:width]
    taken = 0
    for index, letter in enumerate(text):
        taken += 0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        if taken > width:
            return text[:index]
    return text


def _rows(figures: Figures, width: int, glyphs: Glyphs) -> Iterator[Line]:
    yield Line(_bar(figures, width, glyphs))
    yield Line(_row("requests", _done(figures) + _kinds(figures)), "bad" if figures.failed else "plain")
    yield Line(_row("rate", f"{figures.qps:.1f} QPS  {figures.tokens_per_second:,.0f} tokens/s{_client(figures)}"))
    so_far = f"TTFT {_pair(figures.ttft_p50, figures.ttft_p99)}   gap {_pair(figures.gap_p50, figures.gap_p99)}"
    yield Line(_row("so far", so_far))
    if figures.slos:
        yield Line(_row("SLOs", _slos(figures)))
    history = figures.history
    yield Line(_spark("tokens/s", history.tokens, "{:,.0f}", width, glyphs))
    yield Line(
        _spark("TTFT ms", [None if value is None else value * 1e3 for value in history.ttft], "{:,.4g}", width, glyphs)
    )
    yield Line(_spark("in flight", history.in_flight, "{:,.0f}", width, glyphs))
    for found in figures.doubts[:DOUBTS]:
        first, *rest = textwrap.wrap(_doubt(found), max(MIN_SPARKLINE, width - LABEL), max_lines=2, placeholder=" ...")
        yield Line(_row(str(found.severity), first), _TONES[found.severity])
        yield from (Line(_row("", row), _TONES[found.severity]) for row in rest)
    if (more := len(figures.doubts) - DOUBTS) > 0:
        yield Line(_row("", f"and {more} more doubt{'s' if more > 1 else ''}"), "doubt")


def _row(label: str, text: str) -> str:
    return f"{label:<{LABEL}}{text}"


def _bar(figures: Figures, width: int, glyphs: Glyphs) -> str:
    left = "" if figures.remaining is None else f"  {_clock(figures.remaining)} left"
    text = f" {_clock(figures.elapsed)}{left}{'  stopping' if figures.stopping else ''}"
    room = max(0, min(40, width - len(text)))
    done = round((figures.fraction or 0.0) * room)
    return glyphs.done * done + glyphs.left * (room - done) + text


def _spark(label: str, values: Sequence[float | None], form: str, width: int, glyphs: Glyphs) -> str:
    """Return a labelled sparkline with the latest and the highest bucket."""
    known = [value for value in values if value is not None]
    text = f"{form.format(known[-1])}, peak {form.format(max(known))}" if known else "-"
    room = width - LABEL - len(text) - 1
    if room < MIN_SPARKLINE or not known:
        return _row(label, text)
    return _row(label, f"{sparkline(values, room, glyphs)} {text}")


def _slos(figures: Figures) -> str:
    each = ", ".join(f"{name} {_percent(share)}" for name, share in figures.slos.items() if name != ALL_SLOS)
    return f"{_percent(figures.slos.get(ALL_SLOS))} met" + (f" ({each})" if len(figures.slos) > 2 else f": {each}")


def _slos_met(figures: Figures) -> str:
    return f", SLOs {_percent(figures.slos.get(ALL_SLOS))} met" if figures.slos else ""


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _doubt(found: Finding) -> str:
    return one_line(f"{found.what}: {found.measured} (limit {found.limit}): {found.advice}", 400)


def _client(figures: Figures) -> str:
    return "" if figures.client_cpu is None else f"  client CPU {figures.client_cpu:.0%}"


def _done(figures: Figures) -> str:
    expected = "" if figures.expected is None else f" of {figures.expected:,}"
    return f"{figures.finished:,}{expected} done, {figures.in_flight:,} in flight, {figures.failed:,} failed"


def _kinds(figures: Figures) -> str:
    """Format the number of failures by kind, without requests that the client cancelled."""
    kinds = {kind: count for kind, count in figures.failures.items() if kind != FailureCause.CANCELLED}
    return f" ({', '.join(f'{count:,} {kind}' for kind, count in kinds.items())})" if kinds else ""


def _pair(median: float | None, tail: float | None) -> str:
    return "-" if median is None or tail is None else f"p50 {median * 1e3:.4g} p99 {tail * 1e3:.4g} ms"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
