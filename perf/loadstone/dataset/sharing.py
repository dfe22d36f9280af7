"""How much of their input the prompts of a run share among themselves, so that a prefix cache can have it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from loadstone.records import Prompt

# Prompts that are looked at, evenly over the run: sorting a million long texts would take too long.
MAX_PROMPTS = 5000


def shared_fraction(prompts: Sequence[Prompt], requests: int | None) -> float | None:
    """Return the largest fraction of the input that a cache which was empty before the run can have held.

    requests: number of requests of the run; None if it is open. Prompts that are sent again are shared as a whole.
    None if it is unknown: later turns of a conversation hold what was sent and answered before.
    """
    if not prompts or any(prompt.later or prompt.at is not None for prompt in prompts) or requests is None:
        return None
    sent = prompts[:requests]
    step = -(-len(sent) // MAX_PROMPTS)
    texts = sorted(_text(prompt) for prompt in sent[::step])
    total = sum(map(len, texts))
    if not total:
        return None
    # In sorted order, the longest prefix that a text shares with any before it is that with its neighbour.
    shared = sum(_common(first, second) for first, second in pairwise(texts))
    fraction = shared / total
    rounds = requests / len(sent)
    return 1 - (1 - fraction) / rounds if rounds > 1 else fraction


def _common(first: str, second: str) -> int:
    """Return the length of the common beginning of two texts, by halving: comparing slices is fast."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _text(prompt: Prompt) -> str:
    """Return a prompt as one text, in the order in which a server reads it."""
    value: Any = prompt.text if prompt.text is not None else prompt.messages or prompt.tokens or prompt.documents or ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
