"""Multiple-choice benchmarks: prompts compared with lm-eval's, original files, groups, and right answers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.data import samples as questions
from loadstone.evals.requests import build
from loadstone.evals.requests.eval_request import AnswerMode
from loadstone.samples import Sample
from loadstone.tasks import arc, ceval, gpqa_diamond, hellaswag, mmlu, race, truthful_qa
from loadstone.tasks.multiple_choice import shuffled_order
from loadstone.tasks.spec import Benchmark, Mode, Task
from support.paths import TESTS

PROMPTS = json.loads((TESTS / "tasks/prompts" / "choices.json").read_text("utf-8"))
BENCHMARKS: list[Benchmark] = [
    module.BENCHMARK for module in (arc, ceval, gpqa_diamond, hellaswag, mmlu, race, truthful_qa)
]
TASKS: dict[str, Task] = {task.name: task for benchmark in BENCHMARKS for task in benchmark.tasks}
Row = dict[str, Any]


def converted(task: Task, row: Row) -> Row:
    return task.data.convert_row(row) if task.data.convert_row else row


def build_samples(
    task: Task, mode: Mode, docs: Iterable[Row], shots: Iterable[Row] = (), count: int = 0
) -> list[Sample]:
    rows, pool = [converted(task, row) for row in docs], [converted(task, row) for row in shots]
    return questions.select_samples(task, mode, rows, pool, questions.SampleSelection(num_fewshot=count))


def case_id(case: Row) -> str:
    return f"{case['task']}-{case['mode']}-{case['shots']}-{case['doc_id']}"


@pytest.mark.parametrize("case", PROMPTS["expected"], ids=case_id)
def test_a_prompt_is_that_of_lm_eval(case: Row) -> None:
    task, rows = TASKS[case["task"]], PROMPTS["rows"][case["task"]]
    sample = build_samples(task, case["mode"], rows["docs"], rows["shots"], case["shots"])[case["doc_id"]]
    assert build.as_text(sample.ask) == case["context"]
    if case["mode"] == "generation":
        assert task.generation is not None
        assert list(task.generation.stop) == case["stop"]
    else:
        parts = build.build_item(sample, AnswerMode(case["mode"], "completions")).requests
        assert [part[0].continuation for part in parts] == case["continuations"]


def test_each_subject_begins_as_in_lm_eval() -> None:
    ours = {name: task.description for name, task in TASKS.items() if name.startswith(("mmlu_", "ceval-valid_"))}
    assert ours == PROMPTS["descriptions"]
    assert len(ours) == 57 + 52


def test_the_groups_of_the_leaderboard() -> None:
    groups = {group.name: group for benchmark in BENCHMARKS for group in benchmark.groups}
    sizes = {name: len(group.tasks) for name, group in groups.items() if group.column}
    assert sizes == {
        "mmlu_stem": 19, "mmlu_other": 13, "mmlu_social_sciences": 12, "mmlu_humanities": 13,
        "ceval_stem": 20, "ceval_social_science": 10, "ceval_humanities": 11, "ceval_other": 11,
    }  # fmt: skip
    assert {group.column for group in groups.values()} == {None, "STEM", "Other", "SocialScience", "Humanities"}
    assert len(groups["ceval_hard"].tasks) == 8
    known = {*TASKS, *groups}
    assert all(name in known for group in groups.values() for name in group.tasks)


def tried(name: str) -> tuple[Task, list[Sample]]:
    """A task with its made-up rows as samples, to be answered in words."""
    like = {"race_high": "race", "race_middle": "race"}.get(name, name)
    rows = PROMPTS["rows"][like]["docs"]
    if name.startswith("race_"):
        article = {"id": "high1.txt", "article": "One.", "questions": ["Where?", "Who?"], "answers": ["B", "D"]}
        rows = race.questions({**article, "options": [["a", "b", "c", "d"]] * 2})
    return TASKS[name], build_samples(TASKS[name], "generation", rows)


WORDED = [*PROMPTS["rows"], "race_high", "race_middle"]


@pytest.mark.parametrize("name", WORDED)
def test_the_target_is_a_right_answer_and_none_at_all_is_not(name: str) -> None:
    task, samples = tried(name)
    assert task.generation is not None
    first, headline = task.generation.filters[0], task.generation.headline
    for sample in samples:
        extracted = first.extract(sample.target, sample)
        assert extracted is not None
        assert first.score(extracted, sample)[headline] == 1.0
        nothing = first.extract("", sample)
        assert nothing is None or first.score(nothing, sample)[headline] == 0.0


@pytest.mark.parametrize("name", ["arc_easy", "hellaswag", "truthfulqa_mc1", "race", "race_high"])
def test_the_words_of_the_right_choice_are_right_too(name: str) -> None:
    task, samples = tried(name)
    assert task.generation is not None
    for sample in samples:
        words = sample.choices[sample.gold[0]]
        assert task.generation.filters[0].extract(f"That is {words}.", sample) == sample.target


def test_lettered_choices_say_that_they_are_another_test() -> None:
    for name in ("arc_easy", "hellaswag", "truthfulqa_mc1", "truthfulqa_mc2", "race", "race_high"):
        generation = TASKS[name].generation
        assert generation is not None
        assert "another test" in generation.template


def test_a_lettered_question() -> None:
    (first, *_) = build_samples(TASKS["arc_easy"], "generation", PROMPTS["rows"]["arc_easy"]["docs"])
    assert first.ask.query == (
        "Question: Which of these melts in the sun?\nA. ice\nB. stone\nC. glass\nD. iron\nAnswer:"
    )
    assert first.target == "A"
    assert first.ask.description.startswith("The following are multiple choice questions.")


def test_lettered_examples_have_the_form_of_the_question() -> None:
    rows = PROMPTS["rows"]["arc_easy"]
    (first, *_) = build_samples(TASKS["arc_easy"], "generation", rows["docs"], rows["shots"], 2)
    assert [answer for _, answer in first.ask.shots] == [
        "ABCD"[int(asked.split()[3]) % 4] for asked, _ in first.ask.shots
    ]
    assert all(asked.endswith("D. none\nAnswer:") for asked, _ in first.ask.shots)


def test_numbered_choices_get_letters() -> None:
    (_, second, third) = build_samples(TASKS["arc_easy"], "generation", PROMPTS["rows"]["arc_easy"]["docs"])
    assert (second.target, third.target) == ("A", "C")
    assert "E. lead" in third.ask.query


def test_the_questions_of_an_article_are_a_cluster() -> None:
    _, samples = tried("race_high")
    assert [sample.cluster for sample in samples] == ["high1.txt", "high1.txt"]


def test_an_order_is_the_questions_own_and_each_is_as_often() -> None:
    assert shuffled_order("What is it?", 4) == shuffled_order("What is it?", 4)
    places = Counter(shuffled_order(f"question {number}", 4).index(3) for number in range(4000))
    assert all(abs(places[place] - 1000) < 110 for place in range(4)), places  # 4 standard deviations


def test_the_right_answer_of_gpqa_moves_with_the_question() -> None:
    names = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Correct Answer")
    rows = [{"Question": f"Which {number}?", **dict(zip(names, "wxyz", strict=True))} for number in range(40)]
    docs = [gpqa_diamond.convert_row(row) for row in rows]
    assert {doc["answer"] for doc in docs} == {"(A)", "(B)", "(C)", "(D)"}
    for doc in docs:
        assert [doc[names[number]] for number in doc["order"]] == doc["choices"]
        assert doc["choices"]["ABCD".index(doc["answer"][1])] == "z"
        assert gpqa_diamond.convert_row(doc) == doc


def test_the_true_choice_does_not_stand_first_where_letters_are_shown() -> None:
    targets = {"choices": ["true", "f1", "f2", "f3"], "labels": [1, 0, 0, 0]}
    rows = [{"question": f"Is it {number}?", "mc1_targets": targets, "mc2_targets": targets} for number in range(40)]
    assert {sample.target for sample in build_samples(TASKS["truthfulqa_mc1"], "generation", rows)} == set("ABCD")


# Original files


def lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(file: Path, rows: Iterable[Iterable[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)


def put_mmlu(root: Path) -> None:
    for split in ("test", "dev"):
        folder = root / "mmlu" / "data" / split
        folder.mkdir(parents=True)
        table(folder / f"anatomy_{split}.csv", [["Which, of these?", "one", "two", "3", "four", "C"]])


def put_ceval(root: Path) -> None:
    head = ["id", "question", "A", "B", "C", "D", "answer"]
    row = ["7", "哪一个？", "一", "二", "3", "四", "D"]
    for split, more in (("val", []), ("dev", ["explanation"])):
        (root / "ceval-exam" / split).mkdir(parents=True)
        table(root / "ceval-exam" / split / f"law_{split}.csv", [head + more, row + ["因为"] * len(more)])


def put_arc(root: Path) -> None:
    choices = [{"text": "ice", "label": "1"}, {"text": "stone", "label": "2"}]
    row = {"id": "q1", "question": {"stem": "What melts?", "choices": choices}, "answerKey": "1"}
    folder = root / "ARC-V1-Feb2018-2" / "ARC-Easy"
    folder.mkdir(parents=True)
    (folder / "ARC-Easy-Test.jsonl").write_text(lines([row]))


def put_hellaswag(root: Path) -> None:
    row = {"ind": 1, "activity_label": "Baking", "ctx_a": "A man bakes.", "ctx_b": "he", "ctx": "A man bakes. he"}
    row |= {"split": "val", "split_type": "indomain", "label": 2, "endings": ["a", "b", "eats.", "d"], "source_id": "x"}
    (root / "hellaswag").mkdir()
    (root / "hellaswag" / "hellaswag_val.jsonl").write_text(lines([row]))


def put_truthful(root: Path) -> None:
    folder = root / "TruthfulQA"
    folder.mkdir()
    row = {"question": "Why?", "mc1_targets": {"so": 1, "no": 0}, "mc2_targets": {"so": 1, "thus": 1, "no": 0}}
    (folder / "mc_task.json").write_text(json.dumps([row]))
    head = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
    table(folder / "TruthfulQA.csv", [head, ["Adversarial", "Why", "Why? ", "So", "So; Thus.", "No; Never", "us"]])


def put_race(root: Path) -> None:
    for name in ("2", "10"):
        folder = root / "RACE" / "test" / "high"
        folder.mkdir(parents=True, exist_ok=True)
        article = {"id": f"high{name}.txt", "article": f"Text {name}.", "questions": ["Where?", "Who is  _  ."]}
        article |= {"answers": ["A", "D"], "options": [["well", "bed", "car", "sea"], ["Al", "Bo", "Cy", "Di"]]}
        (folder / f"{name}.txt").write_text(json.dumps(article))


def put_gpqa(root: Path) -> None:
    head = ["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Canary"]
    (root / "gpqa").mkdir()
    table(root / "gpqa" / "gpqa_diamond.csv", [head, ["Which?", " right ", "w1", "w2", "w3", "do not train"]])


ORIGINALS: list[tuple[str, Callable[[Path], None], int, str]] = [
    ("mmlu_anatomy", put_mmlu, 1, "3"),
    ("ceval-valid_law", put_ceval, 1, "四"),
    ("arc_easy", put_arc, 1, "ice"),
    ("hellaswag", put_hellaswag, 1, "eats."),
    ("truthfulqa_mc1", put_truthful, 1, "so"),
    ("truthfulqa_gen", put_truthful, 1, "So"),
    ("race_high", put_race, 4, "well"),
    ("race", put_race, 2, "Di"),
    ("gpqa_diamond", put_gpqa, 1, "right"),
]


@pytest.mark.parametrize(("name", "put", "count", "right"), ORIGINALS, ids=[name for name, *_ in ORIGINALS])
def test_original_files(tmp_path: Path, name: str, put: Callable[[Path], None], count: int, right: str) -> None:
    put(tmp_path)
    task = TASKS[name]
    rows = library.load_rows(task.data, str(tmp_path))
    samples = questions.select_samples(task, "generation", rows.docs, [], questions.SampleSelection(num_fewshot=0))
    assert len(samples) == count
    assert task.generation is not None
    sample = samples[0]
    assert task.generation.filters[0].extract(right, sample) == (
        right if name == "truthfulqa_gen" else sample.target.strip("()")
    )


def test_the_files_of_an_article_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    put_race(tmp_path)
    docs = library.load_rows(TASKS["race_high"].data, str(tmp_path)).docs
    assert [doc["example_id"] for doc in docs] == ["high2.txt", "high2.txt", "high10.txt", "high10.txt"]


def test_examples_of_original_files(tmp_path: Path) -> None:
    put_mmlu(tmp_path)
    shots = library.load_rows(TASKS["mmlu_anatomy"].data, str(tmp_path), shots=True)
    assert shots.docs == [
        {"question": "Which, of these?", "subject": "anatomy", "choices": ["one", "two", "3", "four"], "answer": 2}
    ]


def test_answers_of_truthful_qa_are_ended_and_completed(tmp_path: Path) -> None:
    put_truthful(tmp_path)
    (doc,) = library.load_rows(TASKS["truthfulqa_gen"].data, str(tmp_path)).docs
    assert doc["correct_answers"] == ["So.", "Thus.", "I have no comment."]
    assert doc["incorrect_answers"] == ["No.", "Never."]
    assert doc["question"] == "Why?"


def test_a_row_that_is_another_benchmarks_is_named(tmp_path: Path) -> None:
    (tmp_path / "ARC-Easy-Test.jsonl").write_text('{"id": "q", "question": 5, "answerKey": "A"}\n')
    with pytest.raises(UsageError, match=r"ARC-Easy-Test.jsonl, line 1"):
        library.load_rows(TASKS["arc_easy"].data, str(tmp_path))
