"""Finding and reading rows: original files, folders as on the hub, the hub's cache, and the errors if nothing is
there. No network, and no file but those of the tests and of ../shared."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.data.hub_files import split_files
from loadstone.tasks.spec import Data
from support.paths import SHARED

DATA = SHARED / "data"
QUIZ = Data(path="org/quiz")


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def laid(folder: Path, *names: str) -> Path:
    """A folder with files of one row each, which says the file's name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines({"from": name}))
    return folder


def found(data: Data, root: Path, *, shots: bool = False) -> list[str]:
    return [row["from"] for row in library.load_rows(data, str(root), shots=shots).docs]


@pytest.mark.parametrize(
    "name",
    [
        "org/quiz/test.jsonl",
        "org/quiz/data/test-00000-of-00001.jsonl",
        "org/quiz/data/test-00000-of-00001-60bc38266bc4fe80.jsonl",
        "org/quiz/default/test.jsonl",
        "org/quiz/quiz-test.json",
        "org/quiz/test/0000.jsonl",
        "org__quiz/test.jsonl",
        "quiz/test.jsonl",
        "QUIZ/test-first-20.jsonl",
        "datasets--org--quiz/snapshots/0abc/test.jsonl",
    ],
)
def test_folders_as_on_the_hub(name: str, tmp_path: Path) -> None:
    laid(tmp_path, name, "org/quiz/train.jsonl", "org/quiz/latest.jsonl", "other/test.jsonl")
    assert found(QUIZ, tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    ["a/test.jsonl", "a/set-test.jsonl", "data/a/test.jsonl", "a/data/test.jsonl", "a_test.jsonl", "a/test/0.jsonl"],
)
def test_configurations_have_folders_of_their_own(name: str, tmp_path: Path) -> None:
    laid(tmp_path / "org/quiz", name, "b/test.jsonl", "test.jsonl")
    assert found(Data(path="org/quiz", config="a"), tmp_path) == [name]


def test_a_configuration_that_is_not_there_is_not_another(tmp_path: Path) -> None:
    laid(tmp_path / "org/quiz", "b/test.jsonl", "test.jsonl")
    with pytest.raises(UsageError, match=r"org/quiz \(a\), split test, in .* looked for org/quiz/a/test\*"):
        found(Data(path="org/quiz", config="a"), tmp_path)


def test_the_set_without_splits_is_train(tmp_path: Path) -> None:
    laid(tmp_path / "org/quiz", "questions.jsonl")
    assert found(Data(path="org/quiz", split="train"), tmp_path) == ["questions.jsonl"]
    with pytest.raises(UsageError, match="split test"):
        found(QUIZ, tmp_path)
    laid(tmp_path / "org/quiz", "more.jsonl")
    with pytest.raises(UsageError, match="split train"):
        found(Data(path="org/quiz", split="train"), tmp_path)


def test_validation_has_several_names_but_dev_is_none_of_them(tmp_path: Path) -> None:
    folder = laid(tmp_path / "quiz", "dev.jsonl", "set_val.jsonl")
    assert found(Data(path="org/quiz", split="validation"), tmp_path) == ["set_val.jsonl"]
    (folder / "set_val.jsonl").unlink()
    with pytest.raises(UsageError, match="split validation"):
        found(Data(path="org/quiz", split="validation"), tmp_path)


CARD = """---
license: mit
configs:
- config_name: a
  default: true
  data_files:
  - split: test
    path:
    - "x/*.jsonl"
    - late.jsonl
- config_name: b
  data_files: whole.jsonl
- config_name: c
  data_dir: c-files
- config_name: d
  data_files:
  - split: test
    path: "../secret.jsonl"
---
# A card
"""


@pytest.mark.parametrize(
    ("config", "split", "names"),
    [
        (None, "test", ["late.jsonl", "x/1.jsonl", "x/2.jsonl", "x/10.jsonl"]),
        ("a", "test", ["late.jsonl", "x/1.jsonl", "x/2.jsonl", "x/10.jsonl"]),
        ("b", "train", ["whole.jsonl"]),
        ("c", "test", ["c-files/test.jsonl"]),
        ("d", "test", []),
    ],
)
def test_a_card_says_whose_the_files_are(config: str | None, split: str, names: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "quiz"
    laid(
        folder,
        "x/1.jsonl",
        "x/2.jsonl",
        "x/10.jsonl",
        "late.jsonl",
        "whole.jsonl",
        "c-files/test.jsonl",
        "../secret.jsonl",
    )
    (folder / "README.md").write_text(CARD)
    assert [str(file.relative_to(folder)) for file in split_files(folder, config, split)] == names


def test_files_that_the_card_does_not_know_are_found_by_name(tmp_path: Path) -> None:
    """As where the hub's card came along with rows that were written down in another form."""
    (laid(tmp_path / "quiz", "test.jsonl") / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: data/test-*\n---\n"
    )
    assert found(QUIZ, tmp_path) == ["test.jsonl"]


def test_a_configuration_whose_name_begins_as_another(tmp_path: Path) -> None:
    laid(tmp_path / "org/quiz", "law_old_test.jsonl", "law_test.jsonl")
    assert found(Data(path="org/quiz", config="law"), tmp_path) == ["law_test.jsonl"]
    assert found(Data(path="org/quiz", config="law_old"), tmp_path) == ["law_old_test.jsonl"]


def test_a_card_that_is_not_yaml(tmp_path: Path) -> None:
    (laid(tmp_path / "quiz", "test.jsonl") / "README.md").write_text("---\nconfigs:\n- {a\n---\n")
    with pytest.raises(UsageError, match=r"README\.md: "):
        found(QUIZ, tmp_path)


def test_shards_are_all_there_or_it_is_said(tmp_path: Path) -> None:
    laid(tmp_path / "quiz", "test-00000-of-00002.jsonl")
    with pytest.raises(
        UsageError, match=r"has 1 of the 2 files that test-00000-of-00002\.jsonl is of: put the others there too"
    ):
        found(QUIZ, tmp_path)
    laid(tmp_path / "quiz", "test-00001-of-00002.jsonl")
    assert len(found(QUIZ, tmp_path)) == 2


def test_original_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    data = Data(path="hub/other", config="x", files=("none.jsonl", "test/{config}/*.json"), benchmark="quiz")
    laid(tmp_path, "quiz/test/x/10.json", "quiz/test/x/9.json", "quiz/test/y/1.json")
    assert found(data, tmp_path) == ["quiz/test/x/9.json", "quiz/test/x/10.json"]


def test_original_files_right_in_the_folder_and_by_their_telling_name(tmp_path: Path) -> None:
    data = Data(path="hub/other", files=("Quiz24.jsonl",))
    laid(tmp_path, "a/Quiz24.jsonl", "b/test.jsonl")
    assert found(data, tmp_path) == ["a/Quiz24.jsonl"]
    laid(tmp_path, "Quiz24.jsonl")
    assert found(data, tmp_path) == ["Quiz24.jsonl"]


def test_a_name_that_says_nothing_is_read_only_in_a_folder_of_the_benchmarks_name(tmp_path: Path) -> None:
    """The folder of one benchmark is given while two are asked: the other must not be asked the questions of the
    first."""
    laid(tmp_path / "quiz", "test.jsonl")
    assert found(Data(path="hub/other", benchmark="quiz", files=("test.jsonl",)), tmp_path / "quiz") == ["test.jsonl"]
    for root in (tmp_path, tmp_path / "quiz"):
        with pytest.raises(UsageError, match="no data of hub/other"):
            found(Data(path="hub/other", benchmark="exam", files=("test.jsonl",)), root)


def test_a_telling_name_is_enough_right_in_the_folder(tmp_path: Path) -> None:
    """As where `data` of the original MMLU was unpacked."""
    laid(tmp_path, "data/test/law_test.csv").joinpath("data/test/law_test.csv").write_text("why,42\n")
    data = Data(path="cais/mmlu", config="law", files=("data/test/{config}_test.csv",), columns=("from", "answer"))
    assert found(data, tmp_path) == ["why"]


def test_examples_come_from_their_own_files(tmp_path: Path) -> None:
    laid(tmp_path, "quiz/test.jsonl", "quiz/train-first-200.jsonl")
    assert found(Data(path="org/quiz", shots_split="train"), tmp_path, shots=True) == ["quiz/train-first-200.jsonl"]
    assert found(Data(path="org/quiz", shots_split="test", files=("test.jsonl",)), tmp_path, shots=True) == [
        "quiz/test.jsonl"
    ]
    with pytest.raises(UsageError, match="has no worked examples"):
        found(QUIZ, tmp_path, shots=True)


def test_examples_that_are_in_no_split_are_looked_for_in_files_alone(tmp_path: Path) -> None:
    laid(tmp_path, "quiz/test.jsonl", "quiz/train.jsonl")
    data = Data(path="org/quiz", shots_files=("prompts.txt",), parse_shots=lambda text: [{"from": text.strip()}])
    with pytest.raises(UsageError) as info:
        found(data, tmp_path, shots=True)
    assert str(info.value) == (
        f"no worked examples of org/quiz, in {tmp_path}: looked for quiz/prompts.txt; put one of them there, give"
        " another --data-dir, or --data-dir bundled for a small set of our own, or --num-fewshot 0 to ask without"
    )
    with pytest.raises(UsageError, match=r"on the hub: give --data-dir DIR with prompts\.txt"):
        library.load_rows(data, None, shots=True)
    (tmp_path / "quiz" / "prompts.txt").write_text("one\n")
    assert found(data, tmp_path, shots=True) == ["one"]


ROWS = [{"q": "a", "n": "1"}, {"q": "b, c", "n": "2"}]


def parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as library

    library.write_table(pyarrow.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test.jsonl", lines(*ROWS)),
        ("test.json", json.dumps(ROWS, indent=1)),
        ("test.csv", 'q,n\na,1\n"b, c",2\n'),
        ("test.tsv", "q\tn\r\na\t1\r\nb, c\t2\r\n"),
    ],
)
def test_every_format_gives_the_same_rows(name: str, text: str, packed: bool, tmp_path: Path) -> None:
    raw = gzip.compress(text.encode()) if packed else text.encode()
    file = tmp_path / "x" / (name + (".gz" if packed else ""))
    file.parent.mkdir()
    file.write_bytes(raw)
    rows = library.load_rows(Data(path="org/x", files=(name,)), str(tmp_path))
    assert (rows.docs, rows.files, rows.origin) == (ROWS, [str(file)], "files")
    assert rows.sha256 == hashlib.sha256(raw).hexdigest(), "what sha256sum says of the file"


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "quiz").mkdir()
    parquet(tmp_path / "quiz/test-00000-of-00001.parquet")
    assert library.load_rows(QUIZ, str(tmp_path)).docs == ROWS


def test_rows_inside_an_object_and_tables_without_a_head(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"canary": "x", "examples": ROWS}))
    (tmp_path / "b.csv").write_text('a,1\n"b, c",2\n')
    assert library.load_rows(Data(path="x/y", files=("a.json",), rows_field="examples"), str(tmp_path)).docs == ROWS
    bare = Data(path="x/y", files=("b.csv",), columns=("q", "n"))
    assert library.load_rows(bare, str(tmp_path)).docs == ROWS
    (tmp_path / "b.csv").write_text('q,n\na,1\n"b, c",2\n')
    assert library.load_rows(bare, str(tmp_path)).docs == ROWS, "a head that says the same is none of the rows"


def test_rows_are_brought_into_the_schema(tmp_path: Path) -> None:
    laid(tmp_path, "quiz/test.jsonl")
    several = Data(path="org/quiz", expand_row=lambda row: [row, row], convert_row=lambda row: {"seen": row["from"]})
    assert library.load_rows(several, str(tmp_path)).docs == [{"seen": "quiz/test.jsonl"}] * 2
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    parsed = Data(path="x/y", shots_files=("a.txt",), parse_shots=lambda text: [{"q": each} for each in text.split()])
    assert library.load_rows(parsed, str(tmp_path), shots=True).docs == [{"q": "one"}, {"q": "two"}]


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("test.jsonl", b'{"q": 1}\n{"q": \n', "test.jsonl, line 2: not JSON"),
        ("test.jsonl", b'{"q": 1}\n"text"\n', "test.jsonl, line 2: 'text' is not an object with fields"),
        ("test.jsonl", b'{"p": 1}\n', "test.jsonl, line 1: no field 'q'; there are p"),
        ("test.jsonl", b'{"q": 1}\n\n{"q": []}\n', "test.jsonl, line 3: not a row of org/quiz"),
        ("test.json", b'[{"q": 1}, {"p": 1}]', "test.json, item 2: no field 'q'"),
        ("test.csv", b"q,n\n1,2\n1\n", "test.csv, line 3: 1 cells where there are 2 columns (q, n)"),
        ("test.jsonl", b"", "test.jsonl is empty"),
        ("test.jsonl", b"\xff\xfe{}", "test.jsonl, line 1: not UTF-8 text"),
        ("test.jsonl.gz", b"\x1f\x8bnothing", "test.jsonl.gz is not a whole gzip file"),
        ("test.parquet", b"PAR1 and no more", "test.parquet is not a whole Parquet file"),
        (
            "test.jsonl",
            b"version https://git-lfs.github.com/spec/v1\noid",
            "only points to its content: fetch it with git lfs",
        ),
    ],
)
def test_a_bad_row_names_its_file_and_line(name: str, raw: bytes, says: str, tmp_path: Path) -> None:
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / name).write_bytes(raw)
    with pytest.raises(UsageError) as info:
        library.load_rows(Data(path="org/quiz", convert_row=lambda row: {"q": int(row["q"])}), str(tmp_path))
    assert says in str(info.value)


def test_what_is_missing_is_said_with_what_to_type(tmp_path: Path) -> None:
    data = Data(path="cais/mmlu", config="anatomy", files=("data/test/{config}_test.csv",), benchmark="mmlu")
    with pytest.raises(UsageError) as info:
        library.load_rows(data, str(tmp_path))
    assert str(info.value) == (
        f"no data of cais/mmlu (anatomy), split test, in {tmp_path}: looked for mmlu/data/test/anatomy_test.csv,"
        " cais/mmlu/anatomy/test*.{jsonl,json,csv,parquet}; put one of them there, give another --data-dir, or"
        " --data-dir bundled for a small set of our own"
    )
    with pytest.raises(UsageError, match="no folder '/nowhere' with data: give --data-dir DIR"):
        library.load_rows(data, "/nowhere")
    with pytest.raises(UsageError, match="the small sets that come with Loadstone have no data of cais/mmlu"):
        library.load_rows(data, "bundled")


def test_the_cache_of_the_hub_comes_before_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = tmp_path / "datasets--org--quiz" / "snapshots"
    laid(snapshots / "new", "test.jsonl")
    laid(snapshots / "old", "test.jsonl")
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs" / "main").write_text("old")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    rows = library.load_rows(QUIZ, None)
    assert rows.origin == "cache"
    assert rows.files == [str(snapshots / "old" / "test.jsonl")]


def test_the_library_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    asked: list[tuple[str, str | None, str]] = []

    def rows(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
        asked.append((name, config, split))
        return ROWS

    monkeypatch.setattr("loadstone.dataset.formats.huggingface.rows", rows)
    got = library.load_rows(Data(path="org/quiz", config="a", split="validation"), None)
    assert (got.docs, got.origin, got.files, asked) == (ROWS, "datasets", [], [("org/quiz", "a", "validation")])
    assert got.sha256 == hashlib.sha256(b'{"n":"1","q":"a"}\n{"n":"2","q":"b, c"}\n').hexdigest()

    def refuse(*_: object) -> list[dict[str, Any]]:
        raise UsageError("it is offline")

    monkeypatch.setattr("loadstone.dataset.formats.huggingface.rows", refuse)
    with pytest.raises(
        UsageError, match=r"^no data of org/quiz, split test, in the cache of the hub \(it is offline\): give"
    ):
        library.load_rows(QUIZ, None)


REAL = [
    (Data(path="openai/gsm8k", config="main", shots_split="train"), 1319, 200),
    (Data(path="HuggingFaceH4/MATH-500", files=("math500.jsonl",)), 500, None),
    (Data(path="Maxwell-Jia/AIME_2024", split="train", files=("aime24.json",)), 30, None),
    (Data(path="math-ai/aime25", files=("aime25.json",)), 30, None),
    (Data(path="SaylorTwift/bbh", config="navigate", files=("{config}.json",), rows_field="examples"), 250, None),
    (Data(path="openai/openai_humaneval", files=("HumanEval.jsonl",)), 164, None),
    (Data(path="lmsys/x", benchmark="mt_bench", files=("question.jsonl",)), 80, None),
]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data are not here")
@pytest.mark.parametrize(("data", "count", "examples"), REAL, ids=lambda value: getattr(value, "path", None))
def test_real_data(data: Data, count: int, examples: int | None) -> None:
    assert len(library.load_rows(data, str(DATA)).docs) == count
    if examples:
        assert len(library.load_rows(data, str(DATA), shots=True).docs) == examples
