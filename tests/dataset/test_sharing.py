"""How much of their input prompts share: by brute force on small cases, and what is unknown."""

from __future__ import annotations

import random

import pytest

from loadstone.dataset.sharing import shared_fraction
from loadstone.records import Prompt


def _common(first: str, second: str) -> int:
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(id=str(number), text=text) for number, text in enumerate(texts)]


@pytest.mark.parametrize("seed", range(20))
def test_a_cache_has_what_any_earlier_prompt_began_with(seed: int) -> None:
    chance = random.Random(seed)
    texts = ["".join(chance.choice("ab") for _ in range(chance.randint(1, 12))) for _ in range(15)]
    found = shared_fraction(prompts(*texts), len(texts))
    # What the prompts add to a tree of prefixes does not depend on their order.
    new = sum(
        len(text) - max((_common(text, other) for other in texts[:place]), default=0)
        for place, text in enumerate(texts)
    )
    assert found == pytest.approx(1 - new / sum(map(len, texts)))


def test_prompts_that_are_sent_again_are_shared_as_a_whole() -> None:
    assert shared_fraction(prompts("abcd", "wxyz"), 2) == 0
    assert shared_fraction(prompts("abcd", "wxyz"), 8) == pytest.approx(0.75)
    assert shared_fraction(prompts("abcd", "wxyz", "wxyz"), 2) == 0  # the third is not sent


def test_what_is_unknown() -> None:
    later = Prompt(id="c", text="a", later=[Prompt(id="c.2", text="b")])
    assert shared_fraction([later], 2) is None
    assert shared_fraction([Prompt(id="t", text="a", at=0)], 1) is None
    assert shared_fraction(prompts("a"), None) is None
    assert shared_fraction([], 5) is None
    assert shared_fraction(prompts(""), 1) is None


def test_messages_and_token_ids_count_too() -> None:
    rows = [Prompt(id="a", messages=[{"role": "user", "content": "x" * 100}]), Prompt(id="b", tokens=[1, 2, 3])]
    assert (shared_fraction(rows, 2) or 0) < 0.1
    assert (shared_fraction([rows[0], rows[0]], 2) or 0) == pytest.approx(0.5)
