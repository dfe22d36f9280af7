"""Reads what a chat message holds besides plain text: reasoning in parts, audio, finish reasons as objects.

Forms: Mistral's list content with `thinking` parts, OpenRouter's `reasoning_details` (text, summary, encrypted),
Anthropic's thinking blocks as gateways pass them on, OpenAI's audio, SGLang's finish reasons.
"""

from __future__ import annotations

from typing import Any

from loadstone.apis.server_errors import error_message

# Types of content parts that are reasoning.
_REASONING_PARTS = ("thinking", "reasoning", "redacted_thinking")


def split_parts(content: Any) -> tuple[str, str]:
    """Return answer and reasoning of a content, which is a text, a list of parts or nothing."""
    if isinstance(content, str):
        return content, ""
    answer, reasoning = "", ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            answer += part
        elif isinstance(part, dict) and part.get("type") in _REASONING_PARTS:
            reasoning += _part_text(part)
        elif isinstance(part, dict):
            answer += _part_text(part)
    return answer, reasoning


def read_reasoning_details(details: Any) -> tuple[str, bool]:
    """Return the reasoning of OpenRouter's `reasoning_details`, and whether it is a summary.

    Encrypted reasoning has no text.
    """
    text, summary = "", False
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        if isinstance(detail.get("summary"), str) and detail["summary"]:
            summary = True
            text += detail["summary"]
        else:
            text += _part_text(detail)
    return text, summary


def read_finish(finish: Any, error: Any) -> tuple[str | None, str | None]:
    """Return a finish reason as text and the server's words about it.

    finish: the reason, which may be an object with `type` and `message`.
    error: the error object beside it.
    """
    words = error_message(error) if error else None
    if isinstance(finish, dict):
        message = finish.get("message")
        words = words or (message if isinstance(message, str) and message else None)
        finish = finish.get("type")
    return finish if isinstance(finish, str) else "error" if words and finish is None else None, words


def audio_transcript(audio: Any) -> str:
    """Return the text of spoken output, empty if there is none."""
    text = audio.get("transcript") if isinstance(audio, dict) else None
    return text if isinstance(text, str) else ""


def _part_text(part: dict[str, Any]) -> str:
    """Return the text of a part: in `text`, in `thinking`, or in parts of its own."""
    for name in ("text", "thinking", "reasoning", "content"):
        value = part.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(_part_text(item) for item in value if isinstance(item, dict))
    return ""
