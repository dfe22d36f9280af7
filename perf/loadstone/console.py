"""The terminal: tables of a report, and the live display of a run. Alone in importing rich, and only when it is used.

Results go to stdout, progress to stderr; without a terminal there is no colour, and progress is a line now and then.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from loadstone.progress import Figures, Progress
from loadstone.records import Summary
from loadstone.views.page import Block, Page, Prose, Table, Tone
from loadstone.views.tables import tables

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH = 0.5
PLAIN_EVERY = 10.0
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


async def watch(progress: Progress) -> None:
    """Show progress on stderr until cancelled."""
    if sys.stderr.isatty():
        await _watch_live(progress)
    else:
        await _watch_plain(progress)


async def _watch_live(progress: Progress) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_panel(progress.figures(), console.width), refresh=True)
            await asyncio.sleep(REFRESH)


async def _watch_plain(progress: Progress) -> None:
    """Figures are gathered often and in small portions, so that no single look holds up the load."""
    ticks = 0
    while True:
        await asyncio.sleep(REFRESH)
        figures, ticks = progress.figures(), ticks + 1
        if ticks % round(PLAIN_EVERY / REFRESH) == 0:
            print(line(figures), file=sys.stderr, flush=True)


def line(figures: Figures) -> str:
    """One line on how a run stands."""
    left = "" if figures.remaining is None else f", {_clock(figures.remaining)} left"
    return (
        f"{_clock(figures.elapsed)}{left}: {_done(figures)}, {figures.qps:.1f} QPS, "
        f"{figures.tokens_per_second:,.0f} tokens/s, TTFT {_pair(figures.ttft_p50, figures.ttft_p99)}, "
        f"gap {_pair(figures.gap_p50, figures.gap_p99)}"
    )


def _panel(figures: Figures, width: int) -> RenderableType:
    from rich.text import Text

    done = round((figures.share or 0.0) * max(10, min(40, width - 40)))
    bar = "━" * done + "╌" * (max(10, min(40, width - 40)) - done)
    left = "" if figures.remaining is None else f"  {_clock(figures.remaining)} left"
    state = "  stopping" if figures.stopping else ""
    rows = (
        f"{bar} {_clock(figures.elapsed)}{left}{state}",
        f"requests  {_done(figures)}",
        f"rate      {figures.qps:.1f} QPS  {figures.tokens_per_second:,.0f} tokens/s{_client(figures)}",
        f"so far    TTFT {_pair(figures.ttft_p50, figures.ttft_p99)}   gap {_pair(figures.gap_p50, figures.gap_p99)}",
    )
    return Text("\n".join(row[: max(20, width - 1)] for row in rows))


def _client(figures: Figures) -> str:
    return "" if figures.busiest is None else f"  client CPU {figures.busiest:.0%}"


def _done(figures: Figures) -> str:
    expected = "" if figures.expected is None else f" of {figures.expected:,}"
    return f"{figures.finished:,}{expected} done, {figures.in_flight:,} in flight, {figures.failed:,} failed"


def _pair(median: float | None, tail: float | None) -> str:
    return "-" if median is None or tail is None else f"p50 {median * 1e3:.4g} p99 {tail * 1e3:.4g} ms"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
