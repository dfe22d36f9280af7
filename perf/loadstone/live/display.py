"""Show the progress of a run on stderr: redrawn lines on a terminal, otherwise a line now and then."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from loadstone.live import lines
from loadstone.live.progress import RunProgress

# Seconds between two drawings on a terminal, and between two lines elsewhere.
REFRESH = 0.5
PLAIN_EVERY = 10.0
# Values of $TERM for terminals that cannot move their cursor.
_DUMB = ("dumb", "unknown")


async def watch(progress: RunProgress) -> None:
    """Show the progress until cancelled."""
    file = sys.stderr
    if is_capable(file):
        await _on_terminal(progress, file)
        return
    # Lines. Figures are collected often and in small portions, so that none of them delays the load.
    ticks = 0
    shown: set[tuple[str, str | None]] = set()  # doubts; one that becomes worse is shown again
    while True:
        await asyncio.sleep(REFRESH)
        figures = progress.figures()
        ticks += 1
        new = [found for found in figures.doubts if (found.what, found.severity) not in shown]
        shown.update((found.what, found.severity) for found in new)
        output = [lines.doubt(figures, found) for found in new]
        if ticks % round(PLAIN_EVERY / REFRESH) == 0:
            output.append(lines.line(figures))
        if output:
            file.write("".join(f"{line}\n" for line in output))
            file.flush()


def is_capable(file: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if `file` is a terminal that can move its cursor; on Windows, if it is Windows Terminal."""
    known = sys.platform != "win32" or "WT_SESSION" in environment
    return file.isatty() and known and environment.get("TERM", "") not in _DUMB


async def _on_terminal(progress: RunProgress, file: TextIO) -> None:
    from loadstone.live import terminal

    glyphs = terminal.glyphs(file)
    with terminal.open_screen(file) as shown:
        while True:
            shown.draw(lines.panel(progress.figures(), shown.size[0], glyphs))
            await asyncio.sleep(REFRESH)
