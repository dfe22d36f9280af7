"""Turns of conversations as people write them: roles and texts under many names, fields of their own, bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.errors import UsageError
from loadstone.records import Prompt


def prompts(folder: Path, text: str | bytes, prefix: str = "", **options: Any) -> tuple[list[Prompt], list[str]]:
    file = folder / "f.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    notices: list[str] = []
    return read(f"{prefix}{file}", Options(**options), notices.append), notices


def lines(*rows: Any) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


ASKED, ANSWERED = {"role": "user", "content": "Name a lake."}, {"role": "assistant", "content": "Baikal."}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"role": "user", "value": "Name a lake."}, {"role": "assistant", "value": "Baikal."}),
        ({"from": "human", "value": "Name a lake."}, {"from": "gpt", "value": "Baikal."}),
        ({"from": "user", "content": "Name a lake."}, {"from": "model", "content": "Baikal."}),
        ({"role": "human", "content": "Name a lake."}, {"role": "gpt", "content": "Baikal."}),
        ({"from": "human", "value": "Name a lake."}, {"role": "assistant", "content": "Baikal."}),
        ({"role": "user", "value": "Name a lake.", "weight": 1}, {"from": "chatgpt", "text": "Baikal."}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "sharegpt:"])
def test_roles_and_texts_have_many_names(question: Any, answer: Any, prefix: str, tmp_path: Path) -> None:
    row = {"id": "a", "conversations": [question, answer, question]}
    first, _ = prompts(tmp_path, lines(row), prefix)
    assert [(prompt.text, prompt.messages) for prompt in first] == [("Name a lake.", None)]
    (recorded,), _ = prompts(tmp_path, lines(row), prefix, history="recorded")
    assert recorded.messages == [ASKED, ANSWERED, ASKED]


@pytest.mark.parametrize("name", ["conversations", "conversation", "messages", "items"])
def test_sharegpt_has_several_names_for_its_list(name: str, tmp_path: Path) -> None:
    found, _ = prompts(tmp_path, lines({name: [{"from": "human", "value": "Hi"}]}), "sharegpt:")
    assert [prompt.text for prompt in found] == ["Hi"]


def test_a_message_without_text_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1"):
        prompts(tmp_path, lines({"messages": [{"role": "user", "contents": "Hi"}]}), history="live")


def rest(prompt: Prompt) -> list[tuple[Any, dict[str, Any], float]]:
    return [(turn.text or turn.messages, turn.body, turn.think) for turn in prompt.later]


def test_turns_of_aiperf_have_pauses_in_milliseconds_and_fields_of_their_own(tmp_path: Path) -> None:
    row = {
        "session_id": "s",
        "turns": [
            {"text": "One?", "max_tokens": 7},
            {"texts": ["Two", "or more?"], "delay": 250, "extra": {"thinking_token_budget": 50}},
            {"text": "Three?", "think_time": 2},
        ],
    }
    (prompt,), _ = prompts(tmp_path, lines(row), history="live")
    assert (prompt.text, prompt.body) == ("One?", {"max_tokens": 7})
    assert rest(prompt) == [("Two\nor more?", {"thinking_token_budget": 50}, 0.25), ("Three?", {}, 2.0)]


TOOL = {"role": "tool", "tool_call_id": "call_1", "content": "7 degrees"}


def test_later_turns_are_texts_messages_lists_and_objects(tmp_path: Path) -> None:
    later = [
        "two",
        {"role": "user", "content": "three"},
        {"content": "four", "max_tokens": 4, "think_time": 1.5},
        [TOOL, {"role": "user", "content": "five"}],
        {"messages": [{"role": "user", "content": "six"}], "temperature": 0, "think_time": 2},
    ]
    row = {"id": "r", "messages": [ASKED], "max_tokens": 9, "later": later}
    (prompt,), _ = prompts(tmp_path, lines(row))
    body = {"max_tokens": 9}
    assert prompt.body == body
    assert [turn.id for turn in prompt.later] == [f"r.{number}" for number in range(2, 7)]
    assert rest(prompt) == [
        ("two", body, 0.0),
        ("three", body, 0.0),
        ("four", {"max_tokens": 4}, 1.5),
        ([TOOL, {"role": "user", "content": "five"}], body, 0.0),
        ("six", body | {"temperature": 0}, 2.0),
    ]


@pytest.mark.parametrize("later", ["two", {"a": 1}, [5], [None], [[]], [""], [{"role": "user"}], [{"x": "y"}]])
def test_later_turns_of_other_forms_are_refused_and_never_sent(later: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1"):
        prompts(tmp_path, lines({"messages": [ASKED], "max_tokens": 9, "later": later}))


def test_recorded_turns_with_fields_of_a_request_are_turns(tmp_path: Path) -> None:
    row = {"id": "r", "messages": [ASKED, ANSWERED, {"role": "user", "content": "And a river?"}], "temperature": 0}
    (live,), _ = prompts(tmp_path, lines(row), history="live")
    assert (live.text, live.body, rest(live)) == (
        "Name a lake.",
        {"temperature": 0},
        [("And a river?", {"temperature": 0}, 0.0)],
    )
    (whole,), _ = prompts(tmp_path, lines(row))
    assert (len(whole.messages or ()), whole.later) == (3, [])


GOOD = {"conversations": [{"from": "human", "value": "Hi"}]}
BAD_ROWS = {
    "half a character": b'{"conversations": [{"from": "human", "value": "\\ud83d"}]}',
    "no list": b'{"id": "x"}',
    "no object": b'"text"',
    "a number as a text": b'{"conversations": [{"from": "human", "value": 7}]}',
    "null": b"null",
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("array", [False, True])
def test_bad_rows_of_a_public_dump_are_left_out_and_counted(bad: bytes, array: bool, tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    rows = [good, good, bad, good]
    found, notices = prompts(tmp_path, b"[" + b", ".join(rows) + b"]" if array else b"\n".join(rows), "sharegpt:")
    assert [prompt.text for prompt in found] == ["Hi"] * 3
    (notice,) = notices
    assert "1 row was left out of 4" in notice
    assert ("item 3" if array else "line 3") in notice


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_file_of_mostly_bad_rows_is_refused(bad: bytes, tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    for rows in ([bad], [bad, good, bad]):
        with pytest.raises(UsageError, match="line 1"):
            prompts(tmp_path, b"\n".join(rows), "sharegpt:")


def test_rows_of_ones_own_stay_strict(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2"):
        prompts(tmp_path, b'{"prompt": "a"}\n{"prompt": "\\ud83d"}\n{"prompt": "b"}\n')
    with pytest.raises(UsageError, match="item 2"):
        prompts(tmp_path, b'[{"prompt": "a"}, {"prompt": "\\ud83d"}]')
