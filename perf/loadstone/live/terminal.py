"""Lines at the bottom of a terminal that are redrawn, with other text scrolling above them.

A few escape sequences without a library: what is drawn twice a second must not slow down the load.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO, cast

from loadstone.live.lines import ASCII, BLOCKS, Glyphs, Line
from loadstone.report.page import Tone

_COLOURS: dict[Tone, str] = {"good": "\x1b[1;32m", "doubt": "\x1b[1;33m", "bad": "\x1b[1;31m", "plain": ""}
_RESET = "\x1b[0m"


def glyphs(file: TextIO) -> Glyphs:
    """Return the characters to draw with: ASCII if the terminal's encoding has no blocks."""
    try:
        (BLOCKS.levels + BLOCKS.done + BLOCKS.left).encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


class TerminalScreen:
    """The redrawn lines on `file`, a terminal."""

    def __init__(self, file: TextIO, colour: bool | None = None) -> None:
        self._file = file
        self._colour = "NO_COLOR" not in os.environ if colour is None else colour
        self._drawn, self._width = 0, 0

    @property
    def size(self) -> tuple[int, int]:
        """Return columns and rows."""
        try:
            return os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError):
            return 80, 24

    def draw(self, lines: Sequence[Line]) -> None:
        """Draw lines in place of those before, as many as fit.

        Each line is cleared on its own: tmux would keep a copy of a screen that is cleared as a whole.
        """
        width, rows = self.size
        lines = lines[: max(1, rows - 1)]
        body = "".join(f"{self._styled(line)}\x1b[K\n" for line in lines)
        self._write(self._back() + body + "\x1b[J")
        self._drawn, self._width = len(lines), width

    def erase(self) -> None:
        if self._drawn:
            begin = self._back()
            self._write(begin + "\x1b[2K\n" * self._drawn + "\x1b[J" + _up(self._drawn))  # below: the echo of a Ctrl-C
            self._drawn = 0

    def _back(self) -> str:
        """Return the escape sequence that moves to the first line.

        After a change of width its position is unknown: some terminals wrap lines that no longer fit, some cut them,
        some report the change late. Then the content of the screen scrolls away.
        """
        width, rows = self.size
        if self._drawn and width != self._width:
            return f"\x1b[{rows};1H" + "\n" * rows + "\x1b[H"
        return _up(self._drawn)

    def _styled(self, line: Line) -> str:
        colour = _COLOURS[line.tone] if self._colour else ""
        return f"{colour}{line.text}{_RESET}" if colour else line.text

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def _up(rows: int) -> str:
    return f"\x1b[{rows}A\r" if rows else ""


class _Above:
    """stderr while lines are shown: other output erases them, and they are drawn again below it."""

    def __init__(self, screen: TerminalScreen, file: TextIO) -> None:
        self._screen, self._file = screen, file

    def write(self, text: str) -> int:
        self._screen.erase()
        return self._file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def open_screen(file: TextIO) -> Iterator[TerminalScreen]:
    """Open a screen on stderr, which others may go on writing to. Nothing of it is left afterwards."""
    screen = TerminalScreen(file)
    sys.stderr = cast(TextIO, _Above(screen, file))
    try:
        yield screen
    finally:
        sys.stderr = file
        screen.erase()
