"""Conversations: what the next turn asks, once the turn before has been answered.

Pure. The server's own answer goes into the history, as a user's client would send it back; its reasoning does not, as
chat templates leave it out and servers do not expect it as content.
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadstone.records import Prompt

Message = dict[str, Any]


def messages(prompt: Prompt) -> list[Message]:
    """What a prompt says, as chat messages."""
    if prompt.messages is not None:
        return prompt.messages
    return [{"role": "user", "content": prompt.text or ""}]


def following(asked: Prompt, answer: str, turn: Prompt) -> Prompt:
    """The prompt of `turn`, which comes after `asked` (with its whole history) was answered."""
    history = [*messages(asked), {"role": "assistant", "content": answer}, *messages(turn)]
    return msgspec.structs.replace(turn, text=None, messages=history)
