"""An option that a source of prompts is said not to use changes no request, and one that it uses changes some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.apis import RequestSettings
from loadstone.apis.openai import Chat
from loadstone.config.unused import UnusedNotice
from loadstone.dataset import READERS, Options, read
from loadstone.dataset.source import WHY_UNUSED
from loadstone.errors import ConfigError
from loadstone.records import Prompt, next_prompt

ROW: dict[str, Any] = {"prompt": "one two three", "question": "one two three", "instruction": "a b c", "mine": "d e"}
TALK = [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}, {"from": "human", "value": "d e"}]
MOONCAKE = {"timestamp": 0, "input_length": 600, "output_length": 9, "hash_ids": [1, 2]}
BODY = {"timestamp": 0, "body": {"messages": [{"role": "user", "content": "a b"}]}}
LENGTHS = {"prefix_len", "prefix_count", "system_len", "turns", "think_time", "input_len", "output_len", "range_ratio"}
TEXT = {"prompt_field", "input_len", "output_len"}
# By name of the test: value of --dataset, content of its file, options that it uses, options that are always given.
SOURCES: dict[str, tuple[str, object, set[str], dict[str, Any]]] = {
    "lines": ("lines:f.txt", "a b c\n", TEXT - {"prompt_field"}, {}),
    "jsonl": ("jsonl:f.jsonl", ROW, TEXT, {}),
    "jsonl of own lengths": ("jsonl:f.jsonl", ROW | {"output_len": 4}, TEXT - {"output_len"}, {}),
    "jsonl of conversations": (
        "jsonl:f.jsonl",
        {"turns": TALK, "mine": ["d", "e"]},
        TEXT | {"history", "think_time"},
        {"history": "live"},
    ),
    "csv": ("csv:f.csv", "prompt,mine\na b,c\n", TEXT, {}),
    "line_by_line": ("line_by_line:f.txt", ROW, TEXT, {}),
    **{name: (f"{name}:f.jsonl", ROW, TEXT, {}) for name in ("openqa", "longalpaca", "custom")},
    "sharegpt": (
        "sharegpt:f.jsonl",
        {"conversations": TALK},
        {"input_len", "output_len", "history", "think_time"},
        {"history": "live"},
    ),
    "sonnet": ("sonnet", None, {"input_len", "output_len", "prefix_len"}, {}),
    "random": ("random", None, LENGTHS, {"input_len": 20, "turns": 2, "prefix_len": 3}),
    "random of one turn": ("random", None, LENGTHS - {"think_time"}, {"input_len": 20, "prefix_len": 3}),
    "synthetic": ("synthetic", None, LENGTHS, {"input_len": 9, "output_len": 9, "turns": 2, "prefix_len": 3}),
    "prefix_repetition": ("prefix_repetition", None, LENGTHS, {"turns": 2}),
    "generated-shared-prefix": ("generated-shared-prefix", None, LENGTHS, {"turns": 2, "prefix_len": 9}),
    "mooncake": ("mooncake:f.jsonl", MOONCAKE, {"scale_lengths"}, {}),
    "azure": (
        "azure:f.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,30,20\n",
        {"scale_lengths"},
        {},
    ),
    "burstgpt": ("burstgpt:f.csv", "Timestamp,Request tokens,Response tokens\n5,30,20\n", {"scale_lengths"}, {}),
    "workload_trace": ("workload_trace:f.jsonl", BODY, {"output_len"}, {}),
    "workload_trace of own lengths": ("workload_trace:f.jsonl", BODY | {"completion_tokens": 8}, set(), {}),
}
VALUES: dict[str, Any] = {
    "prompt_field": "mine",
    "input_len": 333,
    "output_len": 77,
    "range_ratio": 0.5,
    "prefix_len": 61,
    "prefix_count": 3,
    "system_len": 5,
    "turns": 3,
    "think_time": 2.5,
    "history": "recorded",
    "scale_lengths": 2.0,
}


def requests(spec: str, options: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
    """Return all that is sent, and the options that are said not to be used."""
    unused: dict[str, str] = {}

    def notice(text: str) -> None:
        if isinstance(text, UnusedNotice):
            unused.update(text.reasons)

    prompts = read(spec, Options(**options, count=4, in_order=True), notice)
    settings = RequestSettings(model="m", output_len=options.get("output_len"))
    sent: list[Any] = []

    def add(prompt: Prompt) -> None:
        sent.append((Chat().build_body(prompt, settings), prompt.think, prompt.at))

    for prompt in prompts:
        add(prompt)
        history = prompt
        for turn in prompt.later:
            history = next_prompt(history, "an answer", turn)
            add(history)
    return sent, unused


def test_every_reader_and_every_option_is_tried_here() -> None:
    assert {spec.partition(":")[0] for spec, *_ in SOURCES.values()} == READERS.keys() - {"parquet", "hf"}
    assert VALUES.keys() == WHY_UNUSED.keys()
    assert WHY_UNUSED.keys() <= set(Options.__struct_fields__)


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_unused_changes_nothing(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec, content, used, always = SOURCES[name]
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content) + "\n"
        Path(spec.partition(":")[2]).write_text(text, "utf-8")
    without, before = requests(spec, always)
    after, unused = requests(spec, always | {option: VALUES[option]})
    assert not before
    assert unused.keys() == ({option} - used)
    assert (msgspec.json.encode(after) != msgspec.json.encode(without)) == (option in used)


@pytest.mark.parametrize("length", ["uniform(5,9)", "normal(9,2)"])
def test_a_drawn_output_length_is_used_where_a_row_has_none(length: str, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"prompt": "a"}\n', "utf-8")
    assert requests(str(file), {"output_len": length})[1] == {}
    file.write_text('{"prompt": "a", "output_len": 3}\n', "utf-8")
    assert requests(str(file), {"output_len": length})[1].keys() == {"output_len"}


def test_the_notice_names_flags_by_reason(tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("a\n", "utf-8")
    notices: list[str] = []
    options = Options(turns=3, prefix_len=2, system_len=4, think_time=1.0)
    read(str(file), options, notices.append)
    assert notices == [
        f"--prefix-len, --system-len and --turns are not used: {file} has its own prompts;"
        f" --think-time is not used: {file} has no turns that wait for it"
    ]


def test_a_reader_of_the_users_own_may_use_everything(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("from loadstone import Prompt\ndef read(source, options):\n    yield Prompt(id='a', text='b')\n")
    assert requests(f"{own}:read", dict(VALUES))[1] == {}


def test_lengths_that_a_generator_cannot_spread_are_refused() -> None:
    with pytest.raises(ConfigError, match="--range-ratio"):
        requests("synthetic", {"range_ratio": 0.5})
