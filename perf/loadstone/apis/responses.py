"""OpenAI's responses, streamed and not, as OpenAI and vLLM serve them: typed events, of which a few matter.

The fields are those of openai-python's types and vLLM 0.32 (entrypoints/openai/responses). Any event of a type that is
not named here adds nothing: `done` events repeat what the deltas have told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from loadstone.apis.base import API, BadEventError, Delta, Event, RequestSettings, ToolCall, ToolFunction
from loadstone.apis.common import (
    error_message,
    has_exact_length,
    json_decoder,
    output_limit,
    overlay,
    prompt_messages,
    same_names,
    sampling_fields,
)
from loadstone.records import Message, Prompt, Usage

_NAMES = same_names("top_p top_k min_p presence_penalty frequency_penalty repetition_penalty seed stop") | {
    "logprobs": "top_logprobs"
}
_PARTS = {"text": "input_text", "image_url": "input_image"}


class _Cached(Struct, gc=False):
    cached_tokens: int | None = None


class _Reasoning(Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoning | None = None


class _Part(Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Item(Struct, gc=False):
    type: str = ""
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Incomplete(Struct, gc=False):
    reason: str | None = None


class _Response(Struct, gc=False):
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    delta: Any = None
    output_index: int = 0
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    message: str | None = None


_read_event: Callable[[bytes], _Event] = json_decoder(_Event)
_read_whole: Callable[[bytes], _Response] = json_decoder(_Response)


class Responses(API):
    """POST /v1/responses. The usage of a stream comes with its last event, asked for or not."""

    path = "/v1/responses"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        body: dict[str, Any] = {"model": settings.model, "input": _input(prompt)}
        output_len = output_limit(prompt, settings)
        if output_len is not None:
            body["max_output_tokens"] = output_len
        if settings.ignore_eos or has_exact_length(prompt, settings):
            body["ignore_eos"] = True
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        body |= sampling_fields(settings, _NAMES, "responses")
        if "top_logprobs" in body:
            body["include"] = ["message.output_text.logprobs"]
        body["stream"] = settings.stream
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        if data == b"[DONE]":
            return Event(done=True)
        event = _read_event(data)
        read = _EVENTS.get(event.type)
        if read is not None:
            return read(event)
        return Event(error=error_message(event.error)) if event.error else Event()

    def parse_response(self, data: bytes) -> Event:
        answer = _read_whole(data)
        deltas = [_whole(index, item) for index, item in enumerate(answer.output or ())]
        return _ended(answer, deltas)


def _input(prompt: Prompt) -> str | list[Message]:
    if prompt.text is not None:
        return prompt.text
    return [_message(message) for message in prompt_messages(prompt, "responses")]


def _message(message: Message) -> Message:
    """Parts of a chat message as this API calls them."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_part(part, message.get("role")) for part in content]}


def _part(part: Any, role: Any) -> Any:
    kind = _PARTS.get(part.get("type", "")) if isinstance(part, dict) else None
    if kind is None:
        return part
    if kind == "input_text":
        return {"type": "output_text" if role == "assistant" else kind, "text": part.get("text")}
    url = part.get("image_url")
    return {"type": kind, "image_url": url.get("url") if isinstance(url, dict) else url}


def _text(event: _Event) -> Event:
    return Event([Delta(answer=_words(event), output=True)])


def _thought(event: _Event) -> Event:
    return Event([Delta(reasoning=_words(event), output=True)])


def _arguments(event: _Event) -> Event:
    return Event([_call(event.output_index, None, None, _words(event))])


def _words(event: _Event) -> str:
    if not isinstance(event.delta, str):
        raise BadEventError(f"the delta of {event.type} is no text: {event.delta!r:.80}")
    return event.delta


def _added(event: _Event) -> Event:
    """A tool call has begun; its arguments follow in pieces."""
    item = event.item
    if item is None or item.type != "function_call":
        return Event()
    return Event([_call(event.output_index, item.call_id, item.name, item.arguments)])


def _call(index: int, call: str | None, name: str | None, arguments: str | None) -> Delta:
    kind = "function" if name is not None else None
    return Delta(tools=[ToolCall(index, call, kind, ToolFunction(name, arguments))], output=bool(name or arguments))


def _last(event: _Event) -> Event:
    ended = _ended(event.response or _Response(), [])
    ended.done = True
    return ended


def _error(event: _Event) -> Event:
    return Event(error=event.message or error_message(event.error or "the server told no reason"), done=True)


def _failed(event: _Event) -> Event:
    error = event.response.error if event.response else None
    return Event(error=error_message(error or "the response failed"), done=True)


_EVENTS: dict[str, Callable[[_Event], Event]] = {
    "response.output_text.delta": _text,
    "response.refusal.delta": _text,
    "response.reasoning_text.delta": _thought,
    "response.reasoning_summary_text.delta": _thought,
    "response.function_call_arguments.delta": _arguments,
    "response.output_item.added": _added,
    "response.completed": _last,
    "response.incomplete": _last,
    "response.failed": _failed,
    "error": _error,
}


def _whole(index: int, item: _Item) -> Delta:
    if item.type == "function_call":
        return _call(index, item.call_id, item.name, item.arguments)
    parts = [*(item.content or ()), *(item.summary or ())]
    text = "".join((part.text or "") + (part.refusal or "") for part in parts)
    return Delta(reasoning=text) if item.type == "reasoning" else Delta(answer=text)


def _ended(answer: _Response, deltas: list[Delta]) -> Event:
    """vLLM ends a cut answer with `response.completed` too: only the status tells."""
    cut = answer.incomplete_details.reason if answer.incomplete_details else None
    error = error_message(answer.error) if answer.error else None
    if answer.status is not None and error is None:
        deltas.append(Delta(finish=cut or answer.status))
    return Event(deltas, None if answer.usage is None else _usage(answer.usage), error)


def _usage(usage: _Usage) -> Usage:
    cached, reasoning = usage.input_tokens_details, usage.output_tokens_details
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        cached.cached_tokens if cached else None,
        reasoning.reasoning_tokens if reasoning else None,
    )
