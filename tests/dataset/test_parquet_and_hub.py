"""Parquet files and datasets of the Hub, with the libraries where they are installed and stand-ins where not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.dataset import hub as hugging_face_hub
from loadstone.dataset.formats import parquet
from loadstone.dataset.formats.huggingface import INSTALL
from loadstone.dataset.source import Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

GSM = [{"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}]
CHATS = [{"conversations": []}, {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]


class Batch(list[dict[str, Any]]):
    def to_pylist(self) -> list[dict[str, Any]]:
        return self


class Table:
    """A split of a dataset, as far as it matters."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.column_names = list(rows[0])

    def with_format(self, name: str) -> Table:
        assert name == "arrow"
        return self

    def iter(self, batch_size: int) -> Iterator[Batch]:
        yield Batch(self.rows[:1])
        yield Batch(self.rows[1:])


SPLITS: dict[str, list[dict[str, Any]]] = {"test": GSM[1:], "train": GSM, "chats": CHATS}


def load_dataset(name: str, config: str | None, split: str | None) -> Any:
    if name != "org/set" or (split and split not in SPLITS):
        raise ConnectionError(f"Couldn't reach\n{name}") from None
    if config == "odd":
        return {"first": Table(GSM[1:]), "last": Table(GSM)}
    return Table(SPLITS[split]) if split else {name: Table(rows) for name, rows in SPLITS.items()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    library = ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.setattr(hugging_face_hub, "why_unreachable", lambda: None)
    return library


def texts(spec: str, **options: Any) -> list[str | None]:
    return [prompt.text for prompt in read(spec, Options(**options), lambda _: None)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:org/set", ["a", "c"]),
        ("hf:org/set:test", ["c"]),
        ("hf:org/set:train:answer", ["b", "d"]),
        ("hf:org/set::answer", ["b", "d"]),
        ("hf:org/set@odd", ["c"]),
        ("hf:org/set@main:test:answer", ["d"]),
        ("hf:org/set:chats", ["a"]),
        ("hf:org/set:chats:conversations", UsageError),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_dataset_of_the_hub(spec: str, expected: Any) -> None:
    if isinstance(expected, list):
        assert texts(spec) == expected
    else:
        with pytest.raises(expected, match=r"org/set:chats:conversations, row 1: no prompt in conversations"):
            texts(spec)


@pytest.mark.usefixtures("hub")
def test_the_prompt_field_goes_without_saying_it_in_the_name() -> None:
    assert texts("hf:org/set", prompt_field="answer") == ["b", "d"]
    assert [prompt.id for prompt in read("hf:org/set:train", Options(), lambda _: None)] == [
        "set:train:1",
        "set:train:2",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:org/set:train:nope", "org/set:train:nope: no field 'nope'; there are question, answer"),
        ("hf:org/none", "cannot load the dataset org/none: Couldn't reach org/none"),
        ("hf:org/set:nope", "cannot load the dataset org/set: Couldn't reach org/set"),
        ("hf", "hf reads a dataset of the Hub: give it as hf:ORG/NAME:SPLIT:FIELD, with split and field if wanted"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        texts(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize("library", [None, ModuleType("datasets")], ids=["missing", "a folder of that name"])
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, library: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(UsageError) as caught:
        texts("hf:org/set")
    assert str(caught.value) == INSTALL


def test_parquet_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "f").write_bytes(b"PAR1")
    with pytest.raises(UsageError) as caught:
        texts(str(tmp_path / "f"))
    assert str(caught.value) == parquet.INSTALL


def test_rows_of_a_table() -> None:
    notices: list[str] = []
    source = Source("dir/t.parquet", None, notices.append)
    assert list(parquet.prompts(CHATS, source, Options())) == [Prompt(id="t:2", text="a")]
    assert notices == ["dir/t.parquet: 1 conversations without a human turn were passed over"]
    assert list(parquet.prompts([], source, Options())) == []
    with pytest.raises(UsageError, match=r"dir/t.parquet, row 2: no prompt in question"):
        list(parquet.prompts([*GSM[:1], {"x": 1}], source, Options(prompt_field="question")))


def test_a_parquet_file(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    files = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "f.bin")
    files.write_table(arrow.Table.from_pylist(GSM), path)
    assert texts(path) == texts(f"parquet:{path}", prompt_field="question") == ["a", "c"]
    Path(path).write_bytes(Path(path).read_bytes()[:60])
    with pytest.raises(UsageError, match=r"f.bin is not a whole Parquet file: ."):
        texts(path)


def test_a_folder_through_the_real_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets", reason="the datasets library is not installed")
    if not hasattr(library, "load_dataset"):
        pytest.skip("the datasets library is not installed, only a folder has its name")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"turns": ["a", "b"]}\n{"turns": ["c", "d"]}\n')
    assert texts(f"hf:{tmp_path / 'set'}:train[:1]:turns") == ["a"]
    assert texts(f"hf:{tmp_path / 'set'}::turns.1") == ["b", "d"]
