"""The data of an evaluation: questions, what was answered, how it was judged. Plain structs, as in records.py."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Asked(Struct, frozen=True, kw_only=True):
    """A question with all that stands before it. What it looks like as a text or as messages is evals/asking.py's.

    description: what all questions of the task begin with; with messages, the system's.
    shots: worked examples, (question, answer).
    prefix: what the answer is made to begin with.
    delimiter: between a question and its answer; between: between examples.
    """

    query: str
    description: str = ""
    shots: list[tuple[str, str]] = []
    prefix: str = ""
    delimiter: str = " "
    between: str = "\n\n"


class Sample(Struct, frozen=True, kw_only=True):
    """One item of a task, ready to be asked.

    doc: the row of the dataset, in the schema of its Hugging Face original; doc_id: its number in its split, from 0.
    target: what is right, as text; answers: all texts that are right, where there are several.
    choices: the continuations to choose from, without delimiter; gold: which of them are right, by number.
    cluster: what it shares with other items, such as a passage; they are no independent samples.
    later: further turns of the user, each asked after the answer to the one before; what is scored is the last answer.
    """

    task: str
    doc_id: int
    doc: dict[str, Any]
    target: str
    ask: Asked
    answers: list[str] = []
    choices: list[str] = []
    gold: list[int] = []
    cluster: str | None = None
    later: list[str] = []


Outcome = Literal["right", "wrong", "unparsed", "truncated", "failed"]
"""What became of an answer, each exactly one: `right`; `wrong`, finished properly, also when empty; `unparsed`,
finished, but nothing in it that could be held against the target; `truncated`, cut at its length limit and not right;
`failed`, no answer came, which says nothing of the model."""


class Answered(Struct, frozen=True, kw_only=True):
    """What came back for one item, from the records of a run or from a samples file of ours or of lm-eval. Neither says
    whether it is right.

    arguments: of each request of the item (a choice has one for each continuation), what was asked, as text or JSON of
    messages, and what went with it: the generation's settings, or the continuation.
    responses: of each request, one a pass: a text, or (sum of log-probabilities, whether greedy); None where it failed.
    finishes, failures: alike, as far as they are known: finish reason, kind of failure.
    records: alike, (run, index) of the record.
    """

    task: str
    doc_id: int
    doc: dict[str, Any]
    target: str
    arguments: list[tuple[str, dict[str, Any] | str]]
    responses: list[list[str | tuple[float, bool] | None]]
    finishes: list[list[str | None]] = []
    failures: list[list[str | None]] = []
    records: list[list[tuple[str, int] | None]] = []


class Score(Struct, frozen=True, kw_only=True):
    """One pass of one item, judged through one filter. `extracted`: what was held against the target; of choices, the
    number of the one taken. `metrics`: by name, 0 to 1 where right and wrong are all there is, 0 for what failed, which
    `outcome` tells; several for an item are means over all of them (IFEval's instructions).
    `attempt`: the pass, from 0."""

    task: str
    doc_id: int
    attempt: int
    filter: str
    extracted: Any
    metrics: dict[str, float | list[float]]
    outcome: Outcome
    cluster: str | None = None
