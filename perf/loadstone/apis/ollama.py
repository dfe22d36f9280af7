"""Ollama's native chat: lines of JSON instead of server-sent events, counts with the last line.

Fields: its api/types.go. Token counts are of what was worked on: a prompt from the cache counts in part or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings, ToolCall, ToolFunction
from loadstone.apis.common import (
    content_text,
    error_message,
    json_decoder,
    output_limit,
    overlay,
    prompt_messages,
    reject_fixed_length,
    same_names,
    sampling_fields,
    stop_as_list,
)
from loadstone.apis.sse import JSONLines
from loadstone.errors import UsageError
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


_read: Callable[[bytes], _Line] = json_decoder(_Line)


class Ollama(API):
    """POST /api/chat."""

    path = "/api/chat"
    splitter = JSONLines

    def __init__(self) -> None:
        self._calls = 0

    def new_parser(self) -> Ollama:
        return type(self)()

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "ollama")
        said = [_message(message) for message in prompt_messages(prompt, "ollama")]
        options = _options(prompt, settings)
        logprobs = options.pop("logprobs", None)
        body: dict[str, Any] = {"model": settings.model, "messages": said, "stream": settings.stream}
        if logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": logprobs}
        return overlay(body | ({"options": options} if options else {}), settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        line = _read(data)
        if line.error:
            return Event(error=error_message(line.error))
        deltas = [] if line.message is None else [self._delta(line, line.message)]
        counted = line.prompt_eval_count is not None or line.eval_count is not None
        return Event(deltas, Usage(line.prompt_eval_count, line.eval_count) if counted else None, done=line.done)

    def parse_response(self, data: bytes) -> Event:
        return self.parse_event(data)

    def _delta(self, line: _Line, message: _Message) -> Delta:
        tools = [self._call(call) for call in message.tool_calls or ()] or None
        return Delta(0, message.content, message.thinking or "", tools, line.done_reason, output=not line.done)

    def _call(self, call: _Call) -> ToolCall:
        """Calls come whole, and are numbered here: not all versions do it."""
        number, self._calls = self._calls, self._calls + 1
        function = call.function or _Function()
        arguments = bytes(function.arguments).decode("utf-8", "replace")
        return ToolCall(number, call.id, "function", ToolFunction(function.name, arguments))


def _options(prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    output_len = output_limit(prompt, settings)
    if output_len is not None:
        options["num_predict"] = output_len
    if settings.temperature is not None:
        options["temperature"] = settings.temperature
    return options | stop_as_list(sampling_fields(settings, _NAMES, "ollama"), "stop")


def _message(message: Message) -> Message:
    """Content is a text here, and images stand beside it."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    images = [_image(part) for part in content if isinstance(part, dict) and part.get("type") == "image_url"]
    return {**message, "content": content_text(content), **({"images": images} if images else {})}


def _image(part: dict[str, Any]) -> str:
    link = part.get("image_url")
    _, mark, data = str(link.get("url") if isinstance(link, dict) else link).partition(";base64,")
    if not mark:
        raise UsageError("--api ollama takes images as data, not as links: give local files")
    return data
