"""How much of the prompts of a run begins alike: what the server's prefix cache may hold of them by this run alone.

Pure. More cached input than that was there before the run. Lengths are of the prompts as JSON, as a fraction near
enough to that of their tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from loadstone.engine.requests import PreparedRequests
from loadstone.records import Prompt
from loadstone.schedule.plan import Plan

# Prompts and bytes that are compared; of more the fraction is unknown.
MAX_PROMPTS = 50_000
MAX_BYTES = 256_000_000


def planned_share(requests: PreparedRequests, plan: Plan) -> float | None:
    """Return the fraction of the first turns of a plan that another prompt in it begins alike; None of too many."""
    positions = len(plan.turns) if plan.total is None else min(plan.total, len(plan.turns))
    if positions > MAX_PROMPTS:
        return None
    rows = {plan.row(position) for position in range(positions)}
    texts, size = [], 0
    for prompt in requests.prompts(rows).values():
        texts.append(prompt_bytes(prompt, requests.shared_tools))
        size += len(texts[-1])
        if size > MAX_BYTES:
            return None
    return shared_fraction(texts)


def prompt_bytes(prompt: Prompt, tools: object = None) -> bytes:
    """Return a prompt in the order in which servers read it: tools, then the messages or the text.

    tools: those of all prompts, if this one has none.
    """
    content = prompt.messages if prompt.messages is not None else prompt.tokens or prompt.text or prompt.documents
    return msgspec.json.encode(prompt.body.get("tools", tools)) + msgspec.json.encode(content)


def shared_fraction(texts: Iterable[bytes]) -> float | None:
    """Return the fraction of all bytes that are a beginning of some other text too; None of no bytes.

    In sorted order the text with the longest common beginning is a neighbour. Equal texts share all.
    """
    ordered = sorted(texts)
    total = sum(map(len, ordered))
    if not total:
        return None
    shared, before = 0, 0
    for number, text in enumerate(ordered):
        after = common_length(text, ordered[number + 1]) if number + 1 < len(ordered) else 0
        shared += max(before, after)
        before = after
    return shared / total


def common_length(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common at their beginnings, by bisection: slices compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
