"""A document for people: sections of prose, tables and charts, as data. What fills one is a pure function per topic.

Drawn as text by console.py, as Markdown by markdown.py and as a web page by html.py; only the last has charts. Times in
charts are in the unit that the axis names; tables hold ready text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

# What a series stands for; a page has one colour for each, and a palette for further `plain` ones.
Role = Literal["plain", "good", "doubt", "bad", "base", "new", "muted"]
Tone = Literal["good", "doubt", "bad", "plain"]


class Table(Struct, frozen=True):
    """A titled table; `rows` are as wide as `columns`, cells are text; `numeric`: all but the first hold numbers.
    `cards`: a web page shows each row as a card of label, figure and remarks. `figures`: by row and column, what a
    program may read there: where the figure stands in the results, and its value with all digits."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    numeric: bool = False
    cards: bool = False
    figures: Mapping[tuple[int, int], tuple[str, float]] | None = None


class Prose(Struct, frozen=True):
    """Paragraphs of plain text. `tone` marks a verdict or a warning."""

    text: str
    tone: Tone = "plain"


class Axis(Struct, frozen=True):
    title: str
    unit: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None


class Series(Struct, frozen=True):
    """Points in order; None breaks a line. `low` and `high` are intervals around y: a band for a line, bars for points.
    `texts` are shown when one points at them. `spans` are horizontal bars from `x` to `ends`, at y."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float | str | None]
    kind: Literal["line", "step", "points", "linepoints", "bars", "area", "spans"] = "line"
    role: Role = "plain"
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    texts: Sequence[str] | None = None
    ends: Sequence[float] | None = None
    dashed: bool = False
    # Against the second y axis.
    right: bool = False


class Band(Struct, frozen=True):
    """A stretch of x that is shaded."""

    start: float
    end: float
    label: str


class Mark(Struct, frozen=True):
    """A line across, at a place on `axis`."""

    at: float
    label: str
    axis: Literal["x", "y"] = "x"


class Chart(Struct, frozen=True, kw_only=True):
    """`group`: charts of one group keep the same stretch of x in view. `half`: two fit side by side."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    y2: Axis | None = None
    bands: Sequence[Band] = ()
    marks: Sequence[Mark] = ()
    note: str = ""
    group: str = ""
    height: int = 320
    half: bool = False


Block = Table | Prose | Chart


class Section(Struct, frozen=True):
    title: str
    blocks: Sequence[Block]
    # Closed on a web page until one opens it.
    folded: bool = False


class Page(Struct, frozen=True):
    """`lead`: what it comes to, in a sentence or two, above everything else."""

    title: str
    lead: Prose
    sections: Sequence[Section]

    @property
    def blocks(self) -> Iterator[Block]:
        """All that has a form in text: the lead, then the blocks of each section."""
        yield self.lead
        for section in self.sections:
            yield from section.blocks
