"""The bundled small sets: they have the schema of each benchmark, its tasks read them, and their answers are right if a
program can check that. And the document of all benchmarks, whose examples they are."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadstone.cli import main
from loadstone.dataset.resolve import bundled_folder
from loadstone.errors import UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.data import selection
from loadstone.evals.output import benchmarks as view
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Benchmark, Task

EVALS = bundled_folder() / "evals"
MC = {"choices": [str], "labels": [int]}
# Pattern of files to fields and their types, as on the hub or in the original distribution.
SCHEMAS: dict[str, dict[str, Any]] = {
    "gsm8k/*.jsonl": {"question": str, "answer": str},
    "arc/*/*.jsonl": {"id": str, "question": str, "choices": {"text": [str], "label": [str]}, "answerKey": str},
    "hellaswag/*.jsonl": {
        **dict.fromkeys(["activity_label", "ctx_a", "ctx_b", "ctx", "source_id", "split", "split_type", "label"], str),
        "ind": int,
        "endings": [str],
    },
    "truthful_qa/multiple_choice/*.jsonl": {"question": str, "mc1_targets": MC, "mc2_targets": MC},
    "truthful_qa/generation/*.jsonl": {
        **dict.fromkeys(["type", "category", "question", "best_answer", "source"], str),
        "correct_answers": [str],
        "incorrect_answers": [str],
    },
    "math/*/*.jsonl": {"problem": str, "level": str, "type": str, "solution": str},
    "math500/*.jsonl": {
        **dict.fromkeys(["problem", "solution", "answer", "subject", "unique_id"], str),
        "level": int,
    },
    "humaneval/*.jsonl": dict.fromkeys(["task_id", "prompt", "canonical_solution", "test", "entry_point"], str),
    "race/*/*/*.txt": {"answers": [str], "options": [[str]], "questions": [str], "article": str, "id": str},
    "trivia_qa/*/*.jsonl": {
        "question": str,
        "question_id": str,
        "question_source": str,
        "answer": {
            **dict.fromkeys(["matched_wiki_entity_name", "normalized_matched_wiki_entity_name"], str),
            **dict.fromkeys(["normalized_value", "type", "value"], str),
            "aliases": [str],
            "normalized_aliases": [str],
        },
    },
    "aime25/*.jsonl": {"id": str, "problem": str, "solution": str, "answer": str, "url": str},
    "ifeval/*.jsonl": {"key": int, "prompt": str, "instruction_id_list": [str], "kwargs": [dict]},
    "mt_bench/*.jsonl": {"question_id": int, "category": str, "turns": [str]},
    "transcripts.jsonl": {
        **dict.fromkeys(["prompt", "answer", "target", "task", "kind", "finish"], str),
        "doc_id": int,
    },
}
HEADS = {
    "ceval/*/dev.csv": "id,question,A,B,C,D,answer,explanation",
    "ceval/*/val.csv": "id,question,A,B,C,D,answer",
    "gpqa_diamond/*.csv": "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3",
}


def rows(pattern: str) -> list[dict[str, Any]]:
    files = sorted(EVALS.glob(pattern))
    assert files, pattern
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, dict):
        return isinstance(value, dict) and kind.keys() <= value.keys() and all(fits(value[k], kind[k]) for k in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(each, kind[0]) for each in value)
    return isinstance(value, kind)


@pytest.mark.parametrize("pattern", SCHEMAS)
def test_rows_have_the_fields_of_their_benchmark(pattern: str) -> None:
    assert [row for row in rows(pattern) if not fits(row, SCHEMAS[pattern])] == []


@pytest.mark.parametrize("pattern", HEADS)
def test_tables_have_the_head_of_their_benchmark(pattern: str) -> None:
    for file in EVALS.glob(pattern):
        with file.open(encoding="utf-8", newline="") as text:
            table = list(csv.reader(text))
        assert ",".join(table[0]).startswith(HEADS[pattern])
        assert {len(row) for row in table} == {len(table[0])}


def test_tables_of_mmlu_have_no_head() -> None:
    for file in EVALS.glob("mmlu/data/*/*.csv"):
        with file.open(encoding="utf-8", newline="") as text:
            table = list(csv.reader(text))
        assert (len(table), {len(row) for row in table}, {row[5] for row in table} <= set("ABCD")) == (5, {6}, True)


def test_every_set_is_small_and_no_file_is_left_out() -> None:
    listed = {file for pattern in [*SCHEMAS, *HEADS] for file in EVALS.glob(pattern)}
    listed |= {*EVALS.glob("mmlu/data/*/*.csv"), *EVALS.glob("bbh/*"), EVALS / "aime24" / "aime24.json"}
    assert {file for file in EVALS.rglob("*") if file.is_file()} == listed
    assert sum(file.stat().st_size for file in listed) < 100_000


# what a program can tell of the answers


def test_gsm8k_adds_up() -> None:
    for row in rows("gsm8k/*.jsonl"):
        steps = re.findall(r"<<([^=>]+)=([^>]+)>>", row["answer"])
        assert steps
        assert all(eval(left) == eval(right) for left, right in steps), row["answer"]
        assert float(row["answer"].rpartition("#### ")[2].replace(",", "")) == float(steps[-1][1])


def test_humaneval_solutions_pass_their_tests() -> None:
    for row in rows("humaneval/*.jsonl"):
        space: dict[str, Any] = {}
        exec(row["prompt"] + row["canonical_solution"] + row["test"], space)
        space["check"](space[row["entry_point"]])
        with pytest.raises((AssertionError, TypeError)):
            space["check"](lambda _: None)


def test_bbh() -> None:
    for row in json.loads((EVALS / "bbh/boolean_expressions.json").read_text())["examples"]:
        assert str(eval(row["input"].removesuffix(" is"))) == row["target"]
    for row in json.loads((EVALS / "bbh/object_counting.json").read_text())["examples"]:
        assert row["target"].isdecimal()


def divisors(number: int) -> int:
    return sum(number % each == 0 for each in range(1, number + 1))


def primes(below: int) -> list[int]:
    return [number for number in range(2, below) if divisors(number) == 2]


def test_aime() -> None:
    sides = next((a, 19 - a) for a in range(1, 19) if a * (19 - a) == 84)
    truth24 = [divisors(2**4 * 3**2 * 5), 3**100 % 1000, sides[0] ** 2 + sides[1] ** 2, divisors(360), 999]
    truth25 = [
        sum(number % 2 > 0 and number % 5 > 0 for number in range(1, 101)),
        sum(primes(30)),
        20 * 17 // 2,
        next(n for n in range(7, 5000, 7) if all(n % each == 1 for each in range(2, 7))),
        max(n for n in range(200) if n**3 < 10**6) * 10 - 10,
    ]
    aime24 = json.loads((EVALS / "aime24/aime24.json").read_text())
    assert [int(row["expected_answer"]) for row in aime24] == truth24
    assert sum(range(1000)) == 499500
    assert [int(row["answer"]) for row in rows("aime25/*.jsonl")] == truth25
    assert all(0 <= each <= 999 for each in (*truth24, *truth25))


def test_math_solutions_end_in_a_box() -> None:
    for row in [*rows("math/*/*.jsonl"), *rows("math500/*.jsonl")]:
        assert row["solution"].count("\\boxed{") == 1
        assert f"\\boxed{{{row['answer']}}}" in row["solution"] if "answer" in row else True
    assert {row["type"] for row in rows("math/*/*.jsonl")} == {"Algebra", "Counting & Probability"}
    assert all(re.fullmatch("Level [1-5]", row["level"]) for row in rows("math/*/*.jsonl"))


def test_keys_name_choices() -> None:
    for row in rows("arc/*/*.jsonl"):
        assert row["answerKey"] in row["choices"]["label"]
        assert len(row["choices"]["label"]) == len(row["choices"]["text"])
    labels = [tuple(row["choices"]["label"]) for row in rows("arc/*/*.jsonl")]
    assert {("1", "2", "3", "4"), ("A", "B", "C")} <= set(labels)
    assert all(0 <= int(row["label"]) < len(row["endings"]) == 4 for row in rows("hellaswag/*.jsonl"))
    for row in rows("race/*/*/*.txt"):
        assert len(row["answers"]) == len(row["questions"]) == len(row["options"])
        assert set(row["answers"]) <= set("ABCD")
        assert {len(options) for options in row["options"]} == {4}
    for row in rows("truthful_qa/multiple_choice/*.jsonl"):
        assert row["mc1_targets"]["labels"][0] == 1
        assert sum(row["mc1_targets"]["labels"]) == 1
        assert (
            1
            < sum(row["mc2_targets"]["labels"])
            < len(row["mc2_targets"]["labels"])
            == len(row["mc2_targets"]["choices"])
        )
    assert all(row["answer"]["value"] in row["answer"]["aliases"] for row in rows("trivia_qa/*/*.jsonl"))


def test_ifeval_has_every_instruction() -> None:
    items = rows("ifeval/*.jsonl")
    assert len({name for row in items for name in row["instruction_id_list"]}) == 25
    assert all(len(row["instruction_id_list"]) == len(row["kwargs"]) for row in items)


def test_transcripts_have_one_of_each_kind_for_items_that_are_there() -> None:
    said = rows("transcripts.jsonl")
    kinds = {"good", "wrong", "unparsable", "truncated", "empty", "refusal"}
    assert len({row["prompt"] for row in said}) == len(said), "a server could not tell the same questions apart"
    for name in ("gsm8k", "mmlu"):
        ours = [row for row in said if row["task"].startswith(name)]
        assert {row["kind"] for row in ours} == kinds
        assert all((row["finish"] == "length") == (row["kind"] == "truncated") for row in ours)
        assert all(row["reasoning"] and not row["answer"] for row in ours if row["kind"] == "empty")
    questions = [row["question"] for row in rows("gsm8k/test.jsonl")]
    assert all(row["prompt"] == questions[row["doc_id"]] for row in said if row["task"] == "gsm8k")


# how the benchmarks read them


def benchmarks() -> list[Benchmark]:
    return catalogue.benchmarks()


@pytest.mark.parametrize("benchmark", benchmarks(), ids=lambda benchmark: benchmark.name)
def test_every_benchmark_reads_its_set(benchmark: Benchmark) -> None:
    there = [task for task in benchmark.tasks if selection.is_bundled(task)]
    assert there, f"datasets/evals has nothing that a task of {benchmark.name} finds"
    for task in there:
        docs = library.load_rows(task.data, "bundled").docs
        kept = [doc for doc in docs if task.keep is None or task.keep(doc)]
        assert 1 <= len(kept) <= 15
        for doc in kept:
            assert task.query(doc).strip()
            assert isinstance(task.target(doc), str)
            if task.choices is not None and task.gold is not None:
                assert all(0 <= number < len(task.choices(doc)) for number in task.gold(doc))
        if task.shots and task.draw != "fixed":
            examples = library.load_rows(task.data, "bundled", shots=True).docs
            assert len(examples) >= task.shots, f"{task.name} takes {task.shots} examples"


def test_of_large_benchmarks_the_small_sets_have_a_few_tasks() -> None:
    found = selection.find_tasks(["mmlu", "gsm8k"], "bundled")
    assert [task.name for task in found.tasks] == ["mmlu_astronomy", "mmlu_philosophy", "gsm8k"]
    assert len(found.without_data) == 55
    assert found.without_data[0] == "mmlu_abstract_algebra"
    assert len(selection.find_tasks(["mmlu"], "elsewhere").tasks) == 57
    with pytest.raises(
        UsageError, match=r"the small sets that come with Loadstone have no data of cais/mmlu \(anatomy\)"
    ):
        selection.find_tasks(["mmlu_anatomy"], "bundled")


@pytest.mark.parametrize("benchmark", benchmarks(), ids=lambda benchmark: benchmark.name)
def test_every_benchmark_reads_parquet_as_it_lies_on_the_hub(benchmark: Benchmark, tmp_path: Path) -> None:
    """The rows of the small sets, in the hub's schema, in the hub's place: they are the same when read again."""
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    for task in filter(selection.is_bundled, benchmark.tasks):
        data, docs = task.data, library.load_rows(task.data, "bundled").docs
        folder = tmp_path / data.path / (data.config or "data")
        folder.mkdir(parents=True, exist_ok=True)
        columns = {name: [doc.get(name) for doc in docs] for doc in docs for name in doc}
        parquet.write_table(pyarrow.table(columns), folder / f"{data.split}-00000-of-00001.parquet")
        again = library.load_rows(data, str(tmp_path)).docs
        assert [_said(doc) for doc in again] == [_said(doc) for doc in docs], task.name


def _said(value: Any) -> Any:
    """Without the Nones by which a column of the hub says that a row has no such field."""
    if isinstance(value, dict):
        return {name: _said(each) for name, each in value.items() if each is not None}
    return [_said(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("flags", "requests"), [("", 50), ("--repeat 2", 10), ("--repeat 1 --limit 3", 3)])
def test_a_dry_run_over_a_small_set(flags: str, requests: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["eval", "--tasks", "aime24", "--data-dir", "bundled", "--dry-run", *flags.split()]) == 0
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" aime24 ")]
    assert str(requests) in row


def test_the_list_of_tasks_says_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "tasks"]) == 0
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert (rows["mmlu"], rows["mmlu_stem"], rows["gsm8k"], rows["bbh"]) == ("57", "19", "1", "27")


def test_math_as_its_archive_is_unpacked(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        file = tmp_path / "MATH" / "test" / "algebra" / f"{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"problem": str(number), "level": "Level 1", "type": "Algebra", "solution": ""}))
    (task,) = catalogue.find(["math_algebra"]).tasks
    assert [doc["problem"] for doc in library.load_rows(task.data, str(tmp_path)).docs] == ["1", "2", "10"]


def test_names_of_benchmarks_are_those_of_the_folders() -> None:
    """But for those that share a folder, such as gpqa and gpqa_diamond."""
    folders = {file.name for file in EVALS.iterdir() if file.is_dir()}
    unread = [each.name for each in benchmarks() if not any(folder.startswith(each.name) for folder in folders)]
    assert unread == []


def examples() -> dict[str, list[view.Example]]:
    """Questions of each task that has some in the small sets, as they are put, in the default way first."""
    found = {}
    for task in (task for benchmark in benchmarks() for task in benchmark.tasks if selection.is_bundled(task)):
        doc = next(doc for doc in library.load_rows(task.data, "bundled").docs if task.keep is None or task.keep(doc))
        put = [view.Example(text(task, mode, doc), choices(task, mode, doc)) for mode in (task.default, *task.modes)]
        found[task.name] = list({(each.text, *each.choices): each for each in put}.values())
    return found


def text(task: Task, mode: str, doc: dict[str, Any]) -> str:
    spec = task.generation if mode == "generation" else None
    description = spec.description if spec is not None and spec.description is not None else task.description
    return description + ((spec and spec.query) or task.query)(doc)


def choices(task: Task, mode: str, doc: dict[str, Any]) -> list[str]:
    return [] if mode == "generation" or task.choices is None else task.choices(doc)


def test_the_document_of_all_benchmarks(golden: Callable[[str, str], None]) -> None:
    golden("docs/benchmarks.md", view.document(benchmarks(), examples()))


def test_the_answers_of_race_are_the_rows_of_both_schemas() -> None:
    (packed,) = catalogue.find(["race"]).tasks
    problems = ast.literal_eval(library.load_rows(packed.data, "bundled").docs[0]["problems"])
    assert len(problems) == 3
