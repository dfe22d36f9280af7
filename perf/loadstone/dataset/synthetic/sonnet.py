"""vLLM's `sonnet`: prompts out of the lines of a poem, of which the first are the same in all of them.

As many first lines as --prefix-len takes, then lines drawn at random up to --input-len, counted by the mean length of
a line. Without a file the bundled poem is read. Chat templates are not counted, as vLLM does: servers add their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from loadstone.dataset.resolve import bundled
from loadstone.dataset.source import Options, Source, open_source
from loadstone.dataset.synthetic import random_values
from loadstone.dataset.synthetic.measure import LengthMeasure, length_measure
from loadstone.errors import UsageError
from loadstone.records import Prompt

ASK = "Here are some lines of a poem. Choose those that you like best and write them down:\n"
POEM = "poem"
COUNT, INPUT, PREFIX, OUTPUT = 1000, 550, 200, 150  # vLLM's defaults, but for the count


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """The prompts that the run needs; 1,000 where that is not known. None is longer than it should be."""
    count = COUNT if options.count is None else options.count
    measure = length_measure(options)
    if measure.unit == "words":
        source.notice("sonnet: lengths are counted in words, not tokens; give --tokenizer for token lengths")
    lines = _lines(source)
    rng = random_values.generator(options, random_values.SONNET)
    inputs = _lengths("--input-len", options.input_len, INPUT, count, rng)
    outputs = _lengths("--output-len", options.output_len, OUTPUT, count, rng)
    poem = _Poem(lines, measure, _prefix_len(options))
    for number, (length, output_len) in enumerate(zip(inputs, outputs, strict=True), 1):
        text = poem.prompt(length, rng)
        known = measure.count(text) if measure.unit == "tokens" else None
        yield Prompt(id=f"sonnet:{number}", text=text, output_len=output_len, input_len=known)


class _Poem:
    """Its lines, with their mean length, and how many of the first ones every prompt has."""

    def __init__(self, lines: list[str], measure: LengthMeasure, prefix_len: int) -> None:
        self._lines = lines
        self._measure = measure
        self._ask = measure.count(ASK)
        self._mean = sum(map(measure.count, lines)) / len(lines)
        self._prefix = lines[: max(0, round((prefix_len - self._ask) / self._mean))]

    def prompt(self, length: int, rng: np.random.Generator) -> str:
        """A prompt of at most `length`. Raises UsageError when that is too short for what all have in common."""
        more = round((length - self._ask) / self._mean) - len(self._prefix)
        if more < 0 or length <= self._ask:
            raise UsageError(
                f"sonnet: --input-len {length} is too short for the request ({self._ask}) and --prefix-len"
            )
        drawn = [*self._prefix, *(self._lines[at] for at in rng.integers(len(self._lines), size=more))]
        text = ASK + "\n".join(drawn)
        while self._measure.count(text) > length and drawn:
            drawn.pop()
            text = ASK + "\n".join(drawn)
        return text


def _lines(source: Source) -> list[str]:
    poem = source if source.load else open_source(str(bundled()[POEM]), None, source.notice)
    return [text for _, text in poem.lines()]


def _lengths(flag: str, value: int | str | None, usual: int, count: int, rng: np.random.Generator) -> list[int]:
    return random_values.parse_length(flag, usual if value is None else value).draw_integers(rng, count)


def _prefix_len(options: Options) -> int:
    value = random_values.parse_distribution(
        "--prefix-len", PREFIX if options.prefix_len is None else options.prefix_len
    ).constant
    if value is None or value < 0:
        raise UsageError(f"sonnet takes one number as --prefix-len, not {options.prefix_len!r}")
    return round(value)
