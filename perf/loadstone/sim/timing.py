"""When the chunks of a response are due, with `--engine exact`: times, their distributions, and random generators.

Pure: no clock, no socket. All times are integer nanoseconds from the moment the request was received. The model of a
batching engine is in engine/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from random import Random

from msgspec import Struct

# ns per unit; a number without a unit is in seconds.
DURATION_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "": 1e9}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|ms|s|)")
_CALL = re.compile(r"(\w+)\((.*)\)")


def _lognormal(rng: Random, mean: float, sd: float) -> float:
    """Return a lognormal number; `mean` and `sd` are its own, not those of its logarithm."""
    if mean <= 0:
        return 0.0
    variance = math.log1p((sd / mean) ** 2)
    return rng.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


# For each distribution, the number of arguments and the function that draws.
DRAWS: dict[str, tuple[int, Callable[..., float]]] = {
    "constant": (1, lambda _, value: value),
    "uniform": (2, lambda rng, low, high: rng.uniform(low, high)),
    "normal": (2, lambda rng, mean, sd: max(0.0, rng.gauss(mean, sd))),
    "exp": (1, lambda rng, mean: rng.expovariate(1 / mean) if mean else 0.0),
    "lognormal": (2, _lognormal),
}


class Distribution(Struct, frozen=True):
    """One of DRAWS, with its arguments in ns."""

    name: str
    args: tuple[float, ...]

    @property
    def constant(self) -> bool:
        return self.name == "constant"

    def draw(self, rng: Random) -> int:
        """Return a random time, ns."""
        return round(DRAWS[self.name][1](rng, *self.args))


def duration(text: str) -> int:
    """Convert `50ms`, `0.05s`, `200us`, `1s`, or a number of seconds to ns. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    return round(float(match[1]) * DURATION_UNITS[match[2]])


def distribution(text: str) -> Distribution:
    """Parse a duration, or a distribution with durations as arguments. Raises ValueError."""
    call = _CALL.fullmatch(text.strip().lower())
    name, parts = (call[1], call[2].split(",")) if call else ("constant", [text])
    if name not in DRAWS or DRAWS[name][0] != len(parts):
        raise ValueError(text)
    args = tuple(float(duration(part)) for part in parts)
    if name == "uniform" and args[0] > args[1]:
        raise ValueError(text)
    return Distribution(name, args)


def generator(seed: int, number: int, purpose: str) -> Random:
    """Return the random generator of one request for one purpose: the same in every run."""
    return Random(f"{seed}/{number}/{purpose}")


def chunk_ends(tokens: int, per_chunk: int) -> range:
    """Return the index of the last token of each chunk.

    The first chunk has one token, as with vLLM's --stream-interval. The last index can be beyond the last token.
    """
    return range(0, tokens - 1 + per_chunk, per_chunk)


@lru_cache(maxsize=1024)
def _constant_offsets(ttft: int, itl: int, tokens: int, per_chunk: int) -> tuple[int, ...]:
    return tuple(ttft + min(end, tokens - 1) * itl for end in chunk_ends(tokens, per_chunk))


class Timing(Struct, frozen=True):
    """When the chunks of a response are due.

    per_chunk: tokens of each chunk but the first.
    """

    ttft: Distribution
    itl: Distribution
    per_chunk: int
    seed: int

    def offsets(self, number: int, tokens: int) -> tuple[int, ...]:
        """Return when each chunk is due, ns after the request: with its last token, token k at ttft + k * itl."""
        if self.ttft.constant and self.itl.constant:
            return _constant_offsets(int(self.ttft.args[0]), int(self.itl.args[0]), tokens, self.per_chunk)
        rng = generator(self.seed, number, "times")
        at = [self.ttft.draw(rng)]
        for _ in range(tokens - 1):
            at.append(at[-1] + self.itl.draw(rng))
        return tuple(at[min(end, tokens - 1)] for end in chunk_ends(tokens, self.per_chunk))
