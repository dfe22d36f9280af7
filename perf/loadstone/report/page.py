"""A page for people as data: sections of prose, tables and charts. Renderers turn it into text, Markdown or HTML.

Only HTML (html.py) has charts; terminal.py and markdown.py skip them. Times in charts are in the unit that the axis
names; cells of tables are ready text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

# The colour of a series: each name has its own colour on a page; further `plain` series take colours of a palette.
Role = Literal["plain", "good", "doubt", "bad", "base", "new", "muted"]
Tone = Literal["good", "doubt", "bad", "plain"]
# What a table of a run is about. A page decides by it where the table goes.
TableKind = Literal["other", "run", "distributions", "group", "server", "failures", "verdict"]


class Table(Struct, frozen=True):
    """A titled table.

    title: heading, may be empty.
    columns: headings of the columns; empty strings everywhere for a table without them.
    rows: cells as text, as many in each row as there are columns.
    note: text below the table.
    numeric: all cells but those of the first column are numbers.
    cards: a web page shows each row as a card: label, value, remarks.
    figures: by (row, column), for programs: the name of the value in summary.json, and the value with all digits.
    kind: what the table is about.
    tone: colour of the title in a terminal.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    numeric: bool = False
    cards: bool = False
    figures: Mapping[tuple[int, int], tuple[str, float]] | None = None
    kind: TableKind = "other"
    tone: Tone = "plain"


class Prose(Struct, frozen=True):
    """Paragraphs of plain text, a line each. `tone` marks a verdict or a warning."""

    text: str
    tone: Tone = "plain"


class Axis(Struct, frozen=True):
    """An axis of a chart. `low` and `high` are its ends; None leaves an end to the data."""

    title: str
    unit: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None


class Series(Struct, frozen=True):
    """Points of a chart, in order.

    y: None breaks a line.
    low, high: the interval of each y: a band around a line, error bars at points.
    texts: shown when the pointer is on a point.
    ends: of `spans`, horizontal bars from `x` to `ends` at y.
    right: drawn against the second y axis.
    """

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
    right: bool = False


class Band(Struct, frozen=True):
    """A shaded range of x."""

    start: float
    end: float
    label: str


class Mark(Struct, frozen=True):
    """A line across the chart at a value of `axis`."""

    at: float
    label: str
    axis: Literal["x", "y"] = "x"


class Chart(Struct, frozen=True, kw_only=True):
    """A chart.

    y2: the second y axis, on the right.
    group: charts of one group zoom together along x.
    height: pixels.
    half: two such charts fit side by side.
    """

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
    """Blocks under a heading. `folded`: closed on a web page until the reader opens it."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


class Page(Struct, frozen=True):
    """`lead`: the result in a sentence or two, above everything else."""

    title: str
    lead: Prose
    sections: Sequence[Section]

    @property
    def blocks(self) -> Iterator[Block]:
        """Yield the lead, then the blocks of each section."""
        yield self.lead
        for section in self.sections:
            yield from section.blocks
