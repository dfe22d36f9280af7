"""Responses in one piece, and input that no parser may raise on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.apis import API, sse
from loadstone.apis.anthropic import Messages
from loadstone.apis.ollama import Ollama
from loadstone.apis.responses import Responses
from loadstone.records import Usage
from support import servers as servers
from support.protocols import JOINED, MAKERS, RESPONSE_USAGE, fill, read, whole
from support.streams import event

META = {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0, "finish_reason": {"type": "length"}}
BLOCKS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": " hi"}]
ITEMS = [
    {"type": "reasoning", "summary": [{"text": "hm"}]},
    {"type": "message", "content": [{"type": "output_text", "text": " hi"}]},
]
WHOLE: dict[str, tuple[str, Any, str | None, str | None, Usage | None]] = {
    "responses": (
        "responses",
        {"status": "completed", "output": ITEMS, "usage": RESPONSE_USAGE, "error": None},
        " hi",
        "completed",
        Usage(9, 4, 2, 1),
    ),
    "messages": (
        "messages",
        {"content": BLOCKS, "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2}},
        " hi",
        "end_turn",
        Usage(3, 2),
    ),
    "embeddings": (
        "embeddings",
        {"data": [{"index": 0, "embedding": [0.5, 1]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}},
        "",
        None,
        Usage(4),
    ),
    "embeddings as base64": ("embeddings", {"data": [{"embedding": "AAAA"}]}, "", None, None),
    "rerank": (
        "rerank",
        {"results": [{"index": 1, "relevance_score": 0.0}], "usage": {"total_tokens": 9}},
        "",
        None,
        Usage(9),
    ),
    "generate": ("generate", {"text": " hi", "meta_info": META}, " hi", "length", Usage(3, 2, 0)),
    "generate, two": (
        "generate",
        [{"text": " hi", "meta_info": META}, {"text": " ho", "meta_info": META}],
        " hi",
        "length",
        Usage(3, 4, 0),
    ),
    "tgi": (
        "tgi",
        {"generated_text": " hi", "details": {"finish_reason": "length", "generated_tokens": 2, "prefill": [{}, {}]}},
        " hi",
        "length",
        Usage(2, 2),
    ),
    "tgi, in a list": ("tgi", [{"generated_text": " hi"}], " hi", None, None),
    "ollama": (
        "ollama",
        {"message": {"content": " hi"}, "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2},
        " hi",
        "stop",
        Usage(3, 2),
    ),
    "template": ("template", {"text_output": " hi"}, " hi", None, None),
}


@pytest.mark.parametrize(("name", "body", "text", "finish", "usage"), WHOLE.values(), ids=WHOLE)
def test_answers_in_one_piece(name: str, body: Any, text: str | None, finish: str | None, usage: Usage | None) -> None:
    reply = whole(MAKERS[name](), body)
    assert (reply.failure, reply.finish_reason, reply.usage, reply.pieces) == (None, finish, usage, None)
    assert reply.choices()[0].text == text


def test_tools_in_one_piece() -> None:
    items = [{"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"a":1}'}]
    blocks = [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"a": 1}}]
    wanted = [{**JOINED, "index": 0}]
    assert whole(Responses(), {"status": "completed", "output": items}).tool_calls() == wanted
    assert whole(Messages(), {"content": blocks, "stop_reason": "tool_use"}).tool_calls() == wanted


WHOLE_FAILURES = {
    **{f"{name}, nothing": (name, {}, "empty") for name in sorted(MAKERS.keys() - {"template"})},
    **{f"{name}, no bytes": (name, b"", "empty") for name in MAKERS},
    **{f"{name}, not JSON": (name, b"{", "protocol") for name in MAKERS},
    **{f"{name}, error": (name, {"error": {"message": "died"}}, "server") for name in MAKERS},
    "no vectors": ("embeddings", {"data": []}, "empty"),
    "empty vectors": ("embeddings", {"data": [{"embedding": []}]}, "empty"),
    "vLLM's other error": ("embeddings", {"object": "error", "message": "died"}, "server"),
    "no scores": ("rerank", {"results": []}, "empty"),
    "an empty list": ("generate", [], "empty"),
    "another empty list": ("tgi", [], "empty"),
    "a path that is not there": ("template", {"text": "a"}, "protocol"),
    "a list": ("template", [1], "protocol"),
}


@pytest.mark.parametrize(("name", "body", "kind"), WHOLE_FAILURES.values(), ids=WHOLE_FAILURES)
def test_answers_in_one_piece_that_are_none(name: str, body: Any, kind: str) -> None:
    failure = whole(MAKERS[name](), body).failure
    assert failure is not None
    assert failure.kind == kind


# nothing makes it raise


FIELDS = """type delta text message content error usage index item response output status choices data results embedding
relevance_score meta_info finish_reason token special generated_text details prefill done done_reason thinking name id
tool_calls function arguments content_block stop_reason output_index incomplete_details reason summary text_output
input_tokens output_tokens prompt_tokens completion_tokens prompt_eval_count eval_count cache_read_input_tokens"""
KINDS = """message_start content_block_start content_block_delta message_delta message_stop error text_delta
input_json_delta response.output_text.delta response.output_item.added response.function_call_arguments.delta
response.completed response.failed function_call tool_use abort"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS.split()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=5),
    max_leaves=15,
)
APIS = st.sampled_from([*MAKERS.values(), lambda: fill(text_path="choices.0.text", usage_path="usage")])


@given(APIS, st.lists(JSON, max_size=4), st.booleans(), st.lists(st.integers(0, 60), max_size=4))
def test_no_json_makes_it_raise(make: Callable[[], API], values: list[Any], streamed: bool, cuts: list[int]) -> None:
    if not streamed:
        for value in values:
            whole(make(), value)
        return
    ends = b"\n" if isinstance(make(), Ollama) else b""
    stream = b"".join(json.dumps(value).encode() + b"\n" if ends else event(value) for value in values)
    read(make(), stream, sorted(min(cut, len(stream)) for cut in cuts))


@given(APIS, st.binary(max_size=100), st.booleans())
def test_no_bytes_make_it_raise(make: Callable[[], API], data: bytes, framed: bool) -> None:
    read(make(), b"data: " + data + b"\n\n" if framed else data + b"\n")
    whole(make(), data)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_deep_nesting_is_a_protocol_failure(make: Callable[[], API]) -> None:
    failure = whole(make(), b'{"error":' * 100_000).failure
    assert failure is not None
    assert failure.kind == "protocol"


# lines of JSON


@given(
    st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")), max_size=6), st.binary(max_size=5), st.data()
)
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], rest: bytes, data: st.DataObject) -> None:
    rest = rest.replace(b"\n", b"")
    stream = b"".join(one + b"\n" for one in lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = sse.JSONLines()
    got = [
        one for begin, end in itertools.pairwise([0, *cuts, len(stream)]) for one in splitter.feed(stream[begin:end])
    ]
    assert got == [one.strip() for one in lines if one.strip()]
    assert (splitter.remainder, splitter.at_boundary) == (rest, not rest)
