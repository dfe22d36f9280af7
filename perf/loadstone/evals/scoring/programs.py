"""Answers that are programs: run in the sandbox, several at a time, before they are scored one by one.

How a program is confined is sandbox.py's; which part of an answer is the program, the task's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loadstone.evals.requests.answers import Answer
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring import sandbox
from loadstone.samples import Sample
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Filter


def demand(papers: Iterable[TaskRun], allowed: bool) -> None:
    """Raises UsageError where programs have to be run and that is not allowed, or not possible here."""
    for paper in papers:
        if _coded(paper):
            sandbox.demand(allowed, paper.task.name)


def judged(papers: Iterable[TaskRun], answers: Mapping[str, Answer]) -> Scorer | None:
    """What scores programs, all of which have been run; None where no task has any."""
    coded = [paper for paper in papers if _coded(paper)]
    if not coded:
        return None
    runs = sandbox.Runs()
    runs.ahead(program for paper in coded for program in _programs(paper, answers))
    return runs


def _coded(paper: TaskRun) -> bool:
    return paper.route.mode == "generation" and paper.task.generation is not None and paper.task.generation.code


def _programs(paper: TaskRun, answers: Mapping[str, Answer]) -> Iterator[str]:
    filters = paper.task.generation.filters if paper.task.generation else ()
    for item in paper.items:
        came = [answers.get(wanted.id) for passes in item.wanted for wanted in passes]
        texts = [answer.responses[0] for answer in came if answer is not None and answer.good]
        for text in texts:
            yield from _found(filters, str(text), item.sample)


def _found(filters: Sequence[Filter], text: str, sample: Sample) -> list[str]:
    """Without those of a text that breaks its extractor, which scoring has to say."""
    found = []
    for each in filters:
        with contextlib.suppress(Exception):
            found.append(each.extract(text, sample) if text.strip() else None)
    return [program for program in found if program is not None]
