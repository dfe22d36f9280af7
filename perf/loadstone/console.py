"""The terminal: tables and prose of reports. Alone in importing rich, and only when it is used.

Without a terminal there is no colour, and a table is as wide as it needs.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from loadstone.records import Summary
from loadstone.views.page import Block, Page, Prose, Table, Tone
from loadstone.views.tables import tables

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
    from rich.console import Console

    file = file or sys.stdout
    terminal = file.isatty()
    width = None if terminal else PLAIN_WIDTH
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, no_color=not terminal)
    for part in parts:
        if isinstance(part, Prose):
            console.print(_prose(part), end="\n\n")
        if not isinstance(part, Table):
            continue
        drawn = _table(part)
        least = console.measure(drawn, options=console.options.update(width=WIDE)).minimum
        console.print(drawn, width=max(console.width, least), crop=False)
        console.print()


def render(summary: Summary) -> str:
    """The same as text: the view called `text`."""
    text = io.StringIO()
    report(summary, text)
    return text.getvalue()


def written(page: Page) -> str:
    """The same page as text."""
    text = io.StringIO()
    show(page, text)
    return text.getvalue()


def _prose(prose: Prose) -> RenderableType:
    from rich.text import Text

    return Text(prose.text, style=_TONES[prose.tone])


def _table(table: Table) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    style = _STYLES.get(table.title, "bold")
    if not table.rows:
        return Text.assemble((table.title, style), "\n", table.note)
    drawn = RichTable(
        title=Text(table.title, style=style),
        caption=Text(table.note) if table.note else None,
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
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn
