"""How much of the prompts begins alike, which is what the run itself may put into a prefix cache."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.engine import shared_prefixes
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.shared_prefixes import common_length, planned_share, shared_fraction
from loadstone.records import Prompt
from loadstone.schedule.plan import DatasetShape, Load, make_plan


@pytest.mark.parametrize(
    ("texts", "shared"),
    [
        ([], None),
        ([b""], None),
        ([b"abcd"], 0.0),
        ([b"abcd", b"efgh"], 0.0),
        ([b"abcd", b"abzz"], 0.5),
        ([b"abcd", b"abcd"], 1.0),
        ([b"ab", b"abcd"], 4 / 6),
        ([b"xa", b"ya", b"xb", b"yb"], 0.5),
        ([b"aaaa", b"bbbb", b"bbbb", b"cccc"], 0.5),
    ],
)
def test_the_fraction_that_others_begin_with(texts: list[bytes], shared: float | None) -> None:
    for order in (texts, texts[::-1]):
        assert shared_fraction(order) == (None if shared is None else pytest.approx(shared))


@pytest.mark.parametrize("same", [0, 1, 7, 4096])
def test_common_beginnings(same: int) -> None:
    assert common_length(b"x" * same + b"a", b"x" * same + b"b" * 9) == same
    assert common_length(b"x" * same, b"x" * 5000) == same


def planned(rows: list[Prompt], extra: dict[str, Any] | None = None, **load: Any) -> float | None:
    requests = PreparedRequests(rows, Chat(), [base.RequestSettings(model="m", extra_body=extra or {})], "/", ())
    shape = DatasetShape([row.id for row in rows], [1 + len(row.later) for row in rows])
    return planned_share(requests, make_plan(Load(concurrency=1, **load), shape))


def texts(*contents: str, **fields: Any) -> list[Prompt]:
    return [Prompt(id=str(number), text=content, **fields) for number, content in enumerate(contents)]


def test_only_what_the_plan_sends_counts() -> None:
    rows = texts("a" * 1000, "b" * 1000, "a" * 1000)
    assert (planned(rows, requests=2) or 0.0) < 0.01
    assert (planned(rows, requests=3) or 0.0) > 0.6
    assert (planned(rows, requests=10**18) or 0.0) > 0.6
    assert (planned(rows, duration=60.0) or 0.0) > 0.6


def test_what_stands_before_the_messages_counts_and_lengths_do_not() -> None:
    tools = [{"type": "function", "function": {"name": "x" * 500}}]
    apart = [Prompt(id=word, text=word * 50, output_len=len(word)) for word in ("a", "bbb")]
    assert (planned(apart, requests=2) or 0.0) < 0.1
    assert (planned(apart, {"tools": tools}, requests=2) or 0.0) > 0.7
    own = [Prompt(id=word, text=word * 50, body={"tools": tools, "user": word}) for word in "ab"]
    assert (planned(own, requests=2) or 0.0) > 0.9


def test_conversations_count_by_their_first_turns() -> None:
    system = {"role": "system", "content": "s" * 300}
    rows = [
        Prompt(id=word, messages=[system, {"role": "user", "content": word * 100}], later=texts("more"))
        for word in "ab"
    ]
    assert 0.6 < (planned(rows, requests=2) or 0.0) < 0.8


def test_too_many_prompts_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = texts("a" * 100, "a" * 100)
    monkeypatch.setattr(shared_prefixes, "MAX_PROMPTS", 1)
    assert planned(rows, requests=2) is None
    monkeypatch.setattr(shared_prefixes, "MAX_PROMPTS", 10)
    monkeypatch.setattr(shared_prefixes, "MAX_BYTES", 50)
    assert planned(rows, requests=2) is None
