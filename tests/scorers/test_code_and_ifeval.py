"""Scores of IFEval and HumanEval on labelled cases, and rows that are refused."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.errors import UsageError
from loadstone.evals.scoring import sandbox
from loadstone.evals.scoring.aggregate import pass_at
from loadstone.samples import Question, Sample
from loadstone.scorers import code, ifeval, match
from loadstone.scorers.ifeval.checks import CHECKS
from loadstone.scorers.ifeval.counting import count_capitals, split_sentences
from loadstone.scorers.ifeval.languages import detect_language
from loadstone.tasks import humaneval
from loadstone.tasks import ifeval as ifeval_task
from support.paths import SHARED, TESTS

CASES = TESTS / "scorers/cases"
DATA = SHARED / "data/humaneval/HumanEval.jsonl.gz"


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


def item(doc: dict[str, Any], task: str = "ifeval") -> Sample:
    return Sample(task=task, doc_id=7, doc=doc, target="", ask=Question(query=""))


def case_id(case: dict[str, Any]) -> str:
    return f"{case['doc']['instruction_id_list'][0]}: {case['why']}"


@pytest.mark.parametrize("case", cases("ifeval"), ids=case_id)
def test_ifeval(case: dict[str, Any]) -> None:
    sample = item(case["doc"])
    assert match.whole(case["answer"], sample) == case["extracted"]
    found = ifeval.score_ifeval(case["answer"], sample)
    assert found["prompt_level_strict_acc"] == case["right"]
    assert found["prompt_level_loose_acc"] == case["loose"]
    for kind in ("strict", "loose"):
        each = found[f"inst_level_{kind}_acc"]
        assert isinstance(each, list)
        assert len(each) == len(case["doc"]["kwargs"])
        assert all(each) == found[f"prompt_level_{kind}_acc"]


def test_each_of_the_25_checks_has_two_cases_of_each_kind() -> None:
    counted = Counter((case["doc"]["instruction_id_list"][0], case["right"]) for case in cases("ifeval"))
    assert len(CHECKS) == 25
    assert all(counted[name, right] >= 2 for name in CHECKS for right in (True, False))


def test_each_of_several_instructions_counts() -> None:
    doc = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}],
    }
    assert ifeval.score_ifeval("No such sign", item(doc)) == {
        "prompt_level_strict_acc": 0.0,
        "inst_level_strict_acc": [1.0, 0.0],
        "prompt_level_loose_acc": 0.0,
        "inst_level_loose_acc": [1.0, 0.0],
    }


@pytest.mark.parametrize(
    ("doc", "says"),
    [
        ({}, "'instruction_id_list' is missing or unknown"),
        ({"instruction_id_list": ["keywords:none"], "kwargs": [{}]}, "'keywords:none' is missing or unknown"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "1 instructions have 0 kwargs"),
        ({"instruction_id_list": ["length_constraints:number_words"],
          "kwargs": [{"num_words": 3}]}, "'relation' is missing"),
        ({"instruction_id_list": ["length_constraints:number_words"], "kwargs": [None]}, "'num_words' is missing"),
        ({"instruction_id_list": ["length_constraints:number_words"],
          "kwargs": [{"num_words": "3", "relation": "at least"}]}, "num_words is '3'"),
        ({"instruction_id_list": ["length_constraints:number_words"],
          "kwargs": [{"num_words": 3, "relation": "about"}]}, "relation is 'about', not 'less than' or 'at least'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": "word"}]}, "keywords is 'word'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": [1]}]}, r"keywords is \[1\]"),
        ({"instruction_id_list": ["length_constraints:number_paragraphs"], "kwargs": [{"num_paragraphs": 1.5}]},
         "num_paragraphs is 1.5"),
        ({"instruction_id_list": ["length_constraints:number_paragraphs"], "kwargs": [{"num_paragraphs": True}]},
         "num_paragraphs is True"),
        ({"instruction_id_list": 3, "kwargs": 3}, "not a row of IFEval"),
    ],
)  # fmt: skip
def test_a_row_of_another_kind_is_refused(doc: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ifeval.score_ifeval("text", item(doc))
    with pytest.raises(UsageError, match=says):
        ifeval_task.check_row(doc)


@settings(max_examples=20, deadline=None)
@given(st.text(), st.sampled_from([case["doc"] for case in cases("ifeval")]))
def test_any_text_can_be_checked(text: str, doc: dict[str, Any]) -> None:
    found = ifeval.score_ifeval(text, item(doc))
    assert found["prompt_level_loose_acc"] >= found["prompt_level_strict_acc"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), ("  \n ", 0), ("One", 1), ("Mr. Smith. Mrs. Smith.", 2), ("What?! Yes.", 2), ("1. One\n2. Two.", 3),
        ("He said \"Hi.\" Then he left.", 2), ("(All of it.) Then more.", 2), ("In the U.S. Army", 1),
        ("In the U.S. However, not here.", 2), ("Wait... what?", 1), ("It is 3.5. Or 4.", 2), ("**Bold.** Next.", 2),
        ("J. K. Rowling wrote.", 1), ("e.g. this", 2),
    ],
)  # fmt: skip
def test_sentences_are_those_of_nltk(text: str, count: int) -> None:
    """Counted with NLTK 3.10's PunktTokenizer('english')."""
    assert len(split_sentences(text)) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [("NASA, ESA.", 2), ("I CAN'T", 3), ("CANNOT", 2), ("A-B C/D", 2), ("3D", 1), ("(YES) **NO**", 2), ("JOHN'S", 2)],
)
def test_words_in_capitals_are_those_of_nltk(text: str, count: int) -> None:
    assert count_capitals(text) == count


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "what is the best way to do this"),
        ("es", "no sé qué es lo que quieres decir con eso"),
        ("pt", "eu não sei o que você quer dizer com isso"),
        ("fr", "je ne sais pas ce que vous voulez dire"),
        ("it", "non so che cosa vuoi dire con questo"),
        ("pl", "nie wiem, co chcesz przez to powiedzieć"),
        ("vi", "tôi không biết bạn muốn nói gì với điều này"),
        ("sw", "sijui unataka kusema nini na hii, lakini ni sawa kwa watu wote"),
        ("fi", "en tiedä mitä sinä tarkoitat, mutta se on hyvin kaunis"),
        ("ru", "я не знаю, что вы хотите этим сказать"),
        ("uk", "я не знаю, що ви хочете цим сказати, але це є добре"),
        ("bg", "не знам какво искаш да кажеш с това, но е добре"),
        ("ar", "لا أعرف ما الذي تريد أن تقوله من هذا"),
        ("fa", "من نمی دانم که شما از این چه می خواهید بگویید"),
        ("ur", "مجھے نہیں معلوم کہ آپ اس سے کیا کہنا چاہتے ہیں"),
        ("hi", "मुझे नहीं पता कि आप क्या कहना चाहते हैं"),
        ("mr", "मला माहीत नाही तुम्हाला काय म्हणायचे आहे"),
        ("ne", "मलाई थाहा छैन तपाईं के भन्न चाहनुहुन्छ"),
        ("ja", "これは何ですか。日本語で書いてください。"),
        ("zh", "我不知道你想说什么"),
        ("ko", "무슨 말인지 모르겠습니다"),
        ("th", "ฉันไม่รู้ว่าคุณหมายถึงอะไร"),
        ("ta", "நீங்கள் என்ன சொல்கிறீர்கள்"),
        ("te", "మీరు ఏమి చెబుతున్నారు"),
        ("kn", "ನೀವು ಏನು ಹೇಳುತ್ತಿದ್ದೀರಿ"),
        ("ml", "നിങ്ങൾ എന്താണ് പറയുന്നത്"),
        ("gu", "તમે શું કહો છો"),
        ("pa", "ਤੁਸੀਂ ਕੀ ਕਹਿ ਰਹੇ ਹੋ"),
        ("bn", "আপনি কি বলতে চান"),
        ("he", "אני לא יודע מה אתה רוצה לומר"),
        ("de", "ich weiß nicht, was du damit sagen willst"),
        ("nl", "ik weet niet wat je daarmee wilt zeggen"),
        (None, "1 + 1 = 2 :-)"),
        (None, ""),
    ],
)
def test_languages(code: str | None, text: str) -> None:
    assert detect_language(text) == code
    assert detect_language(text.upper()) == code


@pytest.mark.parametrize(
    "text", ["\n" * 30_000, "[ " * 30_000, "<<" * 30_000, "[" * 30_000 + "]", "<<" * 30_000 + ">>"]
)
def test_repetitive_answers_are_fast(text: str) -> None:
    """A search that starts at each character would take up to half a minute for each of these."""
    kwargs = [{"num_placeholders": 2}, {}]
    doc = {
        "instruction_id_list": ["detectable_content:number_placeholders", "detectable_format:title"],
        "kwargs": kwargs,
    }
    assert ifeval.score_ifeval(text, item(doc))["inst_level_strict_acc"] == [0.0, 0.0]
    assert code.extract_program(text, item(cases("program")[0]["doc"], "humaneval")) is None


def programs() -> Iterator[tuple[dict[str, Any], str | None]]:
    readers = {"continued": code.complete_prompt, "program": code.extract_program}
    for case in cases("program"):
        yield case, readers[case["extractor"]](case["answer"], item(case["doc"], "humaneval"))


def test_what_is_taken_for_a_program() -> None:
    found = list(programs())
    assert Counter(case["extractor"] for case, _ in found)["program"] >= 30
    assert not [case["why"] for case, program in found if (program is not None) != case["parsed"]]


# Many programs in one sandbox, but for those that end their process.
ALL = """
results = ""
for program in {programs!r}:
    try:
        exec(program, {{"__name__": "answer"}})
        results += "1"
    except BaseException:
        results += "0"
print(results)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="programs run on Linux and macOS only")
def test_programs_that_pass_the_tests_of_the_item_are_right() -> None:
    found = [(case, program) for case, program in programs() if program is not None]
    gentle = [(case, program) for case, program in found if "_exit" not in program]
    assert len(gentle) == len(found) - 1
    verdict = sandbox.run(ALL.format(programs=[program for _, program in gentle]))
    results = verdict.output.splitlines()[-1]
    assert len(results) == len(gentle), verdict
    assert not [case["why"] for (case, _), result in zip(gentle, results, strict=True) if case["right"] != int(result)]


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.sampled_from("`~ \n\tdef double(items):return x'\"#\\")))
def test_any_text_can_be_read_as_a_program(text: str) -> None:
    doc = cases("program")[0]["doc"]
    found = code.extract_program(text, item(doc, "humaneval"))
    assert found is None or found.endswith(f"{doc['test']}\ncheck({doc['entry_point']})")


@pytest.mark.skipif(not DATA.is_file(), reason="no ../shared/data/humaneval")
def test_canonical_solutions_of_humaneval_pass() -> None:
    """Read all of them and run a few; tests/bench/humaneval.py runs all."""
    docs = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
    completed = [code.complete_prompt(doc["canonical_solution"], item(doc, "humaneval")) for doc in docs]
    chat = [code.extract_program(f"```python\n{doc['canonical_solution']}```", item(doc, "humaneval")) for doc in docs]
    assert len(completed) == 164
    assert chat == completed
    few = [
        number for number, doc in enumerate(docs) if doc["entry_point"] in {"string_to_md5", "find_zero", "max_fill"}
    ]
    assert all(verdict.passed for verdict in sandbox.run_all([completed[number] for number in few]))


def test_prompts_are_those_of_lm_eval() -> None:
    doc = cases("program")[0]["doc"]
    completed, chatted = humaneval.BENCHMARK.tasks
    assert completed.generation
    assert chatted.generation
    assert completed.query(doc) == doc["prompt"]
    assert completed.target(doc) == doc["test"] + "\ncheck(double)"
    assert completed.generation.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    assert chatted.query(doc) == (
        "Write a solution to the following problem and make sure that it passes the tests:\n```python\n"
        + doc["prompt"] + "\n```\n"
    )  # fmt: skip
    assert completed.generation.code
    with pytest.raises(UsageError, match="--allow-code-execution"):
        completed.generation.filters[0].score("x = 1", item(doc, "humaneval"))
    (task,) = ifeval_task.BENCHMARK.tasks
    assert task.generation
    assert (task.query({"prompt": "Do it"}), task.target({}), task.generation.max_tokens) == ("Do it", "0", 1280)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(n, c, k) for n in (1, 2, 5, 6) for c in range(n + 1) for k in range(1, n + 1)]
)
def test_pass_at_k_is_the_fraction_of_draws_with_a_right_one(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert pass_at(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 2), (2, 3, 1), (2, -1, 1), (2, 1, 0), (0, 0, 1)])
def test_pass_at_k_refuses_fewer_answers_than_k(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of {n} answers, {c} of them right"):
        pass_at(n, c, k)
