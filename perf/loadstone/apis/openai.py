"""OpenAI's chat and text completions, streamed and not, as vLLM, SGLang, llama.cpp, transformers and LiteLLM do it.

Servers differ in where they put the usage, in the name of the reasoning field, in the form of an error, and in whether
they send an empty delta for a token whose text they hold back. This module handles all of that by typed decoding of the
few fields that matter; unknown fields are skipped.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import (
    API,
    MAX_COMPLETION_TOKENS,
    MAX_TOKENS,
    Delta,
    Event,
    ReportedLogprobs,
    RequestSettings,
    ToolCall,
    ToolFunction,
)
from loadstone.apis.common import (
    SAMPLING,
    decode_again,
    output_limit,
    prompt_messages,
    prompt_text,
    sampling_fields,
)
from loadstone.apis.reasoning import audio_transcript, read_finish, read_reasoning_details, split_parts
from loadstone.apis.server_errors import error_message
from loadstone.apis.usage import ReportedUsage, Timings, UsageHolder
from loadstone.records import Prompt, Usage

_Text = str | list[dict[str, Any]] | None


class _Message(Struct, gc=False):
    role: Any = None
    content: _Text = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_text: str | None = None
    reasoning_details: Any = None
    thinking: Any = None
    refusal: str | None = None
    audio: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: ToolFunction | None = None


class _Choice(Struct, gc=False):
    index: int | None = 0
    delta: _Message | None = None
    message: _Message | None = None
    text: str | None = None
    finish_reason: Any = None
    logprobs: Any = None
    prompt_logprobs: Any = None
    usage: ReportedUsage | None = None
    error: Any = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: ReportedUsage | None = None
    error: Any = None
    object: Any = None
    message: Any = None
    prompt_logprobs: Any = None
    x_groq: UsageHolder | None = None
    timings: Timings | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_DONE = Event(done=True)
# Finish reasons with which an event may still carry a token: a response cut at its length ends with one.
_MAY_HAVE_TOKEN = (None, "length")
# Fields by which vLLM constrains the output to a grammar.
_GRAMMARS = ("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
_NAMES = {name: name for name in SAMPLING}
_LIMITS = (MAX_TOKENS, MAX_COMPLETION_TOKENS)


class Chat(API):
    """POST /v1/chat/completions."""

    path = "/v1/chat/completions"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        logprobs = {}
        if "logprobs" in settings.sampling:
            logprobs = {"logprobs": True, "top_logprobs": settings.sampling["logprobs"]}
        return _body({"messages": prompt_messages(prompt, "chat")}, prompt, settings, logprobs)

    def parse_event(self, data: bytes) -> Event:
        return _DONE if data == b"[DONE]" else _parse(data)

    def parse_response(self, data: bytes) -> Event:
        return _parse(data)


class Completions(Chat):
    """POST /v1/completions. Token ids are sent as they are, messages as their contents, one to a line."""

    path = "/v1/completions"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        text = prompt.tokens if prompt.tokens is not None else prompt_text(prompt)
        return _body({"prompt": text}, prompt, settings, {})


def _body(
    inputs: dict[str, Any], prompt: Prompt, settings: RequestSettings, logprobs: dict[str, Any]
) -> dict[str, Any]:
    """Return the body of a request, its fields in a fixed order, so that equal requests are equal bytes.

    inputs: the field that holds the prompt.
    logprobs: fields that replace those of `SAMPLING`, for chat.
    """
    body: dict[str, Any] = {"model": settings.model, **inputs}
    limit = settings.max_tokens_field if "messages" in inputs else MAX_TOKENS
    output_len = output_limit(prompt, settings)
    if output_len is not None:
        body[limit] = output_len
    if settings.ignore_eos:
        body["ignore_eos"] = True
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    body |= sampling_fields(settings, _NAMES, "chat")
    body["stream"] = settings.stream
    if settings.stream and settings.usage != "off":
        body["stream_options"] = {"include_usage": True}
        if settings.usage == "each":
            body["stream_options"]["continuous_usage_stats"] = True

    # The fields of the run come first, then those of the row, then a length that must be matched.
    # Null removes a field, and either name of the limit stands for both.
    overrides = {**settings.extra_body, **prompt.body}
    other = next((name for name in _LIMITS if name != limit and overrides.get(name) is not None), None)
    if other is not None and limit not in prompt.body:
        body.pop(limit, None)
    body = {**body, **logprobs, **overrides}
    if None in overrides.values():
        body = {name: value for name, value in body.items() if value is not None or name not in overrides}
    if not body.get("stream", True):
        body.pop("stream_options", None)
    if not settings.exact_length or output_len is None:
        return body

    # A grammar decides where such a response ends: forced to go on, it would never match.
    choice = body.get("tool_choice")
    form = body.get("response_format") or {}
    tool_required = isinstance(choice, dict) or choice == "required"
    if tool_required or form.get("type") not in (None, "text") or any(name in body for name in _GRAMMARS):
        return body

    for name in _LIMITS:
        if name != limit:
            body.pop(name, None)
    return body | {limit: output_len, "min_tokens": output_len, "ignore_eos": True}


def _parse(data: bytes) -> Event:
    """Return the event of a chunk or of a whole response. Raises BadEventError."""
    try:
        chunk = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        chunk = decode_again(_Chunk, data, exc)
    deltas = list(map(_delta, chunk.choices)) if chunk.choices else []
    if chunk.prompt_logprobs is not None:
        # Chat reports the prompt beside its choices. It is output, and may be all the output there is.
        for delta in deltas:
            generated = delta.logprobs.generated if delta.logprobs else None
            delta.logprobs = ReportedLogprobs(generated, chunk.prompt_logprobs)
            delta.output = True
    failed = chunk.error or chunk.object == "error"
    error = None
    if failed:
        error = error_message(chunk.message if chunk.error is None or chunk.error is True else chunk.error)
    usage = chunk.usage.counts() if chunk.usage is not None else _usage_elsewhere(chunk)
    if usage is not None and usage.completion == 0:
        for delta in deltas:
            if not (delta.answer or delta.reasoning or delta.tools):
                delta.output = delta.logprobs is not None and delta.logprobs.prompt is not None
    return Event(deltas, usage, error)


def _usage_elsewhere(chunk: _Chunk) -> Usage | None:
    """Return the token counts of an event that has no `usage` of its own."""
    for choice in chunk.choices or ():
        if choice.usage is not None:
            return choice.usage.counts()
    if chunk.x_groq is not None and chunk.x_groq.usage is not None:
        return chunk.x_groq.usage.counts()
    return None if chunk.timings is None else chunk.timings.counts()


def _delta(choice: _Choice) -> Delta:
    """Return the delta of one choice."""
    has_prompt = choice.prompt_logprobs is not None
    logprobs = None
    if has_prompt or choice.logprobs is not None:
        logprobs = ReportedLogprobs(choice.logprobs, choice.prompt_logprobs)
    message = choice.delta or choice.message
    index = choice.index or 0
    finish = choice.finish_reason
    error = None
    if choice.error is not None or (finish is not None and type(finish) is not str):
        finish, error = read_finish(finish, choice.error)

    # Text completions.
    if message is None:
        text = choice.text
        output = bool(text) or has_prompt or (text is not None and finish in _MAY_HAVE_TOKEN)
        return Delta(index, text or "", "", None, finish, output, logprobs, error)

    # Chat.
    content = message.content
    answer = content
    reasoning = message.reasoning_content or message.reasoning or ""
    summary = False
    if type(answer) is not str:
        answer, thinking = split_parts(content)
        reasoning = reasoning or thinking
    if message.reasoning_details or message.thinking or message.reasoning_text:
        texts, summary = read_reasoning_details(message.reasoning_details)
        reasoning = reasoning or texts or message.reasoning_text or split_parts(message.thinking)[0]
    if message.refusal:
        answer += message.refusal
    if message.audio:
        answer += audio_transcript(message.audio)
    tools = message.tool_calls or None
    if message.function_call:
        tools = [*(tools or []), ToolCall(function=message.function_call)]
    output = bool(answer or reasoning or tools or message.audio) or has_prompt
    if not output and (finish == "length" or (finish is None and message.role is None)):
        # An empty string without role or finish reason stands for a token whose text the server holds back (half a
        # character). One that ends a response at its length may be the only token of it.
        output = content == "" or message.reasoning_content == "" or message.reasoning == ""
    return Delta(index, answer, reasoning, tools, finish, output, logprobs, error, summary)
