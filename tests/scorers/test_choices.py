"""Letters, likelihoods and overlap on labelled cases. The cases contain the results of lm-eval 0.4.13."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadstone.samples import Question, Sample
from loadstone.scorers import bleu_rouge, choice, letter
from loadstone.tasks import gpqa_diamond, mmlu
from support.paths import TESTS

CASES = TESTS / "scorers/cases"
Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


def sample(case: Case) -> Sample:
    doc = case.get("doc", {"choices": case.get("choices", [])})
    gold, target = case.get("gold", []), case.get("target", "")
    return Sample(
        task="t", doc_id=0, doc=doc, target=target, ask=Question(query=""), choices=case["choices"], gold=gold
    )


def case_id(case: Case) -> str:
    return repr(case["answer"])[:40]


@pytest.mark.parametrize("case", cases("letter"), ids=case_id)
def test_letter_of_an_answer(case: Case) -> None:
    item = sample(case)
    extracted = letter.extract_letter(case["answer"], item)
    assert extracted == case["extracted"], case["why"]
    assert (extracted is not None and letter.score_letter(extracted, item)["exact_match"] == 1.0) == case["right"]


@pytest.mark.parametrize("case", cases("letters"), ids=case_id)
def test_letters_of_an_answer(case: Case) -> None:
    item = sample(case)
    extracted = letter.extract_letters(case["answer"], item)
    assert extracted == case["extracted"], case["why"]
    assert (extracted is not None and letter.score_letters(extracted, item)["exact_match"] == 1.0) == case["right"]


FILTERS = {each.name: each for each in (*mmlu.GENERATION.filters[1:], *gpqa_diamond.GENERATION.filters[1:])}


@pytest.mark.parametrize("case", cases("letter_filters"), ids=case_id)
def test_filters_give_the_results_of_lm_eval(case: Case) -> None:
    for name, (extracted, right) in case["filters"].items():
        target = case["target"] if name == "get_response" else f"({case['target']})"
        item = sample({**case, "target": target})
        answer = FILTERS[name].extract(case["answer"], item)
        assert ("[invalid]" if answer is None else answer) == extracted
        assert (0.0 if answer is None else FILTERS[name].score(answer, item)["exact_match"]) == right


def test_choices_come_from_the_doc_if_those_of_the_sample_are_letters() -> None:
    doc = {"question": "?", "A": "London", "B": "Paris", "C": "Berlin", "D": "Madrid", "answer": "B"}
    item = Sample(task="t", doc_id=0, doc=doc, target="B", ask=Question(query=""), choices=list("ABCD"), gold=[1])
    assert letter.extract_letter("Paris", item) == "B"
    arc = {"choices": {"text": ["ice", "stone", "wool"], "label": ["1", "2", "3"]}}
    assert letter.extract_letter("It is wool.", Sample(task="t", doc_id=0, doc=arc, target="C", ask=item.ask)) == "C"
    assert letter.extract_letter("D", Sample(task="t", doc_id=0, doc=arc, target="C", ask=item.ask)) is None


def test_a_target_that_is_no_letter_is_scored_by_the_gold_choices() -> None:
    item = Sample(
        task="t", doc_id=0, doc={}, target="Paris", ask=Question(query=""), choices=["London", "Paris"], gold=[1]
    )
    assert letter.score_letter("B", item) == {"exact_match": 1.0}
    assert letter.score_letter("A", item) == {"exact_match": 0.0}


def test_two_of_three_letters() -> None:
    item = sample({"choices": list("abcde"), "target": "ACE"})
    assert letter.score_letters("AC", item) == {"exact_match": 0.0, "f1": pytest.approx(0.8)}


def likelihoods(case: Case) -> list[tuple[float, bool]]:
    return [(value, greedy) for value, greedy in case["answered"]]


@pytest.mark.parametrize("case", cases("choice"), ids=lambda case: case["why"])
def test_choice_metrics_are_those_of_lm_eval(case: Case) -> None:
    item = sample(case)
    _, metrics = choice.score_choice(list(case["metrics"]), likelihoods(case), item)
    assert {name: metrics[name] for name in case["metrics"]} == pytest.approx(case["metrics"], abs=1e-9)


def test_the_first_metric_takes_the_choice() -> None:
    item = sample({"choices": ["short", "a much longer choice"], "gold": [1]})
    answered = [(-4.0, False), (-6.0, False)]
    assert choice.score_choice(["acc", "acc_norm"], answered, item) == (0, {"acc": 0.0, "acc_norm": 1.0})
    assert choice.score_choice(["acc_norm", "acc"], answered, item) == (1, {"acc": 0.0, "acc_norm": 1.0})


def test_mc2_is_also_reported_under_the_name_of_lm_eval() -> None:
    item = sample({"choices": ["a", "b"], "gold": [0]})
    assert choice.score_choice(["mc2"], [(-1.0, False), (-1.0, False)], item) == (0, {"mc2": 0.5, "acc": 0.5})


def test_mc2_of_choices_too_long_for_a_probability() -> None:
    item = sample({"choices": ["a", "b"], "gold": [0]})
    assert choice.score_choice(["mc2"], [(-2000.0, False), (-2000.0, False)], item)[1]["mc2"] == 0.5


def test_probability_mass() -> None:
    assert choice.probability_mass([(-0.6931471805599453, True), (-1.3862943611198906, False)]) == pytest.approx(0.75)
    assert choice.probability_mass([(float("-inf"), False)]) == 0.0


@pytest.mark.parametrize(
    ("names", "count", "sentence"),
    [
        (["acc"], 3, "3 log-likelihoods, but 2 are wanted for 2 choices"),
        (["acc_mutual_info"], 2, "2 log-likelihoods, but 4 are wanted for 2 choices"),
        (["bleu"], 2, "no metric of a choice is called 'bleu': take acc, "),
    ],
)
def test_errors_of_score_choice(names: list[str], count: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        choice.score_choice(names, [(-1.0, False)] * count, sample({"choices": ["a", "b"], "gold": [0]}))


@pytest.mark.parametrize("case", cases("overlap"), ids=case_id)
def test_overlap_is_that_of_sacrebleu_and_rouge_score(case: Case) -> None:
    metrics = bleu_rouge.score_overlap(case["answer"], sample({**case, "choices": []}))
    assert metrics == pytest.approx(case["metrics"], abs=1e-6)
    assert (metrics["rouge1_acc"] >= 0.5) == case["right"]


@pytest.mark.parametrize("name", ["letter", "letters", "choice", "overlap", "letter_filters"])
def test_each_file_has_thirty_cases(name: str) -> None:
    assert len(cases(name)) >= 30


def test_wide_gaps_are_fast() -> None:
    """Some models write blanks up to the token limit."""
    assert letter.read_letter("A" + " " * 30_000 + "is correct", ["ice", "stone"]) == "A"
    assert letter.read_letter("Answer:" + "\n \n" * 10_000 + "B", ["ice", "stone"]) == "B"
