"""The figures of a run that goes on, and their history in buckets of equal width.

Pure; times are seconds of the run. When there are too many buckets, pairs of them are merged, so that the history of a
run of any length fits in a line.
"""

from __future__ import annotations

from msgspec import Struct

from loadstone.checks.finding import Finding

# Most buckets, an even number. A line on a wide terminal shows no more.
MAX_BUCKETS = 256
# Seconds of a bucket at first.
FIRST_WIDTH = 0.5


class MetricHistory(Struct, frozen=True):
    """The history in buckets of equal width, in order; None where nothing was measured.

    tokens: output tokens per second.
    ttft: mean of the requests that ended in the bucket, s.
    in_flight: mean concurrency.
    """

    tokens: list[float | None] = []
    ttft: list[float | None] = []
    in_flight: list[float | None] = []


class Figures(Struct, frozen=True):
    """The figures of a run at one moment. Times are seconds, None where nothing was measured.

    fraction: of the run that is done, if its end is known.
    client_cpu: CPU share of the busiest process.
    failures: number by kind of error.
    slos: fraction of judged requests that met each objective, and `all`; None if unknown.
    """

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


class _Bucket(Struct):
    tokens: int = 0
    ttft_sum: float = 0.0
    ttft_count: int = 0
    in_flight: int = 0
    samples: int = 0

    def merge(self, other: _Bucket) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class History:
    """Collects the history from progress messages, in the order in which they come."""

    def __init__(self) -> None:
        self._width = FIRST_WIDTH
        self._buckets: list[_Bucket] = []

    def add(self, at: float, tokens: int, waits: tuple[float, int], in_flight: int) -> None:
        """Add the state at a time. `tokens`: since the last call; `waits`: sum of TTFTs (s) and their number."""
        while at >= MAX_BUCKETS * self._width:
            self._merge_pairs()
        index = int(at / self._width)
        self._buckets += [_Bucket() for _ in range(index + 1 - len(self._buckets))]
        self._buckets[index].merge(_Bucket(tokens, *waits, in_flight, 1))

    def snapshot(self) -> MetricHistory:
        """Return the history without the last bucket, which is not complete."""
        whole = self._buckets[:-1]
        return MetricHistory(
            [s.tokens / self._width if s.samples else None for s in whole],
            [s.ttft_sum / s.ttft_count if s.ttft_count else None for s in whole],
            [s.in_flight / s.samples if s.samples else None for s in whole],
        )

    def _merge_pairs(self) -> None:
        self._width *= 2
        for even, odd in zip(self._buckets[::2], self._buckets[1::2], strict=False):
            even.merge(odd)
        del self._buckets[1::2]
