"""The log-likelihood of a continuation: the fields of the request for it, and its sum from the response.

Follows lm-eval's rules, so that the numbers are equal: spaces at the end of the context belong to the continuation,
and the context has as many tokens as it has alone (`EvalRequest.context_tokens`, tokenize.py). If that number is
unknown, the continuation's tokens are found from the end of the text that the server returned. Does no I/O.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from typing import Any

from loadstone.evals.requests.eval_request import EvalRequest
from loadstone.records import Logprobs, Record

_UNREADABLE = "its tokens do not spell the text that was sent: a server with /tokenize, or --mode generation, can do it"
# SentencePiece writes a space before a word as this character.
_SPACE = "\u2581"
# A byte of a character that is split over tokens, as SentencePiece writes it.
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class MissingLogprobsError(Exception):
    """The response does not hold the log-likelihood. The text is the reason of the failed item."""


def body(request: EvalRequest) -> dict[str, Any]:
    """Return the fields of a request for log-probabilities, by the method of its answer mode.

    One token is generated, as by lm-eval: not every server takes `max_tokens` 0.
    """
    method = request.answer_mode.method
    assert method is not None
    prompt, text = request.prompt, request.continuation or ""
    if method.kind == "letters":
        fields: dict[str, Any] = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
        if method.api == "chat":
            fields |= {"logprobs": True, "top_logprobs": method.top}
        else:
            fields["logprobs"] = method.top
        return {**fields, "max_tokens": 1, "temperature": 0}

    # Context and continuation in one: token ids, a text, or messages of which the last ends with the continuation.
    if isinstance(prompt, str) and request.tokens is not None:
        fields = {"prompt": request.tokens}
    elif isinstance(prompt, str):
        fields = {"prompt": prompt + text}
        if method.plain and prompt:
            fields["add_special_tokens"] = False
    else:
        *before, last = prompt
        if last.get("role") == "assistant":
            messages = [*before, {**last, "content": f"{last.get('content') or ''}{text}"}]
        else:
            messages = [*prompt, {"role": "assistant", "content": text}]
        fields = {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
    fields |= {"echo": True, "logprobs": 1} if method.kind == "echo" else {"prompt_logprobs": 1}
    return {**fields, "max_tokens": 1, "temperature": 0, "stream": False}


def from_record(record: Record, request: EvalRequest) -> list[tuple[float, bool]]:
    """Return (log-likelihood, whether greedy) of the continuation, or of each letter. Raises MissingLogprobsError."""
    if record.logprobs is None:
        raise MissingLogprobsError("the answer has no log-probabilities")
    if request.answer_mode.mode == "letters":
        return score_letters(record.logprobs, request.letters)
    context = request.prompt if isinstance(request.prompt, str) else None
    sent = None if request.tokens is None else len(request.tokens)
    return [score_continuation(record.logprobs, context, request.continuation or "", request.context_tokens, sent)]


def move_spaces(context: str, text: str) -> tuple[str, str]:
    """Move the spaces at the end of the context to the start of the continuation.

    Source: lm_eval.api.model.TemplateLM._encode_pair.
    """
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + text


def score_continuation(
    logprobs: Logprobs, context: str | None, text: str, begin: int | None = None, sent: int | None = None
) -> tuple[float, bool]:
    """Return the sum of the log-probabilities of the continuation's tokens, and whether each was the likeliest.

    context: None for messages, whose text only the server knows
    begin: tokens of the prompt that belong to the context; None if unknown
    sent: tokens that were sent; None if unknown

    Raises MissingLogprobsError.
    """
    if not logprobs.prompt:
        raise MissingLogprobsError("the server told nothing of the prompt's tokens")
    if sent is not None and sent != logprobs.prompt:
        raise MissingLogprobsError(f"the server told of {logprobs.prompt} tokens, but {sent} were sent")
    if begin is None:
        if context is not None:
            context, text = move_spaces(context, text)
        begin = _find_begin(logprobs, context, text)
    # The sum over the continuation's tokens, all of which must be known.
    values = logprobs.values[begin : logprobs.prompt]
    if text and not values:
        raise MissingLogprobsError(
            "the continuation has no token of its own: its text is part of the context's last token"
        )
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise MissingLogprobsError(
            "the first token has no log-probability, and nothing stands before it: give it a context"
        )
    return math.fsum(known), all(logprobs.best[begin : logprobs.prompt])


def _find_begin(logprobs: Logprobs, context: str | None, text: str) -> int:
    """Return the index of the continuation's first token.

    A token that starts before the continuation belongs to the context, as in lm-eval if the context alone has as many
    tokens.
    """
    for find in (_match_exactly, _match_loosely):
        if (begin := find(logprobs, text.encode())) is not None:
            return begin
    begin = None if context is None else _find_by_offsets(logprobs, context, text)
    if begin is None:
        raise MissingLogprobsError(_UNREADABLE)
    return begin


def _match_exactly(logprobs: Logprobs, rest: bytes) -> int | None:
    """Match tokens backwards from the end of the prompt, so that templates and special tokens before it do not matter.

    A token without text is the start of a character that the next token completes.
    """
    for index in range(logprobs.prompt - 1, -1, -1):
        if not rest:
            if logprobs.tokens[index] or logprobs.values[index] is None:
                return index + 1
            return _skip_empty_tokens(logprobs, index)
        token = _token_bytes(logprobs.tokens[index], rest)
        if rest.endswith(token):
            rest = rest[: len(rest) - len(token)]
        elif token.endswith(rest):
            return index + 1
        else:
            return None
    return None if rest else 0


def _skip_empty_tokens(logprobs: Logprobs, index: int) -> int:
    """Return the index of the first token of a run of tokens without text that ends at `index`."""
    while index >= 0 and not logprobs.tokens[index] and logprobs.values[index] is not None:
        index -= 1
    return index + 1


def _match_loosely(logprobs: Logprobs, rest: bytes) -> int | None:
    """Match tokens like _match_exactly, but ignore white space that a server or a chat template leaves out."""
    rest = rest.rstrip()
    for index in range(logprobs.prompt - 1, -1, -1):
        if not rest.strip():
            return _skip_empty_tokens(logprobs, index)
        token = _token_bytes(logprobs.tokens[index], rest).strip()
        stripped = rest.rstrip()
        if not stripped.endswith(token):
            return index + 1 if token.endswith(stripped.lstrip()) else None
        rest = stripped[: len(stripped) - len(token)]
    return None if rest.strip() else 0


def _token_bytes(token: str, rest: bytes) -> bytes:
    """Return the bytes of a token. Parts of characters are `<0xE5>` (SentencePiece) or `bytes:\\xe5` (OpenAI)."""
    plain = token.encode("utf-8", "surrogatepass")
    if rest.endswith(plain):
        return plain
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    if token.startswith("bytes:\\x"):
        return bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    return token.replace(_SPACE, " ").encode("utf-8", "surrogatepass")


def _find_by_offsets(logprobs: Logprobs, context: str, text: str) -> int | None:
    """Find the continuation by the offsets of tokens. A token before the text, such as `<s>`, may count as text."""
    if logprobs.offsets is None:
        return None
    offsets, shift = logprobs.offsets[: logprobs.prompt], 0
    if len(offsets) > 1 and logprobs.tokens[0] and not (context + text).startswith(logprobs.tokens[0]):
        shift = offsets[1] - offsets[0]
    begin = bisect_left(offsets, len(context) + shift)
    return begin if 0 < begin < logprobs.prompt and offsets == sorted(offsets) else None


def score_letters(logprobs: Logprobs, choices: list[str]) -> list[tuple[float, bool]]:
    """Return the log-probability of each letter as first token, and whether no other token is likelier.

    A letter counts with and without a space before it; one that is not among the likeliest tokens has minus infinity.
    Raises MissingLogprobsError if none is.
    """
    top = logprobs.top[0] if logprobs.top else {}
    if not top:
        raise MissingLogprobsError("the server told no likeliest tokens")
    # The log-probabilities of all tokens that spell a letter.
    values_of: dict[str, list[float]] = {}
    for token, value in top.items():
        values_of.setdefault(token.replace(_SPACE, " ").strip(), []).append(value)
    best = max(top.values())
    scores: list[tuple[float, bool]] = []
    for choice in choices:
        values = values_of.get(choice.strip(), [])
        mass = math.fsum(map(math.exp, values))
        scores.append((math.log(mass) if mass else -math.inf, best in values))
    if all(value == -math.inf for value, _ in scores):
        raise MissingLogprobsError(f"none of the letters is among the {len(top)} likeliest first tokens")
    return scores
