"""Responses from records, bodies from settings, and the answer cache."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.apis import base
from loadstone.apis.anthropic import Messages
from loadstone.apis.ollama import Ollama
from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.dataset.formats.jsonl import parse
from loadstone.dataset.rows import to_prompt
from loadstone.dataset.source import Line, Options, RowPosition, Source
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import eval_json
from loadstone.evals.requests import answers, build, send
from loadstone.evals.requests.cache import Cache, key
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, LogprobMethod, RequestId
from loadstone.evals.settings import Eval
from loadstone.records import Failure, Logprobs, Record, Usage
from loadstone.samples import Question, Sample

ID = RequestId("t", 0)
CHAT = AnswerMode("generation", "chat")
ECHO = AnswerMode("loglikelihood", "completions", LogprobMethod("echo"))
WANTED = EvalRequest(id=ID, answer_mode=CHAT, prompt="Q:")


def record(name: str = "t:0", error: str | None = None, index: int = 0, **told: Any) -> Record:
    usual: dict[str, Any] = {"status": 200, "finish": "stop", "text": "Paris", "scheduled": 0, "end": 1}
    failure = None if error is None else Failure(error, "it failed")  # type: ignore[arg-type]
    return Record(index=index, prompt=name, error=failure, **{**usual, **told})


@dataclass
class Came:
    """What a record says, and what it comes to."""

    record: Record
    response: str | None
    finish: str | None = "stop"
    failure: str | None = None


CAME = [
    Came(record(), "Paris"),
    Came(record(finish="length"), "Paris", "length"),
    Came(record(text=""), ""),
    Came(record(text="", reasoning="It is Paris", finish="length"), "", "length"),
    Came(record(text=None, reasoning="It is Paris"), ""),
    Came(record(error="empty", text=""), ""),
    Came(record(error="empty", text="", finish=None), None, None, "empty"),
    Came(record(error="empty", text="", status=None), None, "stop", "empty"),
    Came(record(error="status", status=500, text=None, finish=None), None, None, "status"),
    Came(record(error="truncated", text="Par", finish=None), None, None, "truncated"),
    Came(record(error="timeout", text="Par", finish=None), None, None, "timeout"),
]


@pytest.mark.parametrize("came", CAME)
def test_what_ended_properly_is_an_answer(came: Came) -> None:
    found = answers.from_record(came.record, WANTED, "1")
    assert (found.values[0] if found.ok else None, found.finish, found.failure) == (
        came.response, came.finish, came.failure,
    )  # fmt: skip
    assert found.record == ("1", 0)


def _folder(path: Path, runs: dict[str, list[Record]]) -> Path:
    for name, found in runs.items():
        folder = path / "runs" / name
        folder.mkdir(parents=True)
        (folder / run_folder.RECORDS).write_bytes(b"".join(map(answers_line, found)))
    return path


def answers_line(one: Record) -> bytes:
    return msgspec.json.encode(one) + b"\n"


def test_the_last_good_answer_counts(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {
        "1": [record("a:0", text="first"), record("b:0", "status"), record("c:0", "timeout"), record("d:0", "stopped")],
        "2": [record("a:0", text="again"), record("b:0", text="now"), record("c:0", "status"), record("x:0")],
        "10": [record("a:0", "status")],
    })  # fmt: skip
    wanted = [msgspec.structs.replace(WANTED, id=RequestId(name, 0)) for name in "abcd"]
    found = answers.read(folder, wanted)
    assert [path.name for path in answers.runs(folder)] == ["1", "2", "10"]
    assert {name.task: each.values or each.failure for name, each in found.items()} == {
        "a": ["again"], "b": ["now"], "c": "status",
    }  # fmt: skip
    counts, failures = eval_json.count_requests((each.id for each in wanted), found)
    assert counts == {"wanted": 4, "answered": 2, "failed": 1, "unsent": 1, "cached": 0}
    assert failures == {"status": 1}


def test_letters_answer_as_if_each_had_been_asked() -> None:
    sample = Sample(task="t", doc_id=0, doc={}, target="B", ask=Question(query="Q:"), choices=["A", "B"])
    item = build.build_item(sample, AnswerMode("letters", "completions", LogprobMethod("letters")))
    told = Logprobs(tokens=[" B"], values=[-0.1], best=[True], top=[{" B": -0.1, " A": -2.5}])
    came = answers.from_record(record(text=" B", logprobs=told), item.requests[0][0], "1")
    (found,) = answers.item_responses([item], {ID: came})
    assert found.arguments == [("Q:", " A"), ("Q:", " B")]
    assert found.responses == [[(pytest.approx(-2.5), False)], [(pytest.approx(-0.1), True)]]
    assert found.records == [[("1", 0)], [("1", 0)]]


def test_what_was_not_asked_has_failed() -> None:
    sample = Sample(task="t", doc_id=0, doc={}, target="", ask=Question(query="Q:"))
    item = build.build_item(sample, CHAT, settings={"max_tokens": 9}, repeat=2)
    (found,) = answers.item_responses([item], {ID: answers.from_record(record(), WANTED, "1")})
    assert found.responses == [["Paris", None]]
    assert found.failures == [[None, "unsent"]]
    context, said = found.arguments[0]
    assert json.loads(context) == [{"role": "user", "content": "Q:"}]
    assert said == {"max_tokens": 9}


def test_log_probabilities_that_are_missing_are_a_failure() -> None:
    wanted = EvalRequest(id=ID, answer_mode=ECHO, prompt="Q:", continuation=" Paris")
    assert answers.from_record(record(), wanted, "1").failure == "untold: the answer has no log-probabilities"


SAID = {"max_tokens": 64, "temperature": 0.0, "stop": ["Q:"], "seed": 1234}


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (Chat(), SAID),
        (Messages(), {"max_tokens": 64, "temperature": 0.0, "stop_sequences": ["Q:"]}),
        (Ollama(), {"stream": True, "options": {"temperature": 0.0, "num_predict": 64, "stop": ["Q:"], "seed": 1234}}),
    ],
)
def test_settings_go_by_the_names_of_the_protocol(api: base.API, fields: dict[str, Any]) -> None:
    """And a row with them is read as a request, so that the API puts them into its body."""
    found = send.fields(api, SAID)
    assert found == fields
    row = {"id": "t:0", "messages": [{"role": "user", "content": "Q:"}], **found}
    source = Source("requests.jsonl", lambda: b"", lambda _: None)
    prompt = to_prompt(
        parse(Line(RowPosition(source, "line", 1), json.dumps(row))), RowPosition(source, "line", 1), Options()
    )
    body = api.build_body(prompt, base.RequestSettings(model="m"))
    assert {name: body[name] for name in found} == found
    assert send.fields(api, {**SAID, "chat_template_kwargs": {"a": 1}})["chat_template_kwargs"] == {"a": 1}


def test_requests_of_several_apis_are_rows_of_their_own_apis() -> None:
    likely = EvalRequest(id=RequestId("t", 1), answer_mode=ECHO, prompt="Q:", continuation=" x")
    settings = {"max_tokens": 5}
    chat = msgspec.structs.replace(WANTED, settings=settings)
    ollama = msgspec.structs.replace(chat, answer_mode=AnswerMode("generation", "ollama"))
    first, second, third = send.rows([chat, likely, ollama], Config())
    assert first["max_tokens"] == 5
    assert (second["id"], second["prompt"], second["echo"]) == ("t:1", "Q: x", True)
    assert third["options"] == {"num_predict": 5}


@pytest.mark.parametrize("name", ["a:0", "a/1#2~3.4", "qa:v1.5"])
def test_records_of_an_earlier_version_belong_to_their_requests(name: str, tmp_path: Path) -> None:
    """Whatever the task is called; a later turn by the conversation that it is part of."""
    folder = tmp_path / "runs/1"
    folder.mkdir(parents=True)
    run_folder.RunFolder(folder, new=False).append(
        folder / run_folder.RECORDS,
        [
            record(f"{name}:0", index=0, text="one", conversation=f"{name}:0", turn=1),
            record(f"{name}:0.2", index=1, text="two", conversation=f"{name}:0", turn=2),
            record(f"{name}:1/2#1", index=2, text="three"),
            record(f"{name}:1/2", index=3, text="four"),
        ],
    )
    talk = EvalRequest(id=RequestId(name, 0), answer_mode=CHAT, prompt="Q:", later=["More."])
    again = EvalRequest(id=RequestId(name, 1, 2, 1), answer_mode=CHAT, prompt="Q:")
    found = answers.read(tmp_path, [talk, again])
    assert {request_id: response.values for request_id, response in found.items()} == {
        talk.id: ["two"],
        again.id: ["three"],
    }
    assert found[talk.id].turns == ["one", "More.", "two"]


def test_runs_are_numbered_on(tmp_path: Path) -> None:
    assert send.next_run_number(tmp_path) == 1
    (tmp_path / "requests-3.jsonl").touch()
    (tmp_path / "runs/7").mkdir(parents=True)
    assert send.next_run_number(tmp_path) == 8


def test_a_question_that_reads_otherwise_now_is_not_gone_on_with(tmp_path: Path) -> None:
    line = send.encode_row({"id": "a", "prompt": "x"})
    (tmp_path / "requests-1.jsonl").write_bytes(line + b'{"id": "b", "pro')
    send.check_unchanged(tmp_path, [{"id": "a", "prompt": "x"}, {"id": "new"}])
    with pytest.raises(UsageError, match="has asked a in other words"):
        send.check_unchanged(tmp_path, [{"id": "a", "prompt": "y"}])


PLACE = {"urls": ["http://a"], "model": "m", "api": "chat"}
ROW = {"id": "t:0", "prompt": "Q:", "max_tokens": 9}


def test_an_answer_is_known_by_all_that_it_depends_on() -> None:
    keys = [
        key(PLACE, ROW, 0), key({**PLACE, "model": "n"}, ROW, 0), key({**PLACE, "urls": ["http://b"]}, ROW, 0),
        key({**PLACE, "api": "completions"}, ROW, 0), key(PLACE, {**ROW, "max_tokens": 8}, 0), key(PLACE, ROW, 1),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key(PLACE, {**ROW, "id": "other"}, 0) == keys[0]


def test_a_cache_keeps_good_answers_without_their_times(tmp_path: Path) -> None:
    at = [key(PLACE, ROW, attempt) for attempt in range(3)]
    good = record(index=5, sent=7, first=8, usage=Usage(3, 4))
    with Cache(tmp_path / "new") as cache:
        cache.add([(at[0], good), (at[1], record(error="status"))])
        cache.add([(at[0], record(text="another"))])
    with Cache(tmp_path / "new") as cache:
        (found,) = cache.find({"mine": at[0], "b": at[1], "c": at[2], "twin": at[0]})
    assert [each.prompt for each in found] == ["mine", "twin"]
    kept = found[0]
    assert (kept.prompt, kept.text, kept.finish, kept.usage) == ("mine", "Paris", "stop", Usage(3, 4))
    assert kept.sent is kept.first is None


def test_a_cache_may_be_written_by_several_at_once(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with Cache(tmp_path) as cache:
            for attempt in range(5):
                cache.add([(key(PLACE, ROW, 100 * number + attempt), record(text=f"{number}"))])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = {
        f"{number}/{attempt}": key(PLACE, ROW, 100 * number + attempt) for number in range(4) for attempt in range(5)
    }
    with Cache(tmp_path) as cache:
        (found,) = cache.find(keys)
    assert {kept.prompt: kept.text for kept in found} == {name: name[0] for name in keys}


def test_a_kept_answer_that_cannot_be_read_is_asked_again(tmp_path: Path) -> None:
    at = [key(PLACE, ROW, attempt) for attempt in range(1200)]
    keys = {str(place): each for place, each in enumerate(at)}
    with Cache(tmp_path) as cache:
        cache.add((each, record()) for each in at)
    base = sqlite3.connect(tmp_path / "answers.sqlite3")
    base.execute("UPDATE answers SET record = '{\"index\": ' WHERE key IN (?, ?)", [at[3], at[1100]])
    base.execute("UPDATE answers SET record = 7 WHERE key = ?", [at[4]])
    base.commit()
    base.close()
    with Cache(tmp_path) as cache:
        found = {kept.prompt for batch in cache.find(keys) for kept in batch}
        assert set(keys) - found == {"3", "4", "1100"}
        cache.add((each, record()) for each in at)
        assert len([kept for batch in cache.find(keys) for kept in batch]) == 1200


def test_a_cache_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite3").write_text("no database, but long enough to be looked at as one " * 20)
    with pytest.raises(UsageError, match="--cache cannot use"), Cache(tmp_path):
        pass


def test_tokens_cost_what_they_cost() -> None:
    settings = Eval(tasks=["t"], price_in=0.5, price_out=2.0)
    found = eval_json.total_cost([Usage(1000, 500, 200), None, Usage(prompt=1000)], settings)
    assert (found.input_tokens, found.output_tokens, found.cached_tokens, found.untold) == (2000, 500, 200, 1)
    assert found.cost == pytest.approx(2000 * 0.5e-6 + 500 * 2e-6)
    assert eval_json.total_cost([Usage(1, 1)], Eval(tasks=["t"])).cost is None


def test_a_conversation_that_ends_with_an_empty_answer_is_answered(tmp_path: Path) -> None:
    """The next turn is not asked then; to ask all of it again would not help."""
    wanted = EvalRequest(id=ID, answer_mode=CHAT, prompt="Q:", later=["More."])
    folder = tmp_path / "runs/1"
    folder.mkdir(parents=True)
    run_folder.RunFolder(folder, new=False).append(
        folder / run_folder.RECORDS, [record(error="empty", text="", turn=1, conversation="c0", abandoned=1)]
    )
    found = answers.read(tmp_path, [wanted])[ID]
    assert (found.ok, found.values) == (True, [""])


def test_later_turns_of_a_request_body_have_its_settings() -> None:
    row = {"id": "a", "messages": [{"role": "user", "content": "Q"}], "temperature": 0.5, "later": ["More.", "Bye."]}
    where = RowPosition(Source("rows.jsonl", lambda: b"", lambda _: None), "line", 1)
    made = to_prompt(row, where, Options())
    assert [(turn.id, turn.text, turn.body) for turn in made.later] == [
        ("a.2", "More.", {"temperature": 0.5}), ("a.3", "Bye.", {"temperature": 0.5}),
    ]  # fmt: skip
    assert made.body == {"temperature": 0.5}
    with pytest.raises(UsageError, match="later"):
        to_prompt({**row, "later": 7}, where, Options())


def test_an_answer_that_goes_on_behind_a_stop_text_ended_there() -> None:
    """A server takes four of them; what it wrote behind the fifth until its limit is no part of the answer."""
    wanted = EvalRequest(id=ID, answer_mode=CHAT, prompt="Q:", settings={"stop": ["a", "b", "c", "d", "\nQ:"]})
    found = answers.from_record(record(text="Pris\nQ: and Italy?", finish="length"), wanted, "1")
    assert (found.values, found.finish) == (["Pris"], "stop")
    whole = answers.from_record(record(text="Pris", finish="length"), wanted, "1")
    assert (whole.values, whole.finish) == (["Pris"], "length")


@pytest.mark.parametrize(("api", "seen", "sent"), [("completions", 4, 4), ("chat", None, 4), ("chat", 5, 5)])
def test_stop_texts_that_are_too_many_are_not_sent(api: str, seen: int | None, sent: int) -> None:
    asked: Any = "Q:" if api == "completions" else [{"role": "user", "content": "Q:"}]
    how = AnswerMode("generation", api, stops=seen)
    wanted = EvalRequest(id=ID, answer_mode=how, prompt=asked, settings={"stop": list("abcde")})
    (row,) = send.rows([wanted], Config(api=api))
    assert row["stop"] == list("abcde")[:sent]
