"""The one table of the benchmarks, as text and as Markdown, and its place in docs/performance.md."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from machine import description
from scenes import Ceiling, OneToken, Turn, median

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)
NONE = "-"
C = "C, epoll"


class Found(NamedTuple):
    """Everything that was measured, by client; `rates` by events a second first."""

    clients: list[str]
    rates: dict[int, dict[str, list[Turn]]]
    ceilings: dict[str, Ceiling]
    one_token: dict[str, OneToken]
    memory: dict[str, float | None]

    def ratio(self, rate: int, name: str, base: str) -> float | None:
        """CPU per event of `name` against `base`: the median over the turns, in each of which both took part."""
        turns = self.rates[rate]
        if not turns.get(name) or not turns.get(base):
            return None
        pairs = zip(turns[name], turns[base], strict=True)
        return sorted(a.cpu / b.cpu for a, b in pairs)[len(turns[name]) // 2]


Row = tuple[str, Callable[[str], str]]


def rows(found: Found) -> list[list[str]]:
    """The cells: a line for each figure, a column for each client."""
    lines = [*_at_rates(found), *_at_ceiling(found), *_small(found)]
    return [["", *found.clients], *([title, *map(cell, found.clients)] for title, cell in lines)]


def _at_rates(found: Found) -> Iterable[Row]:
    for rate, turns in found.rates.items():
        at = f"at {rate:,} events/s:"

        def of(show: Callable[[Sequence[Turn]], str], turns: dict[str, list[Turn]] = turns) -> Callable[[str], str]:
            return lambda name: show(turns[name]) if name in turns else NONE

        yield f"{at} CPU per event, us (least to most)", of(_cost)
        yield f"{at} times the C client's", lambda name, rate=rate: _number(found.ratio(rate, name, C), "{:.2f}")
        yield f"{at} TTFT error, ms: mean, p99", of(lambda t: _pair(t, "ttft_mean", "ttft_p99"))
        yield f"{at} gap error, ms: mean, p99", of(lambda t: _pair(t, "gap_mean", "gap_p99"))


def _at_ceiling(found: Found) -> Iterable[Row]:
    def of(show: Callable[[Ceiling], str]) -> Callable[[str], str]:
        return lambda name: show(found.ceilings[name]) if name in found.ceilings else NONE

    yield "ceiling, events/s", of(lambda top: f"{'' if top.reached else '> '}{top.rate:,.0f}")
    yield "at 80 % of it: TTFT error, ms: mean, p99", of(lambda top: _pair([top.near], "ttft_mean", "ttft_p99"))
    yield "at 80 % of it: gap error, ms: mean, p99", of(lambda top: _pair([top.near], "gap_mean", "gap_p99"))


def _small(found: Found) -> Iterable[Row]:
    yield "one-token requests/s", lambda name: f"{found.one_token[name].rate:,.0f}"
    yield "CPU per one-token request, us", lambda name: f"{found.one_token[name].cpu * 1e6:.0f}"
    yield "memory per open stream, KiB", lambda name: _number(found.memory[name], "{:.1f}", 1024)


def _cost(turns: Sequence[Turn]) -> str:
    costs = [turn.cpu * 1e6 for turn in turns]
    return f"{median(turns, lambda turn: turn.cpu) * 1e6:.2f} ({min(costs):.2f} to {max(costs):.2f})"


def _pair(turns: Sequence[Turn], *names: str) -> str:
    return ", ".join(f"{median(turns, lambda turn, name=name: getattr(turn.off, name)) * 1e3:.2f}" for name in names)


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return NONE if value is None else form.format(value / unit)


def text(cells: list[list[str]]) -> str:
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    lines = (
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in cells
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown(cells: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(line)} |" for line in cells)
    return "\n".join([head, "|---" + "|---:" * (len(cells[0]) - 1) + "|", *body])


def write(cells: list[list[str]]) -> None:
    """Put the table, this machine and the day into the page. Raises RuntimeError where the page has no place for it."""
    day = datetime.date.today().isoformat()
    page = PAGE.read_text()
    if not _TABLE.search(page):
        raise RuntimeError(f"{PAGE} has no place for the table")
    section = f"\n{description()}; {day}.\n\n{markdown(cells)}\n\n"
    PAGE.write_text(_TABLE.sub(lambda _: section, page))
