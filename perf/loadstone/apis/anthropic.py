"""Anthropic's messages, streamed and not, as Anthropic and vLLM serve them.

This protocol counts a prompt's tokens without those read from or written to the cache. `Usage.prompt` is their sum, as
with the other protocols. Fields: Anthropic's documentation, and vLLM 0.32 (entrypoints/anthropic/protocol.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings
from loadstone.apis.common import (
    content_text,
    function_call_delta,
    image_url,
    json_decoder,
    output_limit,
    overlay,
    parse_arguments,
    prompt_messages,
    reject_fixed_length,
    sampling_fields,
    stop_as_list,
)
from loadstone.apis.server_errors import error_message
from loadstone.records import Message, Prompt, Usage

# `max_tokens` where neither the row nor a flag sets it: the protocol requires the field.
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


class _Response(Struct, gc=False):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    index: int | None = 0
    message: _Response | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_event: Callable[[bytes], _Event] = json_decoder(_Event)
_decode_response: Callable[[bytes], _Response] = json_decoder(_Response)


class Messages(API):
    """POST /v1/messages. System messages become the field `system`."""

    path = "/v1/messages"
    headers = (("anthropic-version", "2023-06-01"),)
    unused = ("usage",)

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "messages")
        history = prompt_messages(prompt, "messages")
        system = "\n".join(content_text(item.get("content")) for item in history if item.get("role") == "system")
        output_len = output_limit(prompt, settings)
        body: dict[str, Any] = {"model": settings.model, **({"system": system} if system else {})}
        body["messages"] = [_message(item) for item in history if item.get("role") != "system"]
        body["max_tokens"] = DEFAULT_LEN if output_len is None else output_len
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        body |= stop_as_list(sampling_fields(settings, _NAMES, "messages"), "stop_sequences")
        body["stream"] = settings.stream
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        event = _decode_event(data)
        convert = _EVENTS.get(event.type)
        if event.error is not None:
            return Event(error=error_message(event.error), done=True)
        return Event() if convert is None else convert(event)

    def parse_response(self, data: bytes) -> Event:
        response = _decode_response(data)
        deltas = [_block_delta(index, block) for index, block in enumerate(response.content or ())]
        if response.stop_reason is not None:
            deltas.append(Delta(finish=response.stop_reason))
        error = error_message(response.error) if response.error is not None else None
        return Event(deltas, None if response.usage is None else _usage(response.usage), error)


def _message(message: Message) -> Message:
    """Return a chat message with images, tool calls and their results in this protocol's form.

    Other parts have the same form in both.
    """
    content = message.get("content")
    if message.get("role") == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content or ""}
        return {"role": "user", "content": [result]}
    if message.get("tool_calls"):
        texts = [{"type": "text", "text": content}] if content else []
        return {"role": "assistant", "content": [*texts, *map(_tool_use, message["tool_calls"])]}
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image_url":
            url = image_url(part)
            head, separator, data = url.partition(";base64,")
            inline = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
            parts.append({"type": "image", "source": inline if separator else {"type": "url", "url": url}})
        else:
            parts.append(part)
    return {**message, "content": parts}


def _tool_use(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = parse_arguments(function.get("arguments"))
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _message_start(event: _Event) -> Event:
    if event.message is None or event.message.usage is None:
        return Event()
    usage = _usage(event.message.usage)
    return Event(usage=Usage(usage.prompt, None, usage.cached))  # the output tokens here are a placeholder


def _content_block_start(event: _Event) -> Event:
    block = event.content_block
    if block is None:
        return Event()
    if block.name:  # its arguments follow in pieces
        return Event([function_call_delta(event.index or 0, block.id, block.name, None)])
    return Event([_block_delta(event.index or 0, block)])


def _content_block_delta(event: _Event) -> Event:
    delta = event.delta
    if delta is None:
        return Event()
    if delta.type == "input_json_delta":
        return Event([function_call_delta(event.index or 0, None, None, delta.partial_json)])
    output = delta.type in ("text_delta", "thinking_delta")
    return Event([Delta(0, delta.text, delta.thinking, output=output)])


def _message_delta(event: _Event) -> Event:
    finish = event.delta.stop_reason if event.delta else None
    deltas = [] if finish is None else [Delta(finish=finish)]
    return Event(deltas, None if event.usage is None else _usage(event.usage))


# What each event type adds. Types that are not listed add nothing.
_EVENTS: dict[str, Callable[[_Event], Event]] = {
    "message_start": _message_start,
    "content_block_start": _content_block_start,
    "content_block_delta": _content_block_delta,
    "message_delta": _message_delta,
    "message_stop": lambda _: Event(done=True),
    "error": lambda _: Event(error="the server gave no reason", done=True),
}


def _block_delta(index: int, block: _Block) -> Delta:
    if block.name:
        return function_call_delta(index, block.id, block.name, msgspec.json.encode(block.input).decode())
    return Delta(0, block.text or "", block.thinking or "")


def _usage(usage: _Usage) -> Usage:
    """Return the token counts. A prompt count of 0 becomes None: servers send 0 where they do not know it."""
    counts = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    prompt = sum(count for count in counts if count is not None)
    return Usage(prompt or None, usage.output_tokens, usage.cache_read_input_tokens)
