"""Answers and scores made by hand, for tests of evaluations: what came back for an item, and small tasks to hold it
against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadstone.samples import ItemResponses, Outcome, Sample, Score
from loadstone.tasks.spec import Data, Filter, Generation, Likelihood, Task


def number(text: str, _: Sample) -> str | None:
    """The last whole word that is a number."""
    return next((word for word in reversed(text.split()) if word.lstrip("-").isdigit()), None)


def whole(text: str, _: Sample) -> str:
    return text


def same(extracted: str, sample: Sample) -> Mapping[str, float]:
    return {"exact_match": float(extracted == sample.target)}


SUMS = Task(
    name="sums",
    title="Sums",
    version=1.0,
    source="our own",
    data=Data(path="sums", config="main"),
    query=lambda doc: str(doc["question"]),
    target=lambda doc: str(doc["answer"]),
    cluster=lambda doc: doc.get("page"),  # type: ignore[arg-type, return-value]
    generation=Generation(
        template="sums", filters=(Filter("strict", number, same), Filter("whole", whole, same)), stop=("\n",)
    ),
)
CAPTURED_MC = Task(
    name="tiny_mc",
    title="tiny_mc",
    version=1.0,
    source="captures/lm_eval",
    data=Data(path="json"),
    query=lambda doc: f"Question: {doc['question']}\nAnswer:",
    target=lambda doc: str(doc["choices"][doc["answer"]]),
    choices=lambda doc: list(doc["choices"]),
    gold=lambda doc: [doc["answer"]],
    likelihood=Likelihood(template="tiny"),
    default="loglikelihood",
)
CAPTURED_GEN = Task(
    name="tiny_gen",
    title="tiny_gen",
    version=1.0,
    source="captures/lm_eval",
    data=Data(path="json"),
    query=lambda doc: f"Question: {doc['question']}\nAnswer:",
    target=lambda doc: str(doc["choices"][doc["answer"]]),
    generation=Generation(template="tiny", filters=(Filter("none", whole, same),), stop=("\n",), max_tokens=16),
)


def said(
    *texts: str | None,
    doc_id: int = 0,
    answer: Any = "4",
    finish: str | None = "stop",
    failure: str | None = None,
    page: str | None = None,
    records: Sequence[tuple[str, int] | None] = (),
) -> ItemResponses:
    """An item of `sums`, answered by a text a pass; None failed."""
    doc = {"question": "2 + 2?", "answer": answer} | ({"page": page} if page else {})
    return ItemResponses(
        task="sums",
        doc_id=doc_id,
        doc=doc,
        target=str(answer),
        arguments=[("2 + 2?", {"max_tokens": 16, "stop": ["\n"], "temperature": 0.0})],
        responses=[list(texts)],
        finishes=[[None if text is None else finish for text in texts]],
        failures=[[failure or ("status" if text is None else None) for text in texts]],
        records=[list(records)] if records else [],
    )


def scored(outcome: Outcome, doc_id: int = 0, attempt: int = 0, **more: Any) -> Score:
    """A score of the filter `strict`, worth 1 where right."""
    metrics = {"exact_match": float(outcome == "right")}
    given: dict[str, Any] = {"task": "sums", "filter": "strict", "extracted": outcome, "metrics": metrics} | more
    return Score(doc_id=doc_id, attempt=attempt, outcome=outcome, **given)
