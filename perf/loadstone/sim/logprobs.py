"""Log-probabilities of an artificial language model. The same texts have the same ones. Pure.

The one of a token depends on itself and on the token before. Of recorded answers (`--answers`), those that the server
gives are far likelier than any other text, and right ones that it withholds far less likely. The JSON is vLLM 0.32's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any
from zlib import crc32

from msgspec import Struct

# Of each token of a known answer.
LIKELY, UNLIKELY = -0.001, -20.0
# Of a token that the server generates.
GENERATED = -0.1
# The highest of any other text, and how many thousandths below it others can be.
MAX_OTHER, SPREAD = -1.0, 8000
_TOKEN = re.compile(r"\s*\S+(?:\s+\Z)?")
# Texts of the alternatives to a token.
_ALTERNATIVES = tuple("ABCDEFGHIJ") + tuple(str(digit) for digit in range(10))

# Texts with which a prompt may end, and the log-probability of each of their tokens.
KnownTexts = tuple[tuple[str, float], ...]


class LogprobOptions(Struct, frozen=True):
    """Which log-probabilities a request asks for.

    echo: the prompt is part of the response.
    top_logprobs: number of alternatives of each generated token, None for no log-probabilities.
    prompt_logprobs: number of alternatives of each prompt token, None for no log-probabilities.
    no_generation: nothing is generated (`max_tokens: 0`).
    known: from a recorded answer.
    """

    echo: bool = False
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    no_generation: bool = False
    known: KnownTexts = ()


class Token(Struct):
    """One token.

    logprob: None for the first of a prompt.
    alternatives: texts and log-probabilities, likeliest first.
    """

    text: str
    logprob: float | None
    alternatives: list[tuple[str, float]]


def split_tokens(text: str) -> list[str]:
    """Split a text into its tokens: its words, each with the space before it."""
    return _TOKEN.findall(text)


def prompt_tokens(texts: Sequence[str], tops: int, known: KnownTexts) -> list[Token]:
    """Return the tokens of a prompt, with `tops` alternatives each; the first has no log-probability."""
    parts = [part for text in texts for part in split_tokens(text)]
    values: list[float | None] = []
    for before, part in zip(["", *parts], parts, strict=False):
        values.append(MAX_OTHER - crc32(f"{before.strip()}\0{part.strip()}".encode()) % SPREAD / 1000)
    for text, value in known:
        words = text.split()
        if words and [part.strip() for part in parts[-len(words) :]] == words:
            values[-len(words) :] = [value] * len(words)
    if values:
        values[0] = None
    return [_make_token(part, value, tops) for part, value in zip(parts, values, strict=True)]


def generated_tokens(parts: Iterable[str], tops: int) -> list[Token]:
    """Return generated tokens, with `tops` alternatives each."""
    return [_make_token(part, GENERATED, tops) for part in parts]


def _make_token(text: str, value: float | None, tops: int) -> Token:
    """Return a token. If it is unlikely, one alternative is likelier; all others are less likely."""
    if value is None:
        return Token(text, None, [])
    first = value / 2 if value < GENERATED else value - 3.0
    names = [name for name in _ALTERNATIVES[: tops + 1] if name != text.strip()][:tops]
    below = min(first, value) - 3.0
    values = [first, *(below - 0.1 * index for index in range(len(names) - 1))]
    return Token(text, value, list(zip(names, values, strict=False)))


def completion_json(tokens: Sequence[Token], start: int = 0) -> dict[str, Any]:
    """Return `choices[].logprobs` of a completion, for a text that begins `start` characters into the response."""
    offsets = list(accumulate((len(token.text) for token in tokens), initial=start))
    tops: list[dict[str, float] | None] = []
    for token in tokens:
        if token.logprob is None:
            tops.append(None)
        else:
            others = {name: value for name, value in token.alternatives if name != token.text}
            tops.append({token.text: token.logprob, **others})
    return {
        "text_offset": offsets[:-1],
        "token_logprobs": [token.logprob for token in tokens],
        "tokens": [token.text for token in tokens],
        "top_logprobs": tops,
    }


def chat_json(tokens: Sequence[Token], tops: int) -> dict[str, Any]:
    """Return `choices[].logprobs` of a chat; there the token itself is among the `tops` likeliest."""

    def entry(name: str, value: float) -> dict[str, Any]:
        return {"token": name, "logprob": value, "bytes": list(name.encode())}

    content = []
    for token in tokens:
        own = (token.text, token.logprob or 0.0)
        ranked = sorted([own, *token.alternatives], key=lambda pair: -pair[1])[:tops]
        content.append(entry(*own) | {"top_logprobs": [entry(name, value) for name, value in ranked]})
    return {"content": content}


def prompt_json(tokens: Sequence[Token]) -> list[dict[str, Any] | None]:
    """Return vLLM's `prompt_logprobs`: for each position the prompt's own token first, then the alternatives."""
    positions: list[dict[str, Any] | None] = []
    for token in tokens:
        if token.logprob is None:
            positions.append(None)
            continue
        own, others = token.logprob, token.alternatives
        above = sum(value > own for _, value in others) + (own < GENERATED and not others)
        entries = [(token.text, own, 1 + above)]
        entries += [(name, value, rank) for rank, (name, value) in enumerate(others, 1 if above else 2)]
        positions.append(
            {
                str(crc32(name.encode()) % 32000): {"logprob": value, "rank": rank, "decoded_token": name}
                for name, value, rank in entries
            }
        )
    return positions
