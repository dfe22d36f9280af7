"""OpenAI's chat and text completions as vLLM 0.32 answers them, key for key. Pure.

An event is two concatenations: everything but the words is built once per request.
"""

from __future__ import annotations

import json
from typing import Any

from loadstone.sim import logprobs, request
from loadstone.sim.bodies import FINGERPRINT, encode, usage
from loadstone.sim.logprobs import LogprobOptions, Token
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, PromptContent, ResponseFacts, StreamEvents, http_chunk

_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
_TRANSFER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}


class _Events(StreamEvents):
    """The events of chat and completions; they differ in what surrounds the words."""

    __slots__ = ("_chat", "_heads", "_last", "_middle", "_prefixes", "_start", "_suffix")

    def __init__(self, facts: ResponseFacts, chat: bool) -> None:
        super().__init__(facts)
        ask = self.request
        kind = "chat.completion.chunk" if chat else "text_completion"
        body = encode({"id": facts.id, "object": kind, "created": facts.created, "model": facts.model})
        opening = b'"delta":{"content":"' if chat else b'"text":"'
        closing = b'"},' if chat else b'",'
        more = b'"token_ids":null}]' if chat else b'"prompt_token_ids":null,"token_ids":null}]'
        stop = b"" if chat else b'"stop_reason":null,'
        self._chat = chat
        self._start = b"data: " + body[:-1] + b',"choices":['
        self._prefixes = [self._start + b'{"index":%d,%b' % (n, opening) for n in range(ask.choices)]
        self._middle = closing + b'"logprobs":null,"finish_reason":null,' + stop + more
        self._last = closing + b'"logprobs":null,"finish_reason":"%b","stop_reason":null,%b' % (
            ask.finish_reason.encode(),
            more,
        )
        self._suffix = self._middle + b"}\n\n\r\n"
        self._heads: list[dict[int, bytes]] = [{} for _ in range(ask.choices)]

    def opening(self) -> bytes:
        """The role-only chunk of each choice; completions have none."""
        if not self._chat:
            return b""
        delta = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
        more = self._usage(0) + b',"prompt_token_ids":null,"prompt_text":null}\n\n'
        return b"".join(
            [http_chunk(self._start + b'{"index":%d,%b%b' % (n, delta, more)) for n in range(self.request.choices)]
        )

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        if self.request.continuous_usage:
            return http_chunk(self._prefixes[choice] + piece + self._middle + self._usage(token_count) + b"}\n\n")
        heads = self._heads[choice]
        head = heads.get(len(piece)) or self._head(choice, len(piece))
        return head + piece + self._suffix

    def _head(self, choice: int, size: int) -> bytes:
        prefix = self._prefixes[choice]
        whole = len(prefix) + size + len(self._suffix) - 2
        self._heads[choice][size] = head = b"%x\r\n%b" % (whole, prefix)
        return head

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """The chunk with the finish reason; with the fingerprint too when no usage chunk follows."""
        mark = b"" if self.request.include_usage else b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        return http_chunk(self._prefixes[choice] + piece + self._last + self._usage(token_count) + mark + b"}\n\n")

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(self._prefixes[choice] + piece + b"\n\n")

    def ending(self) -> bytes:
        """The usage chunk, if it was asked for."""
        if not self.request.include_usage:
            return b""
        total = encode(usage(self.request.prompt_tokens, self.request.tokens * self.request.choices, self.facts.cached))
        mark = FINGERPRINT.encode()
        return http_chunk(self._start + b'],"usage":%b,"system_fingerprint":"%b"}\n\n' % (total, mark))

    def _usage(self, done: int) -> bytes:
        if not self.request.continuous_usage:
            return b""
        details = {"completion_tokens_details": None} if self._chat else {}
        return b',"usage":' + encode(usage(self.request.prompt_tokens, done, self.facts.cached) | details)


class _Scored(_Events):
    """Events that tell log-probabilities, and begin with the prompt where it is echoed."""

    __slots__ = ("_offsets",)

    def __init__(self, facts: ResponseFacts, chat: bool, scores: LogprobOptions) -> None:
        super().__init__(facts, chat)
        self._offsets = [0] * self.request.choices

    def opening(self) -> bytes:
        scores = self.request.logprob_options
        if self._chat or scores is None or not scores.echo:
            return super().opening()
        texts = _texts(self.request)
        return b"".join(
            [self._put(n, encode("".join(texts))[1:-1], self._middle, 0) for n in range(self.request.choices)]
        )

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return self._put(choice, piece, self._middle, token_count)

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return self._put(choice, piece, self._last, token_count)

    def _put(self, choice: int, piece: bytes, rest: bytes, done: int) -> bytes:
        scores, text = self.request.logprob_options, str(json.loads(b'"%b"' % piece))
        assert scores is not None
        if self._silent(done):
            piece, text = b"", ""
        told = b"null" if scores.top_logprobs is None else encode(self._told(choice, text, done, scores.top_logprobs))
        self._offsets[choice] += len(text)
        rest = rest.replace(b'"logprobs":null', b'"logprobs":%b' % told, 1)
        return http_chunk(self._prefixes[choice] + piece + rest + self._usage(done) + b"}\n\n")

    def _silent(self, done: int) -> bool:
        return bool(done) and self.request.logprob_options is not None and self.request.logprob_options.no_generation

    def _told(self, choice: int, text: str, done: int, tops: int) -> dict[str, Any]:
        """`done` is 0 for the prompt."""
        known = self.request.logprob_options.known if self.request.logprob_options else ()
        tokens = (
            logprobs.generated_tokens(logprobs.split_tokens(text), tops)
            if done
            else logprobs.prompt_tokens([text], tops, known)
        )
        return (
            logprobs.chat_json(tokens, tops) if self._chat else logprobs.completion_json(tokens, self._offsets[choice])
        )


class Chat(Format):
    """POST /v1/chat/completions."""

    id_prefix = "chatcmpl-"
    chat = True

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        prompts = self._prompts(data)
        stream = _streaming(data)
        limit = request.integer(data, "max_completion_tokens") if self.chat else None
        limit = request.integer(data, "max_tokens") if limit is None else limit
        scores = self._scores(data, limit, stream[0])
        return request.build_request(
            self, data, settings, prompts, limit, request.integer(data, "n", 1), stream, scores
        )

    def _scores(self, data: dict[str, Any], limit: int | None, stream: bool) -> LogprobOptions | None:
        """What is to be told of log-probabilities, if anything."""
        prompt_tops = request.integer(data, "prompt_logprobs")
        if prompt_tops is not None and stream:
            raise request.parameter_error("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
        if self.chat:
            tops = (request.integer(data, "top_logprobs") or 0) if request.flag(data, "logprobs") else None
            scores = LogprobOptions(top_logprobs=tops, prompt_logprobs=prompt_tops)
        else:
            echo, tops = request.flag(data, "echo"), request.integer(data, "logprobs")
            told = tops if echo and prompt_tops is None else prompt_tops
            scores = LogprobOptions(
                echo=echo, top_logprobs=tops, prompt_logprobs=told, no_generation=echo and limit == 0
            )
        return None if scores == LogprobOptions() else scores

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        return [request.messages(data)]

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        scores = facts.request.logprob_options
        return _Events(facts, self.chat) if scores is None else _Scored(facts, self.chat, scores)

    def body(self, facts: ResponseFacts) -> bytes:
        ask = facts.request
        prompt = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")) if self.chat else {}
        if self.chat:
            prompt["prompt_logprobs"] = _of_prompt(ask)
        choice = self._choice
        return encode(
            {
                "id": facts.id,
                "object": "chat.completion" if self.chat else "text_completion",
                "created": facts.created,
                "model": facts.model,
                "choices": [choice(ask, index, text) for index, text in enumerate(facts.texts)],
                "service_tier": None,
                "system_fingerprint": FINGERPRINT,
                "usage": _detailed(usage(ask.prompt_tokens, ask.tokens * ask.choices, facts.cached)),
                **prompt,
                **_TRANSFER,
            }
        )

    def _choice(self, ask: ParsedRequest, index: int, text: str) -> dict[str, Any]:
        told = None
        if ask.logprob_options is not None and ask.logprob_options.top_logprobs is not None:
            tops = ask.logprob_options.top_logprobs
            tokens = logprobs.generated_tokens(logprobs.split_tokens(text), tops)
            told = logprobs.chat_json(tokens, tops)
        return _chat_choice(index, text, ask.finish_reason) | {"logprobs": told}


class Completions(Chat):
    """POST /v1/completions."""

    id_prefix = "cmpl-"
    chat = False

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        return request.prompts(data, "prompt", "Either prompt or prompt_embeds must be provided and non-empty.")

    def _choice(self, ask: ParsedRequest, index: int, text: str) -> dict[str, Any]:
        choice = _text_choice(index, text, ask.finish_reason)
        return choice if ask.logprob_options is None else choice | _echoed(ask, text, ask.logprob_options)


def _streaming(data: dict[str, Any]) -> tuple[bool, bool, bool]:
    """stream, include_usage, continuous_usage_stats."""
    stream = request.flag(data)
    options = data.get("stream_options")
    if options and not stream:
        raise request.parameter_error("Stream options can only be defined when `stream=True`.", "stream_options")
    options = options if isinstance(options, dict) else {}
    return stream, bool(options.get("include_usage")), bool(options.get("continuous_usage_stats"))


def _detailed(told: dict[str, Any]) -> dict[str, Any]:
    return told | {name: told.get(name) for name in _DETAILS}


def _chat_choice(index: int, text: str, finish: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, **nothing},
        "logprobs": None,
        "finish_reason": finish,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }


def _text_choice(index: int, text: str, finish: str) -> dict[str, Any]:
    nothing = ("stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts")
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **dict.fromkeys(nothing)}


def _texts(ask: ParsedRequest) -> list[str]:
    """The texts of the first prompt; tokens by number are shown as such."""
    return [one if isinstance(one, str) else f" {one}" for one in ask.prompts[0]]


def _of_prompt(ask: ParsedRequest, known: list[Token] | None = None) -> list[dict[str, Any] | None] | None:
    """`known`: the tokens with as many alternatives, where they have been worked out already."""
    if ask.logprob_options is None or ask.logprob_options.prompt_logprobs is None:
        return None
    return logprobs.prompt_json(
        known or logprobs.prompt_tokens(_texts(ask), ask.logprob_options.prompt_logprobs, ask.logprob_options.known)
    )


def _echoed(ask: ParsedRequest, text: str, scores: LogprobOptions) -> dict[str, Any]:
    """What log-probabilities and an echo change of a text choice."""
    tops, text = scores.top_logprobs, "" if scores.no_generation else text
    tokens, known = logprobs.generated_tokens(logprobs.split_tokens(text), tops or 0), None
    if scores.echo:
        asked = logprobs.prompt_tokens(_texts(ask), tops or 0, scores.known)
        known = asked if tops == scores.prompt_logprobs else None
        tokens, text = asked + tokens, "".join(_texts(ask)) + text
    told = None if tops is None else logprobs.completion_json(tokens)
    return {"text": text, "logprobs": told, "prompt_logprobs": _of_prompt(ask, known)}
