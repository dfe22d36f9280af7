"""Streams in the form of real servers, for tests: a few lines that say what comes, as the bytes that bring it."""

from __future__ import annotations

import json
from typing import Any


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    """One chat event. Without delta: the role-only first one."""
    delta = {"role": "assistant", "content": ""} if delta is None else delta
    return event({"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more})


def token(text: str = " word", finish: str | None = None, **more: Any) -> bytes:
    return chunk({"content": text}, finish, **more)


def usage(prompt: int, completion: int) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


DONE = b"data: [DONE]\n\n"


def answer(tokens: int, prompt: int = 3) -> list[bytes]:
    """A whole answer: role, tokens, usage, end."""
    words = [token(f" w{i}") for i in range(tokens - 1)]
    return [chunk(), *words, token(" end", "length"), usage(prompt, tokens), DONE]
