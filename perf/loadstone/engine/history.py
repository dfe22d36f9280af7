"""The history of a live conversation: the server's answer as a message, and the results of its tool calls. Pure."""

from __future__ import annotations

from typing import Any

from loadstone.apis.response_parser import ResponseParser
from loadstone.records import Message, Prompt, messages, next_prompt


def continue_conversation(
    previous: Prompt, response: ResponseParser, turn: Prompt, reasoning_field: str | None = None
) -> Prompt:
    """Return the prompt of `turn`: the history of `previous`, the response to it, and the messages of the turn.

    reasoning_field: field in which the reasoning of the response is sent back; None: it is not.

    Tool messages of the turn answer the calls of the response in their order, whatever ids the dataset recorded.
    """
    choices = response.choices()
    text = (choices[0].text or "") if choices else ""
    calls = [_call(call, number) for number, call in enumerate(response.tool_calls() or ())]
    answer: Message = {"role": "assistant", "content": text}
    if reasoning_field is not None and choices and choices[0].reasoning:
        answer[reasoning_field] = choices[0].reasoning
    if not calls:
        # Results of tools that were not called would be refused.
        following = [message for message in messages(turn) if message.get("role") != "tool"]
        return next_prompt(previous, answer, turn, following)

    answer |= {"content": text or None, "tool_calls": calls}
    ids = iter([call["id"] for call in calls])
    following = []
    for message in messages(turn):
        live = next(ids, None) if message.get("role") == "tool" else None
        following.append(message if live is None else {**message, "tool_call_id": live})
    return next_prompt(previous, answer, turn, following)


def _call(call: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a tool call of a record as it is in a message."""
    function = call.get("function") or {}
    return {
        "id": call.get("id") or f"call_{number}",
        "type": "function",
        "function": {"name": function.get("name") or "", "arguments": function.get("arguments") or ""},
    }
