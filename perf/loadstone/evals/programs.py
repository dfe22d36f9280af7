"""Answers that are programs: run in the sandbox, several at a time, before they are scored one by one.

How a program is confined is sandbox.py's; which part of an answer is the program, the task's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from loadstone.evals import sandbox
from loadstone.evals.answers import Answer
from loadstone.evals.papers import Paper
from loadstone.scorers import Scorer


def demand(papers: Iterable[Paper], allowed: bool) -> None:
    """Raises UsageError where programs have to be run and that is not allowed, or not possible here."""
    for paper in papers:
        if _coded(paper):
            sandbox.demand(allowed, paper.task.name)


def judged(papers: Iterable[Paper], answers: Mapping[str, Answer]) -> Scorer | None:
    """What scores programs, from what became of each of them; None where no task has any."""
    coded = [paper for paper in papers if _coded(paper)]
    if not coded:
        return None
    runs = sandbox.Runs()
    runs.ahead(program for paper in coded for program in _programs(paper, answers))
    return runs


def _coded(paper: Paper) -> bool:
    return paper.choice.mode == "generation" and paper.task.generation is not None and paper.task.generation.code


def _programs(paper: Paper, answers: Mapping[str, Answer]) -> Iterator[str]:
    assert paper.task.generation is not None
    for item in paper.items:
        texts = [answers[one.id].responses[0] for passes in item.wanted for one in passes if _good(answers.get(one.id))]
        for each in paper.task.generation.filters:
            for text in texts:
                extracted = each.extract(text, item.sample) if isinstance(text, str) and text.strip() else None
                if extracted is not None:
                    yield extracted


def _good(answer: Answer | None) -> bool:
    return answer is not None and answer.good
