"""Runs the answers that are programs in the sandbox, several at a time, before they are scored one by one.

sandbox.py confines a program; the task decides which part of an answer is the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.eval_request import RequestId
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring import sandbox
from loadstone.scorers.base import Scorer


def check_allowed(task_runs: Iterable[TaskRun], allowed: bool) -> None:
    """Raise UsageError if programs have to be run and that is not allowed, or not possible here."""
    for task_run in task_runs:
        if _runs_programs(task_run):
            sandbox.check_allowed(allowed, task_run.task.name)


def run_programs(task_runs: Iterable[TaskRun], responses: Mapping[RequestId, Response]) -> Scorer | None:
    """Run all programs. Return the scorer that knows their verdicts; None if no task has programs."""
    with_programs = [task_run for task_run in task_runs if _runs_programs(task_run)]
    if not with_programs:
        return None
    runner = sandbox.ProgramRunner()
    runner.run_ahead(program for task_run in with_programs for program in _programs(task_run, responses))
    return runner


def _runs_programs(task_run: TaskRun) -> bool:
    generation = task_run.task.generation
    return task_run.answer_mode.mode == "generation" and generation is not None and generation.code


def _programs(task_run: TaskRun, responses: Mapping[RequestId, Response]) -> Iterator[str]:
    """Yield the programs in the responses, as extracted by each filter."""
    filters = task_run.task.generation.filters if task_run.task.generation else ()
    for item in task_run.items:
        received = [responses.get(request.id) for passes in item.requests for request in passes]
        for text in [str(response.values[0]) for response in received if response is not None and response.ok]:
            for each in filters:
                program = None
                with contextlib.suppress(Exception):  # scoring reports the error of an extractor
                    program = each.extract(text, item.sample) if text.strip() else None
                if program is not None:
                    yield program
