"""What a benchmark is, as data: where its rows lie, how one becomes a question, how an answer is read and counted.

A file of this folder describes one benchmark with these; nothing here asks a model or opens a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from loadstone.scorers.base import Extractor, Scorer

Doc = dict[str, Any]
# How a model answers: by writing, from which the answer is taken; by the log-likelihood of each continuation; by the
# log-probabilities of the letters A, B, C ... as first token.
Mode = Literal["generation", "loglikelihood", "letters"]
MODES: tuple[Mode, ...] = ("generation", "loglikelihood", "letters")


class Data(Struct, frozen=True, kw_only=True):
    """Where the rows of a task lie, by the names of the Hugging Face hub and of the original distribution.

    path, config, split: on the hub; shots_split: where worked examples are taken from.
    files, shots_files: names of the original files, relative to the benchmark's folder, the first that exists is read:
    `test.jsonl`, `data/test/{config}_test.csv`, `HumanEval.jsonl.gz`.
    columns: of CSV files without a head.
    rows: from a row of the original files that holds several items, such as an article with its questions, to a row for
    each; from any other to itself alone. It comes before `convert_row`, and raises as that does.
    row: from a row of the original files, or of a hub variant, to the schema that the task reads; from any other to
    itself. It raises KeyError, TypeError or ValueError for what it cannot read.
    field: of a JSON file that is one object, where its rows are (`examples` in BIG-Bench Hard).
    folder: what the original distribution calls itself, where that is neither the benchmark's name nor the last part
    of `path`: either may be the name of its folder too. `benchmark`: that name, which the catalogue fills in.
    column: of a file that holds several splits, the column that tells them; a row that says nothing is of `split`.
    parse: from the whole text of a file in `shots_files` that is no table (`.txt`) to rows in the task's schema. It
    raises ValueError for what it cannot read.
    """

    path: str
    config: str | None = None
    split: str = "test"
    shots_split: str | None = None
    files: tuple[str, ...] = ()
    shots_files: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    expand_row: Callable[[Doc], list[Doc]] | None = None
    convert_row: Callable[[Doc], Doc] | None = None
    rows_field: str | None = None
    folder: str | None = None
    benchmark: str | None = None
    split_column: str | None = None
    parse_shots: Callable[[str], list[Doc]] | None = None


class Filter(Struct, frozen=True):
    """One way to read the same answers, under lm-eval's name for it. `extract` gives None where it finds nothing."""

    name: str
    extract: Extractor
    score: Scorer


class Generation(Struct, frozen=True, kw_only=True):
    """An answer in words. `filters`: the first is the one that headlines count by, `headline` names its metric.

    stop: texts that end it; tokens: the most it may have; settings: further fields (temperature ...).
    query, description, prefix, choices: where they differ from the task's, as a chat model needs to be told the form.
    code: answers are programs, scored by running them.
    """

    template: str
    filters: tuple[Filter, ...]
    headline: str = "exact_match"
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    settings: Mapping[str, Any] = {}
    query: Callable[[Doc], str] | None = None
    target: Callable[[Doc], str] | None = None
    description: str | None = None
    prefix: str | None = None
    code: bool = False


class Likelihood(Struct, frozen=True, kw_only=True):
    """A choice among continuations. `metrics`: of scorers/choice.py, the first is the headline (`acc`, `acc_norm`,
    `mc2` ...). `letters`: the continuations are letters, so the first token tells."""

    template: str
    metrics: tuple[str, ...] = ("acc", "acc_norm")
    letters: bool = False


class Task(Struct, frozen=True, kw_only=True):
    """One row of a results table.

    version: of the template, as lm-eval numbers it; every change that may move a number moves it.
    query: what is asked; target: what is right, as text; answers, choices, gold, cluster, later: see Sample.
    shots: worked examples by default, `max_shots` at the most; draw: the first of the split, lm-eval's seeded draw
    from it, or `fixed`, whose questions are worded as `query` would. shot: (question, answer) of a row as an
    example, where not (query, target).
    keep: which rows belong to the task (a level, a subject).
    generation, likelihood: how it can be answered; `default` is taken where the server allows it.
    source: paper or address; repeats: passes by default.
    The draw `spare` is lm-eval's where its task has no test split: one row more, as the question itself may be drawn.
    """

    name: str
    title: str
    version: float
    source: str
    data: Data
    query: Callable[[Doc], str]
    target: Callable[[Doc], str]
    answers: Callable[[Doc], list[str]] | None = None
    choices: Callable[[Doc], list[str]] | None = None
    gold: Callable[[Doc], list[int]] | None = None
    cluster: Callable[[Doc], str] | None = None
    later: Callable[[Doc], list[str]] | None = None
    keep: Callable[[Doc], bool] | None = None
    description: str = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    shots: int = 0
    max_shots: int | None = None
    draw: Literal["first", "random", "spare", "fixed"] = "first"
    fixed_shots: tuple[tuple[str, str], ...] = ()
    shot: Callable[[Doc], tuple[str, str]] | None = None
    generation: Generation | None = None
    likelihood: Likelihood | None = None
    default: Mode = "generation"
    repeats: int = 1

    @property
    def modes(self) -> list[Mode]:
        """Those in which it can be answered."""
        letters = self.likelihood is not None and self.likelihood.letters
        there = {"generation": self.generation is not None, "loglikelihood": self.likelihood is not None}
        return [mode for mode in MODES if {**there, "letters": letters}[mode]]


class Group(Struct, frozen=True, kw_only=True):
    """Tasks that are told together. `tasks`: names of tasks or of groups. `column`: of the leaderboard row, such as
    `STEM`."""

    name: str
    title: str
    tasks: tuple[str, ...]
    column: str | None = None


class Benchmark(Struct, frozen=True, kw_only=True):
    """What a file of this folder holds, as `BENCHMARK`. The first group, if any, has the benchmark's name."""

    name: str
    tasks: tuple[Task, ...]
    groups: tuple[Group, ...] = ()
    licence: str = ""


class HarnessTask(Task, frozen=True, kw_only=True):
    """The task in our terms. `foreign`: lm-eval's, with what it is asked and judged by."""

    lm_eval_task: Any  # evals.lm_eval.tasks.Foreign
