"""Log-probabilities as servers tell them: captured answers, hand-made ones, and bytes that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadstone import records
from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from loadstone.records import Failure, FailureCause, Logprobs
from support.captures import CAPTURES, needs_captures, parts
from support.streams import DONE, event

ECHO = Logprobs(["import", " os", " os"], [None, -7.2894487380981445, -6.584942817687988], [None, False, True],
                [0, 6, 9], 2, [{" os": -6.584942817687988}])  # fmt: skip
SCORED = Logprobs(ECHO.tokens[:2], ECHO.values[:2], ECHO.best[:2], [0, 6], 2)


def told(body: bytes, api: Any = Completions, kind: str = "application/json") -> tuple[Logprobs | None, Failure | None]:
    """What an answer tells, and how it failed."""
    reply = ResponseParser(api(), stream=True, keep_text=True)
    reply.start(200, kind.encode())
    reply.feed(body, 5)
    failure = reply.finish()
    return reply.logprobs(), failure


def whole(choice: dict[str, Any], prompt: int | None = 2, completion: int | None = 1, **more: Any) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return json.dumps({"choices": [{"index": 0, "finish_reason": "length", **choice}], "usage": usage, **more}).encode()


@needs_captures
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vllm/completions_echo_logprobs", ECHO),
        ("litellm_to_vllm/completions_echo_logprobs", ECHO),
        ("vllm/completions_echo_logprobs_max0", SCORED),
        ("vllm/completions_prompt_logprobs", Logprobs(["", " os"], ECHO.values[:2], [None, False], None, 2)),
        ("llama_cpp_python/completions_prompt_logprobs", None),
        ("vllm/chat_nostream", None),
    ],
)
def test_captured_answers(name: str, expected: Logprobs | None) -> None:
    body, api, _, kind = parts(CAPTURES / f"{name}.json")
    assert told(body, api, kind) == (expected, None)


@needs_captures
@pytest.mark.parametrize("server", ["vllm", "llama_cpp_python", "litellm_to_vllm"])
def test_captured_streams(server: str) -> None:
    body, api, _, kind = parts(CAPTURES / server / "chat_stream_logprobs.sse")
    found, failure = told(body, api, kind)
    assert failure is None
    assert found is not None
    assert (found.tokens, found.prompt, found.offsets) == (["\n"] * 3, 0, None)
    assert found.values[0] == pytest.approx(-6.2577, abs=1e-4)
    assert found.best == [True] * 3
    assert [set(top) for top in found.top] == [{"\n", "es"}] * 3


@needs_captures
def test_an_echo_that_leaves_tokens_out_does_not_pass_for_the_prompt() -> None:
    """llama.cpp tells of what it generated and of one token before, which is the prompt's last."""
    found, _ = told((CAPTURES / "llama_cpp_python/completions_echo_logprobs.json").read_bytes())
    assert found is not None
    assert (found.tokens, found.prompt) == (["import", " os"], 1)


TEXTS = {"tokens": ["a", "b", "c"], "token_logprobs": [None, -1, -2.0], "text_offset": [0, 1, 2]}


def test_an_echo_without_usage_counts_from_what_was_generated() -> None:
    found, _ = told(whole({"text": "abc", "logprobs": TEXTS}, None, 1))
    assert found == Logprobs(["a", "b", "c"], [None, -1.0, -2.0], [None] * 3, [0, 1, 2], 2, [{}])


def test_generated_tokens_alone_have_no_prompt_and_no_offsets() -> None:
    tops = [{"a": -0.5, "b": -0.4}, {"b": -0.1}]
    generated = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -0.1], "top_logprobs": tops, "text_offset": [0, 1]}
    found, _ = told(whole({"text": "ab", "logprobs": generated}, 5, 2))
    assert found == Logprobs(["a", "b"], [-0.5, -0.1], [False, True], None, 0, tops)


def test_chat_has_the_prompt_beside_its_choices() -> None:
    ranked = [None, {"7": {"logprob": -3.0, "rank": 9, "decoded_token": "x"}, "1": {"logprob": -1.0, "rank": 1}}]
    content = [{"token": "y", "logprob": -0.5, "top_logprobs": [{"token": "z", "logprob": -0.2}]}]
    message = {"message": {"role": "assistant", "content": "y"}, "logprobs": {"content": content}}
    found, failure = told(whole(message, prompt_logprobs=ranked), Chat)
    assert failure is None
    assert found == Logprobs(["", "x", "y"], [None, -3.0, -0.5], [None, False, False], None, 2, [{"z": -0.2}])


@pytest.mark.parametrize("finish", ["length", "stop"])
def test_an_answer_of_nothing_but_the_prompts_is_not_empty(finish: str) -> None:
    ranked = [None, {"7": {"logprob": -3.0, "rank": 1, "decoded_token": "x"}}]
    body = whole({"text": "", "prompt_logprobs": ranked, "finish_reason": finish}, 2, 0)
    assert told(body) == (Logprobs(["", "x"], [None, -3.0], [None, True], None, 2), None)
    assert told(whole({"text": "", "finish_reason": finish}, 2, 0))[1] == Failure(
        FailureCause.EMPTY, "the answer holds no output"
    )
    chat = whole({"message": {"content": ""}, "finish_reason": finish}, 2, 0, prompt_logprobs=ranked)
    assert told(chat, Chat)[1] is None


def test_pieces_of_a_stream_are_joined_however_alike_they_look() -> None:
    """Events that differ in nothing but their text are short-cut, which must not lose what stands beside it."""
    one = {"tokens": ["tok"], "token_logprobs": [-1.5], "top_logprobs": [{"tok": -1.5}]}
    pieces = [event({"choices": [{"index": 0, "text": text, "logprobs": one}]}) for text in (" a", " b", " c")]
    end = event({"choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
    found, failure = told(b"".join(pieces) + end + DONE, Completions, "text/event-stream")
    assert failure is None
    assert found == Logprobs(["tok"] * 3, [-1.5] * 3, [True] * 3, None, 0, [{"tok": -1.5}] * 3)


@pytest.mark.parametrize("odd", [True, 5, "x", [1], {"tokens": 3}, {"content": 7}, {"content": [{"x": 1}]}])
def test_what_has_another_form_is_not_told_and_no_failure(odd: Any) -> None:
    assert told(whole({"text": "ab", "logprobs": odd, "prompt_logprobs": odd})) == (None, None)
    assert told(whole({"message": {"content": "ab"}, "logprobs": odd}, prompt_logprobs=odd), Chat) == (None, None)


def test_they_are_told_only_where_texts_are_kept() -> None:
    reply = ResponseParser(Completions(), stream=False)
    reply.start(200, b"application/json")
    reply.feed(whole({"text": "abc", "logprobs": TEXTS}), 0)
    assert reply.finish() is None
    assert reply.logprobs() is None


def test_they_survive_the_file() -> None:
    record = records.Record(index=0, prompt="p", scheduled=0, end=1, logprobs=ECHO)
    assert records.from_line(records.to_line(record)).logprobs == ECHO


@pytest.mark.parametrize("odd", [float("-inf"), float("inf"), float("nan"), "nan", "-Infinity"])
def test_a_value_that_json_cannot_hold_is_unknown(odd: Any) -> None:
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [-1.0, odd],
        "top_logprobs": [{"a": odd, "b": -2.0}, {"b": odd}],
    }
    found, failure = told(whole({"text": "ab", "logprobs": logprobs}, completion=2))
    assert failure is None
    assert found == Logprobs(["a", "b"], [-1.0, None], [True, None], None, 0, [{"b": -2.0}, {}])
    record = records.Record(index=0, prompt="p", scheduled=0, end=1, logprobs=found)
    assert records.from_line(records.to_line(record)) == record


@pytest.mark.parametrize(
    "logprobs",
    [
        {"tokens": ["\ud800"], "token_logprobs": [-1.0]},
        {"tokens": ["a"], "token_logprobs": ["\ud800"]},
        {"tokens": ["a"], "token_logprobs": [None], "text_offset": [2**80]},
        {"content": [{"token": "\udfff", "logprob": -1.0, "top_logprobs": None}]},
    ],
)
def test_odd_logprobs_cost_no_request(logprobs: Any) -> None:
    found, failure = told(whole({"text": "a", "logprobs": logprobs}))
    assert failure is None
    record = records.Record(index=0, prompt="p", scheduled=0, end=1, logprobs=found)
    assert records.from_line(records.to_line(record)) == record
