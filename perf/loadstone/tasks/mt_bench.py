"""MT-Bench: 80 questions of two turns, in eight categories. Zheng et al. 2023, https://arxiv.org/abs/2306.05685.

They are asked as FastChat asks them, each category at its temperature. Answers are not judged here: the metric only
counts responses that have text.
"""

from __future__ import annotations

from loadstone.scorers.match import has_words, whole
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Task

# Source: fastchat/llm_judge/common.py, `temperature_config`.
TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "reasoning": 0.0, "math": 0.0,
    "coding": 0.0, "extraction": 0.0, "stem": 0.1, "humanities": 0.1,
}  # fmt: skip


def query(doc: Doc) -> str:
    return str(doc["turns"][0])


def later_turns(doc: Doc) -> list[str]:
    return [str(turn) for turn in doc["turns"][1:]]


def convert_row(doc: Doc) -> Doc:
    """Return a row with the names of FastChat's question.jsonl; the hub's data set has others. Raises KeyError."""
    if "turns" in doc:
        return doc
    return {"question_id": doc["prompt_id"], "category": doc["category"], "turns": doc["prompt"]}


def _build_task(category: str) -> Task:
    def belongs(doc: Doc) -> bool:
        return bool(doc["category"] == category)

    return Task(
        name=f"mt_bench_{category}",
        title=f"MT-Bench, {category}: answered, not judged",
        version=1.0,
        source="https://arxiv.org/abs/2306.05685",
        data=Data(
            path="HuggingFaceH4/mt_bench_prompts", split="train", files=("question.jsonl",), convert_row=convert_row
        ),
        query=query,
        target=lambda _: "",
        later=later_turns,
        keep=belongs,
        max_shots=0,
        generation=Generation(
            template="fastchat llm_judge",
            filters=(Filter("none", whole, has_words),),
            headline="answered",
            max_tokens=1024,
            settings={"temperature": TEMPERATURES[category]},
        ),
    )


BENCHMARK = Benchmark(
    name="mt_bench",
    licence="Apache-2.0",
    tasks=tuple(map(_build_task, TEMPERATURES)),
    groups=(
        Group(
            name="mt_bench",
            title="MT-Bench: answered, not judged",
            tasks=tuple(f"mt_bench_{category}" for category in TEMPERATURES),
        ),
    ),
)
