"""Streams of every protocol: what the parser makes of them, however they are cut, and how they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.apis import API
from loadstone.apis.anthropic import Messages
from loadstone.apis.ollama import Ollama
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.responses import Responses
from loadstone.apis.sglang import Generate
from loadstone.apis.tgi import TGI
from loadstone.records import Usage
from support import servers as servers
from support.protocols import JOINED, MAKERS, RESPONSE_USAGE, fill, read
from support.streams import DONE, event

# streams


def named(kind: str, **fields: Any) -> bytes:
    """An event with a name, as OpenAI's responses and Anthropic have them."""
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "created_at": "now", **fields}).encode() + b"\n"


def so_far(text: str, count: int, reason: Any = None, **more: Any) -> bytes:
    meta = {"id": "1", "finish_reason": reason, "prompt_tokens": 3, "completion_tokens": count, "cached_tokens": 1}
    return event({"text": text, "meta_info": meta, **more})


def tgi_token(text: str, special: bool = False, whole: str | None = None, details: Any = None) -> bytes:
    token = {"id": 1, "text": text, "logprob": -0.1, "special": special}
    return (
        b"data:"
        + json.dumps({"index": 1, "token": token, "generated_text": whole, "details": details}).encode()
        + (b"\n\n")
    )


def found(
    chars: list[int] | None,
    text: str | None,
    finish: str | None,
    usage: tuple[int | None, ...] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What a stream should come to."""
    told = None if usage is None else dict(zip(("prompt", "completion", "cached", "reasoning"), usage, strict=True))
    return {"chars": chars, "text": text, "finish": finish, "usage": told, **more}


CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": ""}
RESPONSE = {"id": "r", "status": "completed", "output": [{"type": "message", "content": [{"text": "again"}]}]}
CUT = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": RESPONSE_USAGE}
DETAILS = {"finish_reason": "eos_token", "generated_tokens": 3, "seed": None, "input_length": 5}
TOOL_CALL = {"function": {"name": "look", "arguments": {"a": 1}}}


def start(**usage: int) -> bytes:
    return named("message_start", message={"id": "m", "role": "assistant", "content": [], "usage": usage})


def block(index: int, **delta: Any) -> bytes:
    return named("content_block_delta", index=index, delta=delta)


STREAMS: dict[str, tuple[Callable[[], API], bytes, dict[str, Any]]] = {
    "responses": (
        Responses,
        named("response.created", sequence_number=0, response={"id": "r", "status": "in_progress", "output": []})
        + named("response.output_item.added", output_index=0, item={"type": "message", "content": []})
        + named("response.content_part.added", part={"type": "output_text", "text": ""})
        + named("response.output_text.delta", sequence_number=3, delta=" two", logprobs=[])
        + named("response.output_text.delta", sequence_number=4, delta="", logprobs=[])
        + named("response.output_text.delta", sequence_number=5, delta=" é\u2028x", logprobs=[])
        + named("response.output_text.done", text=" two é\u2028x")
        + named("response.completed", response={**RESPONSE, "usage": RESPONSE_USAGE}),
        found([4, 0, 4], " two é\u2028x", "completed", (9, 4, 2, 1)),
    ),
    "responses that are cut": (
        Responses,
        named("response.output_text.delta", delta="a") + named("response.completed", response=CUT),
        found([1], "a", "max_output_tokens", (9, 4, 2, 1)),
    ),
    "responses that are incomplete": (
        Responses,
        named("response.refusal.delta", delta="no") + named("response.incomplete", response=CUT),
        found([2], "no", "max_output_tokens", (9, 4, 2, 1)),
    ),
    "responses with thoughts and tools": (
        Responses,
        named("response.reasoning_text.delta", delta="hm")
        + named("response.reasoning_summary_text.delta", delta="so")
        + named("response.output_item.added", output_index=1, item=CALL)
        + named("response.function_call_arguments.delta", output_index=1, delta='{"a"')
        + named("response.function_call_arguments.delta", output_index=1, delta=":1}")
        + named("response.function_call_arguments.done", output_index=1, arguments='{"a":1}')
        + named("response.audio.delta", delta={"of": "another kind"})
        + named("response.completed", response={"status": "completed"}),
        found([2, 2, 4, 4, 3], "", "completed", reasoning="hmso", tools=[JOINED]),
    ),
    "messages": (
        Messages,
        start(input_tokens=4, output_tokens=1, cache_read_input_tokens=16, cache_creation_input_tokens=8)
        + named("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
        + named("ping")
        + block(0, type="thinking_delta", thinking="hm")
        + block(0, type="signature_delta", signature="abc")
        + named("content_block_stop", index=0)
        + named("content_block_start", index=1, content_block={"type": "text", "text": ""})
        + block(1, type="text_delta", text=" two")
        + block(1, type="text_delta", text=" words")
        + named("content_block_stop", index=1)
        + named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7})
        + named("message_stop"),
        found([2, 4, 6], " two words", "end_turn", (28, 7, 16, None), reasoning="hm"),
    ),
    "messages with tools": (
        Messages,
        start(input_tokens=4, output_tokens=0)
        + named("content_block_start", index=1, content_block={"type": "tool_use", "id": "call_1", "name": "look"})
        + block(1, type="input_json_delta", partial_json="")
        + block(1, type="input_json_delta", partial_json='{"a":')
        + block(1, type="input_json_delta", partial_json="1}")
        + named("message_delta", delta={"stop_reason": "tool_use"}, usage={"input_tokens": 4, "output_tokens": 9})
        + named("message_stop"),
        found([4, 5, 2], "", "tool_use", (4, 9, None, None), tools=[JOINED]),
    ),
    "messages without names, as the short cut sees them": (
        Messages,
        b"".join(
            event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f" {n}"}})
            for n in range(4)
        )
        + event({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 4}})
        + event({"type": "message_stop"}),
        found([2] * 4, " 0 1 2 3", "max_tokens", (None, 4, None, None)),
    ),
    "generate, the text so far": (
        Generate,
        so_far(" one", 1)
        + so_far(" one", 2)
        + so_far(" one two", 4)
        + so_far(" one two!", 5, {"type": "length", "length": 5})
        + DONE,
        found([4, 0, 4, 1], " one two!", "length", (3, 5, 1, None), tokens=[1, 1, 2, 1]),
    ),
    "generate, increments": (
        Generate,
        so_far(" one", 1) + so_far(" two", 2) + so_far("", 3) + so_far(" two", 4, {"type": "stop"}) + DONE,
        found([4, 4, 0, 4], " one two two", "stop", (3, 4, 1, None), tokens=[1, 1, 1, 1]),
    ),
    "generate, the text so far and nothing else": (
        Generate,
        event({"text": "a"}) + event({"text": "ab"}) + event({"text": "abc"}) + DONE,
        found([1, 1, 1], "abc", None),
    ),
    "generate, two choices": (
        Generate,
        so_far("a", 1, index=0)
        + so_far("b", 1, index=1)
        + so_far("ax", 2, {"type": "length"}, index=0)
        + so_far("by", 2, {"type": "length"}, index=1)
        + DONE,
        found([1, 1, 1, 1], "ax", "length", (3, 4, 1, None), tokens=[1, 1, 1, 1]),
    ),
    "tgi": (
        TGI,
        tgi_token(" one") + tgi_token(" two") + tgi_token("</s>", True, " one two", DETAILS),
        found([4, 4], " one two", "eos_token", (5, 3, None, None)),
    ),
    "tgi, cut, with a special token": (
        TGI,
        tgi_token("<s>", True) + tgi_token(" one", False, " one", {"finish_reason": "length", "generated_tokens": 2}),
        found([0, 4], " one", "length", (None, 2, None, None)),
    ),
    "tgi without details": (
        TGI,
        tgi_token(" one") + tgi_token(" two", False, " one two"),
        found([4, 4], " one two", None),
    ),
    "ollama": (
        Ollama,
        line(message={"role": "assistant", "content": "", "thinking": "hm"}, done=False)
        + line(message={"role": "assistant", "content": " one"}, done=False)
        + b"\r\n"
        + line(message={"role": "assistant", "content": " zwei é"}, done=False)
        + line(
            message={"role": "assistant", "content": ""},
            done=True,
            done_reason="length",
            prompt_eval_count=5,
            eval_count=3,
        ),
        found([2, 4, 7], " one zwei é", "length", (5, 3, None, None), reasoning="hm"),
    ),
    "ollama with tools": (
        Ollama,
        line(message={"content": "", "tool_calls": [TOOL_CALL]}, done=False)
        + line(message={"content": "", "tool_calls": [TOOL_CALL]}, done=False)
        + line(message={"content": ""}, done=True, done_reason="stop"),
        found(
            [12, 12],
            "",
            "stop",
            tools=[
                {"index": n, "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}} for n in (0, 1)
            ],
        ),
    ),
    "ollama of old, without a reason": (
        Ollama,
        line(message={"content": "a"}, done=False) + line(done=True, eval_count=1),
        found([1], "a", None, (None, 1, None, None)),
    ),
    "template": (
        lambda: fill(usage_path="usage"),
        event({"id": 1, "text_output": " one"})
        + event({"text_output": " two"})
        + event({"text_output": None, "usage": None})
        + event({"usage": {"input_tokens": 3, "output_tokens": 2}}),
        found([4, 4], " one two", None, (3, 2, None, None)),
    ),
    "template for chat": (
        lambda: fill(text_path="choices.0.delta.content"),
        event({"choices": [{"delta": {"role": "assistant"}}]})
        + event({"choices": [{"delta": {"content": "a"}}]})
        + event({"choices": [{"delta": {"content": "b"}}]})
        + event({"choices": []})
        + DONE,
        found([1, 1], "ab", None),
    ),
}


@pytest.mark.parametrize(("make", "stream", "wanted"), STREAMS.values(), ids=STREAMS)
def test_a_stream_whole_and_byte_by_byte(make: Callable[[], API], stream: bytes, wanted: dict[str, Any]) -> None:
    events = [at for at in range(2, len(stream)) if stream[at - 2 : at] == b"\n\n"]
    lines = [at for at in range(1, len(stream)) if stream[at - 1 : at] == b"\n"]
    for cuts in (None, list(range(1, len(stream))), events, lines):
        got, reply = read(make(), stream, cuts)
        assert reply.failure is None
        assert got == {"reasoning": None, "tools": None, "tokens": None, **wanted}


@given(st.data())
def test_streams_cut_at_random(data: st.DataObject) -> None:
    make, stream, _ = data.draw(st.sampled_from(list(STREAMS.values())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert read(make(), stream, cuts)[0] == read(make(), stream)[0]


def test_one_api_serves_many_answers_at_once() -> None:
    """What one answer has told so far is nothing to another."""
    api = Generate()
    first, second = (ResponseParser(api, stream=True, keep_text=True) for _ in range(2))
    for text in ("a", "ab"):
        for reply in (first, second):
            reply.feed(so_far(text, len(text)), 1)
    assert [reply.choices()[0].text for reply in (first, second)] == ["ab", "ab"]


def test_a_placeholder_is_no_count() -> None:
    """vLLM tells 0 input tokens where it does not know them yet, and some servers tell them at the end alone."""
    end = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 5, "output_tokens": 1})
    text = block(0, type="text_delta", text="a")
    assert read(Messages(), start(input_tokens=0, output_tokens=0) + text + end)[1].usage == Usage(5, 1)
    late = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 0, "output_tokens": 1})
    assert read(Messages(), start(input_tokens=7, output_tokens=1) + text + late)[1].usage == Usage(7, 1)


FAILURES: dict[str, tuple[str, bytes, str, str]] = {
    "responses, error": ("responses", named("error", code="server_error", message="died"), "server", "died"),
    "responses, failed": (
        "responses",
        named("response.failed", response={"status": "failed", "error": {"code": "x", "message": "died"}}),
        "server",
        "died",
    ),
    "responses, vLLM's error": ("responses", event({"error": {"message": "died"}}), "server", "died"),
    "responses, no text": ("responses", named("response.output_text.delta", delta=7), "protocol", "is no text: 7"),
    "responses, cut": ("responses", named("response.output_text.delta", delta="a"), "truncated", "without finish"),
    "responses, empty": ("responses", named("response.completed", response=RESPONSE), "empty", "without any output"),
    "messages, error": (
        "messages",
        start(input_tokens=1) + named("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        "server",
        "Overloaded",
    ),
    "messages, cut": ("messages", block(0, type="text_delta", text="a"), "truncated", "without finish"),
    "messages, a number": ("messages", block(0, type="text_delta", text=7), "protocol", "not an answer of this API"),
    "generate, error": ("generate", event({"error": {"message": "died"}}) + DONE, "server", "died"),
    "generate, abort": ("generate", so_far("a", 1, {"type": "abort", "message": "no memory"}), "server", "no memory"),
    "generate, cut": ("generate", so_far("a", 1), "truncated", "without finish"),
    "tgi, error": (
        "tgi",
        tgi_token("a") + event({"error": "Request failed during generation", "error_type": "generation"}),
        "server",
        "Request failed during generation",
    ),
    "tgi, cut": ("tgi", tgi_token("a"), "truncated", "without finish"),
    "ollama, error": ("ollama", line(message={"content": "a"}) + b'{"error":"died"}\n', "server", "died"),
    "ollama, cut": ("ollama", line(message={"content": "a"}), "truncated", "without finish"),
    "ollama, inside a line": ("ollama", line(message={"content": "a"}) + b'{"model":', "truncated", "inside an event"),
    "ollama, not JSON": ("ollama", b"oops\n", "protocol", "not an answer of this API"),
    "template, error": ("template", event({"error": {"message": "died"}}), "server", "died"),
    "template, no event": ("template", b"", "empty", "without any output"),
    "template, no such path": (
        "template",
        event({"output": {"text": "a", "n": [1, {}]}, "x": None}),
        "protocol",
        "nothing at text_output in the answer, which has output.text, output.n.0, output.n.1, x",
    ),
    "template, a number": (
        "template",
        event({"text_output": 7}),
        "protocol",
        "text_output leads to 7, which is no text",
    ),
}


@pytest.mark.parametrize(("name", "stream", "kind", "words"), FAILURES.values(), ids=FAILURES)
def test_how_streams_fail(name: str, stream: bytes, kind: str, words: str) -> None:
    for cuts in (None, list(range(1, len(stream)))):
        failure = read(MAKERS[name](), stream, cuts)[1].failure
        assert failure is not None
        assert failure.kind == kind
        assert words in failure.message
