"""Generate texts of exact lengths from segments: the same key gives the same text, another key another text.

Everything follows from the seed and the key, and a longer segment begins with the shorter one of its key. Lengths are
tokens of --tokenizer, or else words. The readers decide which segments a prompt has.
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
from loadstone.errors import ConfigError

# Kinds of segments; the unique segment of a conversation's turn t (from 0) has kind UNIQUE + t.
SYSTEM, PREFIX, BLOCK, UNIQUE = range(4)
ORDER, FILL = 2, 3  # streams of the seed; prompts.py and random_values.py have the others
CACHED = 4096  # segments; shared prefixes and blocks recur

# Tokens that are tested for words; a test encodes a text, so a large vocabulary takes long.
SCAN = 20_000
# Words that a generated text needs at least, else other tokens are used; and the most that are collected.
MIN_WORDS, MAX_WORDS = 64, 4096


class Segment(NamedTuple):
    """A piece of a text. kind and number: its key. length: words or tokens, at least 1."""

    kind: int
    number: int
    length: int


class TextGenerator(Protocol):
    """Generates texts of segments."""

    def generate(self, segments: Sequence[Segment]) -> str: ...

    def report_misses(self) -> None:
        """Notify the user of texts that miss their length or begin like another."""
        ...


def text_generator(source: Source, options: Options) -> TextGenerator:
    """Return a generator that counts tokens if a tokenizer is given, else words. Raises ConfigError."""
    if options.tokenizer is None:
        source.notice(
            f"{source.name}: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
        )
        return _WordText(options)
    return _TokenText(source, options, options.tokenizer)


class _WordText:
    """Segments of exact numbers of words.

    The first word follows from the segment's number: each word in turn, then each with 2 behind it, and so on.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._first: list[str] = generator(options, ORDER).permutation(WORDS).tolist()
        self._segment = lru_cache(CACHED)(self._build)

    def generate(self, segments: Sequence[Segment]) -> str:
        return " ".join(map(self._segment, segments))

    def report_misses(self) -> None:
        pass

    def _build(self, segment: Segment) -> str:
        lap, index = divmod(segment.number, len(self._first))
        first = self._first[index] + (str(lap + 1) if lap else "")
        rng = generator(self._options, FILL, segment.kind, segment.number)
        more = rng.integers(len(WORDS), size=segment.length - 1)
        return " ".join([first, *map(WORDS.__getitem__, more.tolist())])


class _Encoded(NamedTuple):
    text: str
    ids: list[int]


class _TokenText:
    """Segments of exact numbers of tokens.

    The first token follows from the segment's number; when all have been used, the first two do. Every text is encoded
    again, and counts as a miss if other tokens come back.
    """

    def __init__(self, source: Source, options: Options, name: str) -> None:
        self._source = source
        self._options = options
        self._name = name
        self._tokenizer = tokenizer.load(name)
        self._pool = TokenPool(name, self._tokenizer, generator(options, ORDER))
        self._following = np.array(self._pool.following)
        self._segment = lru_cache(CACHED)(self._build)
        self._numbers: set[int] = set()  # of segments that begin a text
        self._misses = 0

    def generate(self, segments: Sequence[Segment]) -> str:
        encoded = [self._segment(segment, not index) for index, segment in enumerate(segments)]
        text = "".join(each.text for each in encoded)
        ids = [token for each in encoded for token in each.ids]
        self._misses += self._tokenizer.encode(text) != ids or text != text.strip()  # many chat templates strip
        return text

    def report_misses(self) -> None:
        name, leading = self._source.name, len(self._pool.leading)
        if len(self._numbers) > leading:
            self._source.notice(
                f"{name}: {len(self._numbers):,} prompts are more than the {leading:,} tokens that can begin one in"
                f" {self._name}; after those, prompts differ within their first two tokens"
            )
        if self._misses:
            misses = f"{self._misses:,} prompts miss their length or begin like another"
            self._source.notice(f"{name}: {misses}, because the tokenizer merges what it decoded or has too few tokens")

    def _build(self, segment: Segment, leading: bool) -> _Encoded:
        """Return a segment, as it is at the beginning of a text (`leading`) or after another segment."""
        first_tokens = self._pool.leading_for(segment.number) if leading else self._pool.following
        lap, index = divmod(segment.number, len(first_tokens))
        if leading:
            self._numbers.add(segment.number)
            self._misses += lap >= (len(self._following) if segment.length > 1 else 1)
        rng = generator(self._options, FILL, segment.kind, segment.number)
        more = self._following[rng.integers(len(self._following), size=segment.length - 1)]
        # The second token makes the pair of the first two unique.
        more[:1] = self._following[(lap + index) % len(self._following)]
        ids = [first_tokens[index], *more.tolist()]
        return _Encoded(self._tokenizer.decode(ids) if leading else self._pool.decode_following(ids), ids)


class TokenPool:
    """Token ids that keep their identity when a text of them is encoded again; each once, in random order.

    leading: may begin a text; found as they are needed. following: may follow any token of the pool.
    """

    def __init__(self, name: str, tokenizer: Tokenizer, order: np.random.Generator) -> None:
        """Search the vocabulary. name: of the tokenizer, for messages. Raises ConfigError."""
        shuffled: list[int] = order.permutation(tokenizer.vocabulary()).tolist()
        anchor = next(_plain_tokens(tokenizer, shuffled), None)
        if anchor is None:
            raise ConfigError(
                f"the tokenizer {name} has no token that is plain text; give the tokenizer of a text model",
                field="tokenizer",
            )
        # Followers: words with a space before them, else tokens of any kind that do not merge with each other.
        words = list(islice(_words(tokenizer, anchor, shuffled[:SCAN]), MAX_WORDS))
        if len(words) >= MIN_WORDS:
            self.following = words
        else:
            plain = islice(_plain_tokens(tokenizer, shuffled), MAX_WORDS)
            self.following = _unmerged(tokenizer, plain) or [anchor]
        self._anchor = anchor
        self._tokenizer = tokenizer
        # Words behave alike behind a token, so that a test with one of them is enough.
        self._more = self._leading(shuffled, self.following[:1] if self.following is words else self.following)
        self.leading = list(islice(self._more, 1)) or [anchor]

    def leading_for(self, number: int) -> list[int]:
        """Return leading tokens: enough to give one to text `number` (from 0), or all that exist."""
        self.leading += islice(self._more, max(0, number + 1 - len(self.leading)))
        return self.leading

    def decode_following(self, ids: list[int]) -> str:
        """Return the text of tokens that follow others."""
        before = self._tokenizer.decode([self._anchor])
        return self._tokenizer.decode([self._anchor, *ids]).removeprefix(before)

    def _leading(self, ids: list[int], following: list[int]) -> Iterator[int]:
        """Yield the tokens that can begin a text and stay themselves before each of `following`."""
        for token in _plain_tokens(self._tokenizer, ids):
            if all(_is_stable(self._tokenizer, [token, after]) for after in following):
                yield token


def _plain_tokens(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[int]:
    """Yield visible tokens that neither begin nor end with a space, which many chat templates strip."""
    for token in ids:
        text = tokenizer.decode([token])
        if text and text == text.strip() and text.isprintable():
            yield token


def _words(tokenizer: Tokenizer, anchor: int, ids: Iterable[int]) -> Iterator[int]:
    """Yield tokens that are a space and a word if they follow another token."""
    before = tokenizer.decode([anchor])
    for token in ids:
        text = tokenizer.decode([anchor, token]).removeprefix(before)
        if text.startswith(" ") and text[1:].isalpha() and _is_stable(tokenizer, [anchor, token]):
            yield token


def _unmerged(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """Return at most MIN_WORDS tokens, each of which stays itself beside each other one and beside itself."""
    kept: list[int] = []
    for token in ids:
        pairs = (pair for other in [*kept, token] for pair in ([other, token], [token, other]))
        if len(kept) < MIN_WORDS and all(_is_stable(tokenizer, pair) for pair in pairs):
            kept.append(token)
    return kept


def _is_stable(tokenizer: Tokenizer, ids: list[int]) -> bool:
    """Return True if decoding and encoding gives the same tokens."""
    return tokenizer.encode(tokenizer.decode(ids)) == ids
