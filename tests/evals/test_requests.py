"""The requests of an item: prompts built as by lm-eval, worked examples drawn as by lm-eval, and stable ids."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import pytest

from loadstone.errors import UsageError
from loadstone.evals.data import samples
from loadstone.evals.data.samples import SampleSelection
from loadstone.evals.requests import build
from loadstone.evals.requests.eval_request import AnswerMode, LogprobMethod, RequestId
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Generation
from support import eval_tasks

SHOTS = [("Q: one\nA:", "1"), ("Q: two\nA:", "2")]


@dataclass
class Put:
    """What is asked, and the text that lm-eval 0.4.13 makes of it (fewshot_context, without a chat template)."""

    asked: Question
    text: str
    system: str | None = None


PUT = [
    Put(Question(query="Q: x\nA:"), "Q: x\nA:"),
    Put(Question(query="Q: x\nA:", description="Add up.\n\n"), "Add up.\n\nQ: x\nA:"),
    Put(Question(query="Q: x\nA:", shots=SHOTS), "Q: one\nA: 1\n\nQ: two\nA: 2\n\nQ: x\nA:"),
    Put(Question(query="x", shots=[("a", "b")], delimiter="\n", between="\n"), "a\nb\nx"),
    Put(Question(query="x", prefix="The answer is"), "x The answer is"),
    Put(Question(query="x\n", prefix="The answer is"), "x\nThe answer is"),
    Put(Question(query="x", shots=[("a", "b")], prefix="So:"), "a So: b\n\nx So:"),
    Put(Question(query="x", shots=[("a\n", "b")], prefix="So:\n"), "a\nSo:\nb\n\nx So:\n"),
    Put(Question(query="x", description="D.", between="\n\n"), "Be brief.\n\nD.x", system="Be brief."),
    Put(Question(query="x", description="D.\n"), "Be brief.\n\nD.\nx", system="Be brief."),
    Put(Question(query="x"), "Be brief.x", system="Be brief."),
]


@pytest.mark.parametrize("put", PUT, ids=lambda put: repr(put.text))
def test_a_text_is_put_together_as_by_lm_eval(put: Put) -> None:
    assert build.as_text(put.asked, put.system) == put.text


def test_messages_have_the_examples_before_the_question() -> None:
    asked = Question(query="Q: x\nA:", shots=SHOTS, description="Add up.")
    system = {"role": "system", "content": "Be brief.\n\nAdd up."}
    assert build.as_messages(asked, "Be brief.") == [
        system, {"role": "user", "content": "Q: one\nA: 1\n\nQ: two\nA: 2\n\nQ: x\nA:"},
    ]  # fmt: skip


def test_messages_have_the_examples_as_turns_where_asked_for() -> None:
    asked = Question(query="x", shots=[("a", "b")], prefix="So:")
    said = [(message["role"], message["content"]) for message in build.as_messages(asked, multiturn=True)]
    assert said == [("user", "a"), ("assistant", "So: b"), ("user", "x"), ("assistant", "So:")]


def test_what_the_answer_begins_with_is_the_assistants() -> None:
    said = build.as_messages(Question(query="x", shots=[("a", "b")], prefix="So:"))
    assert said == [{"role": "user", "content": "a So: b\n\nx"}, {"role": "assistant", "content": "So:"}]


CHAT = AnswerMode("generation", "chat")
ECHO = AnswerMode("loglikelihood", "completions", LogprobMethod("echo"))


def _sample(**changes: Any) -> Sample:
    usual = Sample(
        task="t", doc_id=7, doc={}, target="Paris", ask=Question(query="Q:"), choices=["Rome", "Paris"], gold=[1]
    )
    return msgspec.structs.replace(usual, **changes)


def test_a_choice_has_a_request_for_each_continuation() -> None:
    made = build.build_item(_sample(), ECHO)
    assert [[str(one.id) for one in passes] for passes in made.requests] == [["t:7/0"], ["t:7/1"]]
    assert [passes[0].continuation for passes in made.requests] == [" Rome", " Paris"]
    assert made.requests[0][0].prompt == "Q:"


def test_letters_are_asked_for_in_one_request() -> None:
    ((one,),) = build.build_item(
        _sample(choices=["A", "B"]), AnswerMode("letters", "completions", LogprobMethod("letters"))
    ).requests
    assert (str(one.id), one.letters) == ("t:7", [" A", " B"])


@pytest.mark.parametrize(("prefix", "continuation"), [("", "Rome"), ("So:", " Rome"), ("So: ", "Rome")])
def test_a_turn_begins_with_its_continuation(prefix: str, continuation: str) -> None:
    """As in lm-eval's construct_requests with a chat template."""
    made = build.build_item(
        _sample(ask=Question(query="Q:", prefix=prefix)),
        AnswerMode("loglikelihood", "chat", LogprobMethod("prompt_logprobs", "chat")),
    )
    assert made.requests[0][0].continuation == continuation


def test_the_first_pass_has_the_same_id_however_many_there_are() -> None:
    one = build.build_item(_sample(), CHAT, settings={"temperature": 0.6})
    three = build.build_item(_sample(), CHAT, settings={"temperature": 0.6}, repeat=3)
    assert one.requests[0][0] == three.requests[0][0]
    assert [str(wanted.id) for wanted in three.requests[0]] == ["t:7", "t:7#1", "t:7#2"]
    assert [wanted.settings["seed"] for wanted in three.requests[0]] == [1234, 1235, 1236]


def test_greedy_answers_need_no_seed() -> None:
    ((one,),) = build.build_item(_sample(), CHAT, settings={"temperature": 0.0}).requests
    assert one.settings == {"temperature": 0.0}


def test_a_generation_is_the_tasks_but_for_what_is_asked() -> None:
    spec = Generation(template="t", filters=(), stop=("Q:",), max_tokens=64, settings={"top_p": 0.9})
    task = msgspec.structs.replace(eval_tasks.SUMS, generation=spec)
    assert build.generation_settings(task, {}) == {"max_tokens": 64, "temperature": 0.0, "stop": ["Q:"], "top_p": 0.9}
    assert build.generation_settings(task, {"temperature": 1, "stop": []}) == {
        "max_tokens": 64,
        "temperature": 1,
        "top_p": 0.9,
    }
    assert "max_tokens" not in build.generation_settings(task, {"max_completion_tokens": 9})


@pytest.mark.parametrize(("seen", "sent"), [(None, "abcd"), (0, "abcd"), (4, "abcd"), (5, "abcde")])
def test_no_more_stop_texts_are_sent_than_the_server_takes(seen: int | None, sent: str) -> None:
    settings = {"stop": list("abcde"), "max_tokens": 1}
    assert build.cut_stops(settings, seen) == {"stop": list(sent), "max_tokens": 1}
    assert build.cut_stops({"stop": ["a"]}, seen) == {"stop": ["a"]}


def test_an_answer_ends_at_the_first_of_all_its_stop_texts() -> None:
    assert build.cut_at_stop("4\n\nQ: 5 + 5", {"stop": ["Q:", "\n\n", ""]}) == "4"
    assert build.cut_at_stop("4", {"stop": ["Q:"]}) == build.cut_at_stop("4", {}) == "4"


DOCS = [{"question": f"{n}", "answer": n} for n in range(20)]
POOL = [{"question": f"shot {n}", "answer": n} for n in range(9)]


def _shots(limit: float | None = None, pool: list[dict[str, Any]] = POOL, draw: str = "random", **which: Any) -> Any:
    task = msgspec.structs.replace(eval_tasks.SUMS, draw=draw)
    made = samples.select_samples(task, "generation", DOCS, pool, SampleSelection(limit=limit, **which))
    return {sample.doc_id: [answer for _, answer in sample.ask.shots] for sample in made}


def test_examples_are_drawn_as_by_lm_eval() -> None:
    """ContextSampler.sample: one Random(1234) for the split, a draw for each row in turn."""
    random = Random(1234)
    expected = {number: [str(doc["answer"]) for doc in random.sample(POOL, 2)] for number in range(20)}
    assert _shots() == expected


def test_examples_from_the_same_split_leave_the_row_itself_out() -> None:
    random, expected = Random(1234), {}
    for number, doc in enumerate(DOCS):
        expected[number] = [str(other["answer"]) for other in random.sample(DOCS, 3) if other != doc][:2]
    assert _shots(pool=DOCS) == expected


def test_examples_are_drawn_anew_where_rows_are_twice_in_the_split() -> None:
    twins = [{"question": "same", "answer": 1}] * 3 + [{"question": "other", "answer": n} for n in (7, 8)]
    made = samples.select_samples(eval_tasks.SUMS, "generation", twins, twins, SampleSelection())
    assert sorted(answer for _, answer in made[0].ask.shots) == ["7", "8"]


def test_examples_do_not_depend_on_which_rows_are_asked() -> None:
    whole = _shots()
    assert _shots(limit=5) == {number: whole[number] for number in range(5)}
    assert _shots(ids=[17, 3]) == {number: whole[number] for number in (3, 17)}


def test_the_first_examples_are_those_of_the_split() -> None:
    assert _shots(draw="first")[4] == ["0", "1"]
    assert _shots(draw="first", pool=DOCS)[0] == ["1", "2"]


def test_fixed_examples_are_as_many_as_there_are() -> None:
    task = msgspec.structs.replace(eval_tasks.SUMS, draw="fixed", fixed_shots=(("a", "1"), ("b", "2"), ("c", "3")))
    (first, *_) = samples.select_samples(task, "generation", DOCS, DOCS, SampleSelection(num_fewshot=9))
    assert first.ask.shots == list(task.fixed_shots)
    assert samples.shot_count(task, 1) == 1


def test_more_examples_than_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="exam_sums has 9 rows to take examples from: give --num-fewshot 9 or fewer"):
        _shots(num_fewshot=10)


@pytest.mark.parametrize(("limit", "count"), [(None, 20), (3, 3), (0.1, 2), (0.11, 3), (100, 20)])
def test_a_limit_is_a_number_or_a_share(limit: float | None, count: int) -> None:
    assert sorted(_shots(limit=limit)) == list(range(count))


def test_rows_that_are_not_the_tasks_keep_their_numbers() -> None:
    odd = msgspec.structs.replace(eval_tasks.SUMS, keep=lambda doc: doc["answer"] % 2 == 1, shots=0)
    made = samples.select_samples(odd, "generation", DOCS, DOCS, SampleSelection(limit=2))
    assert [sample.doc_id for sample in made] == [1, 3]


def test_a_doc_id_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--samples asks exam_sums for 20, but its doc_ids are 0 to 19"):
        _shots(ids=[20])


# Names of tasks with every character that separates the parts of an id.
NAMES = ["gsm8k", "qa:a/b", "v1.5#2", "a~1", "a:0", "a:0/0", "a:0#1", "a:0~1", "a:0.2", "a/1#2~3.4", "名 前", ""]


@pytest.mark.parametrize(
    ("request_id", "text"),
    [
        (RequestId("gsm8k", 3), "gsm8k:3"),
        (RequestId("arc", 3, number=0), "arc:3/0"),
        (RequestId("arc", 3, number=2, attempt=1), "arc:3/2#1"),
        (RequestId("wikitext", 0, number=0, window=4), "wikitext:0/0~4"),
        (RequestId("mt_bench", 7, attempt=2), "mt_bench:7#2"),
        (RequestId("qa:a/b.v1.5#x", 12), "qa:a/b.v1.5#x:12"),
    ],
)
def test_the_text_of_an_id_stays_as_it_was(request_id: RequestId, text: str) -> None:
    """Evaluations are continued by it, also those of earlier versions."""
    assert str(request_id) == text


def test_different_ids_have_different_texts_whatever_the_tasks_are_called() -> None:
    ids = [
        RequestId(name, doc_id, number, attempt, window)
        for name in NAMES
        for doc_id in (0, 1, 10)
        for number in (None, 0, 1)
        for attempt in (0, 1)
        for window in (0, 1)
    ]
    assert len({str(each) for each in ids}) == len(ids)
