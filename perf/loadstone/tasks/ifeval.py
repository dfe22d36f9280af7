"""IFEval: instructions that a program can check, such as `at least 300 words` or `no commas`.

The 541 prompts have one to three instructions of 25 kinds. scorers/ifeval checks them.
"""

from __future__ import annotations

from loadstone.scorers import ifeval
from loadstone.scorers.match import whole
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task


def query(doc: Doc) -> str:
    return str(doc["prompt"])


def target(_: Doc) -> str:
    """Return lm-eval's `doc_to_target: 0`, since there is no right text."""
    return "0"


def check_row(doc: Doc) -> Doc:
    """Return the row. Raises DataError for unknown instructions, before any request is sent."""
    ifeval.build_checks(doc, doc.get("key", 0))
    return doc


BENCHMARK = Benchmark(
    name="ifeval",
    tasks=(
        Task(
            name="ifeval",
            title="IFEval",
            version=4.0,
            source="https://arxiv.org/abs/2311.07911",
            data=Data(
                path="google/IFEval",
                split="train",
                files=("ifeval_input_data.jsonl", "input_data.jsonl", "train.jsonl"),
                convert_row=check_row,
            ),
            query=query,
            target=target,
            max_shots=0,
            generation=Generation(
                template="lm-eval 0.4.13 ifeval",
                filters=(Filter("none", whole, ifeval.score_ifeval),),
                headline="prompt_level_strict_acc",
                max_tokens=1280,
                settings={"temperature": 0.0},
            ),
        ),
    ),
    licence="Apache-2.0",
)
