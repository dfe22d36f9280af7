"""HellaSwag: which of four endings goes on with what was described.

Likelihood of the endings as lm-eval's `hellaswag`; answers in words choose among the endings behind letters.
"""

from __future__ import annotations

import re

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Likelihood, Task

ASKED = "Which ending goes on best?"
FIELDS = ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split", "split_type", "label")


def cleaned(text: str) -> str:
    """Without the brackets that are left of WikiHow. Source: tasks/hellaswag/utils.py of lm-eval."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def row(doc: Doc) -> Doc:
    """The schema of the hub, with what lm-eval adds to it. In the original files the label is a number."""
    label = str(doc["label"])
    began = f"{doc['ctx_a']} {doc['ctx_b'].capitalize()}"
    added = {
        "query": cleaned(f"{doc['activity_label']}: {began}"),
        "choices": [cleaned(ending) for ending in doc["endings"]],
        "gold": int(label),
    }
    return {**{name: doc[name] for name in FIELDS if name in doc}, "label": label, **added}


def asked(doc: Doc) -> str:
    return f"{doc['query']}\n\nQuestion: {ASKED}"


TASK = Task(
    name="hellaswag",
    title="HellaSwag",
    version=1.0,
    source="https://arxiv.org/abs/1905.07830",
    data=Data(
        path="Rowan/hellaswag",
        split="validation",
        shots_split="train",
        files=("hellaswag_val.jsonl", "data/hellaswag_val.jsonl"),
        shots_files=("hellaswag_train.jsonl", "data/hellaswag_train.jsonl"),
        convert_row=row,
    ),
    query=lambda doc: doc["query"],
    target=lambda doc: doc["choices"][doc["gold"]],
    choices=lambda doc: doc["choices"],
    gold=lambda doc: [doc["gold"]],
    draw="spare",
    generation=lettered_generation("hellaswag", asked, lambda doc: doc["choices"], lambda doc: doc["gold"]),
    likelihood=Likelihood(template="lm-eval hellaswag", metrics=("acc_norm", "acc")),
    default="loglikelihood",
)
BENCHMARK = Benchmark(name="hellaswag", tasks=(TASK,), licence="MIT")
