"""Every extractor and scorer with a name has at least thirty labelled cases in a file that a test reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from loadstone.samples import Question, Sample
from loadstone.scorers import EXTRACTORS, SCORERS, match, number
from support.paths import TESTS

CASES = TESTS / "scorers/cases"
Case = dict[str, Any]
EMPTY = Sample(task="t", doc_id=0, doc={}, target="", ask=Question(query=""))
MIN_CASES = 30
# The file with the cases of each extractor, and of each scorer.
EXTRACTED = {
    "letter": "letter", "letters": "letters", "continued": "program", "program": "program", "whole": "ifeval",
    "stripped": "aliases", "first_line": "lines", "last_line": "lines", "the_answer_is": "the_answer_is",
    "gsm8k_strict": "gsm8k", "gsm8k_cot_strict": "gsm8k_cot", "gsm8k_flexible": "gsm8k_flexible",
    "last_number": "lines", "boxed": "boxed", "boxed_number": "number", "minerva": "minerva",
    "math_answer": "mathematics", "bbh": "bbh_strict", "option": "option", "ordered_words": "ordered",
    "brackets": "brackets",
}  # fmt: skip
SCORED = {
    "letter": "letter", "letters": "letters", "overlap": "overlap", "ifeval": "ifeval", "exact_match": "bbh_strict",
    "loose_match": "the_answer_is", "squad": "squad", "aliases": "aliases", "answered": "lines", "gsm8k": "gsm8k",
    "bbh": "option", "number": "number", "mathematics": "mathematics",
}  # fmt: skip


def cases(name: str) -> list[Case]:
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


def count_cases(name: str, file: str) -> int:
    """Return the number of different cases; in a file for several extractors, of those for this one."""
    own = [case for case in cases(file) if case.get("extractor", name) == name]
    return len({json.dumps([case.get(key) for key in ("answer", "target", "doc", "words")]) for case in own})


def test_all_have_thirty_cases() -> None:
    assert (EXTRACTED.keys(), SCORED.keys()) == (EXTRACTORS.keys(), SCORERS.keys())
    few = {name: count for table in (EXTRACTED, SCORED) for name, file in table.items()
           if (count := count_cases(name, file)) < MIN_CASES}  # fmt: skip
    assert not few
    labelled = [file for file in {*EXTRACTED.values(), *SCORED.values()} if "right" in cases(file)[0]]
    assert all({case["right"] for case in cases(file)} == {True, False} for file in labelled)


READERS: dict[str, Callable[[str, Sample], object]] = {
    "first_line": match.first_line,
    "last_line": match.last_line,
    "last_number": number.last_number,
    "answered": lambda text, item: match.has_words(text, item)["answered"],
}


@pytest.mark.parametrize("name", READERS)
def test_lines_and_last_numbers(name: str) -> None:
    assert [READERS[name](case["answer"], EMPTY) for case in cases("lines")] == [case[name] for case in cases("lines")]
