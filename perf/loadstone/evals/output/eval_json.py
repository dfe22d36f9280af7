"""eval.json, what an evaluation says of itself: settings, how each task is asked, runs, answers, tokens.

It is written before the first request, so that whoever goes on knows what was asked, and again at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder, run_metadata
from loadstone.errors import UsageError
from loadstone.evals import settings as given
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.mode import AnswerMode
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.evals.settings import Eval
from loadstone.records import Usage
from loadstone.samples import EvalCost
from loadstone.version import __version__

EVAL = "eval.json"
FORMAT = 1


class TaskEntry(Struct, frozen=True, kw_only=True):
    """A task as it was asked. `prompts`: digest of all its requests; `sha256`: of the data's files, by name."""

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
    """What eval.json holds. `abilities`: what the probe saw. `counts`: requests `wanted`, `answered`, `failed`,
    `unsent`, and of the answered those `cached`."""

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
    return (folder / EVAL).is_file()


def read(folder: Path) -> EvalState:
    """Raises UsageError where there is none."""
    try:
        return msgspec.json.decode((folder / EVAL).read_bytes(), type=EvalState)
    except OSError as exc:
        raise UsageError(f"{folder} is no evaluation: no {EVAL} in it ({exc.strerror})") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UsageError(f"{folder / EVAL} is not readable: {exc}") from exc


def read_previous(folder: Path, settings: Eval) -> EvalState | None:
    """What an evaluation in this folder has said, None where there is nothing. Raises UsageError where it asked
    otherwise, or where something else is in the folder."""
    if not is_evaluation(folder):
        run_folder.check_free(folder)
        return None
    found = read(folder)
    if unlike := given.differing_settings(found.settings, msgspec.to_builtins(settings.shown())):
        names = ", ".join(f"--{name}" for name in unlike[:5])
        raise UsageError(f"{folder} holds an evaluation with another {names}: give the same to go on, or another -o")
    return found


def write(folder: Path, journal: EvalState) -> None:
    run_folder.RunFolder(folder, new=False).write_json(EVAL, journal)


def count_requests(wanted: Iterable[str], answers: Mapping[str, Response]) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of requests by what became of them, and of failures by their kind."""
    counts = dict.fromkeys(("wanted", "answered", "failed", "unsent", "cached"), 0)
    failures: dict[str, int] = {}
    for name in wanted:
        answer = answers.get(name)
        counts["wanted"] += 1
        counts["unsent" if answer is None else "answered" if answer.ok else "failed"] += 1
        counts["cached"] += answer is not None and answer.record is None
        if answer is not None and answer.failure is not None:
            failures[answer.failure] = failures.get(answer.failure, 0) + 1
    return counts, failures


def total_cost(usages: Sequence[Usage | None], settings: Eval) -> EvalCost:
    """Tokens, and what they cost."""
    known = [usage for usage in usages if usage is not None]
    prompt, completion, cached = (
        sum(getattr(usage, name) or 0 for usage in known) for name in ("prompt", "completion", "cached")
    )
    return EvalCost(
        input_tokens=prompt, output_tokens=completion, cached_tokens=cached, untold=len(usages) - len(known),
        cost=cost(prompt, completion, settings),
    )  # fmt: skip


def cost(input_tokens: float, output_tokens: float, settings: Eval) -> float | None:
    """By the prices of a million tokens; None without any."""
    if settings.price_in is None and settings.price_out is None:
        return None
    return (input_tokens * (settings.price_in or 0.0) + output_tokens * (settings.price_out or 0.0)) / 1e6


def now() -> str:
    return run_metadata.now()


def task_entry(paper: TaskRun, digest: str) -> TaskEntry:
    """A task as eval.json tells it. `digest`: of its requests."""
    task, setup = paper.task, TaskSetup.of(paper)
    return TaskEntry(
        task=task.name,
        title=task.title,
        source=task.source,
        version=task.version,
        template=setup.template,
        mode=paper.answer_mode.mode,
        api=paper.answer_mode.api,
        shots=paper.shots,
        repeats=paper.repeats,
        items=len(paper.items),
        requests=sum(1 + len(one.later) for one in paper.requests()),
        original=paper.original,
        settings=setup.settings,
        sha256=paper.sha256,
        prompts=digest,
    )
