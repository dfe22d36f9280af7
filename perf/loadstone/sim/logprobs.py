"""Log-probabilities by a made-up language model: the same for the same texts, so that tests know them beforehand. Pure.

A token's depends on itself and on the one before. Of recorded answers (`--answers`) those that the server gives are far
likelier than any other text, and right ones that it withholds far less likely. Forms are vLLM 0.32's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any
from zlib import crc32

from msgspec import Struct

LIKELY, UNLIKELY = -0.001, -20.0
# Of a token that is generated.
GENERATED = -0.1
# The likeliest of other texts, and by how many thousandths others may fall below it.
MAX_OTHER, SPREAD = -1.0, 8000
_PIECE = re.compile(r"\s*\S+(?:\s+\Z)?")
# Tokens that might have come in place of one.
_OTHERS = tuple("ABCDEFGHIJ") + tuple(str(digit) for digit in range(10))

# Texts with which a prompt may end, and what each of their tokens has.
KnownTexts = tuple[tuple[str, float], ...]


class LogprobOptions(Struct, frozen=True):
    """What a request wants to be told. tops, prompt_tops: how many alternatives of generated tokens and of the
    prompt's; None for nothing. silent: nothing is to be generated (`max_tokens: 0`)."""

    echo: bool = False
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    no_generation: bool = False
    known: KnownTexts = ()


class Token(Struct):
    text: str
    logprob: float | None
    # Alternatives, likeliest first.
    alternatives: list[tuple[str, float]]


def split_tokens(text: str) -> list[str]:
    """The tokens of a text: its words, each with the space before it."""
    return _PIECE.findall(text)


def prompt_tokens(texts: Sequence[str], tops: int, known: KnownTexts) -> list[Token]:
    """The tokens of a prompt with their log-probabilities; the first has none."""
    parts = [piece for text in texts for piece in split_tokens(text)]
    values: list[float | None] = [_drawn(before, one) for before, one in zip(["", *parts], parts, strict=False)]
    for text, value in known:
        words = text.split()
        if words and [part.strip() for part in parts[-len(words) :]] == words:
            values[-len(words) :] = [value] * len(words)
    if values:
        values[0] = None
    return [_token(part, value, tops) for part, value in zip(parts, values, strict=True)]


def generated_tokens(parts: Iterable[str], tops: int) -> list[Token]:
    return [_token(part, GENERATED, tops) for part in parts]


def _drawn(before: str, one: str) -> float:
    return MAX_OTHER - crc32(f"{before.strip()}\0{one.strip()}".encode()) % SPREAD / 1000


def _token(text: str, value: float | None, tops: int) -> Token:
    """A token that is not the likeliest has one above it; the others are below."""
    if value is None:
        return Token(text, None, [])
    bare, first = text.strip(), value / 2 if value < GENERATED else value - 3.0
    names = [name for name in _OTHERS[: tops + 1] if name != bare][:tops]
    below = min(first, value) - 3.0
    values = [first, *(below - 0.1 * place for place in range(len(names) - 1))]
    return Token(text, value, list(zip(names, values, strict=False)))


def completion_json(tokens: Sequence[Token], begin: int = 0) -> dict[str, Any]:
    """`choices[].logprobs` of completions, of a text that begins `begin` characters into the answer."""
    ends = list(accumulate((len(token.text) for token in tokens), initial=begin))
    tops = [None if token.logprob is None else _top(token) for token in tokens]
    return {
        "text_offset": ends[:-1],
        "token_logprobs": [token.logprob for token in tokens],
        "tokens": [token.text for token in tokens],
        "top_logprobs": tops,
    }


def _top(token: Token) -> dict[str, float]:
    assert token.logprob is not None
    return {token.text: token.logprob, **{name: value for name, value in token.alternatives if name != token.text}}


def chat_json(tokens: Sequence[Token], tops: int) -> dict[str, Any]:
    """`choices[].logprobs` of chat: the token itself is one of the likeliest."""
    content = []
    for token in tokens:
        ranked = sorted([(token.text, token.logprob or 0.0), *token.alternatives], key=lambda pair: -pair[1])[:tops]
        one = _likely(token.text, token.logprob or 0.0)
        content.append(one | {"top_logprobs": [_likely(name, value) for name, value in ranked]})
    return {"content": content}


def _likely(name: str, value: float) -> dict[str, Any]:
    return {"token": name, "logprob": value, "bytes": list(name.encode())}


def prompt_json(tokens: Sequence[Token]) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: of each place the prompt's own token first."""
    return [None if token.logprob is None else _ranked(token) for token in tokens]


def _ranked(token: Token) -> dict[str, Any]:
    own = token.logprob or 0.0
    above = sum(value > own for _, value in token.alternatives) + (own < GENERATED and not token.alternatives)
    entries = [(token.text, own, 1 + above)]
    entries += [(name, value, place) for place, (name, value) in enumerate(token.alternatives, 1 if above else 2)]
    return {
        str(crc32(name.encode()) % 32000): {"logprob": value, "rank": rank, "decoded_token": name}
        for name, value, rank in entries
    }
