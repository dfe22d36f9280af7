"""The simulated server of the benchmarks, and how far what a client wrote down is from what the server did.

Both use this machine's monotonic clock, but are only compared by differences: a request's time to first token and its
gaps by the client, minus the same by the server. Requests are matched by their X-Request-Id.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import numpy as np
from machine import pinned

Times = np.ndarray[tuple[int], np.dtype[np.int64]]


class Row(NamedTuple):
    """A request: when it was sent (by a client) or received (by the server), and when its tokens came or went. ns."""

    begun: int
    times: Times


class Truth(NamedTuple):
    """What the server did: its rows by request id, and ns by which its tokens left after they were due."""

    rows: dict[str, Row]
    late: Times

    def rate(self) -> float:
        """Tokens a second while half of the load was done: without its beginning and its end."""
        times = np.sort(np.concatenate([row.times for row in self.rows.values()]))
        early, late = times[len(times) // 4], times[3 * len(times) // 4]
        return len(times) / 2 / max(float(late - early) / 1e9, 1e-9)


class Errors(NamedTuple):
    """Seconds by which a client's times are off: absolute, mean and 99th percentile, per request and per gap; and the
    difference of the mean gaps."""

    ttft_mean: float
    ttft_p99: float
    gap_mean: float
    gap_p99: float
    gap_bias: float


@contextmanager
def server(ttft: str, itl: str) -> Iterator[str]:
    """On core 0; gives its URL."""
    command = [sys.executable, "-m", "loadstone", "serve", "--port", "0", "--ttft", ttft, "--itl", itl]
    with subprocess.Popen(pinned(0, command), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def truth(url: str) -> Truth:
    """The server's record since it was last asked."""
    with urllib.request.urlopen(url + "/truth") as answer:
        told = [msgspec.json.decode(line) for line in answer]
    urllib.request.urlopen(urllib.request.Request(url + "/truth", method="DELETE")).close()
    rows = {row["request_id"]: Row(row["received"], np.array(row["sent"])) for row in told}
    return Truth(rows, np.concatenate([np.subtract(row["sent"], row["planned"]) for row in told]))


def errors(shown: dict[str, Row], true: dict[str, Row]) -> Errors:
    """Raises RuntimeError when the two do not tell of the same requests and tokens: then nothing is worth comparing."""
    if shown.keys() != true.keys() or any(len(row.times) != len(true[key].times) for key, row in shown.items()):
        raise RuntimeError("client and server do not tell of the same requests and tokens")
    pairs = [(row, true[key]) for key, row in shown.items()]
    first = np.array([(a.times[0] - a.begun) - (b.times[0] - b.begun) for a, b in pairs]) / 1e9
    gaps = np.concatenate([np.diff(a.times) - np.diff(b.times) for a, b in pairs]) / 1e9
    ttft_mean, ttft_p99 = _size(first)
    return Errors(ttft_mean, ttft_p99, *_size(gaps), float(gaps.mean()) if len(gaps) else 0.0)


def _size(off: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Mean and 99th percentile of what is off, whichever way."""
    size = np.abs(off)
    return (float(size.mean()), float(np.percentile(size, 99))) if len(size) else (0.0, 0.0)
