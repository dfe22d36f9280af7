"""What OpenAI-compatible servers say of log-probabilities, in one form: completions with and without `echo`, chat, and
vLLM's `prompt_logprobs`, whole or in the pieces of a stream.

Worked out when the answer is over, of answers whose text is kept. It never raises: what has another form is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from loadstone.records import Logprobs, Usage


class ReportedLogprobs(Struct, gc=False):
    """As it stands in one event, for one choice: `choices[].logprobs`, and `prompt_logprobs` wherever that is."""

    generated: Any = None
    prompt: Any = None


class _Token(Struct):
    """A token with what stands beside it. `top`: the likeliest at its place; None where that is not told."""

    text: str
    value: float | None
    best: bool | None
    top: dict[str, float] | None = None
    offset: int | None = None


class _Texts(Struct):
    """`logprobs` of completions."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float | None] | None] | None = None
    text_offset: list[int] | None = None


class _Likely(Struct):
    token: str
    logprob: float | None = None
    top_logprobs: list[_Likely] | None = None


class _Contents(Struct):
    """`logprobs` of chat."""

    content: list[_Likely] | None = None


class _Ranked(Struct):
    """An entry of vLLM's `prompt_logprobs`: a token of the vocabulary at a place of the prompt."""

    logprob: float | None = None
    rank: int | None = None
    decoded_token: str | None = None


_Prompt = list[dict[str, _Ranked] | None]


def collect_logprobs(told: Iterable[ReportedLogprobs], text: str, usage: Usage | None) -> Logprobs | None:
    """All that was told of one answer, in the order of its events; None where that is nothing. `text`: the answer's.

    The prompt's tokens are those of `prompt_logprobs`, or those that an echo has before the generated ones: their
    number is the server's `usage.prompt_tokens`, else what `completion_tokens` leaves. The first of a prompt has no
    log-probability, by which an echo is known; in `prompt_logprobs` it has no text either.
    """
    asked: list[_Token] = []
    tokens: list[_Token] = []
    for one in told:
        asked += _of_prompt(one.prompt)
        tokens += _of_texts(one.generated) or _of_contents(one.generated)
    echoed = _echoed(tokens, text, usage or Usage())
    if not echoed:
        tokens, echoed = [*asked, *tokens], len(asked)
    elif tokens[0].offset is not None:
        return _put(tokens, echoed, [token.offset or 0 for token in tokens])
    return _put(tokens, echoed, None) if tokens else None


def _put(tokens: Sequence[_Token], prompt: int, offsets: list[int] | None) -> Logprobs:
    return Logprobs(
        tokens=[token.text for token in tokens],
        values=[token.value for token in tokens],
        best=[token.best for token in tokens],
        offsets=offsets,
        prompt=prompt,
        top=[token.top or {} for token in tokens[prompt:]],
    )


def _echoed(tokens: Sequence[_Token], text: str, usage: Usage) -> int:
    """How many tokens are the prompt's. llama.cpp echoes the text, but tells of the generated tokens only, and of one
    without a value before them; vLLM counts a generated token that `max_tokens: 0` did not let it have."""
    if not tokens or tokens[0].value is not None:
        return 0
    there, generated = len(tokens), usage.completion or 0
    if usage.prompt is None or there >= usage.prompt + generated:
        return there - generated if usage.prompt is None else usage.prompt
    whole = sum(len(token.text) for token in tokens) >= len(text)
    return min(usage.prompt, there) if whole else max(0, there - generated)


def _of_texts(found: Any) -> list[_Token]:
    told = cast("_Texts | None", _converted(found, _Texts))
    if told is None:
        return []
    nothing: list[None] = [None] * len(told.tokens)
    tops, offsets = told.top_logprobs or nothing, told.text_offset or nothing
    rows = zip(told.tokens, told.token_logprobs, tops, offsets, strict=False)
    return [_token(text, value, None if top is None else top.items(), offset) for text, value, top, offset in rows]


def _of_contents(found: Any) -> list[_Token]:
    told = cast("_Contents | None", _converted(found, _Contents))
    return [
        _token(one.token, one.logprob, [(other.token, other.logprob) for other in one.top_logprobs or ()] or None)
        for one in (told.content or () if told else ())
    ]


def _of_prompt(found: Any) -> list[_Token]:
    told = cast("_Prompt | None", _converted(found, _Prompt))
    return [_ranked(entries) for entries in told or ()]


def _ranked(entries: dict[str, _Ranked] | None) -> _Token:
    """The prompt's own token stands first among those of its place."""
    one = next(iter((entries or {}).values()), None)
    if one is None:
        return _Token("", None, None)
    return _Token(one.decoded_token or "", one.logprob, None if one.rank is None else one.rank == 1)


def _token(
    text: str, value: float | None, top: Iterable[tuple[str, float | None]] | None, offset: int | None = None
) -> _Token:
    likely: dict[str, float] = {}
    for name, logprob in top or ():
        if logprob is not None and logprob > likely.get(name, float("-inf")):  # several tokens may have one text
            likely[name] = logprob
    best = None if value is None or not likely else value >= max(likely.values())
    return _Token(text, value, best, likely or None, offset)


def _converted(found: Any, form: Any) -> Any:
    if found is None:
        return None
    try:
        return msgspec.convert(found, form, strict=False)
    except msgspec.ValidationError:
        return None
