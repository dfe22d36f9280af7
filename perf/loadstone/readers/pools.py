"""Which tokens random prompts are made of: those that can begin a text, and those that can follow.

A follower is a word with its leading space where the vocabulary has enough of them: such tokens do not merge
with their neighbours, so a text of n of them is counted as n again. Other vocabularies give every token that
survives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from loadstone.records import UsageError
from loadstone.tokens import Tokenizer

SCAN = 20_000
ENOUGH, MANY = 64, 4096


class Pools(NamedTuple):
    """Token ids, each once and in random order."""

    first: list[int]
    fill: list[int]


def pools(name: str, tokenizer: Tokenizer, order: np.random.Generator, count: int) -> Pools:
    """At most `count` first tokens; followers do not depend on `count`, and so one seed gives one text."""
    shuffled: list[int] = order.permutation(tokenizer.vocabulary()).tolist()
    anchor = next(_beginnings(tokenizer, shuffled), None)
    if anchor is None:
        raise UsageError(f"the tokenizer {name} has no token that is plain text; give the tokenizer of a text model")
    words = list(islice(_words(tokenizer, anchor, shuffled[:SCAN]), MANY))
    fill: list[int] = order.permutation(words if len(words) >= ENOUGH else shuffled[:MANY]).tolist()
    steady = (token for token in _beginnings(tokenizer, shuffled) if _survive(tokenizer, [token, fill[0]]))
    first = list(islice(steady, max(1, count)))
    return Pools(first or [anchor], fill)


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


def _survive(tokenizer: Tokenizer, ids: list[int]) -> bool:
    return tokenizer.encode(tokenizer.decode(ids)) == ids
