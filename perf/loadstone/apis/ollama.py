"""Ollama's native chat: lines of JSON instead of server-sent events, with token counts in the last line.

Fields: its api/types.go. Ollama counts the tokens that it computed: a cached prompt counts in part or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings, ToolCall, ToolFunction
from loadstone.apis.common import (
    content_text,
    image_url,
    json_decoder,
    output_limit,
    overlay,
    parse_arguments,
    prompt_messages,
    reject_fixed_length,
    same_names,
    sampling_fields,
    stop_as_list,
)
from loadstone.apis.server_errors import error_message
from loadstone.apis.sse import JSONLines
from loadstone.errors import DataError
from loadstone.records import Message, Prompt, Usage

_NAMES = same_names("top_p top_k min_p presence_penalty frequency_penalty stop seed logprobs") | {
    "repetition_penalty": "repeat_penalty"
}


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _Call(Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(Struct, gc=False):
    content: str = ""
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_decode: Callable[[bytes], _Line] = json_decoder(_Line)


class Ollama(API):
    """POST /api/chat."""

    path = "/api/chat"
    splitter = JSONLines
    unused = ("usage",)

    def __init__(self) -> None:
        self._tool_calls = 0

    def new_parser(self) -> Ollama:
        return type(self)()

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "ollama")
        history = [_message(message) for message in prompt_messages(prompt, "ollama")]
        options: dict[str, Any] = {}
        output_len = output_limit(prompt, settings)
        if output_len is not None:
            options["num_predict"] = output_len
        if settings.temperature is not None:
            options["temperature"] = settings.temperature
        options |= stop_as_list(sampling_fields(settings, _NAMES, "ollama"), "stop")
        logprobs = options.pop("logprobs", None)

        body: dict[str, Any] = {"model": settings.model, "messages": history, "stream": settings.stream}
        if logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": logprobs}
        return overlay(body | ({"options": options} if options else {}), settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        line = _decode(data)
        if line.error:
            return Event(error=error_message(line.error))
        deltas = []
        if line.message is not None:
            message = line.message
            tools = [self._tool_call(call) for call in message.tool_calls or ()] or None
            thinking = message.thinking or ""
            deltas.append(Delta(0, message.content, thinking, tools, line.done_reason, output=not line.done))
        has_usage = line.prompt_eval_count is not None or line.eval_count is not None
        return Event(deltas, Usage(line.prompt_eval_count, line.eval_count) if has_usage else None, done=line.done)

    def parse_response(self, data: bytes) -> Event:
        return self.parse_event(data)

    def _tool_call(self, call: _Call) -> ToolCall:
        """Return a tool call with a number of its own: calls come whole, and not all versions number them."""
        index = self._tool_calls
        self._tool_calls += 1
        function = call.function or _Function()
        arguments = bytes(function.arguments).decode("utf-8", "replace")
        return ToolCall(index, call.id, "function", ToolFunction(function.name, arguments))


def _message(message: Message) -> Message:
    """Return a chat message with its content as one text, its images beside it, and arguments as objects."""
    content = message.get("content")
    if message.get("tool_calls"):
        functions = [call.get("function") or {} for call in message["tool_calls"]]
        calls = [
            {"function": {"name": each.get("name"), "arguments": parse_arguments(each.get("arguments"))}}
            for each in functions
        ]
        message = {**message, "content": content_text(content), "tool_calls": calls}
    if not isinstance(content, list):
        return message
    images = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image_url":
            _, separator, data = image_url(part).partition(";base64,")
            if not separator:
                raise DataError("--api ollama takes images as data, not as links: give local files", field="api")
            images.append(data)
    return {**message, "content": content_text(content), **({"images": images} if images else {})}
