"""The structs that describe a benchmark: where its rows are, how a row becomes a question, how a response is scored.

Each file of this room describes one benchmark with them. Nothing here opens a file or asks a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from loadstone.scorers.base import Extractor, Scorer

# A row of the data set.
Doc = dict[str, Any]
# How a model answers: by generated text, from which the answer is extracted; by the log-likelihood of each choice; or
# by the log-probabilities of the letters A, B, C ... as first token.
Mode = Literal["generation", "loglikelihood", "letters"]
MODES: tuple[Mode, ...] = ("generation", "loglikelihood", "letters")


class Data(Struct, frozen=True, kw_only=True):
    """Where the rows of a task are: on the Hugging Face hub, and in the files of the original distribution.

    path: name of the data set on the hub.
    config, split: its configuration and the split with the questions.
    shots_split: the split with the worked examples, None if there is none.
    files: names of the original files, relative to the benchmark's folder; the first that exists is read. `{config}`
        and wildcards are allowed: `test.jsonl`, `data/test/{config}_test.csv`, `test/high/*.txt`.
    shots_files: the same for the worked examples.
    columns: names of the columns of CSV files without a header.
    expand_row: from a row that holds several items, such as an article with its questions, to one row for each; returns
        any other row alone. It runs before `convert_row` and raises the same errors.
    convert_row: from a row of the original files, or of a variant on the hub, to the schema that the task reads;
        returns any other row unchanged. It raises KeyError, TypeError or ValueError for a row that it cannot read.
    rows_field: the field that holds the rows, in a JSON file that is one object (`examples` in BIG-Bench Hard).
    folder: what the original distribution calls its folder, if neither like the benchmark nor the last part of `path`.
    benchmark: name of the benchmark, which may also be the folder's name; the catalogue fills it in.
    split_column: the column with the split of each row, in a file with several splits; a row without it is of `split`.
    parse_shots: from the text of a file of `shots_files` that is no table (`.txt`) to rows in the task's schema. It
        raises ValueError for a text that it cannot read.
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
    """One way to score the responses, with lm-eval's name for it.

    extract: takes the answer out of a response, None if there is none.
    score: compares the answer with the target.
    """

    name: str
    extract: Extractor
    score: Scorer


class Generation(Struct, frozen=True, kw_only=True):
    """How a task is asked and scored if the model generates text.

    template: name of the prompt's form, recorded with the results.
    filters: the ways to score a response; the first one gives the headline.
    headline: name of the headline's metric.
    stop: texts that end a response.
    max_tokens: most tokens of a response.
    settings: further fields of the request (temperature ...).
    query, target, description: replace the task's, where a chat model needs other instructions.
    prefix: text with which the model's response is to begin.
    code: True if responses are programs, which are scored by running them.
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
    """How a task is scored by the log-likelihoods of its choices.

    template: name of the prompt's form, recorded with the results.
    metrics: keys of METRICS of scorers/choice.py; the first is the headline.
    letters: True if the choices are letters, so the first token is enough.
    """

    template: str
    metrics: tuple[str, ...] = ("acc", "acc_norm")
    letters: bool = False


class Task(Struct, frozen=True, kw_only=True):
    """A task: one row of a results table.

    name, title: its name for `--tasks`, and the one shown to people.
    version: version of the template, as lm-eval counts it. It goes up with every change that may change a result.
    source: the paper, or an address.
    data: where the rows are.
    query: the question of a row.
    target: the right answer as text.
    answers, choices, gold, cluster, later: from a row to the field of this name of its Sample.
    keep: returns True for the rows of the task (those of a level, a subject); None for all.
    description: text before the worked examples and the question.
    target_delimiter: text between the question and the answer of a worked example.
    fewshot_delimiter: text between two worked examples.
    shots: number of worked examples by default.
    max_shots: the most that `--num-fewshot` can ask for, None for no limit.
    draw: which examples a row gets: the `first` of the split, a `random` draw with lm-eval's seed, or the `fixed` ones
        below. `spare` is lm-eval's draw for a task without a test split: one more, because it may draw the row itself.
    fixed_shots: (question, answer) of the fixed examples, the question as `query` would give it.
    shot: (question, answer) of a row as an example, if that is not (query, target).
    generation, likelihood: how it is asked and scored in each way; at least one of them.
    default: the mode to use if the server allows it.
    repeats: number of passes by default.
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
        """Return the modes in which the task can be answered."""
        is_possible: dict[Mode, bool] = {
            "generation": self.generation is not None,
            "loglikelihood": self.likelihood is not None,
            "letters": self.likelihood is not None and self.likelihood.letters,
        }
        return [mode for mode in MODES if is_possible[mode]]


class Group(Struct, frozen=True, kw_only=True):
    """Tasks that are reported together.

    tasks: names of its tasks or inner groups.
    column: its column in a leaderboard row, such as `STEM`.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    column: str | None = None


class Benchmark(Struct, frozen=True, kw_only=True):
    """A benchmark with its tasks and groups. The first group, if any, has the benchmark's name."""

    name: str
    tasks: tuple[Task, ...]
    groups: tuple[Group, ...] = ()
    licence: str = ""


class HarnessTask(Task, frozen=True, kw_only=True):
    """A task of lm-eval. `lm_eval_task` is the task in evals, which builds the questions and scores the answers."""

    lm_eval_task: Any  # evals.lm_eval.tasks.LmEvalTask, which this room may not import
