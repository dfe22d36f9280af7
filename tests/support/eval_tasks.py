"""A benchmark to evaluate with: sums with worked examples, and a choice; its rows are written where a test says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from loadstone.samples import Sample
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Likelihood, Task


def number(text: str, sample: Sample) -> str | None:
    found = re.findall(r"-?\d+", text)
    return found[-1] if found else None


def equal(extracted: str, sample: Sample) -> Mapping[str, float | list[float]]:
    return {"exact_match": float(extracted == sample.target)}


def _query(doc: Doc) -> str:
    return f"Q: {doc['question']}\nA:"


SUMS = Task(
    name="exam_sums",
    title="Sums",
    version=1.0,
    source="tests",
    data=Data(path="exam/sums", shots_split="train", files=("sums.jsonl",), shots_files=("sums_train.jsonl",)),
    query=_query,
    target=lambda doc: str(doc["answer"]),
    description="Add up.\n\n",
    shots=2,
    draw="random",
    generation=Generation(
        template="exam", filters=(Filter("last", number, equal),), stop=("Q:", "\n\n"), max_tokens=64
    ),
)
CITIES = Task(
    name="exam_cities",
    title="Cities",
    version=1.0,
    source="tests",
    data=Data(path="exam/cities", files=("cities.jsonl",)),
    query=_query,
    target=lambda doc: str(doc["choices"][doc["answer"]]),
    choices=lambda doc: list(doc["choices"]),
    gold=lambda doc: [doc["answer"]],
    likelihood=Likelihood(template="exam"),
    default="loglikelihood",
)
BENCHMARK = Benchmark(
    name="exam", tasks=(SUMS, CITIES), groups=(Group(name="exam", title="Exam", tasks=("exam_sums", "exam_cities")),)
)
NAME = f"{Path(__file__)}:BENCHMARK"
ONLY_SUMS = f"{Path(__file__)}:SUMS"
# A name with every character that separates the parts of a request's id.
ODD_NAME = replace(SUMS, name="exam:0/1#2~3.4")
ODDLY_NAMED = f"{Path(__file__)}:ODD_NAME"


def write(folder: Path, sums: int = 8, shots: int = 6) -> Path:
    """The rows: sums of their number and itself, and three cities."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "sums": [{"question": f"{n} + {n}", "answer": 2 * n} for n in range(sums)],
        "sums_train": [{"question": f"{n} + 1", "answer": n + 1} for n in range(100, 100 + shots)],
        "cities": [
            {"question": "Capital of France?", "choices": ["Rome", "Paris"], "answer": 1},
            {"question": "Capital of Italy?", "choices": ["Rome", "Paris", "Oslo"], "answer": 0},
        ],
    }
    for name, docs in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    return folder
