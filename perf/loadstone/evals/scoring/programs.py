"""Answers that are programs: run in the sandbox, several at a time, before they are scored one by one.

How a program is confined is sandbox.py's; which part of an answer is the program, the task's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring import sandbox
from loadstone.samples import Sample
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Filter


def check_allowed(task_runs: Iterable[TaskRun], allowed: bool) -> None:
    """Raises UsageError where programs have to be run and that is not allowed, or not possible here."""
    for paper in task_runs:
        if _coded(paper):
            sandbox.check_allowed(allowed, paper.task.name)


def run_programs(task_runs: Iterable[TaskRun], responses: Mapping[str, Response]) -> Scorer | None:
    """What scores programs, all of which have been run; None where no task has any."""
    coded = [paper for paper in task_runs if _coded(paper)]
    if not coded:
        return None
    runs = sandbox.ProgramRunner()
    runs.run_ahead(program for paper in coded for program in _programs(paper, responses))
    return runs


def _coded(paper: TaskRun) -> bool:
    return paper.answer_mode.mode == "generation" and paper.task.generation is not None and paper.task.generation.code


def _programs(paper: TaskRun, answers: Mapping[str, Response]) -> Iterator[str]:
    filters = paper.task.generation.filters if paper.task.generation else ()
    for item in paper.items:
        came = [answers.get(wanted.id) for passes in item.requests for wanted in passes]
        texts = [answer.values[0] for answer in came if answer is not None and answer.ok]
        for text in texts:
            yield from _found(filters, str(text), item.sample)


def _found(filters: Sequence[Filter], text: str, sample: Sample) -> list[str]:
    """Without those of a text that breaks its extractor, which scoring has to say."""
    found = []
    for each in filters:
        with contextlib.suppress(Exception):
            found.append(each.extract(text, sample) if text.strip() else None)
    return [program for program in found if program is not None]
