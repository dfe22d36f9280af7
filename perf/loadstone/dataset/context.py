"""Which prompts fit into a model's context, by a cautious estimate of their tokens. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from loadstone.records import Prompt

# Characters of a token of English text at least, and tokens of a chat template and of a short answer.
CHARS_PER_TOKEN = 3.0
MARGIN = 128


def estimate_tokens(prompt: Prompt) -> float:
    """Return about how many tokens a prompt has, rather too many: a character outside ASCII counts as one."""
    if prompt.tokens is not None:
        return float(len(prompt.tokens))
    value: Any = prompt.text if prompt.text is not None else prompt.messages or prompt.documents or ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    wide = 0 if text.isascii() else sum(char > "\x7f" for char in text)
    return (len(text) - wide) / CHARS_PER_TOKEN + wide


def fitting(prompts: Sequence[Prompt], context: int, output_len: int | None) -> list[Prompt]:
    """Return the prompts that fit into a context of so many tokens, together with their answers."""
    return [
        prompt
        for prompt in prompts
        if estimate_tokens(prompt) + (prompt.output_len or output_len or 0) + MARGIN <= context
    ]
