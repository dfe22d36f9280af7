"""The data of an evaluation: questions, what was answered, how it was judged. Plain structs, as in records.py."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Question(Struct, frozen=True, kw_only=True):
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
    ask: Question
    answers: list[str] = []
    choices: list[str] = []
    gold: list[int] = []
    cluster: str | None = None
    later: list[str] = []


# What became of an answer, each exactly one: `right`; `wrong`, finished properly, also when empty; `unparsed`,
# finished, but nothing in it that could be held against the target; `truncated`, cut at its length limit and not right;
# `failed`, no answer came, which says nothing of the model.
Outcome = Literal["right", "wrong", "unparsed", "truncated", "failed"]


class ItemResponses(Struct, frozen=True, kw_only=True):
    """What came back for one item, from the records of a run or from a samples file of ours or of lm-eval. Neither says
    whether it is right.

    arguments: of each request of the item (a choice has one for each continuation), what was asked, as text or JSON of
    messages, and what went with it: the generation's settings, or the continuation.
    responses: of each request, one a pass: a text, or (sum of log-probabilities, whether greedy); None where it failed.
    finishes, failures: alike, as far as they are known: finish reason, kind of failure.
    records: alike, (run, index) of the record.
    turns: of a conversation, for each pass what was said after the first prompt, by both sides in turn; the response is
    its last.
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
    turns: list[list[str]] = []


class Score(Struct, frozen=True, kw_only=True):
    """One pass of one item, judged through one filter. `extracted`: what was held against the target; of choices, the
    number of the one taken. `metrics`: by name, 0 to 1 where right and wrong are all there is, 0 for what failed, which
    `outcome` tells; several for an item are means over all of them (IFEval's instructions).
    `attempt`: the pass, from 0. `note`: why a scorer could not judge it."""

    task: str
    doc_id: int
    attempt: int
    filter: str
    extracted: Any
    metrics: dict[str, float | list[float]]
    outcome: Outcome
    cluster: str | None = None
    note: str | None = None


class Estimate(Struct, frozen=True, kw_only=True):
    """A mean over `n` items and how sure it is: standard error, 95 % interval, and how the interval was made. None
    where there are too few items for it."""

    value: float
    n: int
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    method: str = ""


class MetricResult(Struct, frozen=True, kw_only=True):
    """One metric through one filter. `all`: over all items, a failed one counts as 0, as in lm-eval; `stderr`: that of
    lm-eval. `answered`: over the passes with a whole answer. `outcomes`: of all passes, through this filter."""

    metric: str
    filter: str
    all: Estimate
    stderr: float | None
    answered: Estimate | None
    outcomes: dict[str, int]


class TaskResult(Struct, frozen=True, kw_only=True):
    """What a task came to: a row of the results. `figures`: the headline is the first; none where nothing was judged.
    `at`: over the passes, by name: `avg@4`, `pass@2`, `maj@4`. `notes`: what the scorers choked on, with its count."""

    task: str
    title: str
    mode: str
    template: str
    version: float
    shots: int
    items: int
    passes: int
    figures: list[MetricResult]
    at: dict[str, Estimate] = {}
    notes: dict[str, int] = {}


class GroupResult(Struct, frozen=True, kw_only=True):
    """Tasks told together. `micro`: over all their items; `macro`: mean of the tasks' headlines. `tasks`: those of them
    that were run. `figures`: lm-eval's, by `metric,filter`: mean weighted by size, pooled standard error, items."""

    name: str
    title: str
    column: str | None
    tasks: list[str]
    items: int
    outcomes: dict[str, int]
    micro: Estimate
    macro: Estimate
    answered: Estimate | None
    figures: dict[str, tuple[float, float | None, int]] = {}


class LeaderboardRow(Struct, frozen=True, kw_only=True):
    """A leaderboard row, as llmuses reports it: accuracy by column (`Humanities`, `STEM` ...) over their items; over
    all items; mean of the tasks; the official score and how far this one is from it."""

    name: str
    columns: dict[str, float]
    weighted: float
    mean: float
    target: float | None = None
    delta: float | None = None


class Evaluation(Struct, frozen=True, kw_only=True):
    """What results_*.json holds of ours, under `loadstone`. The same for the same answers, whenever they came.
    `data`: sha256 of the files read, by task. `settings`: of the generation, by task. `confined`: where programs were
    run, `by` what means, and what these leave `open`."""

    format: int = 1
    model: str
    tasks: list[TaskResult]
    groups: list[GroupResult] = []
    leaderboard: list[LeaderboardRow] = []
    data: dict[str, dict[str, str]] = {}
    settings: dict[str, dict[str, Any]] = {}
    confined: dict[str, list[str]] = {}


class EvalCost(Struct, frozen=True, kw_only=True):
    """Tokens of all requests, those of failures and of retries too, as far as the server told. `untold`: requests of
    which it told none. `cost`: in the currency of the prices; None where there are none."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    untold: int = 0
    cost: float | None = None
