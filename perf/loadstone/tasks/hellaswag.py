"""HellaSwag: which of four endings continues a description.

Scored by the likelihoods of the endings as lm-eval's `hellaswag`. For generated answers the endings have letters.
"""

from __future__ import annotations

import re

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Likelihood, Task

# The question for generated answers.
QUESTION = "Which ending goes on best?"
# Fields of the hub's schema.
FIELDS = ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split", "split_type", "label")


def clean(text: str) -> str:
    """Return the text without the brackets of WikiHow. Source: lm-eval, tasks/hellaswag/utils.py."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def convert_row(doc: Doc) -> Doc:
    """Convert a row to the schema of the hub, with lm-eval's fields. In the original files the label is a number."""
    label = str(doc["label"])
    context = f"{doc['ctx_a']} {doc['ctx_b'].capitalize()}"
    added = {
        "query": clean(f"{doc['activity_label']}: {context}"),
        "choices": [clean(ending) for ending in doc["endings"]],
        "gold": int(label),
    }
    return {**{name: doc[name] for name in FIELDS if name in doc}, "label": label, **added}


def question(doc: Doc) -> str:
    return f"{doc['query']}\n\nQuestion: {QUESTION}"


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
        convert_row=convert_row,
    ),
    query=lambda doc: doc["query"],
    target=lambda doc: doc["choices"][doc["gold"]],
    choices=lambda doc: doc["choices"],
    gold=lambda doc: [doc["gold"]],
    draw="spare",
    generation=lettered_generation("hellaswag", question, lambda doc: doc["choices"], lambda doc: doc["gold"]),
    likelihood=Likelihood(template="lm-eval hellaswag", metrics=("acc_norm", "acc")),
    default="loglikelihood",
)
BENCHMARK = Benchmark(name="hellaswag", tasks=(TASK,), licence="MIT")
