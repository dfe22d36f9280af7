"""The terminal: tables and prose of reports. Alone in importing rich, and only when it is used.

Without a terminal there is no colour, and a table is as wide as it needs. On one that is too narrow for it, its columns
stand below each other.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from loadstone.report.page import Block, Page, Prose, Table, Tone
from loadstone.report.run_tables import tables
from loadstone.summary import Summary
from loadstone.text import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_WIDTH, WIDE = 160, 1000
_TONES: dict[Tone, str] = {"good": "bold green", "doubt": "bold yellow", "bad": "bold red", "plain": ""}
_STYLES = {"Check: valid": "bold green", "Check: suspect": "bold yellow", "Check: invalid": "bold red"}


def report(summary: Summary, file: TextIO | None = None) -> None:
    """Print the tables of a report to `file`, stdout by default."""
    draw(tables(summary), file)


def show(page: Page, file: TextIO | None = None) -> None:
    """Print what of a page has a form in text to `file`, stdout by default."""
    draw(list(page.blocks), file)


def draw(parts: Sequence[Block], file: TextIO | None = None) -> None:
    """Print tables and prose to `file`, stdout by default."""
    from rich.cells import cell_len
    from rich.console import Console

    file = file or sys.stdout
    terminal = file.isatty()
    width = None if terminal else PLAIN_WIDTH
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, no_color=not terminal)

    def least(table: Table) -> int:
        return console.measure(_table(table), options=console.options.update(width=WIDE)).minimum

    def narrowest(table: Table) -> int:
        """As drawn: rich's minimum leaves out some of the space between columns."""
        drawn = console.render(_table(table), console.options.update(width=max(console.width, least(table))))
        return max(map(cell_len, "".join(segment.text for segment in drawn).splitlines()), default=0)

    for part in parts:
        if isinstance(part, Prose):
            console.print(_prose(part), end="\n\n")
        if not isinstance(part, Table):
            continue
        for table in split_columns(part, console.width, narrowest) if terminal else [part]:
            console.print(_table(table), width=max(console.width, least(table)), crop=False)
            console.print()


def split_columns(table: Table, width: int, least: Callable[[Table], int]) -> list[Table]:
    """The table in as many as `width` asks for, one below the other: each begins with the columns that tell its rows
    apart, and has as many of the rest, in their order, as there is room for. `least`: how narrow a table can be."""
    count = len(table.columns)
    keys = next((n for n in range(1, count) if len({tuple(row[:n]) for row in table.rows}) == len(table.rows)), count)
    parts, rest = [table], table
    while least(rest) > width and len(rest.columns) > keys + 1:
        numbers = range(len(rest.columns) - 1, keys + 1, -1)
        fits = next((n for n in numbers if least(_columns(rest, range(n))) <= width), keys + 1)
        rest, first = _columns(rest, [*range(keys), *range(fits, len(rest.columns))]), _columns(rest, range(fits))
        parts[-1:] = [first, rest]
    return [Table(each.title if not place else "", each.columns, each.rows, table.note if each is parts[-1] else "",
                  table.numeric) for place, each in enumerate(parts)]  # fmt: skip


def _columns(table: Table, places: Iterable[int]) -> Table:
    kept = list(places)
    rows = [[row[place] for place in kept] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in kept], rows, table.note, table.numeric)


def render(summary: Summary) -> str:
    """The same as text: the view called `text`."""
    text = io.StringIO()
    report(summary, text)
    return text.getvalue()


def render_page(page: Page) -> str:
    """The same page as text."""
    text = io.StringIO()
    show(page, text)
    return text.getvalue()


def _prose(prose: Prose) -> RenderableType:
    from rich.text import Text

    return Text(visible(prose.text), style=_TONES[prose.tone])


def _table(table: Table) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    style = _STYLES.get(table.title, "bold")
    if not table.rows:
        return Text.assemble((table.title, style), "\n", table.note)
    drawn = RichTable(
        title=Text(visible(table.title), style=style) if table.title else None,
        caption=Text(visible(table.note)) if table.note else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=any(table.columns),
        pad_edge=False,
    )
    for place, column in enumerate(table.columns):
        # Where there is little room the headings of numbers wrap, never the numbers.
        words = [*column.split(), *(row[place] for row in table.rows)]
        widest = max(map(len, words)) if table.numeric else None
        justify: Literal["left", "right"] = "right" if table.numeric and place else "left"
        drawn.add_column(column, justify=justify, min_width=widest, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    return drawn
