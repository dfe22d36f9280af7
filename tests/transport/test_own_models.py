"""Models of one's own: what they are given and give, in batches, threads and async, and what becomes of mistakes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loadstone
from loadstone import loadtest
from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.records import Failure, FailureCause, Record
from support.servers import Capture, clean, read_json, records, refused
from support.servers import loadstone as command

Prompts = list[dict[str, Any]]


def answer(text: str, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 2, "completion_tokens": len(text.split())}
    return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}], "usage": usage, **more}


class Seen:
    """Keeps what it was given; `gives` makes the answers."""

    def __init__(self, gives: Callable[[Prompts], Any] = lambda prompts: [answer("yes") for _ in prompts]) -> None:
        self.gives = gives
        self.calls: list[tuple[Prompts, dict[str, Any]]] = []
        self.threads: set[str] = set()

    def predict(self, prompts: Prompts, **kwargs: Any) -> Any:
        self.calls.append((prompts, kwargs))
        self.threads.add(threading.current_thread().name)
        return self.gives(prompts)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch, tmp_path)
    Path("p.jsonl").write_text("".join(f'{{"prompt": "What is {n} times 2?"}}\n' for n in range(6)), "utf-8")


def run(model: object, **settings: Any) -> list[Record]:
    given = {"dataset": "p.jsonl", "requests": 6, "concurrency": 3, "save_text": True, "html": False, **settings}
    event_loop.run(loadtest.load_test(Config(output="run", **given), model=model))
    return records(Path("run"))


def test_what_a_class_is_given_and_what_becomes_of_its_answers() -> None:
    model = Seen()
    rows = run(model, output_len=7, temperature=0.5, stop=["END"])
    assert [(row.text, row.finish, row.error) for row in rows] == [("yes", "stop", None)] * 6
    prompts, given = model.calls[0]
    assert prompts == [{"messages": [{"role": "user", "content": "What is 0 times 2?"}]}]
    assert given["infer_cfg"] == {"max_tokens": 7, "max_new_tokens": 7, "temperature": 0.5, "stop": ["END"]}
    assert given["origin_inputs"][0]["model"] == "Seen"
    assert given["origin_inputs"][0]["messages"] == prompts[0]["messages"]
    assert "MainThread" not in model.threads
    assert len(model.threads) == 1
    for row in rows:
        assert row.sent is not None
        assert row.scheduled <= row.sent <= row.end
        assert (row.streamed, row.first, row.status, row.usage and row.usage.completion) == (False, None, 200, 1)
    told = read_json(Path("run/run.json"))
    assert (told["model"], told["clock"], told["server"]["software"]) == ("Seen", "user", "Seen.predict")


def test_completions_come_as_data() -> None:
    model = Seen()
    run(model, api="completions")
    assert model.calls[0][0] == [{"data": ["What is 0 times 2?"], "system_prompt": None}]


def test_batches_hold_what_waits_and_each_gets_its_own_answer() -> None:
    def slowly(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        time.sleep(0.05)  # whoever comes meanwhile waits
        return [answer(prompt["messages"][0]["content"]) for prompt in prompts]

    rows = run(model := Seen(slowly), batch_size=4, concurrency=6)
    sizes = [len(prompts) for prompts, _ in model.calls]
    assert sum(sizes) == 6
    assert 2 <= len(sizes) < 6
    assert max(sizes) <= 4
    assert [row.text for row in rows] == [f"What is {n} times 2?" for n in range(6)]


def test_a_batch_has_one_kind_of_settings() -> None:
    lines = [f'{{"prompt": "a", "max_tokens": {5 + n % 2}}}\n' for n in range(6)]
    Path("p.jsonl").write_text("".join(lines), "utf-8")
    model = Seen()
    run(model, batch_size=6, concurrency=6)
    for prompts, given in model.calls:
        lengths = [body["max_tokens"] for body in given["origin_inputs"]]
        assert lengths == [given["infer_cfg"]["max_tokens"]] * len(prompts)
    assert {given["infer_cfg"]["max_tokens"] for _, given in model.calls} == {5, 6}
    assert sum(len(prompts) for prompts, _ in model.calls) == 6


def test_one_call_at_a_time_and_waiting_is_latency() -> None:
    def slow(prompts: Prompts) -> list[dict[str, Any]]:
        time.sleep(0.02)
        return [answer("yes")] * len(prompts)

    rows = run(Seen(slow), requests=3)
    taken = sorted((row.end - (row.sent or 0)) / 1e9 for row in rows)
    assert taken[0] >= 0.02
    assert taken[1] >= 0.035
    assert taken[2] >= 0.05


class Waiting:
    """Answers when all three have come."""

    def __init__(self) -> None:
        self.there, self.all = 0, asyncio.Event()

    async def predict(self, prompts: Prompts) -> Prompts:
        self.there += len(prompts)
        if self.there == 3:
            self.all.set()
        await self.all.wait()
        return [answer("together") for _ in prompts]


def test_an_async_class_has_its_calls_side_by_side() -> None:
    rows = run(Waiting(), requests=3)
    assert [row.text for row in rows] == ["together"] * 3


def broken(_: Prompts) -> Any:
    raise ValueError("no weights")


FORM = "not a dict with choices, each with a message"


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (broken, "Seen.predict: ValueError: no weights"),
        (lambda _: [], "Seen.predict gave 0 answers for 1 prompts, not a list of as many"),
        (lambda _: None, "Seen.predict gave NoneType for 1 prompts, not a list of as many"),
        (lambda _: [answer("a"), answer("b")], "Seen.predict gave 2 answers for 1 prompts, not a list of as many"),
        (lambda _: ["text"], f"Seen.predict gave 'text' for a prompt, {FORM}"),
        (lambda _: [{"choices": []}], f"Seen.predict gave \"{{'choices': []}}\" for a prompt, {FORM}"),
        (lambda _: [answer("x", more=object())], "Seen.predict gave what is no JSON: Encoding objects of type object"),
        (lambda _: [{"error": {"message": "too long"}}], "too long"),
    ],
)
def test_mistakes_are_failed_requests_with_a_reason(gives: Callable[[Prompts], Any], message: str) -> None:
    rows = run(Seen(gives))
    assert len(rows) == 6
    for row in rows:
        assert row.error is not None
        assert row.error.kind == "server"
        assert row.error.message.startswith(message)


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (StopIteration(), "StopIteration: "),
        (asyncio.CancelledError(), "CancelledError: "),
        (Unsayable(), "Unsayable"),
    ],
)
def test_nothing_that_a_class_raises_ends_or_holds_up_a_run(
    raised: BaseException, message: str, concurrent: bool, batch_size: int
) -> None:
    class Raising(Seen):
        def predict(self, prompts: Prompts, **_: Any) -> Any:
            raise raised

    class Concurrent:
        async def predict(self, prompts: Prompts) -> Any:
            raise raised

    rows = run(Concurrent() if concurrent else Raising(), batch_size=batch_size, timeout=10)
    if concurrent and isinstance(raised, StopIteration):
        message = "RuntimeError: coroutine raised StopIteration"
    where = "Concurrent.predict" if concurrent else "Raising.predict"
    assert {row.error for row in rows} == {Failure(FailureCause.SERVER, f"{where}: {message}")}
    assert len(rows) == 6


HANGING = """
import time
class Model:
    def predict(self, prompts):
        print("thinking")
        time.sleep(600)
"""


def test_a_call_that_never_comes_back_keeps_no_program_alive() -> None:
    """And what it prints does not go where the results go."""
    Path("m.py").write_text(HANGING, "utf-8")
    program = [sys.executable, "-m", "loadstone", "run", "--model", "m.py:Model", "--timeout", "0.2", "--dataset"]
    program += ["p.jsonl", "-n", "1", "-c", "1", "--no-html", "--quiet", "-o", "run", "--as", "json"]
    done = subprocess.run(program, check=False, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert json.loads(done.stdout)["counts"]["by_error"] == {"timeout": 1}
    assert b"thinking" in done.stderr


def test_an_empty_answer_is_empty_and_a_timeout_ends_the_wait() -> None:
    assert {row.error for row in run(Seen(lambda _: [answer("")]))} == {
        Failure(FailureCause.EMPTY, "the answer holds no output")
    }


def test_a_class_that_takes_too_long() -> None:
    model = Seen(lambda _: time.sleep(0.15))
    rows = run(model, timeout=0.05, requests=2, concurrency=2)
    assert [row.error and row.error.kind for row in rows] == ["timeout"] * 2
    assert len(model.calls) == 1, "who has left the line is not asked for"


def test_objects_that_cannot_be_asked() -> None:
    with pytest.raises(UsageError, match="object has no method predict"):
        run(object())
    with pytest.raises(UsageError, match="leave out url and workers"):
        run(Seen(), workers=2)
    with pytest.raises(UsageError, match="--api responses is for servers"):
        run(Seen(), api="responses")


def test_the_facade_takes_an_object() -> None:
    result = loadstone.run(Config(dataset="p.jsonl", requests=2, output="run", html=False), model=Seen())
    assert result.summary.counts.succeeded == 2


@pytest.mark.parametrize(("name", "text"), [("dummy", "What is 0 times 2?"), ("dummy:It is A.", "It is A.")])
def test_the_dummy(name: str, text: str, capsys: Capture) -> None:
    done = command(capsys, "run", "--model", name, "--dataset", "p.jsonl", "-n", 2, "--save-text", "-o", "run")
    assert done.status == 0
    assert "simulated" not in done.err
    assert records(Path("run"))[0].text == text


def test_processes_each_make_their_own(capsys: Capture) -> None:
    done = command(capsys, "run", "--model", "dummy", "-n", 8, "-c", 4, "--workers", 2, "-o", "run", "--no-html")
    assert done.status == 0
    assert {row.worker for row in records(Path("run"))} == {0, 1}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("none.py:Model", "no file 'none.py'"),
        ("bad.py:Missing", "cannot load bad.py:Missing: AttributeError"),
        ("bad.py:Bad", "cannot make bad.py:Bad: RuntimeError: no GPU"),
        ("bad.py:Mute", "Mute has no method predict"),
    ],
)
def test_classes_that_cannot_be_had(model: str, said: str, capsys: Capture) -> None:
    Path("bad.py").write_text(
        "class Bad:\n    def __init__(self):\n        raise RuntimeError('no GPU')\nclass Mute:\n    pass\n", "utf-8"
    )
    assert said in refused(capsys, "run", "--model", model, "-n", 2)
