"""What is asked of a recorded conversation: its first turn, its last with the history, or all turns one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, read, tokenizer
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support.paths import SHARED

DATA = SHARED / "data"
SYSTEM = {"role": "system", "content": "Be brief."}
MESSAGES = [
    SYSTEM,
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1, it is."},
    {"role": "user", "content": "Two?"},
]
OPENAI = {"id": "c", "messages": MESSAGES}
SHAREGPT = {
    "id": "c",
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "gpt", "value": "Welcome."},
        {"from": "human", "value": "One?"},
        {"from": "gpt", "value": "1, it is."},
        {"from": "human", "value": "Two?"},
        {"from": "gpt", "value": "2"},
    ],
}
SWIFT = {
    "conversation_id": "c",
    "conversation": [{"human": "One?", "assistant": "1, it is."}, {"human": "Two?", "assistant": "2"}],
}
TURNS = {"question_id": "c", "category": "x", "turns": ["One?", "Two?"]}


def said(who: str, text: str) -> dict[str, str]:
    return {"role": who, "content": text}


def later(text: str, think: float = 0.0, **rest: Any) -> Prompt:
    return Prompt(id="c.2", text=text, think=think, **rest)


def prompts(folder: Path, *rows: Any, **options: Any) -> list[Prompt]:
    file = folder / "f.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read(str(file), Options(**options), lambda _: None)


FIRST = Prompt(id="c", messages=MESSAGES[:2])
ALL = Prompt(id="c", messages=MESSAGES)
CASES = [
    (SHAREGPT, None, FIRST),
    (SHAREGPT, "first", FIRST),
    (SHAREGPT, "recorded", ALL),
    (SHAREGPT, "live", Prompt(id="c", messages=MESSAGES[:2], later=[later("Two?")])),
    (OPENAI, None, ALL),
    (OPENAI, "first", FIRST),
    (OPENAI, "recorded", ALL),
    (OPENAI, "live", Prompt(id="c", messages=MESSAGES[:2], later=[later("Two?")])),
    (SWIFT, None, Prompt(id="c", text="One?")),
    (SWIFT, "recorded", Prompt(id="c", messages=MESSAGES[1:])),
    (SWIFT, "live", Prompt(id="c", text="One?", later=[later("Two?")])),
    (TURNS, None, Prompt(id="c", text="One?")),
    (TURNS, "live", Prompt(id="c", text="One?", later=[later("Two?")])),
    (
        OPENAI | {"temperature": 0},
        "live",
        Prompt(id="c", messages=MESSAGES[:2], body={"temperature": 0}, later=[later("Two?", body={"temperature": 0})]),
    ),
    (OPENAI | {"temperature": 0}, None, Prompt(id="c", messages=MESSAGES, body={"temperature": 0})),
    (
        OPENAI | {"output_len": 9},
        "live",
        Prompt(id="c", messages=MESSAGES[:2], output_len=9, later=[later("Two?", output_len=9)]),
    ),
    ({"id": "c", "messages": [SYSTEM]}, None, Prompt(id="c", messages=[SYSTEM])),
    (
        {"id": "c", "turns": [said("user", "One?"), said("assistant", "1"), said("user", "Two?")]},
        "recorded",
        Prompt(id="c", messages=[said("user", "One?"), said("assistant", "1"), said("user", "Two?")]),
    ),
    (
        {"id": "c", "messages": [*MESSAGES[1:3], said("tool", "7"), said("system", "Now in verse."), MESSAGES[3]]},
        "live",
        Prompt(
            id="c",
            text="One?",
            later=[
                Prompt(id="c.2", messages=[said("tool", "7"), said("system", "Now in verse."), said("user", "Two?")])
            ],
        ),
    ),
    (
        {"id": "c", "turns": ["One?", {"text": "Two?", "think_time": 1.5}]},
        "live",
        Prompt(id="c", text="One?", later=[later("Two?", 1.5)]),
    ),
    (
        {"id": "c", "messages": [said("user", "One?"), said("user", "Two?") | {"delay": 2}]},
        None,
        Prompt(id="c", messages=[said("user", "One?"), said("user", "Two?")]),
    ),
]


@pytest.mark.parametrize(("row", "history", "expected"), CASES)
def test_what_is_asked(tmp_path: Path, row: Any, history: str | None, expected: Prompt) -> None:
    assert prompts(tmp_path, row, history=history) == [expected]


BAD = [
    (TURNS, "recorded", "no answers are recorded between the turns; say --history first or live"),
    ({"messages": [SYSTEM]}, "live", "messages has no turn of the user"),
    ({"turns": [{"text": "a", "delay": "2s"}]}, None, "delay is '2s', not a number of milliseconds"),
    ({"turns": [{"text": "a", "think_time": -1}]}, None, "think_time is '-1', not a number of seconds"),
    ({"conversation": [{"human": 7}]}, None, "a turn of `conversation` lacks `human`"),
]


@pytest.mark.parametrize(("row", "history", "message"), BAD)
def test_what_cannot_be_asked(tmp_path: Path, row: Any, history: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prompts(tmp_path, row, history=history)
    assert str(caught.value) == f"{tmp_path / 'f.jsonl'}, line 1: {message}"


def test_an_unknown_history(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--history takes first, recorded, live, not 'all'"):
        prompts(tmp_path, SWIFT, history="all")


def test_think_times_are_drawn_for_each_row_apart(tmp_path: Path) -> None:
    rows = [TURNS, {"turns": ["a", {"text": "b", "delay": 0}, "c"]}]
    law = "uniform(1s,2000ms)"
    both = prompts(tmp_path, *rows, history="live", think_time=law)
    pauses = [turn.think for prompt in both for turn in prompt.later]
    assert pauses[1] == 0.0
    assert all(1 <= pause <= 2 for pause in (pauses[0], pauses[2]))
    assert prompts(tmp_path, rows[0], history="live", think_time=law) == both[:1]
    assert prompts(tmp_path, *rows, history="live", think_time=law, seed=1) != both
    assert [prompt.think for prompt in both] == [0.0, 0.0]
    assert prompts(tmp_path, TURNS, history="live", think_time=3)[0].later == [later("Two?", 3.0)]


class Words:
    """A tokenizer whose tokens are words."""

    def count(self, text: str) -> int:
        return len(text.split())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tokenizer": "toy"}, (3, [])),
        ({"tokenizer": "toy", "history": "recorded"}, (1, [])),
        ({"tokenizer": "toy", "history": "live"}, (3, [1])),
        ({"tokenizer": "toy", "history": "live", "output_len": 9}, (None, [None])),
        ({"history": "live"}, (None, [None])),
    ],
)
def test_a_tokenizer_counts_the_recorded_answers_of_sharegpt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: Any
) -> None:
    monkeypatch.setattr(tokenizer, "load", lambda _: Words())
    (prompt,) = prompts(tmp_path, SHAREGPT, **options)
    assert (prompt.output_len, [turn.output_len for turn in prompt.later]) == expected


@pytest.mark.skipif(not (DATA / "mt_bench").is_dir(), reason="the questions of MT-bench are not at hand")
def test_mt_bench() -> None:
    file = str(DATA / "mt_bench" / "question.jsonl")
    first, live = (read(file, Options(history=history), lambda _: None) for history in (None, "live"))
    assert (len(first), first[0].id, first[0].later) == (80, "81", [])
    assert [len(prompt.later) for prompt in live] == [1] * 80
    assert [prompt.text for prompt in live] == [prompt.text for prompt in first]
