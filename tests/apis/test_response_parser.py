"""Answers put together: hand-made cases, captured streams of real servers, and whatever hypothesis can think of."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.apis import Event
from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.server_errors import error_body_message
from loadstone.records import Failure, FailureCause, Usage
from support.captures import CAPTURES, needs_captures, parts
from support.paths import TESTS
from support.streams import DONE, answer, chunk, event, token, usage

EXPECTED = TESTS / "apis/expected_captures.json"


def read(
    stream: bytes, cuts: list[int] | None = None, api: Any = Chat, status: int = 200, kind: str = ""
) -> dict[str, Any]:
    """What a stream comes to, cut as told, as plain data; times are left out, all bytes have one stamp."""
    streamed = kind != "application/json"
    reply = ResponseParser(api(), stream=True, keep_text=True)
    reply.start(status, kind.encode() or b"text/event-stream")
    places = [0, *(cuts or []), len(stream)]
    for begin, end in itertools.pairwise(places):
        reply.feed(stream[begin:end], 5)
    failure = reply.finish()
    pieces = reply.pieces
    found = {
        "streamed": reply.streamed == streamed,
        "chars": pieces.chars if pieces else None,
        "tokens": pieces.tokens if pieces else None,
        "choices": reply.choices(),
        "tools": reply.tool_calls(),
        "finish": reply.finish_reason,
        "usage": reply.usage,
        "error": failure,
    }
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def captured() -> list[Path]:
    """Answers to completions, streamed or not, and errors."""
    bodies = [*CAPTURES.glob("*/*.sse"), *CAPTURES.glob("*/*.json")]
    wanted = ("chat_", "completions_", "err_", "keepalive_")
    return sorted(path for path in bodies if path.name.startswith(wanted) and not path.name.endswith(".meta.json"))


def expected() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(EXPECTED.read_text("utf-8"))
    return known


@needs_captures
def test_captures_give_the_expected_records(request: pytest.FixtureRequest) -> None:
    found = {}
    for path in captured():
        body, api, status, kind = parts(path)
        found["/".join(path.parts[-2:])] = read(body, None, api, status, kind)
    if request.config.getoption("--golden"):
        EXPECTED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert found == expected()


@needs_captures
def test_captures_byte_by_byte() -> None:
    for path in captured():
        body, api, status, kind = parts(path)
        assert read(body, list(range(1, len(body))), api, status, kind) == expected()["/".join(path.parts[-2:])], path


@needs_captures
@given(st.data())
def test_captures_cut_at_random(data: st.DataObject) -> None:
    body, api, status, kind = parts(data.draw(st.sampled_from(captured())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    assert read(body, cuts, api, status, kind) == read(body, None, api, status, kind)


def error(stream: bytes) -> Failure | None:
    reply = ResponseParser(Chat(), stream=True)
    reply.start(200, b"text/event-stream")
    reply.feed(stream, 1)
    return reply.finish()


ENDS = {
    "whole": (b"".join(answer(3)), None),
    "no [DONE]": (chunk() + token("a", "stop"), None),
    "no finish reason": (chunk() + token("a") + DONE, None),
    "[DONE] without its blank line": (token("a") + b"data: [DONE]\n", None),
    "neither": (chunk() + token("a"), "truncated"),
    "inside an event": (token("a", "stop") + b'data: {"choi', "truncated"),
    "no bytes": (b"", "empty"),
    "only a role": (chunk() + DONE, "empty"),
    "only a finish reason": (chunk() + chunk({}, "stop") + DONE, "empty"),
    "one token, its text held back": (chunk() + token("", "length") + DONE, None),
    "nothing but the end of a turn": (chunk() + token("", "stop") + DONE, "empty"),
    "only comments": (b": ping\n\n: ping\n\n", "empty"),
    "not JSON": (token("a") + b"data: {oops\n\n" + DONE, "protocol"),
    "bad UTF-8": (b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n' + DONE, "protocol"),
    "JSON of another kind": (b"data: [1, 2]\n\n" + DONE, "protocol"),
    "a number for a text": (event({"choices": [{"delta": {"content": 7}}]}), "protocol"),
    "error object": (token("a") + event({"error": {"message": "engine died", "code": 500}}) + DONE, "server"),
    "error as text": (token("a") + event({"error": "out of memory"}), "server"),
    "error of object type": (event({"object": "error", "message": "too long", "code": 400}), "server"),
    "error after the end": (b"".join(answer(2)) + event({"error": {"message": "late"}}), "server"),
}


@pytest.mark.parametrize(("stream", "kind"), ENDS.values(), ids=ENDS)
def test_how_a_stream_ends(stream: bytes, kind: str | None) -> None:
    failure = error(stream)
    assert (failure.kind if failure else None) == kind


def test_error_messages_are_the_servers_own() -> None:
    assert error(event({"error": {"message": "engine died"}})) == Failure(FailureCause.SERVER, "engine died")
    assert error(event({"object": "error", "message": "too long"})) == Failure(FailureCause.SERVER, "too long")


OUTPUT = {
    "content": ({"content": "ab"}, None, [2]),
    "held-back token": ({"content": ""}, None, [0]),
    "role and content at once": ({"role": "assistant", "content": "ab"}, None, [2]),
    "role only": ({"role": "assistant", "content": ""}, None, None),
    "nothing": ({}, None, None),
    "null content": ({"content": None}, None, None),
    "empty text with the finish reason": ({"content": ""}, "stop", None),
    "text with the finish reason": ({"content": "a"}, "stop", [1]),
    "reasoning_content": ({"reasoning_content": "hmm"}, None, [3]),
    "reasoning": ({"reasoning": "hmm"}, None, [3]),
    "held-back reasoning": ({"reasoning": ""}, None, [0]),
    "refusal": ({"refusal": "no"}, None, [2]),
    "content parts": ({"content": [{"type": "text", "text": "ab"}, {"type": "thinking"}]}, None, [2]),
    "tool call": ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}, None, [3]),
    "legacy function call": ({"function_call": {"name": "f", "arguments": "{"}}, None, [2]),
    "whitespace is content": ({"content": " \n"}, None, [2]),
}


@pytest.mark.parametrize(("delta", "finish", "chars"), OUTPUT.values(), ids=OUTPUT)
def test_what_counts_as_output(delta: dict[str, Any], finish: str | None, chars: list[int] | None) -> None:
    assert read(chunk(delta, finish))["chars"] == chars


def test_trailing_usage_on_an_empty_delta_is_not_output() -> None:
    late = event(
        {"choices": [{"index": 0, "delta": {"content": ""}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    )
    found = read(token("a") + token("b", "stop") + late + DONE)
    assert found["chars"] == [1, 1]
    assert found["usage"] == {"prompt": 1, "completion": 2, "cached": None, "reasoning": None}


def test_times_are_those_of_the_reads() -> None:
    reply = ResponseParser(Chat(), stream=True)
    reply.start(200, b"text/event-stream")
    thought = chunk({"reasoning": "hm"})
    for at, data in ((10, chunk()), (20, thought), (35, token("a") + token("b")), (50, token("c", "stop")), (60, DONE)):
        reply.feed(data, at)
    assert reply.finish() is None
    assert (reply.first, reply.first_answer, reply.last) == (20, 35, 50)
    assert reply.pieces is not None
    assert reply.pieces.times == [0, 15, 0, 15]


def test_tokens_of_each_event_from_continuous_usage() -> None:
    def with_usage(text: str, count: int, finish: str | None = None) -> bytes:
        return token(text, finish, usage={"prompt_tokens": 4, "completion_tokens": count})

    first = chunk(usage={"prompt_tokens": 4, "completion_tokens": 0})
    found = read(first + with_usage("ab", 2) + with_usage("c", 3) + with_usage("def", 7, "length") + usage(4, 7) + DONE)
    assert found["tokens"] == [2, 1, 4]
    assert read(with_usage("a", 1) + token("b", "stop") + DONE)["tokens"] is None


def test_choices_are_kept_apart() -> None:
    found = read(
        token("a", index=0) + token("b", index=1) + token("c", "stop", index=1) + token("d", "length", index=0)
    )
    assert found["choices"] == [
        {"text": "ad", "reasoning": None, "finish": "length"},
        {"text": "bc", "reasoning": None, "finish": "stop"},
    ]
    assert found["finish"] == "length"


def test_tool_calls_are_joined() -> None:
    def call(**fields: Any) -> bytes:
        return chunk({"tool_calls": [fields]})

    stream = call(index=0, id="c1", type="function", function={"name": "look", "arguments": ""})
    stream += call(index=0, function={"arguments": '{"a"'}) + call(index=0, function={"arguments": ":1}"})
    stream += call(index=1, id="c2", type="function", function={"name": "go", "arguments": "{}"})
    found = read(stream + chunk({}, "tool_calls") + DONE)
    assert found["tools"] == [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "go", "arguments": "{}"}},
    ]
    assert found["error"] is None


def whole(body: bytes, api: Any = Chat, status: int = 200) -> ResponseParser:
    reply = ResponseParser(api(), stream=False, keep_text=True)
    reply.start(status, b"application/json")
    reply.feed(body[:10], 3)
    reply.feed(body[10:], 4)
    reply.finish()
    return reply


def test_an_answer_in_one_piece_has_text_but_no_times() -> None:
    body = {"choices": [{"index": 0, "message": {"content": "hi", "reasoning": "so"}, "finish_reason": "stop"}]}
    reply = whole(json.dumps({**body, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode())
    assert (reply.failure, reply.pieces, reply.first, reply.last) == (None, None, None, None)
    assert reply.choices()[0].text == "hi"
    assert reply.choices()[0].reasoning == "so"
    assert reply.usage == Usage(3, 1)


def test_a_completion_in_one_piece() -> None:
    reply = whole(b'{"choices":[{"index":0,"text":" os","finish_reason":"length"}]}', Completions)
    assert (reply.failure, reply.finish_reason, reply.choices()[0].text) == (None, "length", " os")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "empty"),
        (b'{"choices":[]}', "empty"),
        (b"{", "protocol"),
        (b"hello", "protocol"),
        (b'{"error":"no"}', "server"),
    ],
)
def test_an_answer_in_one_piece_that_is_none(body: bytes, kind: str) -> None:
    failure = whole(body).failure
    assert failure is not None
    assert failure.kind == kind


def test_a_streamed_request_answered_with_json_is_read_as_a_whole() -> None:
    body = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    reply = ResponseParser(Chat(), stream=True, keep_text=True)
    reply.start(200, b"application/json; charset=utf-8")
    reply.feed(body, 3)
    assert reply.finish() is None
    assert not reply.streamed


COMPLAINTS = [
    (b'{"error":{"message":"no such model","code":404}}', "no such model"),
    (b'{"error":"Unauthorized"}', "Unauthorized"),
    (b'{"detail":"Not Found"}', "Not Found"),
    (b'{"detail":[{"loc":["body"],"msg":"bad"}]}', "body: bad"),
    (b'{"object":"error","message":"too long"}', "too long"),
    (b"Internal Server Error", "Internal Server Error"),
    (b"", "no explanation"),
    (b"\xff\xfe", "��"),
    (b"[" * 100_000, "[" * 500 + "… (100,000 characters)"),
]


@pytest.mark.parametrize(("body", "text"), COMPLAINTS)
def test_complaints(body: bytes, text: str) -> None:
    assert error_body_message(body) == text


def test_a_status_is_a_failure_with_the_servers_words() -> None:
    reply = whole(b'{"error":{"message":"busy"}}', status=503)
    assert reply.failure == Failure(FailureCause.STATUS, "HTTP 503: busy")


FIELDS = """choices delta message content text index finish_reason usage error role tool_calls function function_call
name arguments reasoning refusal object prompt_tokens completion_tokens prompt_tokens_details cached_tokens detail"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(FIELDS.split()), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, max_size=4), st.booleans(), st.sampled_from([Chat, Completions]), st.sampled_from([200, 404]))
def test_no_json_makes_it_raise(values: list[Any], streamed: bool, api: Any, status: int) -> None:
    stream = b"".join(event(value) for value in values) if streamed else json.dumps(values).encode()
    read(stream, None, api, status, "" if streamed else "application/json")


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_it_raise(data: bytes, streamed: bool) -> None:
    read(b"data: " + data + b"\n\n", None, Chat, 200, "" if streamed else "application/json")
    read(data, None, Completions, 200, "" if streamed else "application/json")


def test_deep_nesting_is_a_protocol_failure() -> None:
    failure = error(b"data: " + b'{"error":' * 100_000 + b"\n\n")
    assert failure is not None
    assert failure.kind == "protocol"


def test_a_mistake_in_an_own_class_is_not_the_servers() -> None:
    class Broken(Chat):
        def parse_event(self, data: bytes) -> Event:
            raise KeyError("oops")

    reply = ResponseParser(Broken(), stream=True)
    reply.start(200, b"text/event-stream")
    reply.feed(token("a"), 1)
    assert reply.finish() == Failure(FailureCause.PROTOCOL, "Broken.parse_event: KeyError: 'oops'")
