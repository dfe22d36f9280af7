"""The data of an evaluation: samples, responses and scores. Plain structs, as in records.py."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Question(Struct, frozen=True, kw_only=True):
    """A question and everything that comes before it in the prompt. `evals/requests/` builds the text or the messages.

    query: the question.
    description: text at the beginning of every question of the task; the system message, if messages are sent.
    shots: few-shot examples, (question, answer).
    prefix: text that the answer is made to begin with.
    delimiter: text between a question and its answer.
    between: text between examples.
    """

    query: str
    description: str = ""
    shots: list[tuple[str, str]] = []
    prefix: str = ""
    delimiter: str = " "
    between: str = "\n\n"


class Sample(Struct, frozen=True, kw_only=True):
    """One item of a task.

    task: name of the task.
    doc_id: number of the row in its split, from 0.
    doc: row of the dataset, in the schema of its Hugging Face original.
    target: the right answer as text.
    ask: the question.
    answers: all right answers, where there are several.
    choices: the continuations to choose from, without delimiter.
    gold: the right choices, by number.
    cluster: what it shares with other items, such as a passage; such items are not independent samples.
    later: further turns of the user, each sent after the answer to the one before; the last answer is scored.
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


# The outcome of an answer, one of: `right`; `wrong`: finished, possibly empty; `unparsed`: finished, but without
# anything to compare with the target; `truncated`: cut at its length limit and not right; `failed`: there was no
# answer, which says nothing about the model.
Outcome = Literal["right", "wrong", "unparsed", "truncated", "failed"]


class ItemResponses(Struct, frozen=True, kw_only=True):
    """The responses to one item, from the records of a run or from a samples file of Loadstone or lm-eval, not scored.

    task, doc_id, doc, target: as in Sample.
    arguments: for each request of the item (multiple choice has one per continuation): the prompt, as text or JSON of
        messages, and the generation settings or the continuation.
    responses: for each request, one per pass: a text, or (sum of log-probabilities, whether greedy); None if it failed.
    finishes: finish reasons in the same form, if known.
    failures: kinds of failure in the same form, if known.
    records: (run, index) of the record, in the same form.
    turns: for each pass of a conversation, the turns after the first prompt, of both sides; the last is the response.
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
    """The score of one pass of one item through one filter.

    task, doc_id, cluster: as in Sample.
    attempt: number of the pass, from 0.
    filter: name of the filter.
    extracted: what was compared with the target; for multiple choice, the number of the selected choice.
    metrics: values by name, 0 to 1 if an answer is right or wrong, 0 if it failed (see `outcome`). A list has several
        values of one item, to be averaged over those of all items (IFEval's instructions).
    outcome: what became of the answer.
    note: why a scorer could not score it.
    """

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
    """A mean and its uncertainty. None: there are too few items.

    value: the mean.
    n: number of items.
    stderr: standard error.
    interval: 95 % confidence interval.
    method: how the interval was computed.
    """

    value: float
    n: int
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    method: str = ""


class MetricResult(Struct, frozen=True, kw_only=True):
    """The result of one metric through one filter.

    metric, filter: their names.
    all: over all items; a failed one counts as 0, as in lm-eval.
    stderr: standard error as lm-eval computes it.
    answered: over the passes with a complete answer.
    outcomes: number of passes by outcome, through this filter.
    """

    metric: str
    filter: str
    all: Estimate
    stderr: float | None
    answered: Estimate | None
    outcomes: dict[str, int]


class TaskResult(Struct, frozen=True, kw_only=True):
    """The results of one task.

    task, title: name of the task, for programs and for people.
    mode: how the task is asked.
    template: form of the prompt.
    version: version of the task.
    shots: number of few-shot examples.
    items: number of items.
    passes: number of passes over the items.
    figures: result by metric and filter, the main one first; empty if nothing was scored.
    at: results over several passes, by name: `avg@4`, `pass@2`, `maj@4`.
    notes: how often the scorers could not score an answer, by reason.
    """

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
    """The results of a group of tasks.

    name, title: name of the group, for programs and for people.
    column: the leaderboard's column that it is part of.
    tasks: tasks of the group that were run.
    items: number of items.
    outcomes: number of passes by outcome.
    micro: main metric over all items.
    macro: mean of the tasks' main metrics.
    answered: main metric over the passes with a complete answer.
    figures: lm-eval's figures by `metric,filter`: mean weighted by size, pooled standard error, number of items.
    """

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
    """A leaderboard row, as llmuses reports it.

    name: name of the benchmark.
    columns: accuracy by column (`Humanities`, `STEM` ...) over their items.
    weighted: accuracy over all items.
    mean: mean of the tasks.
    target: the official score.
    delta: difference from the official score.
    """

    name: str
    columns: dict[str, float]
    weighted: float
    mean: float
    target: float | None = None
    delta: float | None = None


class Evaluation(Struct, frozen=True, kw_only=True):
    """The value of `loadstone` in results_*.json. Equal answers give equal values at any time.

    format: version of this form.
    model: name of the model.
    tasks, groups, leaderboard: the results.
    data: SHA-256 of the files read, by task.
    settings: generation settings, by task.
    confined: how generated programs were confined: `by` which means, and what these leave `open`.
    """

    format: int = 1
    model: str
    tasks: list[TaskResult]
    groups: list[GroupResult] = []
    leaderboard: list[LeaderboardRow] = []
    data: dict[str, dict[str, str]] = {}
    settings: dict[str, dict[str, Any]] = {}
    confined: dict[str, list[str]] = {}


class EvalCost(Struct, frozen=True, kw_only=True):
    """Tokens of all requests, including failures and retries, as far as the server reported them.

    input_tokens, output_tokens, cached_tokens: sums over the requests.
    untold: requests whose tokens the server did not report.
    cost: in the currency of the prices; None without prices.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    untold: int = 0
    cost: float | None = None
