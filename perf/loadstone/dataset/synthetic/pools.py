"""Which tokens made-up texts consist of: those that can begin a text, and those that can follow.

A follower is a word with its leading space where the vocabulary has enough of them: such tokens do not merge with their
neighbours, so a text of n of them is counted as n again. Other vocabularies give tokens of which no two merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from loadstone.records import UsageError
from loadstone.dataset.tokenizer import Tokenizer

SCAN = 20_000
ENOUGH, MANY = 64, 4096


class Pools:
    """Token ids, each once and in random order: `fill` are the followers, `first` the beginnings found so far."""

    def __init__(self, name: str, tokenizer: Tokenizer, order: np.random.Generator) -> None:
        """Raises UsageError."""
        shuffled: list[int] = order.permutation(tokenizer.vocabulary()).tolist()
        anchor = next(_beginnings(tokenizer, shuffled), None)
        if anchor is None:
            raise UsageError(
                f"the tokenizer {name} has no token that is plain text; give the tokenizer of a text model"
            )
        words = list(islice(_words(tokenizer, anchor, shuffled[:SCAN]), MANY))
        plain = islice(_beginnings(tokenizer, shuffled), MANY)
        self.fill: list[int] = words if len(words) >= ENOUGH else _steady(tokenizer, plain) or [anchor]
        self._anchor = anchor
        self._tokenizer = tokenizer
        self._more = self._firsts(shuffled, self.fill[:1] if self.fill is words else self.fill)
        self.first = list(islice(self._more, 1)) or [anchor]

    def beginnings(self, number: int) -> list[int]:
        """First tokens, enough to give one to text `number` (from 0), or all that there are."""
        self.first += islice(self._more, max(0, number + 1 - len(self.first)))
        return self.first

    def after(self, ids: list[int]) -> str:
        """The text of followers, as it is where other tokens come before."""
        before = self._tokenizer.decode([self._anchor])
        return self._tokenizer.decode([self._anchor, *ids]).removeprefix(before)

    def _firsts(self, ids: list[int], fill: list[int]) -> Iterator[int]:
        for token in _beginnings(self._tokenizer, ids):
            if all(_survive(self._tokenizer, [token, after]) for after in fill):
                yield token


def _beginnings(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[int]:
    """Visible tokens that neither begin nor end with a space, which many chat templates strip."""
    for token in ids:
        text = tokenizer.decode([token])
        if text and text == text.strip() and text.isprintable():
            yield token


def _words(tokenizer: Tokenizer, anchor: int, ids: Iterable[int]) -> Iterator[int]:
    """Tokens that are a space and a word when they follow another."""
    before = tokenizer.decode([anchor])
    for token in ids:
        text = tokenizer.decode([anchor, token]).removeprefix(before)
        if text.startswith(" ") and text[1:].isalpha() and _survive(tokenizer, [anchor, token]):
            yield token


def _steady(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """At most ENOUGH tokens, of which each stays as it is beside each, itself included."""
    kept: list[int] = []
    for token in ids:
        pairs = (pair for other in [*kept, token] for pair in ([other, token], [token, other]))
        if len(kept) < ENOUGH and all(_survive(tokenizer, pair) for pair in pairs):
            kept.append(token)
    return kept


def _survive(tokenizer: Tokenizer, ids: list[int]) -> bool:
    return tokenizer.encode(tokenizer.decode(ids)) == ids
