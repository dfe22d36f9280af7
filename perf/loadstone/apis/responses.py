"""OpenAI's responses, streamed and not, as OpenAI and vLLM serve them: typed events, of which a few matter.

Fields: openai-python's types and vLLM 0.32 (entrypoints/openai/responses). An event of a type that is not listed here
adds nothing: `done` events repeat what the deltas contained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from loadstone.apis.base import API, BadEventError, Delta, Event, RequestSettings
from loadstone.apis.common import (
    function_call_delta,
    json_decoder,
    output_limit,
    overlay,
    prompt_messages,
    same_names,
    sampling_fields,
)
from loadstone.apis.server_errors import error_message
from loadstone.apis.usage import ReportedUsage
from loadstone.records import Message, Prompt

_NAMES = same_names("top_p top_k min_p presence_penalty frequency_penalty repetition_penalty seed stop") | {
    "logprobs": "top_logprobs"
}
# Types of the parts of a chat message, and what this protocol calls them.
_PARTS = {"text": "input_text", "image_url": "input_image"}


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
    usage: ReportedUsage | None = None
    error: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    delta: Any = None
    output_index: int | None = 0
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    message: Any = None


_decode_event: Callable[[bytes], _Event] = json_decoder(_Event)
_decode_response: Callable[[bytes], _Response] = json_decoder(_Response)


class Responses(API):
    """POST /v1/responses. A stream's last event always has its usage."""

    path = "/v1/responses"
    unused = ("usage",)

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        inputs: str | list[Message] | None = prompt.text
        if inputs is None:
            inputs = [item for message in prompt_messages(prompt, "responses") for item in _items(message)]
        body: dict[str, Any] = {"model": settings.model, "input": inputs}
        output_len = output_limit(prompt, settings)
        if output_len is not None:
            body["max_output_tokens"] = output_len
        if settings.ignore_eos or (settings.exact_length and output_len is not None):
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
        event = _decode_event(data)
        convert = _EVENTS.get(event.type)
        if convert is not None:
            return convert(event)
        return Event(error=error_message(event.error)) if event.error else Event()

    def parse_response(self, data: bytes) -> Event:
        response = _decode_response(data)
        deltas = []
        for index, item in enumerate(response.output or ()):
            if item.type == "function_call":
                deltas.append(function_call_delta(index, item.call_id, item.name, item.arguments))
                continue
            text = "".join((part.text or "") + (part.refusal or "") for part in item.content or ())
            if item.type != "reasoning":
                deltas.append(Delta(answer=text))
                continue
            summary = "".join(part.text or "" for part in item.summary or ())
            deltas.append(Delta(reasoning=text or summary, summary=bool(summary and not text)))
        return _end_event(response, deltas)


def _items(message: Message) -> list[Message]:
    """Return the items of a chat message: itself, its tool calls, or the result of one."""
    if message.get("role") == "tool":
        output = message.get("content") or ""
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}]
    calls = message.get("tool_calls") or ()
    items = [_message({name: value for name, value in message.items() if name != "tool_calls"})]
    if calls and not message.get("content"):
        items = []
    for call in calls:
        function = call.get("function") or {}
        item = {"type": "function_call", "call_id": call.get("id"), "name": function.get("name")}
        items.append({**item, "arguments": function.get("arguments") or "{}"})
    return items


def _message(message: Message) -> Message:
    """Return a chat message with its parts under this protocol's names."""
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


def _delta_text(event: _Event) -> str:
    """Return the delta of an event. Raises BadEventError if it is not a text."""
    if not isinstance(event.delta, str):
        raise BadEventError(f"the delta of {event.type} is no text: {event.delta!r:.80}")
    return event.delta


def _answer_delta(event: _Event) -> Event:
    return Event([Delta(answer=_delta_text(event), output=True)])


def _reasoning_delta(event: _Event) -> Event:
    return Event([Delta(reasoning=_delta_text(event), output=True)])


def _summary_delta(event: _Event) -> Event:
    return Event([Delta(reasoning=_delta_text(event), output=True, summary=True)])


def _item_added(event: _Event) -> Event:
    item = event.item
    if item is None or item.type != "function_call":
        return Event()
    return Event([function_call_delta(event.output_index or 0, item.call_id, item.name, item.arguments)])


def _completed(event: _Event) -> Event:
    end = _end_event(event.response or _Response(), [])
    end.done = True
    return end


def _failed(event: _Event) -> Event:
    error = event.response.error if event.response else None
    return Event(error=error_message(error or "the response failed"), done=True)


# What each event type adds. Types that are not listed add nothing.
_EVENTS: dict[str, Callable[[_Event], Event]] = {
    "response.output_text.delta": _answer_delta,
    "response.refusal.delta": _answer_delta,
    "response.reasoning_text.delta": _reasoning_delta,
    "response.reasoning_summary_text.delta": _summary_delta,
    "response.function_call_arguments.delta": lambda event: Event(
        [function_call_delta(event.output_index or 0, None, None, _delta_text(event))]
    ),
    "response.output_item.added": _item_added,
    "response.completed": _completed,
    "response.incomplete": _completed,
    "response.failed": _failed,
    "error": lambda event: Event(error=error_message(event.message or event.error), done=True),
}


def _end_event(response: _Response, deltas: list[Delta]) -> Event:
    """Return the event of a finished response. vLLM completes a cut response too: only its details show the cut."""
    reason = response.incomplete_details.reason if response.incomplete_details else None
    error = error_message(response.error) if response.error else None
    if response.status is not None and error is None:
        deltas.append(Delta(finish=reason or response.status))
    return Event(deltas, None if response.usage is None else response.usage.counts(), error)
