"""The words of responses. Pure."""

from __future__ import annotations

from random import Random

# Source of the words of all responses.
TEXT = (
    "the north needle of iron points to a stone and by this compass all ships sail from harbour to harbour at night "
    "with no star over dark water when wind is high so that one true course on the chart holds for more than a day "
    "while light current coast island anchor captain voyage distance drift field force pole measure horizon follow"
)
VOCABULARY = sorted(set(TEXT.split()))

# Every response is a part of this fixed text, which is read in a circle, so that a token costs one look-up.
TABLE_SIZE = 4096
_rng = Random(1)
WORD_TABLE = tuple(b" " + _rng.choice(VOCABULARY).encode() for _ in range(TABLE_SIZE))
TABLE_WORDS = tuple(piece.decode().strip() for piece in WORD_TABLE)


def text_start(seed: int, number: int, choice: int) -> int:
    """Return where in WORD_TABLE the text of a choice begins."""
    return (seed * 7919 + number * 389 + choice * 1543) % TABLE_SIZE


def text_tokens(start: int, first: int, last: int) -> bytes:
    """Return tokens `first` to `last` (both included) of the text that begins at `start`."""
    if first == last:
        return WORD_TABLE[(start + first) % TABLE_SIZE]
    return b"".join([WORD_TABLE[(start + k) % TABLE_SIZE] for k in range(first, last + 1)])


def text_word(start: int, k: int) -> str:
    """Return token k of the text that begins at `start`, as it is in a later prompt that repeats the text."""
    return TABLE_WORDS[(start + k) % TABLE_SIZE]
