"""Generate prompts of a shared system prompt, a prefix from a pool and a unique text, in one or several turns.

A preset is a name with the defaults of a well-known tool; every flag overrides every preset. One seed always gives the
same prompts, and a longer run begins with those of a shorter one. text.py generates the texts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import msgspec

from loadstone.config.distributions import Distribution
from loadstone.config.kinds import parse_seconds
from loadstone.dataset.source import Options, Source, uses
from loadstone.dataset.synthetic.random_values import generator, parse_distribution
from loadstone.dataset.synthetic.text import PREFIX, SYSTEM, UNIQUE, Segment, text_generator
from loadstone.errors import ConfigError
from loadstone.records import Prompt

# Prompts of each prefix in one round of all prefixes: SGLang's prompts per group.
USES = 16
# The largest length, in words or tokens: an unbounded distribution must not fill the memory.
LONGEST = 10_000_000
# Streams of the seed by option; random_values.py and text.py have further ones.
STREAMS = {"input_len": 0, "output_len": 1, "system_len": 4, "prefix_len": 5, "turns": 6, "think_time": 7}
CHOICE = 8  # stream of the order of prefixes
# Options that --range-ratio applies to.
RATIO = ("input_len", "output_len")
# Defaults of all presets.
PLAIN = {"system_len": 0, "prefix_len": 0, "prefix_count": 1, "turns": 1, "think_time": 0, "count": 1000}
# The defaults of vLLM's `random` and `prefix_repetition` and of SGLang's `generated-shared-prefix`.
PRESETS: dict[str, dict[str, Any]] = {
    "random": {"input_len": 1024, "output_len": 128},
    "synthetic": {"input_len": "normal(512,128,min=16,max=2048)", "output_len": "normal(128,32,min=4,max=512)"},
    "prefix_repetition": {"prefix_len": 256, "prefix_count": 10, "input_len": 256, "output_len": 128},
    "generated-shared-prefix": {
        "prefix_len": 2048,
        "prefix_count": 64,
        "input_len": 128,
        "output_len": 256,
        "count": None,
    },
}


def read(name: str, source: Source, options: Options) -> Iterator[Prompt]:
    """Yield the prompts of a preset: as many as the run needs, or the preset's number. Raises ConfigError."""
    if source.load is not None:
        raise ConfigError(
            f"{name} reads no file: say --dataset {name}, with --input-len and --output-len", field="dataset"
        )
    defaults = {**PLAIN, **PRESETS[name]}
    missing = {field: value for field, value in defaults.items() if getattr(options, field) is None}
    filled = msgspec.structs.replace(options, **missing)
    prefixes = _prefix_lengths(filled)
    count = len(prefixes) * USES if filled.count is None else filled.count
    if options.count is None:
        source.notice(f"{name}: {count:,} prompts are made, as the number of requests is not known")
    yield from _conversations(name, source, msgspec.structs.replace(filled, count=count), prefixes)


_declare = uses("input_len", "output_len", "range_ratio", "prefix_len", "prefix_count", "system_len", "turns")
random = _declare(partial(read, "random"))
synthetic = _declare(partial(read, "synthetic"))
prefix_repetition = _declare(partial(read, "prefix_repetition"))
shared_prefix = _declare(partial(read, "generated-shared-prefix"))


def _conversations(name: str, source: Source, options: Options, prefixes: list[int]) -> Iterator[Prompt]:
    """Yield the prompts, each with its later turns. prefixes: the length of each prefix."""
    turn_counts = draw_lengths(options, "turns", options.count or 0)
    turns = sum(turn_counts)
    if turns > len(turn_counts):
        source.used.add("think_time")
    inputs, outputs = (iter(draw_lengths(options, field, turns)) for field in RATIO)
    thinks, order = _think_times(options, turns), _prefix_order(len(prefixes), options)
    system = Segment(SYSTEM, 0, draw_lengths(options, "system_len", 1, minimum=0)[0])
    texts = text_generator(source, options)

    def turn(name: str, segments: list[Segment], think: float) -> Prompt:
        length = sum(segment.length for segment in segments)
        text = texts.generate([segment for segment in segments if segment.length])
        return Prompt(id=name, text=text, input_len=length, output_len=next(outputs), think=think)

    for index, (count, prefix) in enumerate(zip(turn_counts, order, strict=False)):
        row = f"{name}:{index + 1}"
        unique = Segment(UNIQUE, index, next(inputs))
        first = turn(row, [system, Segment(PREFIX, prefix, prefixes[prefix]), unique], 0.0)
        later = [
            turn(f"{row}.{number + 1}", [Segment(UNIQUE + number, index, next(inputs))], next(thinks))
            for number in range(1, count)
        ]
        yield msgspec.structs.replace(first, later=later)
    texts.report_misses()


def draw_lengths(options: Options, field: str, count: int, minimum: int = 1) -> list[int]:
    """Return `count` whole numbers, at least `minimum`, from the distribution of an option. Raises ConfigError."""
    flag = f"--{field.replace('_', '-')}"
    distribution = parse_distribution(flag, getattr(options, field))
    if distribution.constant is not None and distribution.constant < minimum:
        raise ConfigError(f"{flag} must be at least {minimum}, not {distribution.constant:g}", field=field)
    if field in RATIO:
        distribution = _spread(options, flag, distribution)
    drawn = distribution.draw_integers(generator(options, STREAMS[field]), count, minimum)
    if (longest := max(drawn, default=0)) > LONGEST:
        raise ConfigError(
            f"{flag} gives {longest:,}, above {LONGEST:,}; a distribution takes a bound, such as max=4096", field=field
        )
    return drawn


def _spread(options: Options, flag: str, distribution: Distribution) -> Distribution:
    """Apply --range-ratio to a constant: uniform in [floor(L(1-r)), ceil(L(1+r))], as in vLLM's benchmark."""
    if not 0 <= options.range_ratio < 1:
        raise ConfigError(
            f"--range-ratio must be at least 0 and below 1, not {options.range_ratio:g}", field="range_ratio"
        )
    if not options.range_ratio:
        return distribution
    if distribution.constant is None:
        raise ConfigError(
            f"--range-ratio spreads a plain number, and {flag} is a distribution: give a number, or no --range-ratio",
            field="range_ratio",
        )
    # As fractions: 100 * 1.1 is above 110 as a float.
    length, ratio = Fraction(distribution.constant), Fraction(str(options.range_ratio))
    return Distribution("uniform", (max(1, math.floor(length * (1 - ratio))), math.ceil(length * (1 + ratio))))


def _think_times(options: Options, count: int) -> Iterator[float]:
    """Return `count` pauses between turns, in seconds."""
    distribution = parse_distribution("--think-time", options.think_time or 0, parse_seconds)
    drawn = distribution.draw(generator(options, STREAMS["think_time"]), count).tolist()
    return (max(0.0, think) for think in drawn)


def _prefix_lengths(options: Options) -> list[int]:
    """Return the lengths of the prefixes; without prefixes, one of length 0. Raises ConfigError."""
    count = options.prefix_count or 0
    if count < 1:
        raise ConfigError(f"--prefix-count must be at least 1, not {count}", field="prefix_count")
    lengths = draw_lengths(options, "prefix_len", count, minimum=0)
    if count > 1 and not any(lengths):
        raise ConfigError(
            f"--prefix-count {count} needs the prefixes' length: give --prefix-len as well", field="prefix_count"
        )
    return lengths


def _prefix_order(prefixes: int, options: Options) -> Iterator[int]:
    """Yield the prefix of each prompt, without end.

    In each round every prefix has USES prompts, shuffled as vLLM and SGLang shuffle a whole run. So a longer run begins
    with the prompts of a shorter one.
    """
    for number in itertools.count():
        yield from (generator(options, CHOICE, number).permutation(prefixes * USES) % prefixes).tolist()
