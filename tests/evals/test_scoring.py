"""Scores of responses: every outcome, every mode, and texts that break a scorer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadstone.errors import UsageError
from loadstone.evals.scoring import score as scoring
from loadstone.samples import ItemResponses, Sample
from loadstone.tasks.spec import Filter, Generation
from support.eval_items import CAPTURED_MC, SUMS, said, same, whole


def outcomes(answered: ItemResponses, task: Any = SUMS) -> dict[str, str]:
    return {score.filter: score.outcome for score in scoring.score(task, "generation", answered)}


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("It is 4", "stop", "right"),
        ("It is 5", "stop", "wrong"),
        ("no idea", "stop", "unparsed"),
        ("", "stop", "wrong"),
        ("  \n", "stop", "wrong"),
        ("", "length", "truncated"),
        ("It is 5 and", "length", "truncated"),
        ("It is, let me think", "length", "truncated"),
        ("It is 4 because", "length", "right"),
        ("It is 4", None, "right"),
        (None, None, "failed"),
    ],
)
def test_each_answer_has_one_outcome(text: str | None, finish: str | None, outcome: str) -> None:
    assert outcomes(said(text, finish=finish))["strict"] == outcome


def test_each_filter_reads_the_same_answer_its_own_way() -> None:
    assert outcomes(said("It is 4")) == {"strict": "right", "whole": "wrong"}


def test_what_failed_is_worth_nothing_and_has_the_same_metrics() -> None:
    failed, right = (scoring.score(SUMS, "generation", said(text))[0] for text in (None, "4"))
    assert failed.metrics == {"exact_match": 0.0}
    assert failed.extracted is None
    assert right.metrics == {"exact_match": 1.0}
    assert right.extracted == "4"


def test_an_empty_answer_that_ended_properly_is_wrong_even_when_it_is_recorded_as_a_failure() -> None:
    ended = msgspec.structs.replace(said(None), finishes=[["stop"]], failures=[["empty"]])
    assert outcomes(ended)["strict"] == "wrong"
    assert outcomes(msgspec.structs.replace(ended, finishes=[[None]]))["strict"] == "failed"


def test_every_pass_is_judged() -> None:
    scores = scoring.score(SUMS, "generation", said("4", "5", None))
    assert [score.outcome for score in scores if score.filter == "strict"] == ["right", "wrong", "failed"]
    assert [score.attempt for score in scores if score.filter == "strict"] == [0, 1, 2]


def broken(text: str, _: Sample) -> str:
    raise RecursionError(f"too deep: {text[:3]}")


def parts(extracted: str, _: Sample) -> dict[str, float | list[float]]:
    return {"all": float(extracted == "ab"), "each": [float("a" in extracted), float("b" in extracted)]}


def generating(*filters: Filter, **more: Any) -> Any:
    return msgspec.structs.replace(SUMS, generation=Generation(template="t", filters=filters, **more))


def test_a_scorer_that_chokes_costs_only_that_answer() -> None:
    (score,) = scoring.score(generating(Filter("f", broken, same)), "generation", said("((("))
    assert (score.outcome, score.note) == ("unparsed", "RecursionError: too deep: (((")
    assert score.metrics == {"exact_match": 0.0}


def test_a_metric_of_several_parts_keeps_them_also_where_it_failed() -> None:
    task = generating(Filter("f", whole, parts), headline="all")
    right, failed = (scoring.score(task, "generation", said(text))[0] for text in ("ab", None))
    assert (right.outcome, right.metrics) == ("right", {"all": 1.0, "each": [1.0, 1.0]})
    assert (failed.outcome, failed.metrics) == ("failed", {"all": 0.0, "each": [0.0, 0.0]})


def test_code_is_judged_by_running_it_or_not_at_all() -> None:
    task = generating(Filter("f", whole, same), headline="pass@1", code=True)
    assert scoring.score(task, "generation", said("return 4")) == []
    ran: list[str] = []

    def run_code(program: str, sample: Sample) -> dict[str, float]:
        ran.append(program)
        return {"pass@1": float("4" in program and sample.target == "4")}

    (score,) = scoring.score(task, "generation", said("return 4"), run_code)
    assert score.outcome == "right"
    assert "return 4" in ran


def chosen(*pairs: tuple[float, bool] | None) -> ItemResponses:
    return ItemResponses(
        task="tiny_mc",
        doc_id=3,
        doc={"question": "?", "choices": ["a", "bbbb", "cc"], "answer": 1},
        target="bbbb",
        arguments=[("?", f" {choice}") for choice in ("a", "bbbb", "cc")],
        responses=[[pair] for pair in pairs],
    )


def test_a_choice_is_judged_by_its_metrics() -> None:
    (score,) = scoring.score(CAPTURED_MC, "loglikelihood", chosen((-2.0, False), (-4.0, False), (-3.0, True)))
    assert (score.extracted, score.outcome, score.metrics) == (0, "wrong", {"acc": 0.0, "acc_norm": 1.0})


def test_a_choice_of_which_a_request_failed_has_failed() -> None:
    (score,) = scoring.score(CAPTURED_MC, "loglikelihood", chosen((-2.0, False), None, (-3.0, True)))
    assert (score.extracted, score.outcome, score.metrics) == (None, "failed", {"acc": 0.0, "acc_norm": 0.0})


def test_what_is_no_number_is_no_judgement() -> None:
    (score,) = scoring.score(CAPTURED_MC, "loglikelihood", chosen((-2.0, False), (float("nan"), False), (-3.0, True)))
    assert (score.outcome, score.note) == ("failed", "a log-likelihood is not a number")
    task = generating(Filter("f", whole, lambda _, __: {"exact_match": float("inf")}))
    (score,) = scoring.score(task, "generation", said("4"))
    assert (score.outcome, score.note) == ("unparsed", "ValueError: exact_match is inf")
    assert score.metrics == {"exact_match": 0.0}


def test_errors_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="sums cannot be answered by loglikelihood; it can by generation"):
        scoring.score(SUMS, "loglikelihood", said("4"))
    with pytest.raises(UsageError, match="item 0 is not a row of tiny_mc: KeyError: 'choices'"):
        scoring.score(CAPTURED_MC, "loglikelihood", said("4"))
    with pytest.raises(UsageError, match="item 3 of tiny_mc: 2 log-likelihoods, but 3 are wanted"):
        scoring.score(CAPTURED_MC, "loglikelihood", chosen((-2.0, False), (-1.0, False)))
