"""Recorded answers of the simulated server: which rows get what, what is sent for them, and their log-likelihoods."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from loadstone.errors import UsageError
from loadstone.sim import logprobs, recorded_answers, request
from loadstone.sim.answer_lookup import AnswerLookup
from loadstone.sim.bodies import Page
from loadstone.sim.formats import FORMATS
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import ParsedRequest
from support.paths import SHARED
from support.servers import Capture, Sim, clean, post, records, refused
from support.servers import loadstone as command

GSM8K = SHARED / "data" / "gsm8k" / "test.jsonl"
SHARES = {"wrong": 264.0, "truncated": 0.03, "unparsable": 0.02, "empty": 0.01, "failing": 0.05}


def book(*rows: dict[str, Any]) -> recorded_answers.RecordedAnswers:
    return recorded_answers.parse([json.dumps(row).encode() for row in rows], "answers.jsonl")


def asked(body: dict[str, Any], path: bytes = b"/v1/chat/completions") -> ParsedRequest:
    found = request.parse_body(json.dumps(body).encode(), FORMATS[path], Settings())
    assert isinstance(found, ParsedRequest), found
    return found


def said(memory: AnswerLookup, ask: ParsedRequest) -> tuple[str, str] | int:
    """Text and finish reason of the answer, or its status."""
    found = memory.apply(ask)
    return found.status if isinstance(found, Page) else ("".join(found.reply_tokens[0]), found.finish_reason)


def chat(text: str, **more: Any) -> ParsedRequest:
    return asked({"messages": [{"role": "user", "content": text}], **more})


@pytest.mark.parametrize(
    ("answer", "wrong", "short"),
    [
        ("B", "A", recorded_answers.TRUNCATED_TEXT),
        ("The answer is (A).", "The answer is (B).", "The answer is ("),
        ("9 eggs.\n#### 18", "9 eggs.\n#### 19", "9 eggs.\n####"),
        ("It is 72 <<48+24=72>>72\n#### 72", "It is 72 <<48+24=72>>72\n#### 73", "It is"),
        ("#### 1,234", "#### 1,235", "####"),
        ("$2.50", "$3.50", "$"),
        ("-3", "-2", recorded_answers.TRUNCATED_TEXT),
        ("Norman Mailer", "something else", "Norman"),
    ],
)
def test_wrong_and_unfinished_answers_made_of_right_ones(answer: str, wrong: str, short: str) -> None:
    assert recorded_answers.make_wrong(answer) == wrong
    assert recorded_answers.truncate_answer(answer) == short


def test_a_row_may_bring_its_own_wrong_answer_and_an_answer_for_each_pass() -> None:
    found = book({"question": "Who?", "answer": ["one", "two"], "wrong": "nobody"})
    memory = AnswerLookup(found)
    assert [said(memory, chat("Who?")) for _ in range(3)] == [("one", "stop"), ("two", "stop"), ("one", "stop")]
    found.assign_kinds({"wrong": 1.0}, 0)
    assert said(memory, chat("Who?")) == ("nobody", "stop")


def test_the_question_that_ends_last_counts_and_of_several_the_longest() -> None:
    found = book(
        {"question": "What is 2?", "answer": "two"},
        {"prompt": "And what is 2?", "answer": "two, too"},
        {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": " Why? "}], "answer": "so"},
    )
    for prompt, answer in {
        "What is 2?": "two",
        "Question: Why?\nAnswer: so\n\nQuestion: What is 2?\nAnswer:": "two",
        "Q: What is 2?\nA: two\n\nQ: Why?\nA:": "so",
        "And what is 2?": "two, too",
    }.items():
        row = found.find(prompt)
        assert row is not None
        assert row.answers == [answer], prompt
    assert found.find("What is 3?") is None


def test_what_is_not_known_is_answered_as_ever() -> None:
    ask = chat("Where?")
    assert AnswerLookup(book({"question": "Who?", "answer": "me"})).apply(ask) is ask


def test_rows_that_ask_the_same_are_one() -> None:
    found = book({"id": "a", "question": "Who?", "answer": "me"}, {"id": "b", "question": "Who? ", "answer": "you"})
    found.assign_kinds({"failing": 0.5}, 0)
    assert [json.loads(line) for line in found.kinds_jsonl()] == [
        {"id": "a", "kind": "failing"},
        {"id": "b", "kind": "failing"},
    ]


def test_lengths_and_stop_texts_cut_an_answer() -> None:
    memory = AnswerLookup(book({"question": "Who?", "answer": "It is me.\n\nQuestion: and you?"}))
    assert said(memory, chat("Who?", stop=["Question:"])) == ("It is me.\n\n", "stop")
    assert said(memory, chat("Who?", stop="Question:", max_tokens=2)) == ("It is", "length")
    assert said(memory, chat("Who?", max_tokens=50)) == ("It is me.\n\nQuestion: and you?", "stop")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "x"}, "line 1 is no recorded answer"),
        ({"answer": "x"}, "line 1 is no recorded answer"),
        ({"question": "x", "answer": []}, "line 1 is no recorded answer"),
    ],
)
def test_files_that_hold_no_answers(row: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        book(row)


def test_shares_that_cannot_be() -> None:
    found = book({"question": "a", "answer": "1"}, {"question": "b", "answer": "2"})
    with pytest.raises(UsageError, match="come to 3 rows of 2"):
        found.assign_kinds({"wrong": 1, "empty": 0.5}, 0)
    with pytest.raises(UsageError, match="--answer-wrong takes a share"):
        found.assign_kinds({"wrong": -0.1}, 0)


@pytest.mark.skipif(not GSM8K.is_file(), reason="the data of ../shared/data is not here")
@pytest.mark.parametrize("form", ["chat", "completions"])
def test_every_question_of_gsm8k_gets_just_what_was_planted(form: str) -> None:
    """923 right, 264 wrong, 40 cut off, 26 without an answer, 13 empty, 66 that fail: all behind five worked examples,
    and read back as a scorer would."""
    lines = GSM8K.read_bytes().splitlines()
    found = recorded_answers.parse(lines, "test.jsonl")
    found.assign_kinds({**SHARES, "wrong": 251.0}, 7)
    rows = [json.loads(line) for line in lines]
    memory, counts = AnswerLookup(found), Counter[str]()
    for number, row in enumerate(rows):
        shots = "".join(
            f"Question: {shot['question']}\nAnswer: {shot['answer']}\n\n" for shot in rows[number - 5 : number]
        )
        text = f"{shots}Question: {row['question']}\nAnswer:"
        ask = chat(text) if form == "chat" else asked({"prompt": text}, b"/v1/completions")
        counts[read_back(said(memory, ask), row["answer"].rpartition("#### ")[2])] += 1
    planted = Counter(json.loads(line)["kind"] for line in found.kinds_jsonl())
    assert counts == planted
    assert counts == {"right": 923, "wrong": 251, "truncated": 40, "unparsable": 26, "empty": 13, "failing": 66}


def read_back(answer: tuple[str, str] | int, target: str) -> str:
    if isinstance(answer, int):
        return "failing"
    text, finish = answer
    numbers = re.findall(r"-?[\d,]*\d(?:\.\d+)?", text)
    if finish == "length":
        assert target.replace(",", "") not in [number.replace(",", "") for number in numbers]
        return "truncated"
    if not numbers:
        return "unparsable" if text else "empty"
    return "right" if numbers[-1].replace(",", "") == target.replace(",", "") else "wrong"


# over HTTP


def answers(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("engine", ["exact", "vllm"])
@pytest.mark.parametrize("flags", [(), ("--no-stream",), ("--api", "completions")])
def test_answers_come_over_the_wire_as_they_were_recorded(
    engine: str, flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    clean(monkeypatch, tmp_path)
    text = 'She said "so":\n\tx = \\frac{1}{2} — 两个 \U0001f600 #### 12'
    path = answers(tmp_path, *({"question": f"Question {n}?", "answer": text} for n in range(8)))
    settings = {"answers": str(path), "planted": "truth.jsonl", "engine": engine}
    if engine == "vllm":
        settings |= {"preset": "tiny"}
    with Sim(**settings, answer_failing=0.25, answer_empty=0.125, answer_truncated=0.125) as sim:
        flags = ("--prompt-field", "question", "-n", "8", "--save-text", *flags)
        command(capsys, "run", "--url", sim.url, "-o", "run", "--quiet", "--dataset", path, *flags)
    kinds = [json.loads(line)["kind"] for line in Path("truth.jsonl").read_bytes().splitlines()]
    assert Counter(kinds) == {"right": 4, "failing": 2, "empty": 1, "truncated": 1}
    for kind, record in zip(kinds, records(Path("run")), strict=True):
        error = record.error.kind if record.error else None
        expected = {"failing": (None, None, "status"), "empty": ("", "stop", "empty"),
                    "truncated": (recorded_answers.truncate_answer(text), "length", None)}  # fmt: skip
        assert (record.text, record.finish, error) == expected.get(kind, (text, "stop", None))


def test_a_run_names_the_file_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    said = refused(capsys, "serve", "--port", 0, "--answers", tmp_path / "no.jsonl")
    assert "no.jsonl" in said
    assert "--answers" in said


# log-likelihoods


CHOICES = ["Paris", "Rome", "the old town"]


def likelihood(sim: Sim, context: str, choice: str, **more: Any) -> tuple[float, bool]:
    """Of a continuation, and whether no other was likelier: by an echo, or by what is told of the prompt."""
    body = {"prompt": context + choice, "max_tokens": 0, "echo": True, "logprobs": 1, **more}
    reply = ResponseParser(Completions(), stream=bool(more.get("stream")), keep_text=True)
    status, kind, data = post(sim.url + "/v1/completions", body)
    reply.start(status, kind)
    reply.feed(data, 0)
    assert reply.finish() is None
    found = reply.logprobs()
    assert found is not None
    assert found.offsets is not None
    assert found.prompt == len((context + choice).split())
    places = [place for place, at in enumerate(found.offsets[: found.prompt]) if at >= len(context)]
    assert "".join(found.tokens[place] for place in places) == choice
    return math.fsum(found.values[place] or 0.0 for place in places), all(found.best[place] for place in places)


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_recorded_is_the_likeliest_to_follow(stream: bool, tmp_path: Path) -> None:
    path = answers(tmp_path, {"question": "Where?", "answer": "the old town"}, {"question": "When?", "answer": "now"})
    with Sim(answers=str(path)) as sim:
        told = [likelihood(sim, "Question: Where?\nAnswer:", f" {choice}", stream=stream) for choice in CHOICES]
    assert told[2] == (pytest.approx(3 * logprobs.LIKELY), True)
    assert all(value < 10 * told[2][0] and not best for value, best in told[:2])
    assert len({value for value, _ in told}) == 3


def test_a_row_that_is_to_be_wrong_has_its_answer_least_likely(tmp_path: Path) -> None:
    path = answers(tmp_path, {"question": "Where?", "answer": "Paris", "wrong": "Rome"})
    with Sim(answers=str(path), answer_wrong=1.0) as sim:
        told = [likelihood(sim, "Where?\nAnswer:", f" {choice}") for choice in CHOICES]
    assert [best for _, best in told] == [False, True, False]
    assert min(told)[0] == told[0][0] == logprobs.UNLIKELY


def test_an_echo_of_everything_else_is_the_same_each_time() -> None:
    with Sim() as sim, Sim(seed=5) as other:
        first = likelihood(sim, "one two", " three four")
        assert first == likelihood(sim, "one two", " three four") == likelihood(other, "one two", " three four")
        assert first != likelihood(sim, "one two", " four three")


def test_chat_tells_of_its_prompt_and_of_what_it_generates(tmp_path: Path) -> None:
    path = answers(tmp_path, {"question": "Which?", "answer": "C"})
    body = {"messages": [{"role": "user", "content": "Which?"}], "max_tokens": 1, "logprobs": True, "top_logprobs": 5}
    with Sim(answers=str(path)) as sim:
        status, kind, data = post(sim.url + "/v1/chat/completions", body)
        told = {"messages": [{"role": "user", "content": "Which? C"}], "max_tokens": 1, "prompt_logprobs": 1}
        asked = post(sim.url + "/v1/chat/completions", told)
        streamed = post(sim.url + "/v1/chat/completions", {**told, "stream": True})
    reply = ResponseParser(Chat(), stream=False, keep_text=True)
    reply.start(status, kind)
    reply.feed(data, 0)
    assert reply.finish() is None
    found = reply.logprobs()
    assert found is not None
    assert (found.tokens, found.best, len(found.top[0])) == (["C"], [True], 5)
    assert found.top[0]["C"] > found.top[0]["B"]
    prompt = json.loads(asked[2])["prompt_logprobs"]
    assert [next(iter(place.values()))["decoded_token"] if place else None for place in prompt] == [None, " C"]
    assert next(iter(prompt[1].values())) == {"logprob": logprobs.LIKELY, "rank": 1, "decoded_token": " C"}
    assert streamed[0] == 400
