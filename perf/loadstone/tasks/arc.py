"""ARC: science questions of schools, easy and challenge.

Likelihood of the choices' words as lm-eval's `arc_easy` and `arc_challenge`; for answers in words the choices stand
behind letters, whatever the data call them (some questions have 1 to 4, some three or five choices).
"""

from __future__ import annotations

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Group, Likelihood, Task


def original(config: str, split: str) -> tuple[str, ...]:
    """Where the file may lie in ARC-V1-Feb2018.zip, or taken out of it."""
    file = f"{config}-{split}.jsonl"
    return file, f"{config}/{file}", f"ARC-V1-Feb2018-2/{config}/{file}"


def row(doc: Doc) -> Doc:
    """From a line of the original files, whose question holds the choices, to the schema of the hub."""
    if isinstance(doc["question"], str):
        return doc
    choices = doc["question"]["choices"]
    columns = {name: [choice[name] for choice in choices] for name in ("text", "label")}
    return {"id": doc["id"], "question": doc["question"]["stem"], "choices": columns, "answerKey": doc["answerKey"]}


def question(doc: Doc) -> str:
    return f"Question: {doc['question']}"


def texts(doc: Doc) -> list[str]:
    return list(doc["choices"]["text"])


def gold(doc: Doc) -> int:
    return list(doc["choices"]["label"]).index(doc["answerKey"])


def task(name: str, config: str, metrics: tuple[str, ...]) -> Task:
    """`metrics`: the first is what papers and leaderboards give for it."""
    return Task(
        name=name,
        title=config.replace("-", " "),
        version=1.0,
        source="https://arxiv.org/abs/1803.05457",
        data=Data(
            path="allenai/ai2_arc",
            config=config,
            shots_split="train",
            files=original(config, "Test"),
            shots_files=original(config, "Train"),
            convert_row=row,
        ),
        query=lambda doc: f"{question(doc)}\nAnswer:",
        target=lambda doc: texts(doc)[gold(doc)],
        choices=texts,
        gold=lambda doc: [gold(doc)],
        draw="random",
        generation=lettered_generation(name, question, texts, gold),
        likelihood=Likelihood(template=f"lm-eval {name}", metrics=metrics),
        default="loglikelihood",
    )


BENCHMARK = Benchmark(
    name="arc",
    tasks=(
        task("arc_easy", "ARC-Easy", ("acc", "acc_norm")),
        task("arc_challenge", "ARC-Challenge", ("acc_norm", "acc")),
    ),
    groups=(Group(name="arc", title="ARC", tasks=("arc_easy", "arc_challenge")),),
    licence="CC-BY-SA-4.0",
)
