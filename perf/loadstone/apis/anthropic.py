"""Anthropic's messages, streamed and not, as Anthropic and vLLM serve them.

Here a prompt's tokens are told without those that came from the cache or went into it: `Usage.prompt` is their sum, as
with the other protocols. Shapes: Anthropic's documentation, and vLLM 0.32 (entrypoints/anthropic/protocol.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings, ToolCall, ToolFunction
from loadstone.apis.common import (
    Message,
    content_text,
    error_message,
    json_decoder,
    output_limit,
    overlay,
    prompt_messages,
    reject_fixed_length,
    sampling_fields,
    stop_as_list,
)
from loadstone.records import Prompt, Usage

# The protocol demands a limit: this one where neither row nor flag has any.
DEFAULT_LEN = 1024
_NAMES = {"top_p": "top_p", "top_k": "top_k", "stop": "stop_sequences"}


class _Usage(Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Block(Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Delta(Struct, gc=False):
    type: str | None = None
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Answer(Struct, gc=False):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    index: int = 0
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_read_event: Callable[[bytes], _Event] = json_decoder(_Event)
_read_whole: Callable[[bytes], _Answer] = json_decoder(_Answer)


class Messages(API):
    """POST /v1/messages. System messages become the field `system`."""

    path = "/v1/messages"
    headers = (("anthropic-version", "2023-06-01"),)

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "messages")
        said = prompt_messages(prompt, "messages")
        system = "\n".join(content_text(message.get("content")) for message in said if message.get("role") == "system")
        output_len = output_limit(prompt, settings)
        body: dict[str, Any] = {"model": settings.model, **({"system": system} if system else {})}
        body["messages"] = [_message(message) for message in said if message.get("role") != "system"]
        body["max_tokens"] = DEFAULT_LEN if output_len is None else output_len
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        body |= stop_as_list(sampling_fields(settings, _NAMES, "messages"), "stop_sequences")
        body["stream"] = settings.stream
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        event = _read_event(data)
        read = _EVENTS.get(event.type)
        if event.error is not None:
            return Event(error=error_message(event.error), done=True)
        return Event() if read is None else read(event)

    def parse_response(self, data: bytes) -> Event:
        answer = _read_whole(data)
        deltas = [_block(index, block) for index, block in enumerate(answer.content or ())]
        if answer.stop_reason is not None:
            deltas.append(Delta(finish=answer.stop_reason))
        error = error_message(answer.error) if answer.error is not None else None
        return Event(deltas, None if answer.usage is None else _usage(answer.usage), error)


def _message(message: Message) -> Message:
    content = message.get("content")
    return {**message, "content": [_part(part) for part in content]} if isinstance(content, list) else message


def _part(part: Any) -> Any:
    """An image as this API takes it; other parts have the same form in both."""
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    link = part.get("image_url")
    url = str(link.get("url") if isinstance(link, dict) else link)
    head, mark, data = url.partition(";base64,")
    inline = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
    return {"type": "image", "source": inline if mark else {"type": "url", "url": url}}


def _started(event: _Event) -> Event:
    """The output tokens told here are a placeholder: none has come."""
    usage = event.message.usage if event.message else None
    if usage is None:
        return Event()
    told = _usage(usage)
    return Event(usage=Usage(told.prompt, None, told.cached))


def _block_started(event: _Event) -> Event:
    block = event.content_block
    if block is None:
        return Event()
    return Event([_call(event.index, block.id, block.name, None) if block.name else _block(event.index, block)])


def _piece(event: _Event) -> Event:
    delta = event.delta
    if delta is None:
        return Event()
    if delta.type == "input_json_delta":
        return Event([_call(event.index, None, None, delta.partial_json)])
    output = delta.type in ("text_delta", "thinking_delta")
    return Event([Delta(0, delta.text, delta.thinking, output=output)])


def _changed(event: _Event) -> Event:
    finish = event.delta.stop_reason if event.delta else None
    deltas = [] if finish is None else [Delta(finish=finish)]
    return Event(deltas, None if event.usage is None else _usage(event.usage))


_EVENTS: dict[str, Callable[[_Event], Event]] = {
    "message_start": _started,
    "content_block_start": _block_started,
    "content_block_delta": _piece,
    "message_delta": _changed,
    "message_stop": lambda _: Event(done=True),
    "error": lambda _: Event(error="the server told no reason", done=True),
}


def _block(index: int, block: _Block) -> Delta:
    if block.name:
        return _call(index, block.id, block.name, msgspec.json.encode(block.input).decode())
    return Delta(0, block.text or "", block.thinking or "")


def _call(index: int, call: str | None, name: str | None, arguments: str | None) -> Delta:
    kind = "function" if name is not None else None
    return Delta(tools=[ToolCall(index, call, kind, ToolFunction(name, arguments))], output=bool(name or arguments))


def _usage(usage: _Usage) -> Usage:
    """No prompt has 0 tokens: servers tell that where they do not know, at one end of a stream or the other."""
    parts = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    prompt = sum(part for part in parts if part is not None)
    return Usage(prompt or None, usage.output_tokens, usage.cache_read_input_tokens)
