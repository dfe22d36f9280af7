"""Generators: prompts of a system part that all share, a prefix from a pool and a part of their own, in several turns.

A preset is a name with defaults, those of a tool that people know; every flag overrides every preset. One seed gives
the same prompts always, and a longer run begins with those of a shorter one. What the texts say is texts.py's affair.
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
from loadstone.config.parse import parse_seconds
from loadstone.dataset.source import Options, Source
from loadstone.dataset.synthetic.random_values import generator, parse_distribution
from loadstone.dataset.synthetic.text import PREFIX, SYSTEM, UNIQUE, Segment, text_generator
from loadstone.errors import UsageError
from loadstone.records import Prompt

# Prompts that a prefix gets in one round of all prefixes: SGLang's prompts of a group.
USES = 16
LONGEST = 10_000_000
STREAMS = {"input_len": 0, "output_len": 1, "system_len": 4, "prefix_len": 5, "turns": 6, "think_time": 7}
CHOICE = 8
RATIO = ("input_len", "output_len")
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
    """The prompts that the run needs, or the preset's number where that is not known. Raises UsageError."""
    if source.load is not None:
        raise UsageError(f"{name} reads no file: say --dataset {name}, with --input-len and --output-len")
    unsaid = {field: value for field, value in {**PLAIN, **PRESETS[name]}.items() if getattr(options, field) is None}
    filled = msgspec.structs.replace(options, **unsaid)
    prefixes = _prefixes(filled)
    count = len(prefixes) * USES if filled.count is None else filled.count
    if options.count is None:
        source.notice(f"{name}: {count:,} prompts are made, as the number of requests is not known")
    yield from _conversations(name, source, msgspec.structs.replace(filled, count=count), prefixes)


random = partial(read, "random")
synthetic = partial(read, "synthetic")
prefix_repetition = partial(read, "prefix_repetition")
shared_prefix = partial(read, "generated-shared-prefix")


def _conversations(name: str, source: Source, options: Options, prefixes: list[int]) -> Iterator[Prompt]:
    turns = lengths(options, "turns", options.count or 0)
    inputs, outputs = (iter(lengths(options, field, sum(turns))) for field in RATIO)
    thinks, order = _thinks(options, sum(turns)), _order(len(prefixes), options)
    system = Segment(SYSTEM, 0, lengths(options, "system_len", 1, least=0)[0])
    texts = text_generator(source, options)

    def turn(name: str, parts: list[Segment], think: float) -> Prompt:
        length, text = sum(part.length for part in parts), texts.generate([part for part in parts if part.length])
        return Prompt(id=name, text=text, input_len=length, output_len=next(outputs), think=think)

    for index, (more, prefix) in enumerate(zip(turns, order, strict=False)):
        row, own = f"{name}:{index + 1}", Segment(UNIQUE, index, next(inputs))
        first = turn(row, [system, Segment(PREFIX, prefix, prefixes[prefix]), own], 0.0)
        later = [
            turn(f"{row}.{at + 1}", [Segment(UNIQUE + at, index, next(inputs))], next(thinks)) for at in range(1, more)
        ]
        yield msgspec.structs.replace(first, later=later)
    texts.report_misses()


def lengths(options: Options, field: str, count: int, least: int = 1) -> list[int]:
    """`count` whole numbers of a flag's law. Raises UsageError."""
    flag = f"--{field.replace('_', '-')}"
    found = parse_distribution(flag, getattr(options, field))
    if found.constant is not None and found.constant < least:
        raise UsageError(f"{flag} must be at least {least}, not {found.constant:g}")
    if field in RATIO:
        found = _spread(options, flag, found)
    drawn = found.draw_integers(generator(options, STREAMS[field]), count, least)
    if (longest := max(drawn, default=0)) > LONGEST:
        raise UsageError(f"{flag} gives {longest:,}, above {LONGEST:,}; a law takes a bound, such as max=4096")
    return drawn


def _spread(options: Options, flag: str, found: Distribution) -> Distribution:
    """The law for --range-ratio: uniform in [floor(L(1-r)), ceil(L(1+r))], as in vLLM's benchmark."""
    if not 0 <= options.range_ratio < 1:
        raise UsageError(f"--range-ratio must be at least 0 and below 1, not {options.range_ratio:g}")
    if not options.range_ratio:
        return found
    if found.constant is None:
        raise UsageError(
            f"--range-ratio spreads a plain number, and {flag} is a law: give a number, or no --range-ratio"
        )
    length, ratio = Fraction(found.constant), Fraction(str(options.range_ratio))  # 100 * 1.1 is above 110 as a float
    return Distribution("uniform", (max(1, math.floor(length * (1 - ratio))), math.ceil(length * (1 + ratio))))


def _thinks(options: Options, count: int) -> Iterator[float]:
    found = parse_distribution("--think-time", options.think_time or 0, parse_seconds)
    return (max(0.0, think) for think in found.draw(generator(options, STREAMS["think_time"]), count).tolist())


def _prefixes(options: Options) -> list[int]:
    """The lengths of the prefixes; where there are none, one of length 0."""
    count = options.prefix_count or 0
    if count < 1:
        raise UsageError(f"--prefix-count must be at least 1, not {count}")
    found = lengths(options, "prefix_len", count, least=0)
    if count > 1 and not any(found):
        raise UsageError(f"--prefix-count {count} needs the prefixes' length: give --prefix-len as well")
    return found


def _order(prefixes: int, options: Options) -> Iterator[int]:
    """Which prefix each prompt takes. In every round each has USES prompts, shuffled as vLLM and SGLang shuffle a whole
    run; so a longer run begins with the shorter."""
    for number in itertools.count():
        yield from (generator(options, CHOICE, number).permutation(prefixes * USES) % prefixes).tolist()
