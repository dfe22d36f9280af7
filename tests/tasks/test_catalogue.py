"""Names of tasks: benchmarks, groups, wildcards, repeated names, task files and the user's own questions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.data import selection
from loadstone.evals.output import benchmarks
from loadstone.samples import Question, Sample
from loadstone.tasks import BENCHMARKS, catalogue
from loadstone.tasks.spec import Benchmark, Data, Group, Task


def task(name: str, **more: Any) -> Task:
    return Task(name=name, title=name.title(), version=1.0, source="", data=Data(path=f"org/{name}"),
                query=str, target=str, **more)  # fmt: skip


ZOO = Benchmark(
    name="zoo",
    tasks=(task("zoo_ape"), task("zoo_bee"), task("zoo_cat")),
    groups=(
        Group(name="zoo", title="Zoo", tasks=("zoo_small", "zoo_cat")),
        Group(name="zoo_small", title="Small", tasks=("zoo_ape", "zoo_bee")),
    ),
)
SOLO = Benchmark(name="solo", tasks=(task("solo"),))
PAIR = Benchmark(name="pair", tasks=(task("pair-one"), task("pair-two")))
LOST = Benchmark(name="lost", tasks=(), groups=(Group(name="lost", title="", tasks=("lost_x",)),))


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BENCHMARKS.copy():
        monkeypatch.delitem(BENCHMARKS, name)
    for name in ("zoo", "solo", "pair"):
        monkeypatch.setitem(BENCHMARKS, name, f"{__name__}:{name.upper()}")


@pytest.mark.parametrize(
    ("names", "tasks", "groups"),
    [
        ("solo", "solo", ""),
        ("zoo", "zoo_ape zoo_bee zoo_cat", "zoo zoo_small"),
        ("zoo_small", "zoo_ape zoo_bee", "zoo_small"),
        ("zoo_cat", "zoo_cat", ""),
        ("pair", "pair-one pair-two", ""),
        ("pair-two", "pair-two", ""),
        ("zoo_?a*", "zoo_cat", ""),
        ("[sz]o*o", "zoo_ape zoo_bee zoo_cat solo", "zoo zoo_small"),
        ("zoo_cat solo zoo zoo_cat solo", "zoo_cat solo zoo_ape zoo_bee", "zoo zoo_small"),
    ],
)
def test_names(names: str, tasks: str, groups: str) -> None:
    found = catalogue.find(names.split())
    assert {each.name for each in found.tasks} == set(tasks.split())
    assert len(found.tasks) == len(tasks.split())
    assert [each.name for each in found.groups] == groups.split()


def test_tasks_come_in_the_order_of_the_names_and_those_of_lm_eval_apart() -> None:
    found = catalogue.find(["lm-eval:arc_easy", "zoo_cat", "solo", "lm-eval:arc_easy", "zoo"])
    assert [each.name for each in found.tasks] == ["zoo_cat", "solo", "zoo_ape", "zoo_bee"]
    assert found.lm_eval_names == ["arc_easy"]


def test_the_data_know_their_benchmark() -> None:
    assert [each.data.benchmark for each in catalogue.find(["zoo_ape", "solo"]).tasks] == ["zoo", "solo"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("slo", "no task 'slo': did you mean solo? give a name that `loadstone list tasks` shows, qa:FILE, mcq:FILE,"),
        ("zoo_bat", "did you mean zoo_cat?"),
        ("xyzzy*", "no task 'xyzzy*': give a name"),
        ("qa:nowhere.jsonl", "no file "),
        ("nowhere.py:X", "no file 'nowhere.py'"),
    ],
)
def test_an_unknown_name(name: str, says: str) -> None:
    with pytest.raises(UsageError) as info:
        catalogue.find([name], selection.categories)
    assert says in str(info.value)


def test_a_group_with_an_unknown_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "lost", f"{__name__}:LOST")
    with pytest.raises(UsageError, match="group lost of lost names 'lost_x', which is not there"):
        catalogue.find(["lost"])


OWN = """
from loadstone.tasks.spec import Data, Task
TASK = Task(name="mine", title="Mine", version=1.0, source="", data=Data(path="me/mine"), query=str, target=str)
NOTHING = 3
"""


def test_a_task_in_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    assert [each.name for each in catalogue.find([f"{tmp_path}/mine.py:TASK"]).tasks] == ["mine"]
    with pytest.raises(UsageError, match="NOTHING is of type int, not Benchmark or Task"):
        catalogue.find([f"{tmp_path}/mine.py:NOTHING"])


def test_two_tasks_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "quiz.jsonl").write_text('{"question": "?", "answer": "!"}\n')
    with pytest.raises(UsageError, match="there are two tasks called qa_quiz"):
        catalogue.find([f"qa:{tmp_path}/a/quiz.jsonl", f"qa:{tmp_path}/b/quiz.jsonl"])


def own(kind: str, path: Path, rows: list[dict[str, Any]]) -> catalogue.Selection:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return catalogue.find([f"{kind}:{path}"], selection.categories)


def test_own_questions(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "Capital of France?", "answer": "Paris"},
        {"prompt": "How many?", "answers": ["4", "four"], "system": "Be brief."},
        {"query": " Sum? ", "target": 7, "split": "test"},
        {"question": "An example?", "answer": "yes", "split": "dev"},
    ]
    (only,) = own("qa", tmp_path / "my quiz.v2.jsonl", rows).tasks
    assert (only.name, only.modes) == ("qa_my_quiz", ["generation"])
    docs = library.load_rows(only.data, None).docs
    assert [only.query(doc) for doc in docs] == ["Capital of France?", "Be brief.\n\nHow many?", "Sum?"]
    assert only.answers is not None
    assert [only.answers(doc) for doc in docs] == [["Paris"], ["4", "four"], ["7"]]
    assert [doc["question"] for doc in library.load_rows(only.data, "bundled", shots=True).docs] == ["An example?"]


@pytest.mark.parametrize(
    ("answer", "exact", "f1"),
    [
        ("Paris", 1, 1),
        ("The answer is Paris.", 1, 1),
        ("paris!", 1, 1),
        ("Paris in France", 0, 0.5),
        ("Lyon", 0, 0),
        ("", 0, 0),
    ],
)
def test_own_questions_are_scored_by_match_and_words(answer: str, exact: float, f1: float, tmp_path: Path) -> None:
    (only,) = own("qa", tmp_path / "x.jsonl", [{"question": "Capital?", "answer": "Paris"}]).tasks
    doc = library.load_rows(only.data, None).docs[0]
    sample = Sample(task="x", doc_id=0, doc=doc, target="Paris", answers=["Paris"], ask=Question(query="Capital?"))
    assert only.generation is not None
    chain = only.generation.filters[0]
    got = chain.score(chain.extract(answer, sample) or "", sample)
    assert (got["exact_match"], got["f1"]) == (exact, f1)


def test_own_choices_in_all_their_forms(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "1", "choices": ["x", "y"], "answer": "B"},
        {"question": "2", "choices": ["x", "y"], "answer": 1},
        {"question": "3", "options": ["x", "y"], "target": "y"},
        {"question": "4", "A": "x", "B": "y", "C": "", "answer": "(b)"},
        {"question": "5", "choices": ["2", "1"], "answer": "1"},
        {"question": "6", "choices": '["x", "y"]', "answer": "1"},
    ]
    (only,) = own("mcq", tmp_path / "exam.jsonl", rows).tasks
    docs = library.load_rows(only.data, None).docs
    assert only.choices is not None
    assert only.gold is not None
    assert [only.gold(doc) for doc in docs] == [[1]] * 6
    assert {only.target(doc) for doc in docs} == {"B"}
    assert only.modes == ["generation", "loglikelihood", "letters"]
    assert only.query(docs[0]) == "1\nA. x\nB. y\nAnswer:"
    assert only.choices(docs[3]) == ["A", "B"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "?", "choices": ["x", "y"], "answer": "C"}, "its answer is none of the 2 choices"),
        ({"question": "?", "choices": ["x", "y"], "answer": 2}, "its answer is none of the 2 choices"),
        ({"question": "?", "choices": ["B", "A"], "answer": "A"}, "its answer A is a letter and the text of another"),
        ({"question": "?", "choices": ["x"], "answer": 0}, "there are 1 choices, not 2 to 26"),
        ({"question": "?", "answer": "A"}, "no field 'choices'"),
        ({"choices": ["x", "y"], "answer": "A"}, "no field 'question'"),
        ({"question": "?", "choices": ["x", "y"]}, "no field 'answer'"),
    ],
)
def test_own_choices_that_cannot_be_read(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as info:
        own("mcq", tmp_path / "exam.jsonl", [{"question": "?", "choices": ["x", "y"], "answer": 0}, row])
    assert "exam.jsonl, line 2: " in str(info.value)
    assert says in str(info.value)


def test_categories_are_tasks_and_the_file_their_group(tmp_path: Path) -> None:
    rows = [{"question": name, "answer": "x", "category": name} for name in ("Old law", "Tax", "Old law")]
    found = own("qa", tmp_path / "quiz.jsonl", [*rows, {"question": "plain", "answer": "x"}])
    assert [each.name for each in found.tasks] == ["qa_quiz_Old_law", "qa_quiz_Tax", "qa_quiz_other"]
    assert [(each.name, each.tasks) for each in found.groups] == [("qa_quiz", tuple(each.name for each in found.tasks))]
    docs = library.load_rows(found.tasks[0].data, None).docs
    kept = [[doc["question"] for doc in docs if each.keep and each.keep(doc)] for each in found.tasks]
    assert kept == [["Old law", "Old law"], ["Tax"], ["plain"]]


def test_own_csv_with_examples_beside_it(tmp_path: Path) -> None:
    for name, question in (("exam.csv", "?"), ("exam_dev.csv", "example")):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([["question", "A", "B", "answer"], [question, "x", "y, z", "b"]])
    (only,) = catalogue.find([f"mcq:{tmp_path}/exam.csv"], selection.categories).tasks
    assert library.load_rows(only.data, None).docs[0]["choices"] == ["x", "y, z"]
    examples = library.load_rows(only.data, None, shots=True)
    assert [doc["question"] for doc in examples.docs] == ["example"]
    (tmp_path / "exam_dev.csv").unlink()
    with pytest.raises(UsageError, match=r"exam\.csv has no rows of the split dev"):
        library.load_rows(only.data, None, shots=True)


def test_the_table_of_names() -> None:
    rows = benchmarks.table(catalogue.benchmarks()).rows
    assert [row[0] for row in rows] == [
        "pair-one",
        "pair-two",
        "solo",
        "zoo",
        "zoo_small",
        "zoo_ape",
        "zoo_bee",
        "zoo_cat",
    ]
    assert [row[-1] for row in rows] == ["1", "1", "1", "3", "2", "1", "1", "1"]
