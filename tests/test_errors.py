"""Errors tell by their class and attributes what is at fault: a setting, a row of a file, or a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loadstone
from loadstone import Config, ConfigError, DataError, ServerError, UsageError
from loadstone.dataset import Options, read
from loadstone.engine import run_folder
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.server_metrics import csv
from loadstone.sim import recorded_answers
from loadstone.tasks.spec import Data
from support.servers import MODELS, Asked, closed_port, scripted

pytestmark = pytest.mark.clean_folder
RUN = {"requests": 1, "html": False, "scrape": False}


def ignore(_text: str) -> None:
    pass


@pytest.mark.parametrize("kind", [UsageError, ConfigError, DataError, ServerError])
def test_another_message_keeps_class_and_attributes(kind: type[UsageError]) -> None:
    changed = kind("one", field="a", file="b", line=3).with_message("two")
    assert type(changed) is kind
    assert (str(changed), changed.field, changed.file, changed.line) == ("two", "a", "b", 3)


# --dataset without its file, file, content, line at fault.
ROWS: list[tuple[str, str, str, int | None]] = [
    ("", "rows.jsonl", '{"prompt": "a"}\n{"prompt": \n', 2),
    ("", "rows.json", '[\n{"prompt": "a"},\n{"prompt" "b"}]\n', 3),
    ("", "rows.json", '[{"prompt": "a"}, {"other": "b"}]', None),  # an item of a list has no line
    ("", "rows.jsonl", '{"prompt": "a"}\n\n{"prompt": "a", "output_len": "x"}\n', 3),
    ("", "rows.jsonl", '{"prompt": "a", "images": ["none.png"]}\n', 1),
    ("", "rows.jsonl", '{"turns": [{"values": "a"}]}\n', 1),
    ("", "rows.csv", "prompt,id\na,b\nc\n", 3),
    ("csv:", "rows.csv", 'prompt,id\na,"b\n', 2),
    ("", "rows.txt", "", None),
    ("", "none/rows.txt", "", None),
    ("sharegpt:", "rows.jsonl", '{"a": 1}\n{"conversations": [{"from": "human", "value": 7}]}\n', 1),
    ("openqa:", "rows.jsonl", "1\n", 1),
    ("mooncake:", "rows.jsonl", '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [1, 2]}\n', 1),
    ("azure:", "rows.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nnow,1,1\n", 2),
    ("azure:", "rows.csv", "TIMESTAMP,Context\n", 1),
    ("workload_trace:", "rows.jsonl", '{"timestamp": 0, "body": {"prompt": "a"}}\n{"timestamp": 1}\n', 2),
]


@pytest.mark.parametrize(("reader", "name", "content", "line"), ROWS)
def test_a_row_of_a_dataset(reader: str, name: str, content: str, line: int | None) -> None:
    if "/" not in name:
        Path(name).write_text(content, "utf-8")
    with pytest.raises(DataError) as caught:
        read(f"{reader or 'jsonl:' if '/' in name else reader}{name}", Options(), ignore)
    assert (caught.value.file, caught.value.line) == (name, line)
    assert line is None or f"{name}, line {line}" in str(caught.value) or "has no column" in str(caught.value)


def test_text_that_is_not_utf_8() -> None:
    Path("rows.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError) as caught:
        read("rows.txt", Options(), ignore)
    assert (caught.value.file, caught.value.line) == ("rows.txt", 2)


def _records() -> Any:
    Path("records.jsonl").write_text("\nnot a record\n", "utf-8")
    return list(run_folder.load_records(Path("records.jsonl")))


def _samples() -> Any:
    good = json.dumps({"doc_id": 0, "doc": {}, "resps": [["a"]], "filter": "none"})
    Path("samples_a.jsonl").write_text(f"{good}\nbroken\n", "utf-8")
    return SamplesFile("a", [Path("samples_a.jsonl")])


def _server_metrics() -> Any:
    Path(csv.NAME).write_text(",".join(csv.HEAD) + "\n1,2\n", "utf-8")
    return csv.read(Path())


def _recorded_answers() -> Any:
    return recorded_answers.parse([b'{"question": "a", "answer": "b"}\n', b"{}\n"], "answers.jsonl")


def _evaluation_data() -> Any:
    from loadstone.evals.data import rows

    Path("rows.jsonl").write_text('{"question": "a"}\n{"answer": "b"}\n', "utf-8")
    data = Data(path="own", files=("rows.jsonl",), convert_row=lambda row: {"question": row["question"]})
    return rows.load_rows(data, str(Path.cwd()))


@pytest.mark.parametrize(
    ("act", "file", "line"),
    [
        (_records, "records.jsonl", 2),
        (_samples, "samples_a.jsonl", 2),
        (_server_metrics, csv.NAME, 2),
        (_recorded_answers, "answers.jsonl", 2),
        (_evaluation_data, "rows.jsonl", 2),
    ],
)
def test_a_line_of_a_saved_file(act: Callable[[], Any], file: str, line: int) -> None:
    with pytest.raises(DataError) as caught:
        act()
    assert (Path(caught.value.file or "").name, caught.value.line) == (file, line)


def test_a_folder_without_results_names_the_file() -> None:
    with pytest.raises(DataError) as caught:
        run_folder.load_run(Path("none"))
    assert (caught.value.file, caught.value.line) == (str(Path("none/run.json")), None)


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"url": "localhost:8000"}, "url"),
    ({}, "url"),
    ({"url": "http://127.0.0.1:9", "dataset": "random", "input_len": "many"}, "input_len"),
    ({"url": "http://127.0.0.1:9", "dataset": "random", "input_len": 8, "prefix_count": 3}, "prefix_count"),
    ({"url": "http://127.0.0.1:9", "dataset": "sonnet", "input_len": 3}, "input_len"),
    ({"url": "http://127.0.0.1:9", "api": "chatt"}, "api"),
    ({"url": "http://127.0.0.1:9", "api": "embeddings", "sampling_seed": 3}, "sampling_seed"),
    ({"url": "http://127.0.0.1:9", "api": "messages", "ignore_eos": True}, "ignore_eos"),
    ({"url": "https://127.0.0.1:9", "ca_file": "none.pem"}, "ca_file"),
    ({"url": "https://127.0.0.1:9", "clock": "kernel"}, "clock"),
    ({"model": "none.py:Model"}, "model"),
]


@pytest.mark.parametrize(("settings", "field"), SETTINGS)
def test_a_setting(settings: dict[str, Any], field: str) -> None:
    url = settings.get("url")
    with scripted(lambda asked: (200, MODELS)) as served:
        if url == "http://127.0.0.1:9":
            settings = {**settings, "url": served}
        with pytest.raises(ConfigError) as caught:
            loadstone.run(Config(**RUN, **settings))
    assert caught.value.field == field


def test_a_line_of_a_template() -> None:
    Path("body.json").write_text('{"text": "%p",\n broken}', "utf-8")
    with pytest.raises(ConfigError) as caught:
        loadstone.run(Config(url="http://127.0.0.1:9", api="template", body_template="@body.json", text_path="a"))
    error = caught.value
    assert (error.field, error.file, error.line) == ("body_template", "body.json", 2)


def test_a_folder_that_is_in_use() -> None:
    Path("full").mkdir()
    Path("full/file").write_text("", "utf-8")
    with pytest.raises(ConfigError) as caught:
        loadstone.run(Config(**RUN, url="http://127.0.0.1:9", output="full"))
    assert caught.value.field == "output"


def test_a_server_that_cannot_be_reached() -> None:
    with pytest.raises(ServerError, match="no answer from"):
        loadstone.run(Config(**RUN, url=f"http://127.0.0.1:{closed_port()}"))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    return "sk-secret-0123456789"


def test_a_server_that_refuses_the_key_and_quotes_it(key: str) -> None:
    refusal = json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}})
    with scripted(lambda asked: (401, refusal)) as url, pytest.raises(ServerError) as caught:
        loadstone.run(Config(**RUN, url=url))
    assert key not in str(caught.value)


def test_a_server_that_lacks_the_model() -> None:
    def script(asked: Asked) -> tuple[int, str]:
        return (200, MODELS) if asked.method == "GET" else (404, '{"error": {"message": "no such model"}}')

    with scripted(script) as url, pytest.raises(ServerError, match="no such model"):
        loadstone.run(Config(**RUN, url=url, model="other"))
