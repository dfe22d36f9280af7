"""Prompts as the model reads them: through the tokenizer's chat template, or as token ids.

For servers that are asked by text or tokens (`completions`, `generate`); the chat APIs do all this themselves.
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadstone.dataset import tokenizer as tokens
from loadstone.dialogue import messages
from loadstone.records import Prompt, UsageError


def templated(prompts: list[Prompt], tokenizer: str, options: dict[str, Any]) -> list[Prompt]:
    """Texts with the chat template around them, ready for the assistant to speak."""
    found = tokens.load(tokenizer)
    _refuse_turns(prompts, "--apply-chat-template")
    return [
        msgspec.structs.replace(prompt, text=found.template(messages(prompt), options), messages=None)
        for prompt in prompts
    ]


def tokenized(prompts: list[Prompt], tokenizer: str) -> list[Prompt]:
    """Token ids instead of texts."""
    found = tokens.load(tokenizer)
    _refuse_turns(prompts, "--tokenize-prompt")
    chat = next((prompt.id for prompt in prompts if prompt.text is None and prompt.tokens is None), None)
    if chat is not None:
        raise UsageError(f"--tokenize-prompt takes texts, but {chat} is a list of messages")
    return [
        prompt if prompt.text is None else msgspec.structs.replace(prompt, text=None, tokens=found.encode(prompt.text))
        for prompt in prompts
    ]


def _refuse_turns(prompts: list[Prompt], flag: str) -> None:
    if any(prompt.later for prompt in prompts):
        raise UsageError(f"{flag} is for single requests: the later turns of a conversation are only known as text")
