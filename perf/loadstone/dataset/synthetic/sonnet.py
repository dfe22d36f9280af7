"""vLLM's `sonnet`: prompts of lines of a poem, the first of which are the same in all prompts.

A prompt has as many first lines as fit in --prefix-len, then random lines up to --input-len; their number follows from
the mean length of a line. Without a file the bundled poem is used. As in vLLM, chat templates are not counted: servers
add their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from loadstone.dataset.resolve import bundled
from loadstone.dataset.source import Options, Source, open_source, uses
from loadstone.dataset.synthetic import random_values
from loadstone.dataset.synthetic.measure import LengthMeasure, length_measure
from loadstone.errors import ConfigError
from loadstone.records import Prompt

ASK = "Here are some lines of a poem. Choose those that you like best and write them down:\n"
POEM = "poem"
COUNT, INPUT, PREFIX, OUTPUT = 1000, 550, 200, 150  # vLLM's defaults, except for the count


@uses("input_len", "output_len", "prefix_len")
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Yield as many prompts as the run needs, or COUNT; none is longer than requested. Raises ConfigError."""
    count = COUNT if options.count is None else options.count
    measure = length_measure(options)
    if measure.unit == "words":
        source.notice("sonnet: lengths are counted in words, not tokens; give --tokenizer for token lengths")
    file = source if source.load else open_source(str(bundled()[POEM]), None, source.notice)
    lines = [text for _, text in file.lines()]

    rng = random_values.generator(options, random_values.SONNET)
    inputs = random_values.parse_length("--input-len", _or(options.input_len, INPUT)).draw_integers(rng, count)
    outputs = random_values.parse_length("--output-len", _or(options.output_len, OUTPUT)).draw_integers(rng, count)
    prefix = random_values.parse_distribution("--prefix-len", _or(options.prefix_len, PREFIX)).constant
    if prefix is None or prefix < 0:
        raise ConfigError(f"sonnet takes one number as --prefix-len, not {options.prefix_len!r}", field="prefix_len")
    poem = _Poem(lines, measure, round(prefix))
    for number, (length, output_len) in enumerate(zip(inputs, outputs, strict=True), 1):
        text = poem.prompt(length, rng)
        input_len = measure.count(text) if measure.unit == "tokens" else None
        yield Prompt(id=f"sonnet:{number}", text=text, output_len=output_len, input_len=input_len)


class _Poem:
    """The lines of the poem, and which of the first ones every prompt has.

    prefix_len: words or tokens of what all prompts share, the request ASK included.
    """

    def __init__(self, lines: list[str], measure: LengthMeasure, prefix_len: int) -> None:
        self._lines = lines
        self._measure = measure
        self._ask_len = measure.count(ASK)
        self._mean_len = sum(map(measure.count, lines)) / len(lines)
        self._prefix = lines[: max(0, round((prefix_len - self._ask_len) / self._mean_len))]

    def prompt(self, length: int, rng: np.random.Generator) -> str:
        """Return a prompt of at most `length`. Raises ConfigError if that is too short for what all prompts share."""
        more = round((length - self._ask_len) / self._mean_len) - len(self._prefix)
        if more < 0 or length <= self._ask_len:
            raise ConfigError(
                f"sonnet: --input-len {length} is too short for the request ({self._ask_len}) and --prefix-len",
                field="input_len",
            )
        lines = [*self._prefix, *(self._lines[index] for index in rng.integers(len(self._lines), size=more))]
        text = ASK + "\n".join(lines)
        while self._measure.count(text) > length and lines:
            lines.pop()
            text = ASK + "\n".join(lines)
        return text


def _or(value: int | str | None, default: int) -> int | str:
    return default if value is None else value
