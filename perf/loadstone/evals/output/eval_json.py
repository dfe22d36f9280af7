"""eval.json: the settings of an evaluation, its tasks, runs, counts of answers, and tokens.

It is written before the first request, so that the evaluation can be resumed, and again at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder, run_metadata
from loadstone.errors import ConfigError, DataError
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.eval_request import AnswerMode, RequestId
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.evals.settings import Eval, differing_settings
from loadstone.records import Usage
from loadstone.samples import EvalCost
from loadstone.version import __version__

EVAL = "eval.json"
FORMAT = 1


class TaskEntry(Struct, frozen=True, kw_only=True):
    """A task as it was sent.

    items: that were sent; original: that the data has. requests: with those of later turns.
    settings: fields of each request.
    sha256: of the data's files, by name.
    prompts: digest of all its requests.
    """

    task: str
    title: str
    source: str
    version: float
    template: str
    mode: str
    api: str
    shots: int
    repeats: int
    items: int
    requests: int
    original: int
    settings: dict[str, Any] = {}
    sha256: dict[str, str] = {}
    prompts: str = ""


class EvalState(Struct, frozen=True, kw_only=True):
    """The content of eval.json.

    routes: how each mode is answered. abilities: what the probe found that the server can do.
    began, ended: times in ISO 8601. runs: names of the runs.
    counts: requests `wanted`, `answered`, `failed`, `unsent`, and of the answered those `cached`.
    failures: counts by kind. spent: tokens and their cost.
    """

    format: int = FORMAT
    loadstone: str = __version__
    model: str
    settings: dict[str, Any]
    routes: dict[str, AnswerMode]
    abilities: dict[str, Any] = {}
    tasks: list[TaskEntry] = []
    groups: list[str] = []
    began: str
    ended: str | None = None
    interrupted: bool = False
    runs: list[str] = []
    counts: dict[str, int] = {}
    failures: dict[str, int] = {}
    spent: EvalCost | None = None


def is_evaluation(folder: Path) -> bool:
    """Return True if a folder has an eval.json."""
    return (folder / EVAL).is_file()


def read(folder: Path) -> EvalState:
    """Return the eval.json of a folder. Raises DataError if there is none."""
    try:
        return msgspec.json.decode((folder / EVAL).read_bytes(), type=EvalState)
    except OSError as exc:
        raise DataError(
            f"{folder} is no evaluation: no {EVAL} in it ({exc.strerror})", file=str(folder / EVAL)
        ) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(f"{folder / EVAL} is not readable: {exc}", file=str(folder / EVAL)) from exc


def read_previous(folder: Path, settings: Eval) -> EvalState | None:
    """Return the state of the evaluation in a folder, to resume it; None for an empty folder.

    Raises UsageError if its settings differ, or if the folder holds something else.
    """
    if not is_evaluation(folder):
        run_folder.check_free(folder)
        return None
    state = read(folder)
    if names := differing_settings(state.settings, msgspec.to_builtins(settings.shown())):
        flags = ", ".join(f"--{name}" for name in names[:5])
        raise ConfigError(f"{folder} holds an evaluation with another {flags}: give the same to go on, or another -o")
    return state


def write(folder: Path, state: EvalState) -> None:
    """Write eval.json, over an earlier one."""
    run_folder.RunFolder(folder, new=False).write_json(EVAL, state)


def count_requests(
    ids: Iterable[RequestId], answers: Mapping[RequestId, Response]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return counts of requests by outcome, and of failures by kind. ids: of all requests."""
    counts = dict.fromkeys(("wanted", "answered", "failed", "unsent", "cached"), 0)
    failures: dict[str, int] = {}
    for name in ids:
        answer = answers.get(name)
        counts["wanted"] += 1
        counts["unsent" if answer is None else "answered" if answer.ok else "failed"] += 1
        counts["cached"] += answer is not None and answer.record is None
        if answer is not None and answer.failure is not None:
            failures[answer.failure] = failures.get(answer.failure, 0) + 1
    return counts, failures


def total_cost(usages: Sequence[Usage | None], settings: Eval) -> EvalCost:
    """Return the tokens of all requests, and their cost."""
    known = [usage for usage in usages if usage is not None]
    prompt, completion, cached = (
        sum(getattr(usage, name) or 0 for usage in known) for name in ("prompt", "completion", "cached")
    )
    return EvalCost(
        input_tokens=prompt, output_tokens=completion, cached_tokens=cached, untold=len(usages) - len(known),
        cost=cost(prompt, completion, settings),
    )  # fmt: skip


def cost(input_tokens: float, output_tokens: float, settings: Eval) -> float | None:
    """Return the cost of tokens by the prices of a million; None without prices."""
    if settings.price_in is None and settings.price_out is None:
        return None
    return (input_tokens * (settings.price_in or 0.0) + output_tokens * (settings.price_out or 0.0)) / 1e6


def now() -> str:
    """Return the time in ISO 8601, as in run.json."""
    return run_metadata.now()


def task_entry(run: TaskRun, digest: str) -> TaskEntry:
    """Return the entry of a task. digest: of its requests."""
    task, setup = run.task, TaskSetup.of(run, scored=True)
    return TaskEntry(
        task=task.name,
        title=task.title,
        source=task.source,
        version=task.version,
        template=setup.template,
        mode=run.answer_mode.mode,
        api=run.answer_mode.api,
        shots=run.shots,
        repeats=run.repeats,
        items=len(run.items),
        requests=sum(1 + len(one.later) for one in run.requests()),
        original=run.original,
        settings=setup.settings,
        sha256=run.sha256,
        prompts=digest,
    )
