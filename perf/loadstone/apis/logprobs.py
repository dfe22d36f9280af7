"""Log-probabilities as OpenAI-compatible servers report them, brought into one form.

The sources are completions with and without `echo`, chat, and vLLM's `prompt_logprobs`, streamed or not. This runs, and
is imported, when a response with logprobs is complete and its text is kept. It never raises: logprobs of another form
are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct

from loadstone.apis.base import ReportedLogprobs
from loadstone.apis.usage import MAX_COUNT
from loadstone.records import Logprobs, Usage


class _Token(Struct):
    """One token.

    value: its log-probability.
    best: whether no other token was likelier.
    top: log-probabilities of the likeliest tokens at its position.
    offset: where it begins in the text, in characters.
    """

    text: str
    value: float | None
    best: bool | None
    top: dict[str, float] | None = None
    offset: int | None = None


class _CompletionLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float | None] | None] | None = None
    text_offset: list[Annotated[int, Meta(ge=0, le=MAX_COUNT)]] | None = None


class _ChatToken(Struct):
    token: str
    logprob: float | None = None
    top_logprobs: list[_ChatToken] | None = None


class _ChatLogprobs(Struct):
    content: list[_ChatToken] | None = None


class _PromptToken(Struct):
    """A token at one position of the prompt, in vLLM's `prompt_logprobs`."""

    logprob: float | None = None
    rank: int | None = None
    decoded_token: str | None = None


_PromptLogprobs = list[dict[str, _PromptToken] | None]


def collect_logprobs(reports: Iterable[ReportedLogprobs], text: str, usage: Usage | None) -> Logprobs | None:
    """Return the log-probabilities of one choice from the reports of its events, in order; None if there are none.

    text: text of the choice.
    usage: token counts of the response. In an echo the prompt has `usage.prompt` tokens, else what `usage.completion`
        leaves.

    The prompt's tokens come from `prompt_logprobs`, or from an echo before the generated tokens. The first token of a
    prompt has no log-probability, which identifies an echo; in `prompt_logprobs` it has no text either.
    """
    prompt: list[_Token] = []
    tokens: list[_Token] = []
    for report in reports:
        prompt += _prompt_tokens(report.prompt)
        tokens += _completion_tokens(report.generated) or _chat_tokens(report.generated)
    offsets: list[int] | None = None
    prompt_count = _count_echoed(tokens, text, usage or Usage())
    if not prompt_count:
        tokens = [*prompt, *tokens]
        prompt_count = len(prompt)
    elif tokens[0].offset is not None:
        offsets = [token.offset or 0 for token in tokens]
    if not tokens:
        return None
    return Logprobs(
        tokens=[token.text for token in tokens],
        values=[token.value for token in tokens],
        best=[token.best for token in tokens],
        offsets=offsets,
        prompt=prompt_count,
        top=[token.top or {} for token in tokens[prompt_count:]],
    )


def _count_echoed(tokens: Sequence[_Token], text: str, usage: Usage) -> int:
    """Return how many tokens are the echoed prompt's.

    llama.cpp echoes the text, but reports only the generated tokens and one without a value before them. vLLM counts a
    generated token that `max_tokens: 0` did not allow.
    """
    if not tokens or tokens[0].value is not None:
        return 0
    count, generated = len(tokens), usage.completion or 0
    if usage.prompt is None or count >= usage.prompt + generated:
        return count - generated if usage.prompt is None else usage.prompt
    covers_text = sum(len(token.text) for token in tokens) >= len(text)
    return min(usage.prompt, count) if covers_text else max(0, count - generated)


def _completion_tokens(report: Any) -> list[_Token]:
    logprobs = cast("_CompletionLogprobs | None", _convert(report, _CompletionLogprobs))
    if logprobs is None:
        return []
    nothing: list[None] = [None] * len(logprobs.tokens)
    tops, offsets = logprobs.top_logprobs or nothing, logprobs.text_offset or nothing
    rows = zip(logprobs.tokens, logprobs.token_logprobs, tops, offsets, strict=False)
    return [_token(text, value, None if top is None else top.items(), offset) for text, value, top, offset in rows]


def _chat_tokens(report: Any) -> list[_Token]:
    logprobs = cast("_ChatLogprobs | None", _convert(report, _ChatLogprobs))
    tokens = []
    for token in logprobs.content or () if logprobs else ():
        top = [(other.token, other.logprob) for other in token.top_logprobs or ()]
        tokens.append(_token(token.token, token.logprob, top or None))
    return tokens


def _prompt_tokens(report: Any) -> list[_Token]:
    logprobs = cast("_PromptLogprobs | None", _convert(report, _PromptLogprobs))
    tokens = []
    for entries in logprobs or ():
        own = next(iter((entries or {}).values()), None)  # the prompt's own token is the first at its position
        if own is None:
            tokens.append(_Token("", None, None))
        else:
            best = None if own.rank is None else own.rank == 1
            tokens.append(_Token(own.decoded_token or "", own.logprob, best))
    return tokens


def _token(
    text: str, value: float | None, top: Iterable[tuple[str, float | None]] | None, offset: int | None = None
) -> _Token:
    if value is not None and not math.isfinite(value):
        value = None  # JSON has no such number: the record could not be read
    likeliest: dict[str, float] = {}
    for name, logprob in top or ():
        if (
            logprob is not None and math.isfinite(logprob) and logprob > likeliest.get(name, float("-inf"))
        ):  # several tokens may have one text
            likeliest[name] = logprob
    best = None if value is None or not likeliest else value >= max(likeliest.values())
    return _Token(text, value, best, likeliest or None, offset)


def _convert(report: Any, form: Any) -> Any:
    """Return a report as a type; None if it has another form."""
    if report is None:
        return None
    try:
        return msgspec.convert(report, form, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError):
        return None
