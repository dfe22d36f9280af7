"""OpenAI's chat and text completions, with the keys of vLLM 0.32. Pure.

Two concatenations make an event: everything but its text is built once per request.
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
    """The events of both protocols, which differ in what surrounds the text.

    _heads: by choice and size of the text, an event up to its text, with the size of its HTTP chunk.
    """

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
        """Return the role-only event of each choice; text completions have none."""
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
        head = heads.get(len(piece))
        if head is None:
            # The size of the chunk does not include the line end after it.
            prefix = self._prefixes[choice]
            size = len(prefix) + len(piece) + len(self._suffix) - 2
            heads[len(piece)] = head = b"%x\r\n%b" % (size, prefix)
        return head + piece + self._suffix

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """Return the event with the finish reason, and with the fingerprint if no usage event follows."""
        mark = b"" if self.request.include_usage else b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        return http_chunk(self._prefixes[choice] + piece + self._last + self._usage(token_count) + mark + b"}\n\n")

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(self._prefixes[choice] + piece + b"\n\n")

    def ending(self) -> bytes:
        """Return the usage event, if the request includes it."""
        if not self.request.include_usage:
            return b""
        total = encode(usage(self.request.prompt_tokens, self.request.tokens * self.request.choices, self.facts.cached))
        mark = FINGERPRINT.encode()
        return http_chunk(self._start + b'],"usage":%b,"system_fingerprint":"%b"}\n\n' % (total, mark))

    def _usage(self, done: int) -> bytes:
        """Return the token counts of an event, empty without continuous_usage_stats."""
        if not self.request.continuous_usage:
            return b""
        details = {"completion_tokens_details": None} if self._chat else {}
        return b',"usage":' + encode(usage(self.request.prompt_tokens, done, self.facts.cached) | details)


class _LogprobEvents(_Events):
    """The events with log-probabilities, and before them the prompt if it is echoed.

    _offsets: characters of each choice so far.
    """

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
        """Return an event with log-probabilities. `done`: tokens of the choice so far, 0 for the echoed prompt."""
        options = self.request.logprob_options
        assert options is not None
        text = str(json.loads(b'"%b"' % piece))
        if done and options.no_generation:
            piece, text = b"", ""
        tops, value = options.top_logprobs, b"null"
        if tops is not None:
            if done:
                tokens = logprobs.generated_tokens(logprobs.split_tokens(text), tops)
            else:
                tokens = logprobs.prompt_tokens([text], tops, options.known)
            offset = self._offsets[choice]
            fields = logprobs.chat_json(tokens, tops) if self._chat else logprobs.completion_json(tokens, offset)
            value = encode(fields)
        self._offsets[choice] += len(text)
        rest = rest.replace(b'"logprobs":null', b'"logprobs":%b' % value, 1)
        return http_chunk(self._prefixes[choice] + piece + rest + self._usage(done) + b"}\n\n")


class Chat(Format):
    """POST /v1/chat/completions.

    chat: the protocol has messages, not a prompt.
    """

    id_prefix = "chatcmpl-"
    chat = True

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        prompts = self._prompts(data)
        streamed = request.flag(data)
        options = data.get("stream_options")
        if options and not streamed:
            raise request.parameter_error("Stream options can only be defined when `stream=True`.", "stream_options")
        options = options if isinstance(options, dict) else {}
        stream = (streamed, bool(options.get("include_usage")), bool(options.get("continuous_usage_stats")))
        limit = request.integer(data, "max_completion_tokens") if self.chat else None
        limit = request.integer(data, "max_tokens") if limit is None else limit
        scores = self._scores(data, limit, stream[0])
        return request.build_request(
            self, data, settings, prompts, limit, request.integer(data, "n", 1), stream, scores
        )

    def _scores(self, data: dict[str, Any], limit: int | None, stream: bool) -> LogprobOptions | None:
        """Read which log-probabilities to return, None for none. Raises request.RefusedRequest."""
        prompt_tops = request.integer(data, "prompt_logprobs")
        if prompt_tops is not None and stream:
            raise request.parameter_error("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
        if self.chat:
            tops = (request.integer(data, "top_logprobs") or 0) if request.flag(data, "logprobs") else None
            scores = LogprobOptions(top_logprobs=tops, prompt_logprobs=prompt_tops)
        else:
            echo, tops = request.flag(data, "echo"), request.integer(data, "logprobs")
            prompt_tops = tops if echo and prompt_tops is None else prompt_tops
            scores = LogprobOptions(
                echo=echo, top_logprobs=tops, prompt_logprobs=prompt_tops, no_generation=echo and limit == 0
            )
        return None if scores == LogprobOptions() else scores

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        """Read the prompts of a body. Raises request.RefusedRequest."""
        return [request.messages(data)]

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        scores = facts.request.logprob_options
        return _Events(facts, self.chat) if scores is None else _LogprobEvents(facts, self.chat, scores)

    def body(self, facts: ResponseFacts) -> bytes:
        ask = facts.request
        prompt = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")) if self.chat else {}
        if self.chat:
            prompt["prompt_logprobs"] = _of_prompt(ask)
        counts = usage(ask.prompt_tokens, ask.tokens * ask.choices, facts.cached)
        return encode(
            {
                "id": facts.id,
                "object": "chat.completion" if self.chat else "text_completion",
                "created": facts.created,
                "model": facts.model,
                "choices": [self._choice(ask, index, text) for index, text in enumerate(facts.texts)],
                "service_tier": None,
                "system_fingerprint": FINGERPRINT,
                "usage": counts | {name: counts.get(name) for name in _DETAILS},
                **prompt,
                **_TRANSFER,
            }
        )

    def _choice(self, ask: ParsedRequest, index: int, text: str) -> dict[str, Any]:
        """Return a choice of a whole response."""
        scores = None
        if ask.logprob_options is not None and ask.logprob_options.top_logprobs is not None:
            tops = ask.logprob_options.top_logprobs
            tokens = logprobs.generated_tokens(logprobs.split_tokens(text), tops)
            scores = logprobs.chat_json(tokens, tops)
        nothing = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
        return {
            "index": index,
            "message": {"role": "assistant", "content": text, **nothing},
            "logprobs": scores,
            "finish_reason": ask.finish_reason,
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }


class Completions(Chat):
    """POST /v1/completions."""

    id_prefix = "cmpl-"
    chat = False

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        return request.prompts(data, "prompt", "Either prompt or prompt_embeds must be provided and non-empty.")

    def _choice(self, ask: ParsedRequest, index: int, text: str) -> dict[str, Any]:
        names = ("stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts")
        choice: dict[str, Any] = {"index": index, "text": text, "logprobs": None, "finish_reason": ask.finish_reason}
        choice |= dict.fromkeys(names)
        options = ask.logprob_options
        if options is None:
            return choice

        # Log-probabilities, and the prompt before the text if it is echoed.
        tops = options.top_logprobs
        if options.no_generation:
            text = ""
        tokens = logprobs.generated_tokens(logprobs.split_tokens(text), tops or 0)
        known = None
        if options.echo:
            prompt = logprobs.prompt_tokens(_texts(ask), tops or 0, options.known)
            known = prompt if tops == options.prompt_logprobs else None
            tokens = prompt + tokens
            text = "".join(_texts(ask)) + text
        scores = None if tops is None else logprobs.completion_json(tokens)
        return choice | {"text": text, "logprobs": scores, "prompt_logprobs": _of_prompt(ask, known)}


def _texts(ask: ParsedRequest) -> list[str]:
    """Return the texts of the first prompt. Token ids are shown as numbers."""
    return [one if isinstance(one, str) else f" {one}" for one in ask.prompts[0]]


def _of_prompt(ask: ParsedRequest, known: list[Token] | None = None) -> list[dict[str, Any] | None] | None:
    """Return the log-probabilities of the prompt, None if they are not wanted.

    known: the prompt's tokens with as many alternatives, if they were computed already.
    """
    if ask.logprob_options is None or ask.logprob_options.prompt_logprobs is None:
        return None
    return logprobs.prompt_json(
        known or logprobs.prompt_tokens(_texts(ask), ask.logprob_options.prompt_logprobs, ask.logprob_options.known)
    )
