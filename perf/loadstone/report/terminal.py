"""Tables and prose on a terminal. The only file that imports rich, and only on use.

Output to a file has no colour, and its tables are as wide as they need. On a terminal that is too narrow for a table,
its columns are split into several tables below each other.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from msgspec.structs import replace

from loadstone.report.page import Block, Page, Prose, Table, Tone
from loadstone.report.run_tables import tables
from loadstone.summary import Summary
from loadstone.text import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

# Columns of output to a file, and columns enough for any table.
PLAIN_WIDTH, WIDE = 160, 1000
_TONES: dict[Tone, str] = {"good": "bold green", "doubt": "bold yellow", "bad": "bold red", "plain": ""}


def report(summary: Summary, file: TextIO | None = None) -> None:
    """Print the tables of a report to `file`, stdout by default."""
    draw(tables(summary), file)


def show(page: Page, file: TextIO | None = None) -> None:
    """Print the tables and prose of a page to `file`, stdout by default."""
    draw(list(page.blocks), file)


def draw(blocks: Sequence[Block], file: TextIO | None = None) -> None:
    """Print tables and prose to `file`, stdout by default."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    file = file or sys.stdout
    terminal = file.isatty()
    width = None if terminal else PLAIN_WIDTH
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, no_color=not terminal)

    def minimum_width(table: Table) -> int:
        return console.measure(_table(table), options=console.options.update(width=WIDE)).minimum

    def drawn_width(table: Table) -> int:
        # rich's minimum leaves out some of the space between columns.
        drawn = console.render(_table(table), console.options.update(width=max(console.width, minimum_width(table))))
        return max(map(cell_len, "".join(segment.text for segment in drawn).splitlines()), default=0)

    for block in blocks:
        if isinstance(block, Prose):
            console.print(Text(visible(block.text), style=_TONES[block.tone]), end="\n\n")
        if not isinstance(block, Table):
            continue
        for table in split_columns(block, console.width, drawn_width) if terminal else [block]:
            console.print(_table(table), width=max(console.width, minimum_width(table)), crop=False)
            console.print()


def split_columns(table: Table, width: int, width_of: Callable[[Table], int]) -> list[Table]:
    """Return the table as one or more tables that fit `width` columns of text.

    Each begins with the columns that identify its rows, followed by as many of the others as fit, in their order. The
    first has the title, the last the note. width_of: returns the width that a table needs.
    """
    count = len(table.columns)
    keys = next((n for n in range(1, count) if len({tuple(row[:n]) for row in table.rows}) == len(table.rows)), count)
    pieces, rest = list[Table](), table
    while width_of(rest) > width and len(rest.columns) > keys + 1:
        candidates = range(len(rest.columns) - 1, keys + 1, -1)
        fitting = next((n for n in candidates if width_of(_columns(rest, range(n))) <= width), keys + 1)
        pieces.append(_columns(rest, range(fitting)))
        rest = _columns(rest, [*range(keys), *range(fitting, len(rest.columns))])
    pieces.append(rest)
    last = len(pieces) - 1
    return [replace(piece, title="" if index else table.title, note=table.note if index == last else "")
            for index, piece in enumerate(pieces)]  # fmt: skip


def _columns(table: Table, indices: Iterable[int]) -> Table:
    kept = list(indices)
    rows = [[row[index] for index in kept] for row in table.rows]
    return replace(table, columns=[table.columns[index] for index in kept], rows=rows, figures=None)


def render(summary: Summary) -> str:
    """Return the tables of a report as text: the view `text`."""
    text = io.StringIO()
    report(summary, text)
    return text.getvalue()


def render_page(page: Page) -> str:
    """Return the tables and prose of a page as text."""
    text = io.StringIO()
    show(page, text)
    return text.getvalue()


def _table(table: Table) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    style = _TONES[table.tone] or "bold"
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
    for index, column in enumerate(table.columns):
        # In a narrow table the headings of numbers wrap, never the numbers.
        words = [*column.split(), *(row[index] for row in table.rows)]
        widest = max(map(len, words)) if table.numeric else None
        justify: Literal["left", "right"] = "right" if table.numeric and index else "left"
        drawn.add_column(column, justify=justify, min_width=widest, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    return drawn
