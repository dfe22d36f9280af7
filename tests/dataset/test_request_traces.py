"""Recorded requests: their order and times, what of them is sent again, and what is wrong with a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support import sentences as sentences

ASKED = [{"role": "user", "content": "a"}]
NS = 1_000_000_000


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trace(*rows: Any, **options: Any) -> tuple[list[Prompt], list[str]]:
    Path("t.jsonl").write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    notices: list[str] = []
    return read("t.jsonl", Options(**options), notices.append), notices


def row(timestamp: Any = 0, **rest: Any) -> dict[str, Any]:
    return {"timestamp": timestamp, "body": {"prompt": "a"}} | rest


def times(*stamps: Any, **options: Any) -> list[tuple[str, int | None]]:
    return [(prompt.id, prompt.at) for prompt in trace(*map(row, stamps), **options)[0]]


@pytest.mark.parametrize(
    "stamps",
    [
        (5, 5.25, 7),
        ("5", "5.25", "7"),
        (1_700_000_000, 1_700_000_000.25, 1_700_000_002),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.250Z", "2024-01-01T01:00:02+01:00"),
        ("2024-01-01 00:00:00", "2024-01-01 00:00:00.2500000", "2024-01-01T00:00:02Z"),
    ],
)
def test_times_are_seconds_or_iso_8601(stamps: tuple[Any, ...]) -> None:
    assert times(*stamps) == [("t:1", 0), ("t:2", NS // 4), ("t:3", 2 * NS)]


def test_order_and_window() -> None:
    assert times(3, 1, 2, 9) == [("t:2", 0), ("t:3", NS), ("t:1", 2 * NS), ("t:4", 8 * NS)]
    assert times(3, 1, 2, 9, trace_from=1, trace_to=8) == [("t:3", 0), ("t:1", NS)]
    assert times(3, 1, 2, 9, count=2, in_order=True) == [("t:2", 0), ("t:3", NS)]


BODY = {"model": "big", "messages": ASKED, "max_tokens": 5, "id": 9}


def test_a_row_with_everything() -> None:
    headers = {"X-Tenant": "t1", "Authorization": "Bearer k", "HOST": "x", "X-Api-Key": "k", "Connection": "close"}
    whole = row(body=BODY, headers=headers, request_id="r1", completion_tokens=7)
    prompts, notices = trace(whole)
    body = {"max_tokens": 5, "id": 9}
    expected = Prompt(id="r1", messages=ASKED, body=body, headers={"X-Tenant": "t1"}, output_len=7, at=0)
    assert prompts == [expected]
    assert notices == [
        "t.jsonl: the models that 1 bodies name are left out; --model holds",
        "t.jsonl: headers that are not sent again: authorization, connection, host, x-api-key",
        "t.jsonl: 1 rows are request bodies; their fields win over flags: id, max_tokens",
    ]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({}, Prompt(id="t:1", text="a", at=0)),
        ({"body": json.dumps({"prompt": "b"})}, Prompt(id="t:1", text="b", at=0)),
        ({"body": {"input": "b", "model": "m"}}, Prompt(id="t:1", body={"input": "b"}, at=0)),
        ({"body": {"prompt": [5, 6]}}, Prompt(id="t:1", body={"prompt": [5, 6]}, at=0)),
        ({"output_tokens": 3, "id": 8}, Prompt(id="8", text="a", output_len=3, at=0)),
        ({"headers": None, "request_id": None, "completion_tokens": None}, Prompt(id="t:1", text="a", at=0)),
    ],
)
def test_a_row(rest: dict[str, Any], expected: Prompt) -> None:
    assert trace(row(**rest))[0] == [expected]


NO_TIME = "neither seconds nor an ISO 8601 time"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "not JSON (…)"),
        ([1], "not an object with `timestamp` and `body`"),
        ({"body": {"prompt": "a"}}, "no `timestamp` in the row; is this file a workload_trace?"),
        (row("2024-13-01"), f"timestamp is '2024-13-01', {NO_TIME}"),
        (row("soon"), f"timestamp is 'soon', {NO_TIME}"),
        (row(True), f"timestamp is 'True', {NO_TIME}"),
        (row(1_700_000_000_000), f"timestamp is '1700000000000', {NO_TIME}"),
        (row("nan"), f"timestamp is 'nan', {NO_TIME}"),
        (row(body=None), "no `body` in the row that is a request"),
        (row(body={}), "no `body` in the row that is a request"),
        (row(body="{"), "body is a text that is not JSON"),
        (row(body="[]"), "no `body` in the row that is a request"),
        (row(body={"messages": [7]}), "messages is neither a text nor a list of messages with a role each"),
        (row(headers=[1]), "headers is not an object of names and values"),
        (row(headers={"X-A": 1}), "the header 'X-A' is not fit for HTTP"),
        (row(headers={"X-A": "1\r\nX-B: 2"}), "the header 'X-A' is not fit for HTTP"),
        (row(headers={"X A": "1"}), "the header 'X A' is not fit for HTTP"),
        (row(completion_tokens=0), "completion_tokens is '0', not a whole number of at least 1"),
    ],
)
def test_a_bad_row_is_told_with_its_line(bad: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        trace(row(), bad)
    assert sentences.same(f"t.jsonl, line 2: {message}", str(caught.value))


def test_nothing_is_left_of_it() -> None:
    with pytest.raises(UsageError, match=r"t.jsonl is 2 s long: no request lies between --from and --to"):
        trace(row(0), row(2), trace_from=5)
