"""Made-up texts of exact lengths, put together from parts: the same key gives the same text, another key another.

Everything follows from the seed and the key, and a longer part begins with the shorter one of its key. Lengths are
words, which the operator is told, or tokens of --tokenizer. Which parts a prompt has is the readers' affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np

from loadstone.dataset import tokenizer
from loadstone.dataset.source import Options, Source
from loadstone.dataset.synthetic.random_values import generator
from loadstone.dataset.synthetic.words import WORDS
from loadstone.dataset.tokenizer import Tokenizer
from loadstone.errors import UsageError

# Kinds of parts; the own part of a conversation's turn t (from 0) has kind OWN + t.
SYSTEM, PREFIX, BLOCK, UNIQUE = range(4)
ORDER, FILL = 2, 3  # streams of the seed; synthetic.py and draws.py have the others
CACHED = 4096


class Segment(NamedTuple):
    """A stretch of a text: kind and number are its key, `length` (at least 1) is in words or tokens."""

    kind: int
    number: int
    length: int


class TextGenerator(Protocol):
    """Makes texts; `report_misses` tells what did not come out as asked."""

    def generate(self, parts: Sequence[Segment]) -> str: ...

    def report_misses(self) -> None: ...


def text_generator(source: Source, options: Options) -> TextGenerator:
    """By tokens where a tokenizer is given, else by words. Raises UsageError."""
    if options.tokenizer is None:
        source.notice(
            f"{source.name}: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
        )
        return _Words(options)
    return _Tokens(source, options, options.tokenizer)


class _Words:
    """Parts of exactly so many words; a number joins the first word once every word has been first."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._first: list[str] = generator(options, ORDER).permutation(WORDS).tolist()
        self._part = lru_cache(CACHED)(self._made)

    def generate(self, parts: Sequence[Segment]) -> str:
        return " ".join(map(self._part, parts))

    def report_misses(self) -> None:
        pass

    def _made(self, part: Segment) -> str:
        lap, place = divmod(part.number, len(self._first))
        first = self._first[place] + (str(lap + 1) if lap else "")
        more = generator(self._options, FILL, part.kind, part.number).integers(len(WORDS), size=part.length - 1)
        return " ".join([first, *map(WORDS.__getitem__, more.tolist())])


class _Piece(NamedTuple):
    text: str
    ids: list[int]


class _Tokens:
    """Parts of exactly so many tokens. First tokens are given out by number, and after the last of them pairs of the
    first two. Every text is encoded again, and counted as missed where other tokens come back."""

    def __init__(self, source: Source, options: Options, name: str) -> None:
        self._source = source
        self._options = options
        self._name = name
        self._tokenizer = tokenizer.load(name)
        self._pools = TokenPool(name, self._tokenizer, generator(options, ORDER))
        self._fill = np.array(self._pools.following)
        self._piece = lru_cache(CACHED)(self._made)
        self._begun: set[int] = set()
        self._missed = 0

    def generate(self, parts: Sequence[Segment]) -> str:
        pieces = [self._piece(part, not place) for place, part in enumerate(parts)]
        text = "".join(piece.text for piece in pieces)
        ids = [token for piece in pieces for token in piece.ids]
        self._missed += self._tokenizer.encode(text) != ids or text != text.strip()  # many chat templates strip
        return text

    def report_misses(self) -> None:
        name, first = self._source.name, len(self._pools.leading)
        if len(self._begun) > first:
            self._source.notice(
                f"{name}: {len(self._begun):,} prompts are more than the {first:,} tokens that can begin one in"
                f" {self._name}; after those, prompts differ within their first two tokens"
            )
        if self._missed:
            missed = f"{self._missed:,} prompts miss their length or begin like another"
            self._source.notice(f"{name}: {missed}, because the tokenizer merges what it decoded or has too few tokens")

    def _made(self, part: Segment, leading: bool) -> _Piece:
        heads = self._pools.leading_for(part.number) if leading else self._pools.following
        lap, place = divmod(part.number, len(heads))
        if leading:
            self._begun.add(part.number)
            self._missed += lap >= (len(self._fill) if part.length > 1 else 1)
        rng = generator(self._options, FILL, part.kind, part.number)
        more = self._fill[rng.integers(len(self._fill), size=part.length - 1)]
        more[:1] = self._fill[(lap + place) % len(self._fill)]  # with the head a pair of its own
        ids = [heads[place], *more.tolist()]
        return _Piece(self._tokenizer.decode(ids) if leading else self._pools.decode_following(ids), ids)


SCAN = 20_000
ENOUGH, MANY = 64, 4096


class TokenPool:
    """Token ids, each once, in random order: `leading` ones may begin a text, `following` ones may follow."""

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
        self.following: list[int] = words if len(words) >= ENOUGH else _steady(tokenizer, plain) or [anchor]
        self._anchor = anchor
        self._tokenizer = tokenizer
        self._more = self._firsts(shuffled, self.following[:1] if self.following is words else self.following)
        self.leading = list(islice(self._more, 1)) or [anchor]

    def leading_for(self, number: int) -> list[int]:
        """First tokens, enough to give one to text `number` (from 0), or all that there are."""
        self.leading += islice(self._more, max(0, number + 1 - len(self.leading)))
        return self.leading

    def decode_following(self, ids: list[int]) -> str:
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
