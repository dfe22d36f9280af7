"""MATH-500, AIME 2024 and AIME 2025, asked as Evalchemy asks them, with the answer in a box.

Like Evalchemy's, passes are sampled at temperature 0.7, so the scores compare with its scores and not with lm-eval's
greedy ones.
"""

from __future__ import annotations

from loadstone.scorers.boxed import boxed, boxed_number, math_answer
from loadstone.scorers.math_equivalence import score_math
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task

EVALCHEMY = "https://github.com/mlfoundations/evalchemy/tree/main/eval/chat_benchmarks"
# Fields of other distributions of the same problems, by the names used here.
NAMES = {
    "ID": "id", "Problem": "problem", "Solution": "solution", "Answer": "answer",
    "reference_solution": "solution", "expected_answer": "answer", "unique_id": "unique_id",
}  # fmt: skip


def query(doc: Doc) -> str:
    return f"Problem: {doc['problem']}\nMark your solution with \\boxed\nAnswer:"


def answer(doc: Doc) -> str:
    return str(doc["answer"])


def convert_row(doc: Doc) -> Doc:
    """Return a row of any distribution with the names of HuggingFaceH4/MATH-500. Raises KeyError without a problem."""
    renamed = {NAMES.get(name, name): value for name, value in doc.items()}
    return {"problem": renamed.pop("problem"), "answer": renamed.pop("answer"), **renamed}


def build_generation(task: str, flexible: Filter) -> Generation:
    return Generation(
        template=f"evalchemy {task}",
        filters=(Filter("boxed", boxed, score_math), flexible),
        max_tokens=32_768,
        settings={"temperature": 0.7},
    )


def _aime(year: int, path: str, split: str) -> Benchmark:
    name = f"aime{year - 2000}"
    task = Task(
        name=name,
        title=f"AIME {year}",
        version=1.0,
        source=f"{EVALCHEMY}/{name.upper()}",
        data=Data(
            path=path, split=split, files=(f"{name}.json", f"{name}.jsonl", "test.jsonl"), convert_row=convert_row
        ),
        query=query,
        target=answer,
        max_shots=0,
        generation=build_generation(name.upper(), Filter("flexible-extract", boxed_number, score_math)),
        repeats=10,
    )
    return Benchmark(name=name, tasks=(task,), licence="problems (c) MAA")


AIME24 = _aime(2024, "Maxwell-Jia/AIME_2024", "train")
AIME25 = _aime(2025, "math-ai/aime25", "test")
MATH500 = Benchmark(
    name="math500",
    licence="MIT",
    tasks=(
        Task(
            name="math500",
            title="MATH-500",
            version=1.0,
            source=f"{EVALCHEMY}/MATH500",
            data=Data(
                path="HuggingFaceH4/MATH-500",
                files=("math500.jsonl", "math500_test.jsonl", "test.jsonl"),
                convert_row=convert_row,
            ),
            query=query,
            target=answer,
            max_shots=0,
            generation=build_generation("MATH500", Filter("flexible-extract", math_answer, score_math)),
        ),
    ),
)
