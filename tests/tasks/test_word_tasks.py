"""Benchmarks with generated answers: prompts equal to lm-eval's, byte for byte, and right answers scored as right.

tests/bench/word_prompts.py records the expected prompts from lm-eval. Real data are read from ../shared/data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from loadstone.evals.data import rows as library
from loadstone.evals.data.samples import SampleSelection, select_samples
from loadstone.evals.requests import build
from loadstone.samples import Sample
from loadstone.tasks import bbh, catalogue, math_competitions, minerva_math, mt_bench, trivia_qa
from loadstone.tasks.spec import Data, Filter, Task
from support.paths import SHARED, TESTS

PROMPTS = json.loads((TESTS / "tasks/prompts" / "words.json").read_text("utf-8"))
DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data are not here")


@cache
def task(name: str) -> Task:
    (found,) = catalogue.find([name]).tasks
    return found


def group(name: str) -> list[Task]:
    return catalogue.find([name]).tasks


def loaded(of: Task, docs: list[dict[str, Any]], shots: list[dict[str, Any]], count: int) -> list[Sample]:
    convert = of.data.convert_row or dict
    return select_samples(
        of, "generation", list(map(convert, docs)), list(map(convert, shots)), SampleSelection(num_fewshot=count)
    )


def test_prompts_are_those_of_lm_eval() -> None:
    for expected in PROMPTS["expected"]:
        of, rows = task(expected["task"]), PROMPTS["rows"][expected["task"]]
        ours = loaded(of, rows["docs"], rows["shots"], expected["shots"])[expected["doc_id"]]
        assert build.as_text(ours.ask) == expected["context"], expected
        assert of.generation is not None
        assert list(of.generation.stop) == expected["stop"]


def test_targets_are_those_of_lm_eval() -> None:
    for expected in PROMPTS["expected"]:
        of, doc = task(expected["task"]), PROMPTS["rows"][expected["task"]]["docs"][expected["doc_id"]]
        right = of.answers(doc) if of.answers is not None else of.target(doc)
        if not isinstance(expected["target"], str):
            assert right == expected["target"]
        elif not expected["task"].startswith("math_"):
            assert right == expected["target"].strip()


def test_descriptions_of_big_bench_hard_are_those_of_lm_eval() -> None:
    assert {of.name: of.description for of in group("bbh")} == PROMPTS["descriptions"]


@real
def test_examples_of_big_bench_hard_make_the_prompt_of_lm_eval() -> None:
    assert len(PROMPTS["sha256"]) == 6
    for name, digest in PROMPTS["sha256"].items():
        of = task(f"bbh_cot_fewshot_{name}")
        shots = library.load_rows(of.data, str(DATA), shots=True).docs
        docs = library.load_rows(of.data, str(DATA)).docs[:1]
        (ours,) = loaded(of, docs, shots, 3)
        assert hashlib.sha256(build.as_text(ours.ask).encode()).hexdigest() == digest


def test_a_file_without_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="no example that begins with"):
        bbh.examples("Infer the date from context.\n")


def test_a_solution_without_a_box_is_refused() -> None:
    with pytest.raises(ValueError, match="without"):
        minerva_math.answer({"problem": "?", "solution": "It is 5."})


def right(of: Task, sample: Sample, answer: str, chosen: Filter | None = None) -> bool:
    assert of.generation is not None
    used = chosen or of.generation.filters[0]
    extracted = used.extract(answer, sample)
    return extracted is not None and used.score(extracted, sample)[of.generation.headline] == 1.0


def real_samples(of: Task) -> list[Sample]:
    return select_samples(
        of, "generation", library.load_rows(of.data, str(DATA)).docs, [], SampleSelection(num_fewshot=0)
    )


@real
@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_cot", "gsm8k_chat"])
def test_every_solution_of_gsm8k_is_right_under_every_filter(name: str) -> None:
    of = task(name)
    items = real_samples(of)
    assert len(items) == 1319
    form = {
        "gsm8k": "{solution}",
        "gsm8k_cot": "{working} The answer is {result}.",
        "gsm8k_chat": "\\boxed{{{result}}}",
    }
    assert of.generation is not None
    for sample in items:
        working, _, result = sample.doc["answer"].partition("\n#### ")
        text = form[name].format(solution=sample.doc["answer"], working=working, result=result)
        for chosen in of.generation.filters:
            assert right(of, sample, text, chosen), (chosen.name, text)


@real
def test_every_solution_and_every_answer_of_math500_is_right() -> None:
    of = task("math500")
    items = real_samples(of)
    assert len(items) == 500
    assert of.generation is not None
    for sample in items:
        for text in (sample.doc["solution"], f"$\\boxed{{{sample.target}}}$"):
            assert all(right(of, sample, text, chosen) for chosen in of.generation.filters), text
        assert right(of, sample, f"The answer is ${sample.target}$.", of.generation.filters[1]), sample.target


@real
@pytest.mark.parametrize("name", ["aime24", "aime25"])
def test_every_solution_and_every_answer_of_aime_is_right(name: str) -> None:
    of = task(name)
    items = real_samples(of)
    assert len(items) == 30
    assert of.generation is not None
    for sample in items:
        assert right(of, sample, f"Hence \\boxed{{{sample.target}}}.")
        assert right(of, sample, f"Hence \\boxed{{{int(sample.target):03}}}.")
        assert not right(of, sample, f"Hence \\boxed{{{int(sample.target) + 1}}}.")
        assert right(of, sample, f"So it is {sample.target}.", of.generation.filters[1])
        if "\\boxed" in (solution := sample.doc.get("solution", "")):
            assert right(of, sample, solution), solution


@real
@pytest.mark.parametrize("name", PROMPTS["sha256"])
def test_every_answer_of_big_bench_hard_is_right(name: str) -> None:
    of = task(f"bbh_cot_fewshot_{name}")
    items = real_samples(of)
    assert len(items) == 250
    assert of.generation is not None
    strict, flexible = of.generation.filters
    for sample in items:
        assert right(of, sample, f"We think. So the answer is {sample.target}.", strict)
        assert right(of, sample, f"We think. So the answer is {sample.target}.", flexible), sample.target
        assert right(of, sample, sample.target, flexible), sample.target


@real
def test_every_question_of_mt_bench_has_its_turns_and_temperature() -> None:
    references = {
        row["question_id"]: row["choices"][0]["turns"]
        for row in map(json.loads, (DATA / "mt_bench/reference_answer_gpt-4.jsonl").read_text("utf-8").splitlines())
    }
    items = [(of, sample) for of in group("mt_bench") for sample in real_samples(of)]
    assert len(items) == 80
    for of, sample in items:
        assert of.generation is not None
        assert [sample.ask.query, *sample.later] == sample.doc["turns"]
        assert of.generation.settings["temperature"] == mt_bench.TEMPERATURES[sample.doc["category"]]
        for text in references.get(sample.doc["question_id"], ["words"]):
            assert right(of, sample, text)
        assert not right(of, sample, "")


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a-0", "problem": "P", "reference_solution": "S", "expected_answer": "73", "source": "aime24"},
        {"ID": "2024-I-1", "Problem": "P", "Solution": "S", "Answer": 73},
        {"id": "I-1", "problem": "P", "solution": "S", "answer": "73", "url": ""},
    ],
)
def test_rows_of_aime_in_all_their_forms(row: dict[str, Any]) -> None:
    read = math_competitions.convert_row(row)
    assert math_competitions.query(read) == "Problem: P\nMark your solution with \\boxed\nAnswer:"
    assert (math_competitions.answer(read), read["solution"]) == ("73", "S")


def test_a_row_without_a_problem_is_refused() -> None:
    with pytest.raises(KeyError, match="problem"):
        math_competitions.convert_row({"question": "?", "answer": 1})


def test_rows_of_trivia_qa_as_its_authors_wrote_them() -> None:
    answer = {"Value": "Seine", "Aliases": ["Seine", "La Seine"], "NormalizedAliases": ["seine", "la seine"]}
    read = trivia_qa.convert_row({"Question": "Which river?", "QuestionId": "q", "Answer": answer})
    assert trivia_qa.names(read) == ["Seine", "La Seine"]
    assert trivia_qa.convert_row(read) == read


def test_rows_of_mt_bench_of_the_hub() -> None:
    read = mt_bench.convert_row({"prompt_id": 81, "category": "stem", "prompt": ["One", "Two"], "reference": []})
    assert (mt_bench.query(read), mt_bench.later_turns(read)) == ("One", ["Two"])


def test_levels_and_subjects_of_math() -> None:
    hard = group("math_level_5")
    assert len(hard) == len(group("math")) == 7
    rows = [{"type": kind, "level": level} for kind in ("Algebra", "Geometry") for level in ("Level 5", "Level ?", 5)]
    algebra = next(of for of in hard if of.name == "math_algebra_level_5")
    assert algebra.keep is not None
    assert [algebra.keep(row) for row in rows] == [True, False, True, False, False, False]


def datas() -> Iterator[Data]:
    for name in ("gsm8k", "math", "math500", "aime24", "aime25", "bbh", "trivia_qa", "mt_bench"):
        yield from (of.data for of in group(name))


def test_each_benchmark_has_a_bundled_set() -> None:
    held = {data.benchmark for data in datas() if library.has_rows(data, library.BUNDLED)}
    assert held == {data.benchmark for data in datas()}
