"""Shows on stderr how a run goes: lines that are drawn anew on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from loadstone.checks.finding import Finding
from loadstone.live import lines as live
from loadstone.live import terminal
from loadstone.live.history import Figures
from loadstone.live.progress import RunProgress

REFRESH = 0.5
PLAIN_EVERY = 10.0


async def watch(progress: RunProgress) -> None:
    """Until cancelled."""
    await (_on_terminal if terminal.is_capable(sys.stderr) else _in_lines)(progress, sys.stderr)


async def _on_terminal(progress: RunProgress, file: TextIO) -> None:
    glyphs = terminal.glyphs(file)
    with terminal.open_screen(file) as shown:
        while True:
            shown.draw(live.panel(progress.figures(), shown.size[0], glyphs))
            await asyncio.sleep(REFRESH)


async def _in_lines(progress: RunProgress, file: TextIO) -> None:
    """Figures are gathered often and in small portions, so that no single look holds up the load."""
    ticks, news = 0, DisplayState()
    while True:
        await asyncio.sleep(REFRESH)
        figures, ticks = progress.figures(), ticks + 1
        lines = [live.doubt(figures, found) for found in news.of(figures)]
        if ticks % round(PLAIN_EVERY / REFRESH) == 0:
            lines.append(live.line(figures))
        if lines:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()


class DisplayState:
    """Doubts that have not been told yet; one that has become worse is told again."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str | None]] = set()

    def of(self, figures: Figures) -> list[Finding]:
        new = [found for found in figures.doubts if (found.what, found.severity) not in self._told]
        self._told.update((found.what, found.severity) for found in new)
        return new
