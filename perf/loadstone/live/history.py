"""How a run under way stands, and how it went until now: in equal stretches, of which two become one when there are
too many.

Pure; times are seconds of the run. For the live display, which shows all of a run in a line, however long it lasts.
"""

from __future__ import annotations

from msgspec import Struct

from loadstone.checks.finding import Finding

# Stretches; even. A line on a wide terminal shows no more.
MAX_BUCKETS = 256
# Seconds of each at first.
FIRST_WIDTH = 0.5


class MetricHistory(Struct, frozen=True):
    """Equal stretches of a run in order; None where nothing was measured. `tokens`: a second; `ttft`: mean, seconds, of
    the requests that ended in it; `in_flight`: mean."""

    tokens: list[float | None] = []
    ttft: list[float | None] = []
    in_flight: list[float | None] = []


class Figures(Struct, frozen=True):
    """A glance at a run. Times are seconds, None where nothing was measured. `fraction`: done, where the end is known;
    `client_cpu`: CPU share of the process that has most to do; `failures`: failures by kind; `slos`: share of the judged
    requests that met each objective, and `all`, None where that cannot be told; `history`: how it went until now."""

    elapsed: float
    remaining: float | None
    fraction: float | None
    finished: int
    expected: int | None
    in_flight: int
    failed: int
    qps: float
    tokens_per_second: float
    ttft_p50: float | None
    ttft_p99: float | None
    gap_p50: float | None
    gap_p99: float | None
    stopping: bool
    client_cpu: float | None
    failures: dict[str, int] = {}
    slos: dict[str, float | None] = {}
    doubts: list[Finding] = []
    history: MetricHistory = MetricHistory()


class _Stretch(Struct):
    tokens: int = 0
    waited: float = 0.0
    first: int = 0
    in_flight: int = 0
    looks: int = 0

    def take(self, other: _Stretch) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class History:
    """Takes what pulses tell, in the order in which they come."""

    def __init__(self) -> None:
        self._width = FIRST_WIDTH
        self._stretches: list[_Stretch] = []

    def add(self, at: float, tokens: int, waits: tuple[float, int], in_flight: int) -> None:
        """`tokens`: since the last time; `waits`: sum of TTFTs in seconds and their number; `in_flight`: at this
        moment."""
        while at >= MAX_BUCKETS * self._width:
            self._halve()
        place = int(at / self._width)
        self._stretches += [_Stretch() for _ in range(place + 1 - len(self._stretches))]
        self._stretches[place].take(_Stretch(tokens, *waits, in_flight, 1))

    def snapshot(self) -> MetricHistory:
        """Without the last stretch, which is not over."""
        whole = self._stretches[:-1]
        return MetricHistory(
            [s.tokens / self._width if s.looks else None for s in whole],
            [s.waited / s.first if s.first else None for s in whole],
            [s.in_flight / s.looks if s.looks else None for s in whole],
        )

    def _halve(self) -> None:
        self._width *= 2
        for even, odd in zip(self._stretches[::2], self._stretches[1::2], strict=False):
            even.take(odd)
        del self._stretches[1::2]
