"""Datasets by length: rows passed over, texts cut or tiled to exact lengths, output lengths drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.dataset import Options, read, tokenizer
from loadstone.dataset.synthetic.measure import TokenMeasure, WordMeasure
from loadstone.dataset.tokenizer import REPLACEMENT
from loadstone.errors import UsageError
from loadstone.records import Prompt

IN_WORDS = "f.jsonl: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


class Pairs:
    """Two characters are a token, of UTF-8 two bytes: a cut may fall into a character, and no cut is the same twice."""

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        return [
            int.from_bytes(data[at : at + 2]) + (65536 if at + 1 == len(data) else 0) for at in range(0, len(data), 2)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        data = b"".join((one % 65536).to_bytes(1 if one >= 65536 else 2) for one in ids)
        return data.decode(errors="replace")

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def vocabulary(self) -> list[int]:
        return []


class Never(Pairs):
    """No text has an even number of tokens."""

    def count(self, text: str) -> int:
        return 2 * len(self.encode(text)) + 1


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Prompt], list[str]]]:
    """Prompts of rows, and what was said about them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokenizer, "load", lambda name: {"pairs": Pairs(), "never": Never()}[name])

    def loaded(*rows: Any, **options: Any) -> tuple[list[Prompt], list[str]]:
        Path("f.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        notices: list[str] = []
        return read("f.jsonl", Options(**options), notices.append), notices

    return loaded


Load = Callable[..., tuple[list[Prompt], list[str]]]


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("one two  three\nfour", 3, "one two  three"),
        ("one two", 2, "one two"),
        (" one\ntwo ", 5, "one\ntwo one\ntwo one"),
        ("one", 1, "one"),
        (" one two", 1, " one"),
    ],
)
def test_words_are_cut_and_tiled(text: str, length: int, expected: str) -> None:
    assert WordMeasure().resize(text, length) == expected


@given(st.text(alphabet="ab é漢\n", min_size=1).filter(str.strip), st.integers(2, 80))
def test_tokens_are_cut_and_tiled_exactly(text: str, length: int) -> None:
    made = TokenMeasure(Pairs()).resize(text, length)
    assert REPLACEMENT not in made
    assert Pairs().count(made) == length


def test_a_text_of_the_right_length_stays_as_it_is() -> None:
    assert TokenMeasure(Pairs()).resize(" ab\n", 2) == " ab\n"


def test_of_messages_the_last_question_is_fitted(load: Load) -> None:
    def rows(last: Any) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "a b c"}, {"role": "user", "content": last}]}

    parts = [IMAGE, {"type": "text", "text": "a b c d"}]
    prompts, notices = load(rows("a b c d"), rows(parts), {"prompt": "x"}, input_len=2)
    assert [(prompt.text, prompt.messages) for prompt in prompts] == [
        (None, rows("a b")["messages"]),
        (None, rows([IMAGE, {"type": "text", "text": "a b"}])["messages"]),
        ("x x", None),
    ]
    assert notices == [IN_WORDS]


def test_every_turn_has_its_length_from_the_law(load: Load) -> None:
    rows = [{"turns": ["a b c", "d"]}] * 20
    prompts, _ = load(*rows, input_len="uniform(1,5)", output_len="uniform(10,12)", history="live")
    turns = [turn for prompt in prompts for turn in (prompt, *prompt.later)]
    assert {len((turn.text or "").split()) for turn in turns} == {1, 2, 3, 4, 5}
    assert {turn.output_len for turn in turns} == {10, 11, 12}
    assert load(*rows, input_len="uniform(1,5)", output_len="uniform(10,12)", history="live")[0] == prompts
    assert load(*rows, input_len="uniform(1,5)", output_len="uniform(10,12)", history="live", seed=1)[0] != prompts


def test_tokens_are_known_then(load: Load) -> None:
    prompts, notices = load({"prompt": "abc"}, {"prompt": "abcdefgh"}, input_len=3, tokenizer="pairs")
    assert [(prompt.text, prompt.input_len) for prompt in prompts] == [("abc ab", 3), ("abcdef", 3)]
    assert notices == []


def test_misses_are_counted(load: Load) -> None:
    prompts, notices = load({"prompt": "abcdef"}, {"texts": ["a"]}, input_len=2, tokenizer="never")
    assert [(prompt.text, prompt.input_len) for prompt in prompts] == [("ab", None), (None, None)]
    why = "because the tokenizer merges what was cut or they hold no text"
    assert notices == [f"f.jsonl: 2 prompts miss their length, {why}"]


def test_output_lengths_of_rows_stay_and_constants_are_left_to_the_settings(load: Load) -> None:
    rows = [{"prompt": "a", "output_len": 5}, {"prompt": "b"}]
    assert [prompt.output_len for prompt in load(*rows, output_len="uniform(7,7)")[0]] == [5, 7]
    assert [prompt.output_len for prompt in load(*rows, output_len=9)[0]] == [5, None]
    assert load(*rows, output_len=9)[1] == []


ROWS = [
    {"id": 1, "prompt": "a"},
    {"id": 2, "prompt": "a b c", "output_len": 4},
    {"id": 3, "turns": ["a b", "c d"]},
    {
        "id": 4,
        "messages": [{"role": "system", "content": "a b"}, {"role": "user", "content": [IMAGE, {"text": "c d e"}]}],
    },
    {"id": 5, "query": "a", "documents": ["b c d", "e f"]},
]


@pytest.mark.parametrize(
    ("options", "left", "flags"),
    [
        ({"min_input_len": 2}, "2345", "--min-input-len"),
        ({"max_input_len": 3}, "123", "--max-input-len"),
        ({"min_input_len": 2, "max_input_len": 4}, "23", "--min-input-len and --max-input-len"),
        ({"max_total_len": 6}, "1345", "--max-total-len"),
        ({"max_total_len": 6, "output_len": 3}, "13", "--max-total-len"),
        ({"max_input_len": 6}, "12345", None),
        ({"min_input_len": 4, "history": "live"}, "345", "--min-input-len"),
    ],
)
def test_rows_outside_the_lengths_are_passed_over(
    load: Load, options: dict[str, Any], left: str, flags: str | None
) -> None:
    prompts, notices = load(*ROWS, **options)
    assert "".join(prompt.id for prompt in prompts) == left
    told = f"f.jsonl: {5 - len(left)} of 5 rows lie outside {flags} and were passed over"
    assert notices == [IN_WORDS, *([told] if flags else [])]


def test_lengths_are_counted_in_tokens_with_a_tokenizer(load: Load) -> None:
    prompts, notices = load({"prompt": "abc"}, {"prompt": "abcde"}, max_input_len=2, tokenizer="pairs")
    assert [prompt.text for prompt in prompts] == ["abc"]
    assert notices == ["f.jsonl: 1 of 2 rows lie outside --max-input-len and were passed over"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_input_len": 9}, "f.jsonl: none of 1 rows lies within --min-input-len, counted in words"),
        ({"input_len": 0}, "--input-len must be at least 1, not 0"),
        ({"output_len": "uniform(3,1)"}, "--output-len takes a number, uniform(LOW,HIGH), "),
        ({"input_len": "some"}, "--input-len takes a number, uniform(LOW,HIGH), "),
        ({"input_len": "uniform(1,2)", "seed": -1}, "--seed must be at least 0, not -1"),
    ],
)
def test_bad_lengths(load: Load, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"prompt": "a"}, **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"count": 2, "in_order": True, "input_len": 1}, "12"),
        ({"count": 2, "in_order": True, "min_input_len": 2}, "23"),
        ({"count": 2, "in_order": True, "tokenizer": "pairs"}, "12"),
        ({"count": 2, "in_order": True}, "12345"),
        ({"count": 2, "input_len": 1}, "12345"),
        ({"count": 9, "in_order": True, "input_len": 1}, "12345"),
    ],
)
def test_no_more_rows_are_counted_than_the_run_needs(load: Load, options: dict[str, Any], left: str) -> None:
    assert "".join(prompt.id for prompt in load(*ROWS, **options)[0]) == left


def test_a_generator_has_no_rows_to_pass_over() -> None:
    with pytest.raises(UsageError, match="random makes its own lengths: leave out --min-input-len"):
        read("random", Options(count=1, min_input_len=3), lambda _: None)
