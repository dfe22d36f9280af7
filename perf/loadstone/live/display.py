"""Show the progress of a run on stderr: redrawn lines on a terminal, otherwise a line now and then."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from loadstone.checks.finding import Finding
from loadstone.live import lines, terminal
from loadstone.live.history import Figures
from loadstone.live.progress import RunProgress

# Seconds between two drawings on a terminal, and between two lines elsewhere.
REFRESH = 0.5
PLAIN_EVERY = 10.0


async def watch(progress: RunProgress) -> None:
    """Show the progress until cancelled."""
    await (_on_terminal if terminal.is_capable(sys.stderr) else _in_lines)(progress, sys.stderr)


async def _on_terminal(progress: RunProgress, file: TextIO) -> None:
    glyphs = terminal.glyphs(file)
    with terminal.open_screen(file) as shown:
        while True:
            shown.draw(lines.panel(progress.figures(), shown.size[0], glyphs))
            await asyncio.sleep(REFRESH)


async def _in_lines(progress: RunProgress, file: TextIO) -> None:
    """Print lines. Figures are collected often and in small portions, so that none of them delays the load."""
    ticks = 0
    state = DisplayState()
    while True:
        await asyncio.sleep(REFRESH)
        figures = progress.figures()
        ticks += 1
        output = [lines.doubt(figures, found) for found in state.new_doubts(figures)]
        if ticks % round(PLAIN_EVERY / REFRESH) == 0:
            output.append(lines.line(figures))
        if output:
            file.write("".join(f"{line}\n" for line in output))
            file.flush()


class DisplayState:
    """The doubts that were shown. One that becomes worse is shown again."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str | None]] = set()

    def new_doubts(self, figures: Figures) -> list[Finding]:
        """Return the doubts that have not been shown, and mark them as shown."""
        new = [found for found in figures.doubts if (found.what, found.severity) not in self._shown]
        self._shown.update((found.what, found.severity) for found in new)
        return new
