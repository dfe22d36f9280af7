"""How likely a continuation is: the fields of a request that asks for it, and the sum taken from what comes back.

Pure, and by lm-eval's rules, so that numbers are equal: spaces at the end of the context belong to the continuation,
and the context has as many tokens as it has alone (`EvalRequest.context`, tokenize.py). Where no tokenizer tells,
the continuation's tokens are found from the end of the text that the server sent back.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from typing import Any, Literal

from msgspec import Struct

from loadstone.evals.requests.build import EvalRequest
from loadstone.records import Logprobs, Record

Kind = Literal["echo", "prompt_logprobs", "letters"]
_UNREADABLE = "its tokens do not spell the text that was sent: a server with /tokenize, or --mode generation, can do it"


class MissingLogprobsError(Exception):
    """What came back does not say how likely the continuation is; the text says why, as the reason of a failed item."""


class LogprobMethod(Struct, frozen=True):
    """How a server is asked for log-probabilities.

    plain: whether it leaves special tokens away when asked to, as lm-eval sends none; ids: whether texts go to it as
    the ids that its `/tokenize` gives.
    top: of the first token, so many of the likeliest.
    """

    kind: Kind
    api: Literal["chat", "completions"] = "completions"
    plain: bool = False
    ids: bool = False
    top: int = 20


def body(request: EvalRequest, method: LogprobMethod) -> dict[str, Any]:
    """The fields of the request. One token is generated, as by lm-eval: not every server takes `max_tokens` 0."""
    if method.kind == "letters":
        return {**_asked(request.prompt), **_FIRST[method.api](method.top), "max_tokens": 1, "temperature": 0}
    return {**_whole(request, method), **_ALL[method.kind], "max_tokens": 1, "temperature": 0, "stream": False}


_ALL: dict[str, dict[str, Any]] = {"echo": {"echo": True, "logprobs": 1}, "prompt_logprobs": {"prompt_logprobs": 1}}
_FIRST = {
    "chat": lambda top: {"logprobs": True, "top_logprobs": top},
    "completions": lambda top: {"logprobs": top},
}


def _asked(asked: str | list[dict[str, Any]]) -> dict[str, Any]:
    return {"prompt": asked} if isinstance(asked, str) else {"messages": asked}


def _whole(wanted: EvalRequest, way: LogprobMethod) -> dict[str, Any]:
    """Context and continuation in one: token ids where they are known, a text, or messages of which the last ends as
    the continuation does."""
    text = wanted.continuation or ""
    if isinstance(wanted.prompt, str):
        if wanted.tokens is not None:
            return {"prompt": wanted.tokens}
        special = {"add_special_tokens": False} if way.plain and wanted.prompt else {}
        return {"prompt": wanted.prompt + text, **special}
    *before, last = wanted.prompt
    if last.get("role") == "assistant":
        said = [*before, {**last, "content": f"{last.get('content') or ''}{text}"}]
    else:
        said = [*wanted.prompt, {"role": "assistant", "content": text}]
    return {"messages": said, "add_generation_prompt": False, "continue_final_message": True}


def from_record(record: Record, request: EvalRequest) -> list[tuple[float, bool]]:
    """What a record says of the continuation, or of each of the letters. Raises UntoldError."""
    if record.logprobs is None:
        raise MissingLogprobsError("the answer has no log-probabilities")
    if request.mode == "letters":
        return score_letters(record.logprobs, request.letters)
    context = request.prompt if isinstance(request.prompt, str) else None
    whole = None if request.tokens is None else len(request.tokens)
    return [score_continuation(record.logprobs, context, request.continuation or "", request.context_tokens, whole)]


def move_spaces(context: str, text: str) -> tuple[str, str]:
    """Context and continuation with the spaces at the end of the one at the beginning of the other, as in
    lm_eval.api.model.TemplateLM._encode_pair."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + text


def score_continuation(
    logprobs: Logprobs, context: str | None, text: str, begin: int | None = None, whole: int | None = None
) -> tuple[float, bool]:
    """Sum of the log-probabilities of the continuation's tokens, and whether each was the likeliest at its place.

    context: None for messages, of which only the server knows the text. begin: how many of the prompt's tokens are the
    context's, and whole: how many there are, where that is known. Raises UntoldError.
    """
    if not logprobs.prompt:
        raise MissingLogprobsError("the server told nothing of the prompt's tokens")
    if whole is not None and whole != logprobs.prompt:
        raise MissingLogprobsError(f"the server told of {logprobs.prompt} tokens, but {whole} were sent")
    if begin is None:
        context, text = (None, text) if context is None else move_spaces(context, text)
        begin = _begin(logprobs, context, text)
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


def _begin(told: Logprobs, context: str | None, text: str) -> int:
    """The first token of the continuation. One that began before is the context's, as it is in lm-eval when the context
    alone has as many tokens."""
    for find in (_exactly, _loosely):
        if (begin := find(told, text.encode())) is not None:
            return begin
    begin = None if context is None else _by_offsets(told, context, text)
    if begin is None:
        raise MissingLogprobsError(_UNREADABLE)
    return begin


def _exactly(told: Logprobs, rest: bytes) -> int | None:
    """Back from the end of the prompt, so that no template and no special token before it matters. A token without text
    is the beginning of a character that the token after it ends."""
    for at in range(told.prompt - 1, -1, -1):
        if not rest:
            return at + 1 if told.tokens[at] or told.values[at] is None else _exactly_from(told, at)
        token = _spelt(told.tokens[at], rest)
        if rest.endswith(token):
            rest = rest[: len(rest) - len(token)]
        elif token.endswith(rest):
            return at + 1
        else:
            return None
    return None if rest else 0


def _exactly_from(told: Logprobs, at: int) -> int:
    while at >= 0 and not told.tokens[at] and told.values[at] is not None:
        at -= 1
    return at + 1


def _loosely(told: Logprobs, rest: bytes) -> int | None:
    """The same, but for spaces that a server leaves out before its tokens, or a template around a message."""
    rest = rest.rstrip()
    for at in range(told.prompt - 1, -1, -1):
        if not rest.strip():
            return _exactly_from(told, at)
        token = _spelt(told.tokens[at], rest).strip()
        bare = rest.rstrip()
        if not bare.endswith(token):
            return at + 1 if token.endswith(bare.lstrip()) else None
        rest = bare[: len(bare) - len(token)]
    return None if rest.strip() else 0


_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _spelt(token: str, rest: bytes) -> bytes:
    """The bytes of a token. Half characters are `<0xE5>` (SentencePiece) or `bytes:\\xe5` (OpenAI)."""
    plain = token.encode("utf-8", "surrogatepass")
    if rest.endswith(plain):
        return plain
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    if token.startswith("bytes:\\x"):
        return bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    return token.replace("\u2581", " ").encode("utf-8", "surrogatepass")


def _by_offsets(told: Logprobs, context: str, text: str) -> int | None:
    """By where the server says that tokens begin. A token before the text, such as `<s>`, may count as text."""
    if told.offsets is None:
        return None
    offsets, shift = told.offsets[: told.prompt], 0
    if len(offsets) > 1 and told.tokens[0] and not (context + text).startswith(told.tokens[0]):
        shift = offsets[1] - offsets[0]
    begin = bisect_left(offsets, len(context) + shift)
    return begin if 0 < begin < told.prompt and offsets == sorted(offsets) else None


def score_letters(logprobs: Logprobs, choices: list[str]) -> list[tuple[float, bool]]:
    """Log-probability of each letter as first token, with and without a space before it, and whether no other token is
    likelier; minus infinity for one that is not among those told. Raises UntoldError when none is."""
    top = logprobs.top[0] if logprobs.top else {}
    if not top:
        raise MissingLogprobsError("the server told no likeliest tokens")
    masses = [math.fsum(math.exp(value) for value in _of(top, letter)) for letter in choices]
    if not any(masses):
        raise MissingLogprobsError(f"none of the letters is among the {len(top)} likeliest first tokens")
    best = max(top.values())
    return [
        (math.log(mass) if mass else -math.inf, best in _of(top, letter))
        for letter, mass in zip(choices, masses, strict=True)
    ]


def _of(top: dict[str, float], letter: str) -> list[float]:
    return [value for token, value in top.items() if token.replace("\u2581", " ").strip() == letter.strip()]
