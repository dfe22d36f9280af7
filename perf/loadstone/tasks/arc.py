"""ARC: science questions from schools, in an easy and a challenge set.

Scored by the likelihoods of the choices' texts as lm-eval's `arc_easy` and `arc_challenge`. For generated answers the
choices are shown with letters, even if the data number them; some questions have three or five choices.
"""

from __future__ import annotations

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Group, Likelihood, Task


def original_files(config: str, split: str) -> tuple[str, ...]:
    """Return the possible paths of a split in ARC-V1-Feb2018.zip, unpacked with or without its folders."""
    file = f"{config}-{split}.jsonl"
    return file, f"{config}/{file}", f"ARC-V1-Feb2018-2/{config}/{file}"


def convert_row(doc: Doc) -> Doc:
    """Convert a line of the original files, where the question contains the choices, to the schema of the hub."""
    if isinstance(doc["question"], str):
        return doc
    choices = doc["question"]["choices"]
    columns = {name: [choice[name] for choice in choices] for name in ("text", "label")}
    return {"id": doc["id"], "question": doc["question"]["stem"], "choices": columns, "answerKey": doc["answerKey"]}


def question(doc: Doc) -> str:
    return f"Question: {doc['question']}"


def options(doc: Doc) -> list[str]:
    return list(doc["choices"]["text"])


def gold(doc: Doc) -> int:
    return list(doc["choices"]["label"]).index(doc["answerKey"])


def build_task(name: str, config: str, metrics: tuple[str, ...]) -> Task:
    """Return the task of a configuration. The first metric is the one of papers and leaderboards."""
    return Task(
        name=name,
        title=config.replace("-", " "),
        version=1.0,
        source="https://arxiv.org/abs/1803.05457",
        data=Data(
            path="allenai/ai2_arc",
            config=config,
            shots_split="train",
            files=original_files(config, "Test"),
            shots_files=original_files(config, "Train"),
            convert_row=convert_row,
        ),
        query=lambda doc: f"{question(doc)}\nAnswer:",
        target=lambda doc: options(doc)[gold(doc)],
        choices=options,
        gold=lambda doc: [gold(doc)],
        draw="random",
        generation=lettered_generation(name, question, options, gold),
        likelihood=Likelihood(template=f"lm-eval {name}", metrics=metrics),
        default="loglikelihood",
    )


BENCHMARK = Benchmark(
    name="arc",
    tasks=(
        build_task("arc_easy", "ARC-Easy", ("acc", "acc_norm")),
        build_task("arc_challenge", "ARC-Challenge", ("acc_norm", "acc")),
    ),
    groups=(Group(name="arc", title="ARC", tasks=("arc_easy", "arc_challenge")),),
    licence="CC-BY-SA-4.0",
)
