"""Competition problems asked as Evalchemy asks them, with the answer in a box: MATH-500, AIME 2024 and AIME 2025.

Passes are sampled at temperature 0.7 as there, so numbers are comparable to its own and unlike lm-eval's greedy ones.
"""

from __future__ import annotations

from loadstone.scorers.boxed import boxed, boxed_number, math_answer
from loadstone.scorers.math_equivalence import score_math
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task

EVALCHEMY = "https://github.com/mlfoundations/evalchemy/tree/main/eval/chat_benchmarks"
# Of the fields of other distributions of the same problems.
NAMES = {
    "ID": "id", "Problem": "problem", "Solution": "solution", "Answer": "answer",
    "reference_solution": "solution", "expected_answer": "answer", "unique_id": "unique_id",
}  # fmt: skip


def asked(doc: Doc) -> str:
    return f"Problem: {doc['problem']}\nMark your solution with \\boxed\nAnswer:"


def answer(doc: Doc) -> str:
    return str(doc["answer"])


def row(doc: Doc) -> Doc:
    """Under the names of HuggingFaceH4/MATH-500 and math-ai/aime25, whoever distributed it. Raises KeyError."""
    found = {NAMES.get(name, name): value for name, value in doc.items()}
    return {"problem": found.pop("problem"), "answer": found.pop("answer"), **found}


def generation(task: str, loose: Filter) -> Generation:
    return Generation(
        template=f"evalchemy {task}",
        filters=(Filter("boxed", boxed, score_math), loose),
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
        data=Data(path=path, split=split, files=(f"{name}.json", f"{name}.jsonl", "test.jsonl"), convert_row=row),
        query=asked,
        target=answer,
        max_shots=0,
        generation=generation(name.upper(), Filter("flexible-extract", boxed_number, score_math)),
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
                convert_row=row,
            ),
            query=asked,
            target=answer,
            max_shots=0,
            generation=generation("MATH500", Filter("flexible-extract", math_answer, score_math)),
        ),
    ),
)
