"""How long a text is, and a text made exactly that long: in tokens where a tokenizer is given, else in words.

A text that is too long is cut, one that is too short is repeated. Which texts, and how long, is fit.py's affair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from loadstone.dataset import tokenizer as tokens
from loadstone.dataset.source import Options

_WORD = re.compile(r"\S+")
_LONG = 16  # characters a token hardly ever has
_NEAR = (0, -1, 1, -2, 2, -3, 3)
_TRIES = 64
_FILLERS = (" a", " 1", ".", "!")


class LengthMeasure(Protocol):
    """`unit` is `tokens` or `words`; `resize` gives a text of `length` of them, or nearly so if there is none."""

    unit: str

    def count(self, text: str) -> int: ...

    def resize(self, text: str, length: int) -> str: ...


def length_measure(options: Options) -> LengthMeasure:
    """What the options have lengths counted with. Raises UsageError."""
    return TokenMeasure(tokens.load(options.tokenizer)) if options.tokenizer else WordMeasure()


class WordMeasure:
    """Whatever white space separates."""

    unit = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def resize(self, text: str, length: int) -> str:
        text = repeat_text(text, self.count(text), length)
        last = next(islice(_WORD.finditer(text), length - 1, None))
        return text[: last.end()]


class TokenMeasure:
    """Tokens, as the text is counted when it is read again: what is cut out of one may be other tokens on its own."""

    unit = "tokens"

    def __init__(self, tokenizer: tokens.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.count = tokenizer.count

    def resize(self, text: str, length: int) -> str:
        ids = self._tokenizer.encode(text[: _LONG * length + _LONG])
        if len(ids) < length + len(_NEAR):
            ids = self._tokenizer.encode(text)
            if len(ids) == length:
                return text
            ids = self._tokenizer.encode(repeat_text(text, len(ids), length + len(_NEAR)))
        nearest, off = text, math.inf
        for found in self._tries(ids, length):
            if found and (miss := abs(self.count(found) - length)) < off:
                nearest, off = found, miss
            if not off:
                break
        return nearest

    def _tries(self, ids: list[int], length: int) -> Iterator[str]:
        """Beginnings of about the right length; then shorter ones with more of the text, or else a filler, behind."""
        yield from (self._decode(ids[: length + more]) for more in _NEAR)
        for short in range(1, min(4, length)):
            base = self._decode(ids[: length - short])
            missing = length - self.count(base)
            if missing > 0:
                yield from (f"{base} {self._decode(ids[at : at + missing])}" for at in range(_TRIES))
                yield from (base + filler * missing for filler in _FILLERS)

    def _decode(self, ids: list[int]) -> str:
        """Without spaces at the ends, which many chat templates strip, nor characters that a cut went through."""
        return self._tokenizer.decode(ids).strip().strip(tokens.REPLACEMENT).strip()


def repeat_text(text: str, count: int, least: int) -> str:
    """The text as often as `least` takes, when it has `count`."""
    return text if count >= least else " ".join([text.strip()] * math.ceil(least / max(1, count)))
