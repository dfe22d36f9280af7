"""Extractors and scorers of words, numbers and formulas on labelled cases, and on texts that could be slow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from loadstone import plugins
from loadstone.samples import Question, Sample
from loadstone.scorers import EXTRACTORS, SCORERS, bbh, boxed, match, number
from loadstone.scorers.base import Extractor, Scorer
from loadstone.scorers.math_equivalence import equivalent, score_math
from support.paths import TESTS

CASES = TESTS / "scorers/cases"
CHAINS: Mapping[str, tuple[Extractor, Scorer]] = {
    "aliases": (match.strip_whitespace, match.aliases),
    "bbh_number": (bbh.last_integer, bbh.score_bbh),
    "bbh_strict": (bbh.bbh_strict, match.strict_match),
    "boxed": (boxed.boxed, score_math),
    "brackets": (bbh.brackets, bbh.score_bbh),
    "gsm8k": (number.gsm8k_strict, number.score_gsm8k),
    "gsm8k_cot": (number.gsm8k_cot_strict, number.score_gsm8k),
    "gsm8k_flexible": (number.gsm8k_flexible, number.score_gsm8k),
    "mathematics": (boxed.math_answer, score_math),
    "minerva": (boxed.minerva, score_math),
    "number": (boxed.boxed_number, number.score_number),
    "option": (bbh.option, bbh.score_bbh),
    "ordered": (bbh.ordered_words, bbh.score_bbh),
    "squad": (boxed.skip_thinking(match.first_of(match.the_answer_is, match.strip_whitespace)), match.squad),
    "the_answer_is": (match.the_answer_is, match.loose_match),
}


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


def sample(target: str = "", answers: list[str] | None = None, doc: dict[str, Any] | None = None) -> Sample:
    return Sample(
        task="t",
        doc_id=0,
        doc=doc or {},
        target=target,
        ask=Question(query="?"),
        answers=[] if answers is None else answers,
    )


def score_case(case: dict[str, Any], extract: Extractor, score: Scorer) -> tuple[str | None, bool, Mapping[str, Any]]:
    item = sample(case["target"], case.get("answers"), case.get("doc"))
    extracted = extract(case["answer"], item)
    metrics = {} if extracted is None else score(extracted, item)
    return extracted, metrics.get("exact_match") == 1.0, metrics


@pytest.mark.parametrize("name", [*CHAINS, "one_of"])
def test_labelled_answers(name: str) -> None:
    labelled = cases(name)
    assert len(labelled) >= 30
    for case in labelled:
        words = case.get("words")
        chain = (bbh.one_of(*words), bbh.score_bbh) if words else CHAINS[name]
        extracted, right, metrics = score_case(case, *chain)
        assert (extracted, right) == (case["extracted"], case["right"]), case
        assert metrics.get("f1", 0.0) == pytest.approx(case.get("f1", metrics.get("f1", 0.0)), abs=1e-4), case


# The modules that this file tests.
MODULES = ("match", "number", "boxed", "math_equivalence", "bbh")


def names_of_modules(table: Mapping[str, str]) -> list[str]:
    return [name for name, path in table.items() if path.partition(":")[0].rpartition(".")[2] in MODULES]


@pytest.mark.parametrize("name", names_of_modules(EXTRACTORS))
def test_extractors_by_name_read_a_text(name: str) -> None:
    extract = plugins.load_instance("loadstone.scorers", name, EXTRACTORS, "--extractor")
    extracted = extract("", sample("5", doc={"input": ""}))
    assert extracted is None or isinstance(extracted, str)


@pytest.mark.parametrize("name", names_of_modules(SCORERS))
def test_scorers_by_name_load(name: str) -> None:
    assert callable(plugins.load_instance("loadstone.scorers", name, SCORERS, "--scorer"))


LONG = 1_500
HOSTILE = [
    "9**9**9**9", "9^{9^{9^{9^9}}}", "10^{6000}*" * 30 + "1", "999!" + "!" * 300, "1000!*" * 60 + "1",
    "\\boxed{" * LONG, "{" * LONG + "}" * LONG, "\\boxed{" * LONG + "}" * LONG, "$" * LONG, "\\(" * LONG, "\\[a" * LONG,
    "\\boxed " * LONG, "\\boxed" + " " * LONG, "the answer is " * LONG, "Final Answer: The final answer is" * LONG,
    "1,000" * LONG, "-" * LONG, "1" * LONG, "1 " * LONG, "1/" * LONG, "\\frac{" * LONG, "(1," * 300 + "1" + ")" * 300,
    "(" * 700 + ")" * 700, "\\sqrt" * 200 + "2", "\\frac" * 250, "|" * 1400, "x" * 1400, "1," * 700, "\\pm" * 400,
    "and " * 350, "\\text{" * 200, "{,}" * 400, "cm " * 400, "\\left" * 200, "[" * LONG, "(A" * LONG, "a.A" * LONG,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_text_takes_long_or_scores(text: str) -> None:
    for name, (extract, score) in CHAINS.items():
        for target in ("7", "(7, 8)"):
            item = sample(target, doc={"input": "(A) one\n(B) two List: one two"})
            for answer in (extract(text, item), text):
                assert answer is None or score(answer, item)["exact_match"] == 0.0, name


def test_long_answers_are_compared_as_text() -> None:
    assert equivalent("1 + " * 1000 + "1", "1 + " * 1000 + "1")
    assert not equivalent("1 + " * 1000 + "1", "1 + " * 1000 + "2")


def test_regex_takes_the_first_group_that_is_not_empty() -> None:
    extract = match.regex(r"(a)|(b)", group_select=-1)
    assert (extract("ab", sample()), extract("ba", sample()), extract("c", sample())) == ("b", "a", None)
    assert match.regex(r"\d", group_select=2)("1 2", sample()) is None


def test_exact_match_with_its_options() -> None:
    score = match.exact_match(ignore_case=True, ignore_punctuation=True, ignore_numbers=True, regexes_to_ignore=["x+"])
    assert score("A-1xx!", sample("a"))["exact_match"] == 1.0
    assert match.strict_match("A", sample("a"))["exact_match"] == 0.0


def test_first_and_last_line() -> None:
    text = "\n  one \n\ntwo\n \n"
    assert (match.first_line(text, sample()), match.last_line(text, sample())) == ("one", "two")
    assert match.last_line("\n \n", sample()) is None


def test_has_words_only_counts_text() -> None:
    assert [match.has_words(text, sample())["answered"] for text in ("words", " \n", "")] == [1.0, 0.0, 0.0]
