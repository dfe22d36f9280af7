"""Measure the length of a text and resize a text to a length: in tokens with a tokenizer, else in words.

A text that is too long is cut; one that is too short is repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from loadstone.dataset import tokenizer as tokenizers
from loadstone.dataset.source import Options

_WORD = re.compile(r"\S+")
# More characters than a token has, nearly always: a text of so many per token need not be encoded to its end.
_MAX_CHARS = 16
# Changes of the number of ids to try: cut text may be encoded as other tokens.
_NEAR = (0, -1, 1, -2, 2, -3, 3)
# Positions in the text from which missing tokens are taken.
_MAX_TRIES = 64
# Short texts that are mostly one token each; appended when tokens are missing.
_FILLERS = (" a", " 1", ".", "!")


class LengthMeasure(Protocol):
    """Counts and resizes texts in one unit, `tokens` or `words`."""

    unit: str

    def count(self, text: str) -> int: ...

    def resize(self, text: str, length: int) -> str:
        """Return the text cut or repeated to `length`, or nearly so if that is impossible."""
        ...


def length_measure(options: Options) -> LengthMeasure:
    """Return the measure that the options request. Raises DataError."""
    return TokenMeasure(tokenizers.load(options.tokenizer)) if options.tokenizer else WordMeasure()


class WordMeasure:
    """Words: whatever white space separates."""

    unit = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def resize(self, text: str, length: int) -> str:
        text = repeat_text(text, self.count(text), length)
        last = next(islice(_WORD.finditer(text), length - 1, None))
        return text[: last.end()]


class TokenMeasure:
    """Tokens, counted by encoding the text again: what is cut out of a text may be other tokens on its own."""

    unit = "tokens"

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.count = tokenizer.count

    def resize(self, text: str, length: int) -> str:
        ids = self._tokenizer.encode(text[: _MAX_CHARS * length + _MAX_CHARS])
        if len(ids) < length + len(_NEAR):
            ids = self._tokenizer.encode(text)
            if len(ids) == length:
                return text
            ids = self._tokenizer.encode(repeat_text(text, len(ids), length + len(_NEAR)))
        # Take the candidate whose length comes nearest; stop at the first that is exact.
        nearest, distance = text, math.inf
        for candidate in self._candidates(ids, length):
            if candidate and (miss := abs(self.count(candidate) - length)) < distance:
                nearest, distance = candidate, miss
            if not distance:
                break
        return nearest

    def _candidates(self, ids: list[int], length: int) -> Iterator[str]:
        """Yield beginnings of about the right length, then shorter ones with more of the text or a filler appended."""
        yield from (self._decode(ids[: length + more]) for more in _NEAR)
        for short in range(1, min(4, length)):
            base = self._decode(ids[: length - short])
            missing = length - self.count(base)
            if missing > 0:
                yield from (f"{base} {self._decode(ids[start : start + missing])}" for start in range(_MAX_TRIES))
                yield from (base + filler * missing for filler in _FILLERS)

    def _decode(self, ids: list[int]) -> str:
        """Decode without spaces at the ends, which many chat templates strip, and without cut characters."""
        return self._tokenizer.decode(ids).strip().strip(tokenizers.REPLACEMENT).strip()


def repeat_text(text: str, length: int, min_length: int) -> str:
    """Return a text of `length` words or tokens, repeated until it has at least `min_length`."""
    return text if length >= min_length else " ".join([text.strip()] * math.ceil(min_length / max(1, length)))
