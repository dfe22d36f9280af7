"""Made-up prompts of exact lengths that differ from the first token on, so that no prefix cache helps.

Lengths are uniform integers in [floor(L(1-r)), ceil(L(1+r))], at least 1, as in vLLM's benchmark, whose
defaults (input 1024, output 128) hold here too. Without a tokenizer lengths are counted in words, and the
operator is told. One seed gives the same prompts always, and a longer run begins with those of a shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

import numpy as np

from loadstone import tokens
from loadstone.readers.pools import Pools, pools
from loadstone.readers.source import Notice, Options, Source
from loadstone.readers.words import WORDS
from loadstone.records import Prompt, UsageError

COUNT, INPUT, OUTPUT = 1000, 1024, 128
TRIES = 20


class Writer(Protocol):
    """Makes the text of prompt `index`, in order from 0; `finish` tells what did not come out as asked."""

    def write(self, index: int, length: int) -> str: ...

    def finish(self, notice: Notice) -> None: ...


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """The prompts that the run needs; 1,000 where that is not known. Raises UsageError."""
    if source.load is not None:
        raise UsageError("random reads no file: say --dataset random, with --input-len and --output-len")
    count = COUNT if options.count is None else options.count
    if options.count is None:
        source.notice(f"random: {COUNT:,} prompts are made, as the number of requests is not known")
    inputs = lengths("--input-len", INPUT if options.input_len is None else options.input_len, count, options, 0)
    outputs = lengths("--output-len", OUTPUT if options.output_len is None else options.output_len, count, options, 1)
    writer = _writer(options, count, source.notice)
    for index, (length, output_len) in enumerate(zip(inputs, outputs, strict=True)):
        yield Prompt(id=f"random:{index + 1}", text=writer.write(index, length), output_len=output_len)
    writer.finish(source.notice)


def lengths(flag: str, length: int, count: int, options: Options, stream: int) -> list[int]:
    """`count` lengths around `length`; streams of one seed are independent of each other."""
    if length < 1:
        raise UsageError(f"{flag} must be at least 1, not {length}")
    if not 0 <= options.range_ratio < 1:
        raise UsageError(f"--range-ratio must be at least 0 and below 1, not {options.range_ratio:g}")
    ratio = Fraction(str(options.range_ratio))  # 100 * 1.1 is above 110 in floating point
    low, high = max(1, math.floor(length * (1 - ratio))), math.ceil(length * (1 + ratio))
    drawn: list[int] = _generator(options.seed, stream).integers(low, high, size=count, endpoint=True).tolist()
    return drawn


def _generator(seed: int, stream: int) -> np.random.Generator:
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, not {seed}")
    return np.random.default_rng([seed, stream])


def _writer(options: Options, count: int, notice: Notice) -> Writer:
    order, fill = _generator(options.seed, 2), _generator(options.seed, 3)
    if options.tokenizer is None:
        notice("random: lengths are counted in words, not tokens; give --tokenizer for exact token lengths")
        return _Words(order, fill)
    tokenizer = tokens.load(options.tokenizer)
    found = pools(options.tokenizer, tokenizer, order, count)
    if count > len(found.first):
        notice(
            f"random: {count:,} prompts are more than the {len(found.first):,} tokens that can begin one in"
            f" {options.tokenizer}; after those, prompts differ within their first two tokens"
        )
    return _Tokens(tokenizer, found, fill)


class _Words:
    """Texts of exactly so many words; a number joins the first word once every word has been first."""

    def __init__(self, order: np.random.Generator, fill: np.random.Generator) -> None:
        self._first: list[str] = order.permutation(WORDS).tolist()
        self._fill = fill

    def write(self, index: int, length: int) -> str:
        lap, place = divmod(index, len(self._first))
        first = self._first[place] + (str(lap + 1) if lap else "")
        more = self._fill.integers(len(WORDS), size=length - 1).tolist()
        return " ".join([first, *(WORDS[at] for at in more)])

    def finish(self, notice: Notice) -> None:
        pass


class _Tokens:
    """Texts of exactly so many tokens, as the tokenizer counts them; `inexact` counts the failures.

    First tokens are given out one after the other, and no two texts begin with the same two tokens.
    """

    def __init__(self, tokenizer: tokens.Tokenizer, found: Pools, fill: np.random.Generator) -> None:
        self._tokenizer = tokenizer
        self._pools = found
        self._fill = fill
        self._begun: set[tuple[int, ...]] = set()
        self.inexact = 0

    def write(self, index: int, length: int) -> str:
        head = [self._pools.first[index % len(self._pools.first)]]
        ids = head + self._more(length - 1)
        for _ in range(TRIES):
            text = self._tokenizer.decode(ids)
            back = self._tokenizer.encode(text)
            kept = self._is_new(head, back) and text == text.strip()  # many chat templates strip
            if kept and len(back) == length:
                self._begun.add(tuple(back[:2]))
                return text
            base = back[:length] if kept else head
            ids = base + self._more(length - len(base))
        self.inexact += 1
        return text

    def finish(self, notice: Notice) -> None:
        if self.inexact:
            missed = f"{self.inexact:,} prompts miss their length or begin like another"
            notice(f"random: {missed}, because the tokenizer merges what it decoded or has too few tokens")

    def _is_new(self, head: list[int], back: list[int]) -> bool:
        """Whether the text still begins with its token, and, if it has more than that, with a pair of its own."""
        return back[:1] == head and (len(back) == 1 or tuple(back[:2]) not in self._begun)

    def _more(self, count: int) -> list[int]:
        fill = self._pools.fill
        return [fill[at] for at in self._fill.integers(len(fill), size=count).tolist()]
