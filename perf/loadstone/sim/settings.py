"""The settings of the simulated server, and what follows from them: times of chunks, and the words of responses.

Pure: no clock, no socket. All times are integer nanoseconds from the moment the request was received. The times of
`--engine exact` are here; the model of a batching engine is in engine/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from random import Random

from msgspec import Struct

from loadstone.errors import ConfigError


class Settings(Struct, frozen=True, kw_only=True):
    """The settings, one per flag of `loadstone serve`.

    ttft, itl: times that `distribution` parses.
    slow: delay of the fault slow-head, a time that `duration` parses.
    faults: specs that `faults.parse` parses.
    truth_limit: how many of the latest requests GET /truth has.
    engine: `exact` follows ttft, itl and tokens_per_chunk; `vllm` has its own fields, from preset to speedup, whose
        defaults come from the preset (`presets.profile`).
    answers: a file of recorded answers (`recorded_answers.parse`).
    answer_*: fraction, or number above 1, of the answers of each kind.
    planted: file to write the kinds to.
    """

    host: str = "127.0.0.1"
    port: int = 0
    unix: str | None = None
    model: str = "sim"
    ttft: str = "50ms"
    itl: str = "10ms"
    tokens_per_chunk: int = 1
    default_tokens: int = 128
    max_model_len: int = 131072
    seed: int = 0
    faults: tuple[str, ...] = ()
    slow: str = "2s"
    api_key: str | None = None
    truth_limit: int = 200_000
    certfile: str | None = None
    keyfile: str | None = None
    engine: str = "exact"
    preset: str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    num_gpu_blocks: int | None = None
    block_size: int | None = None
    prefix_caching: bool | None = None
    num_speculative_tokens: int | None = None
    acceptance_rate: float | None = None
    speedup: float | None = None
    answers: str | None = None
    answer_wrong: float = 0.0
    answer_truncated: float = 0.0
    answer_unparsable: float = 0.0
    answer_empty: float = 0.0
    answer_failing: float = 0.0
    planted: str | None = None


# ns per unit; a number without a unit is in seconds.
DURATION_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "": 1e9}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|ms|s|)")
_CALL = re.compile(r"(\w+)\((.*)\)")
DISTRIBUTION_FORMS = (
    "a duration (50ms, 0.05s, 200us, or a number of seconds), "
    "uniform(a,b), normal(mean,sd), exp(mean) or lognormal(mean,sd)"
)


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
    """Convert `50ms`, `0.05s`, `200us`, `1s`, or a number of seconds to ns. Raises ConfigError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ConfigError(f"{text!r} is not a duration: write 50ms, 0.05s, 200us, or a number of seconds")
    return round(float(match[1]) * DURATION_UNITS[match[2]])


def distribution(text: str) -> Distribution:
    """Parse a duration, or a distribution with durations as arguments. Raises ConfigError."""
    call = _CALL.fullmatch(text.strip().lower())
    name, parts = (call[1], call[2].split(",")) if call else ("constant", [text])
    wrong = ConfigError(f"{text!r} is not a time: write {DISTRIBUTION_FORMS}")
    if name not in DRAWS or DRAWS[name][0] != len(parts):
        raise wrong
    try:
        args = tuple(float(duration(part)) for part in parts)
    except ConfigError as exc:
        raise wrong from exc
    if name == "uniform" and args[0] > args[1]:
        raise wrong
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


def timing(settings: Settings) -> Timing:
    """Return the timing that the settings describe. Raises ConfigError for invalid times or counts."""
    for name in ("tokens_per_chunk", "default_tokens", "max_model_len"):
        if getattr(settings, name) < 1:
            raise ConfigError(
                f"--{name.replace('_', '-')} must be at least 1, not {getattr(settings, name)}", field=name
            )
    return Timing(distribution(settings.ttft), distribution(settings.itl), settings.tokens_per_chunk, settings.seed)


# Source of the words of all responses.
TEXT = (
    "the north needle of iron points to a stone and by this compass all ships sail from harbour to harbour at night "
    "with no star over dark water when wind is high so that one true course on the chart holds for more than a day "
    "while light current coast island anchor captain voyage distance drift field force pole measure horizon follow"
)
VOCABULARY = sorted(set(TEXT.split()))

# Every response is a part of this fixed text, which is read in a circle, so that a token costs one look-up.
TABLE_SIZE = 4096
_rng = Random(1)
WORD_TABLE = tuple(b" " + _rng.choice(VOCABULARY).encode() for _ in range(TABLE_SIZE))
TABLE_WORDS = tuple(piece.decode().strip() for piece in WORD_TABLE)


def text_start(seed: int, number: int, choice: int) -> int:
    """Return where in WORD_TABLE the text of a choice begins."""
    return (seed * 7919 + number * 389 + choice * 1543) % TABLE_SIZE


def text_tokens(start: int, first: int, last: int) -> bytes:
    """Return tokens `first` to `last` (both included) of the text that begins at `start`."""
    if first == last:
        return WORD_TABLE[(start + first) % TABLE_SIZE]
    return b"".join([WORD_TABLE[(start + k) % TABLE_SIZE] for k in range(first, last + 1)])


def text_word(start: int, k: int) -> str:
    """Return token k of the text that begins at `start`, as it is in a later prompt that repeats the text."""
    return TABLE_WORDS[(start + k) % TABLE_SIZE]
