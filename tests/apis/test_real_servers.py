"""Answers as servers, gateways and proxies really send them: a table for each thing that they do differently."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from loadstone.apis import APIS
from loadstone.apis.response_parser import MAX_ANSWER, MAX_EVENT, ResponseParser
from loadstone.apis.server_errors import MAX_ERROR_BODY
from loadstone.records import Usage
from support.real_answers import ANSWER, DONE, ROLE, STOP, Events, as_event, chat, load, read


def thinking(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts]}]


def details(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"reasoning.{kind}", "format": "x", "index": 0, **fields}


REASONING: dict[str, tuple[str, Events, bool]] = {
    "reasoning_content": ("chat", [chat({"reasoning_content": "why "}), chat({"reasoning_content": "so"})], False),
    "reasoning": ("chat", [chat({"reasoning": "why "}), chat({"reasoning": "so", "content": None})], False),
    "reasoning_text": ("chat", [chat({"reasoning_text": "why "}), chat({"reasoning_text": "so"})], False),
    "parts": ("chat", [chat({"content": thinking("w", "hy ")}), chat({"content": thinking("so")})], False),
    "a part with text": ("chat", [chat({"content": [{"type": "thinking", "thinking": "why so"}]})], False),
    "details": (
        "chat",
        [chat({"reasoning_details": [details("text", text=text)]}) for text in ("why ", "so")],
        False,
    ),
    "details that repeat another field": (
        "chat",
        [chat({"reasoning": "why so", "reasoning_details": [details("text", text="why so")]})],
        False,
    ),
    "details that are a summary": (
        "chat",
        [chat({"reasoning_details": [details("summary", summary="why so")]})],
        True,
    ),
    "details that are encrypted": (
        "chat",
        [
            chat({"reasoning_details": [details("encrypted", data="c2VjcmV0")]}),
            chat({"reasoning_details": [details("text", text="why so", signature=None)]}),
        ],
        False,
    ),
    "responses": ("responses", [{"type": "response.reasoning_text.delta", "delta": "why so"}], False),
    "responses, a summary": (
        "responses",
        [{"type": "response.reasoning_summary_text.delta", "delta": "why so"}],
        True,
    ),
    "messages": (
        "messages",
        [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "why so"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
        ],
        False,
    ),
    "ollama": ("ollama", [{"message": {"role": "assistant", "content": "", "thinking": "why so"}}], False),
}
ENDS: dict[str, Events] = {
    "chat": [ANSWER, STOP, DONE],
    "responses": [
        {"type": "response.output_text.delta", "delta": "yes"},
        {"type": "response.completed", "response": {"status": "completed"}},
    ],
    "messages": [
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ],
    "ollama": [
        {"message": {"role": "assistant", "content": "yes"}},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ],
}


@pytest.mark.parametrize(("api", "events", "summary"), REASONING.values(), ids=REASONING)
def test_reasoning_is_output_that_comes_before_the_answer(api: str, events: Events, summary: bool) -> None:
    before = [ROLE] if api == "chat" else []
    parser = read([*before, *events, *ENDS[api]], api)
    assert parser.failure is None
    (choice,) = parser.choices()
    assert (choice.reasoning, choice.text) == ("why so", "yes")
    assert parser.summarized == summary
    assert parser.first is not None
    assert parser.first_answer == 10 * (len(before) + len(events) + 1)
    assert parser.first < parser.first_answer
    assert sum(parser.chars) == len("why soyes")


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "why so", "content": "yes"},
        {"reasoning": "why so", "reasoning_details": [details("text", text="why so")], "content": "yes"},
        {"reasoning_details": [details("text", text="why "), details("text", text="so")], "content": "yes"},
        {"content": [*thinking("why so"), {"type": "text", "text": "yes"}]},
        {
            "content": [
                *thinking("why so"),
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": "yes"},
            ]
        },
    ],
)
def test_a_whole_answer_has_its_reasoning_too(message: dict[str, Any]) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}
    parser = read(json.dumps(body).encode(), content_type=b"application/json")
    assert parser.failure is None
    assert [(choice.reasoning, choice.text) for choice in parser.choices()] == [("why so", "yes")]


def test_tags_of_reasoning_stay_in_the_text() -> None:
    parser = read([chat({"content": "<think>why</think>yes"}), STOP, DONE])
    assert [(choice.reasoning, choice.text) for choice in parser.choices()] == [(None, "<think>why</think>yes")]


USAGES: dict[str, tuple[Events, Usage | None]] = {
    "at the end": ([{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}], Usage(7, 3)),
    "beside a choice": ([chat({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 3})], Usage(7, 3)),
    "in a choice": (
        [{"choices": [{"index": 0, "delta": {}, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}]}],
        Usage(7, 3),
    ),
    "in x_groq": ([chat({}, x_groq={"id": "r", "usage": {"prompt_tokens": 7, "completion_tokens": 3}})], Usage(7, 3)),
    "in timings": (
        [chat({}, timings={"prompt_n": 5, "predicted_n": 3, "cache_n": 2, "predicted_ms": 1.5})],
        Usage(7, 3, 2),
    ),
    "in timings without the cache": ([chat({}, timings={"prompt_n": 5, "predicted_n": 3})], Usage(None, 3)),
    "in a message": (
        [{"choices": [{"index": 0, "message": {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}}]}],
        Usage(7, 3),
    ),
    "in a delta": ([chat({"usage": {"prompt_tokens": 7, "completion_tokens": 3}})], Usage(7, 3)),
    "in a response": ([{"response": {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}}], Usage(7, 3)),
    "under other names": ([{"choices": [], "usage": {"input_tokens": 7, "output_tokens": 3}}], Usage(7, 3)),
    "with hits of a cache": (
        [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_cache_hit_tokens": 4}}],
        Usage(7, 3, 4),
    ),
    "with details": (
        [
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 7,
                    "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            }
        ],
        Usage(7, 3, 4, 2),
    ),
    "in every event": (
        [chat({"content": "x"}, usage={"prompt_tokens": 7, "completion_tokens": count}) for count in (1, 2, 3)],
        Usage(7, 3),
    ),
    "and an empty one after it": (
        [
            {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
            {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
        ],
        Usage(7, 3),
    ),
    "whole floats": ([{"choices": [], "usage": {"prompt_tokens": 7.0, "completion_tokens": 3e0}}], Usage(7, 3)),
    "texts": ([{"choices": [], "usage": {"prompt_tokens": "7", "completion_tokens": " 3.0"}}], Usage(7, 3)),
    "no numbers": ([{"choices": [], "usage": {"prompt_tokens": True, "completion_tokens": []}}], Usage()),
    "one of two": ([{"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": 3}}], Usage(None, 3)),
    "half a token": ([{"choices": [], "usage": {"prompt_tokens": 7.5, "completion_tokens": 3}}], Usage(None, 3)),
    "not finite": (
        [b'data: {"choices":[],"usage":{"prompt_tokens":1e999,"completion_tokens":3}}\n\n'],
        Usage(None, 3),
    ),
    "beyond 64 bits": ([{"choices": [], "usage": {"prompt_tokens": 2**80, "completion_tokens": -(2**63)}}], Usage()),
    "beyond Python": (
        [b'data: {"choices":[],"usage":{"prompt_tokens":%b,"completion_tokens":3}}\n\n' % (b"9" * 5000)],
        Usage(None, 3),
    ),
    "negative, which is what the server said": (
        [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": -1441}}],
        Usage(7, -1441),
    ),
    "an empty object": ([{"choices": [], "usage": {}}], Usage()),
    "null": ([{"choices": [], "usage": None}], None),
    "a text": ([{"choices": [], "usage": "none"}], None),
}


@pytest.mark.parametrize(("events", "usage"), USAGES.values(), ids=USAGES)
def test_token_counts_are_read_wherever_and_however_they_come(events: Events, usage: Usage | None) -> None:
    parser = read([ANSWER, *events, STOP, DONE])
    assert parser.failure is None
    assert parser.usage == usage
    assert parser.choices()[0].text.startswith("yes")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"id": 5, "created": "now", "model": None, "object": ["chunk"], "system_fingerprint": {}},
        {"choices": [{"index": None, "delta": {"content": "!"}}]},
        {"choices": [{"index": "0", "delta": {"content": "!"}}]},
        {"choices": [{"index": 0.0, "delta": {"role": 7, "content": "!"}}]},
        {"choices": [{"delta": {"content": "!", "reasoning": {"effort": 1}}}]},
        {"choices": [{"delta": {"content": "!", "tool_calls": {}}, "logprobs": "none"}]},
        {"choices": [{"delta": {"content": "!"}, "finish_reason": []}]},
        {"choices": [{"delta": {"content": "!"}}], "usage": [1, 2]},
        {"choices": [{"delta": {"content": "!"}}, None]},
    ],
)
def test_a_field_that_no_figure_needs_costs_no_request(spoilt: dict[str, Any]) -> None:
    parser = read([ANSWER, spoilt, STOP, DONE])
    assert parser.failure is None
    assert parser.choices()[0].text in ("yes!", "yes")
    assert parser.finish_reason == "stop"


@pytest.mark.parametrize(
    "spoilt",
    [{"choices": "yes"}, {"choices": [{"delta": {"content": 5}}]}, {"choices": [{"delta": "yes"}]}, [], 5, "yes"],
)
def test_output_of_an_unknown_form_is_a_failure(spoilt: Any) -> None:
    parser = read([ANSWER, spoilt, STOP, DONE])
    assert parser.failure is not None
    assert parser.failure.kind == "protocol"


GIVEN_UP: dict[str, tuple[str, Events, str]] = {
    "abort": ("chat", [chat({}, "abort")], "finish reason abort"),
    "error": ("chat", [chat({"content": ""}, "error")], "finish reason error"),
    "an object": ("chat", [chat({}, {"type": "abort", "message": "cache is full"})], "cache is full"),
    "an error in the choice": (
        "chat",
        [
            {
                "choices": [
                    {"delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "lost"}}
                ]
            }
        ],
        "lost",
    ),
    "an error in the choice alone": ("chat", [{"choices": [{"delta": {}, "error": {"message": "lost"}}]}], "lost"),
    "no resources": ("chat", [chat({}, "insufficient_system_resource")], "insufficient_system_resource"),
    "the network": ("chat", [chat({}, "network_error")], "network_error"),
    "completions": ("completions", [{"choices": [{"text": "a", "finish_reason": "abort"}]}], "abort"),
    "generate": (
        "generate",
        [{"text": "a", "meta_info": {"finish_reason": {"type": "abort", "message": "cache is full"}}}],
        "cache is full",
    ),
    "tgi": (
        "tgi",
        [{"token": {"text": "a"}, "generated_text": "a", "details": {"finish_reason": "error"}}],
        "finish reason error",
    ),
    "responses": (
        "responses",
        [{"type": "response.completed", "response": {"status": "cancelled"}}],
        "finish reason cancelled",
    ),
    "responses, incomplete for no reason": (
        "responses",
        [{"type": "response.incomplete", "response": {"status": "incomplete"}}],
        "finish reason incomplete",
    ),
    "responses, cancelled": (
        "responses",
        [{"type": "response.cancelled", "response": {"status": "cancelled"}}],
        "finish reason cancelled",
    ),
    "an error beside the choices": (
        "chat",
        [chat({"content": ""}, "error", error={"code": 502, "message": "provider is gone"})],
        "finish reason error: provider is gone",
    ),
    "responses, failed": (
        "responses",
        [{"type": "response.failed", "response": {"status": "failed", "error": {"code": "x", "message": "lost"}}}],
        "lost",
    ),
    "messages": ("messages", [{"type": "message_delta", "delta": {"stop_reason": "error"}}], "finish reason error"),
    "ollama": ("ollama", [{"message": {"content": ""}, "done": True, "done_reason": "error"}], "finish reason error"),
}


@pytest.mark.parametrize(("api", "events", "words"), GIVEN_UP.values(), ids=GIVEN_UP)
def test_a_response_that_the_server_gave_up_is_a_failure(api: str, events: Events, words: str) -> None:
    first = {"chat": [ANSWER], "completions": [{"choices": [{"text": "yes"}]}]}.get(api, [])
    parser = read([*first, *events, *([DONE] if api in ("chat", "completions", "generate") else [])], api)
    assert parser.failure is not None
    assert parser.failure.kind == "server"
    assert words in parser.failure.message


@pytest.mark.parametrize(
    "reason", ["stop", "length", "tool_calls", "content_filter", "eos_token", "SAFETY", "repetition"]
)
def test_other_finish_reasons_are_no_failures(reason: str) -> None:
    parser = read([ANSWER, chat({}, reason), DONE])
    assert parser.failure is None
    assert parser.finish_reason == reason


ERRORS: list[bytes] = [
    b'event: error\ndata: {"message": "engine died", "code": 500}\n\n',
    b'event: error\ndata: {"reason": "engine died"}\n\n',
    b"event: error\ndata: engine died\n\n",
    b'event:error\ndata: "engine died"\n\n',
    b'event: exception\r\ndata: {"text": 1, "message": "engine died"}\r\n\r\n',
    b'data: {"detail": "engine died"}\n\n',
    b'data: {"detail": [{"loc": ["body", "x"], "msg": "engine died", "type": "y"}]}\n\n',
    b'data: {"errors": [{"message": "engine died"}]}\n\n',
    b'data: {"errors": ["engine died"]}\n\n',
    b'data: {"message": "engine died", "code": 500}\n\n',
    b'data: {"object": "error", "message": "engine died"}\n\n',
    b'data: {"type": "error", "error": {"type": "overloaded", "message": "engine died"}}\n\n',
    b'data: {"error": "engine died"}\n\n',
    b'data: {"error": {"message": "engine died", "type": "x"}}\n\n',
    b'data: {"error": {"error": {"message": "engine died"}}}\n\n',
    b'data: {"error": true, "message": "engine died"}\n\n',
    b'data: {"status": "error", "message": "engine died"}\n\n',
    b'data: {"status": "failed", "reason": "engine died"}\n\n',
    b'data: {"code": 1302, "msg": "engine died"}\n\n',
    b'data: {"message": "engine died"}\n\n',
    b"data: The engine died.\n\n",
    b"data: [engine died]\n\n",
    b'data: {"success": false, "msg": "engine died"}\n\n',
    b'data: {"error_msg": "engine died", "error_code": 7}\n\n',
    b'data: {"base_resp": {"status_code": 1008, "status_msg": "engine died"}}\n\n',
    b"data: [ERROR] engine died\n\n",
    b"data: Error: engine died\n\n",
    b"data: Internal Server Error: engine died\n\n",
    b'{"error": {"message": "engine died"}}\n',
    b'{"detail": "engine died"}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("before", [[], [ROLE], [ROLE, ANSWER]], ids=["at once", "after the role", "after an answer"])
def test_an_error_in_a_stream_is_the_servers_in_its_own_words(error: bytes, before: Events) -> None:
    for cut in range(0, len(error), 7):
        parser = read([*before, error[:cut], error[cut:]])
        assert parser.failure is not None
        assert (parser.failure.kind, "engine died" in parser.failure.message) == ("server", True), (error, cut)


@pytest.mark.parametrize(
    "event",
    [
        b": error\n\n",
        b"event: message\n",
        b"event: error\n\n",
        b'data: {"choices": [{"delta": {"content": "{\\"error\\": 1}"}}]}\n\n',
        b'data: {"choices": [], "error": null, "message": null}\n\n',
        b'data: {"type": "ping", "detail": null, "errors": []}\n\n',
        b"id: error\nretry: 5\n",
        b'data: {"code": 0, "message": "ok"}\n\n',
        b'data: {"status": "in_progress", "message": null}\n\n',
        b'data: {"choices": [], "prompt_filter_results": [{"results": {"error": {"message": "not run"}}}]}\n\n',
    ],
)
def test_what_only_looks_like_an_error_is_none(event: bytes) -> None:
    assert read([event, ANSWER, STOP, DONE]).failure is None


@pytest.mark.parametrize("name", [name for name in APIS if name != "template"])
def test_every_protocol_reads_an_error_where_output_should_be(name: str) -> None:
    for error in (
        {"detail": "engine died"},
        {"error": {"message": "engine died"}},
        {"message": "engine died", "code": 1},
    ):
        parser = read([error], name)
        assert parser.failure is not None
        assert (parser.failure.kind, parser.failure.message) == ("server", "engine died"), error


PAGE = b"<!DOCTYPE html>\n<html><body>\n<h1>Please sign in</h1>\n</body></html>\n"


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (PAGE, b"text/html; charset=utf-8", ["Content-Type text/html", "Please sign in"]),
        (b"Please sign in\n\n", b"text/plain", ["Content-Type text/plain", "Please sign in"]),
        (PAGE, b"", ["Content-Type missing", "Please sign in"]),
        ("data: 1\n\n".encode("utf-16"), b"text/event-stream", ["text/event-stream, in UTF-16: data: 1"]),
        ("data: 1\n\n".encode("utf-16-le"), b"text/event-stream", ["text/event-stream, in UTF-16: data: 1"]),
        ("data: 1\n\n".encode("utf-16-be"), b"text/event-stream", ["Content-Type text/event-stream"]),
        (gzip.compress(b"data: 1\n\n"), b"text/event-stream", ["Content-Type text/event-stream, in gzip"]),
        (PAGE, b"application/json", ["Content-Type application/json", "Please sign in"]),
        (b"\x89PNG\r\n\x1a\n\0\0", b"image/png", ["Content-Type image/png"]),
    ],
)
def test_a_body_that_is_no_stream_is_named(body: bytes, content_type: bytes, words: list[str]) -> None:
    parser = read(body, content_type=content_type)
    assert parser.failure is not None
    assert parser.failure.kind == "protocol"
    assert all(word in parser.failure.message for word in words), parser.failure.message
    assert parser.choices() == []


def test_a_page_where_lines_of_json_should_be_is_named_too() -> None:
    for api in ("ollama", "chat"):
        parser = ResponseParser(load(api), stream=api == "ollama")
        parser.start(200, b"text/html")
        parser.feed(PAGE, 1)
        failure = parser.finish()
        assert failure is not None
        assert failure.kind == "protocol"
        assert "Content-Type text/html" in failure.message


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"deflate", b"GZIP, br"])
def test_an_encoding_that_nobody_asked_for_is_named(encoding: bytes) -> None:
    for stream in (True, False):
        parser = ResponseParser(load("chat"), stream=stream)
        parser.start(200, b"text/event-stream", encoding)
        parser.feed(b"\x1f\x8b\x08\x00\x00", 1)
        failure = parser.finish()
        assert failure is not None
        assert failure.kind == "protocol"
        assert f"Content-Encoding {encoding.decode()}" in failure.message


@pytest.mark.parametrize("encoding", [None, b"", b"identity", b" Identity "])
def test_no_encoding_is_no_failure(encoding: bytes | None) -> None:
    parser = ResponseParser(load("chat"), stream=True)
    parser.start(200, b"text/event-stream", encoding)
    for event in (ANSWER, STOP):
        parser.feed(as_event(event, "chat"), 1)
    assert parser.finish() is None


WHOLE: dict[str, Any] = {
    "chat": {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]},
    "completions": {"choices": [{"text": "yes", "finish_reason": "stop"}]},
    "responses": {"status": "completed", "output": [{"type": "message", "content": [{"text": "yes"}]}]},
    "messages": {"content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn"},
    "generate": {"text": "yes", "meta_info": {"finish_reason": {"type": "stop"}}},
    "tgi": {"generated_text": "yes", "details": {"finish_reason": "eos_token"}},
    "ollama": {"message": {"role": "assistant", "content": "yes"}, "done": True, "done_reason": "stop"},
}


@pytest.mark.parametrize("content_type", [b"application/json", b"Application/JSON", b"text/event-stream", b""])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("api", WHOLE)
def test_json_in_answer_to_a_streamed_request_is_read(api: str, indent: int | None, content_type: bytes) -> None:
    body = json.dumps(WHOLE[api], indent=indent).encode()
    parser = ResponseParser(load(api), stream=True, keep_text=True)
    parser.start(200, content_type)
    parser.feed(body[:20], 10)
    parser.feed(body[20:], 20)
    assert parser.finish() is None
    assert not parser.streamed
    assert (parser.first, parser.pieces) == (None, None)
    assert [choice.text for choice in parser.choices()] == ["yes"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\n\n", b": hello\n\n"])
def test_line_ends_and_marks_of_streams(begin: bytes, end: bytes) -> None:
    stream = begin + b"".join(as_event(event, "chat").replace(b"\n", end) for event in (ROLE, ANSWER, STOP))
    parser = read(stream)
    assert parser.failure is None
    assert parser.choices()[0].text == "yes"


@pytest.mark.parametrize("api", ENDS)
@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain", b"application/octet-stream", b""])
def test_a_stream_under_another_content_type_is_a_stream(api: str, content_type: bytes) -> None:
    parser = read(ENDS[api], api, content_type)
    assert parser.failure is None
    assert parser.streamed
    assert (parser.first, parser.choices()[0].text) == (10, "yes")


@pytest.mark.parametrize("end", [b"data:[DONE]\n\n", b"data:  [DONE] \n\n", b"data: [done]\n\n"])
def test_the_end_of_a_stream_however_it_is_written(end: bytes) -> None:
    assert read([ANSWER, end]).failure is None


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_finish_reason_is_none(empty: str | None) -> None:
    events = [chat({"content": text}, empty) for text in ("a", "", "b")]
    parser = read([*events, STOP, DONE])
    assert (parser.failure, parser.chars, parser.finish_reason) == (None, [1, 0, 1], "stop")
    cut = read(events).failure
    assert cut is not None
    assert cut.kind == "truncated"


def test_spoken_output_is_output() -> None:
    sound = {"type": "response.output_audio.delta", "delta": "AAAA"}
    spoken = read([sound, {"type": "response.completed", "response": {"status": "completed"}}], "responses")
    assert (spoken.failure, spoken.chars) == (None, [0])
    parser = read([chat({"audio": {"id": "a", "data": "AAAA"}}), chat({"audio": {"transcript": "yes"}}), STOP, DONE])
    assert parser.failure is None
    assert len(parser.times) == 2
    assert parser.choices()[0].text == "yes"


@pytest.mark.parametrize("body", [[{"index": 0, "score": 0.9}], [{"index": 0, "score": 0.0, "text": "a"}]])
def test_scores_alone_are_a_ranking(body: Any) -> None:
    parser = ResponseParser(load("rerank"), stream=False)
    parser.start(200, b"application/json")
    parser.feed(json.dumps(body).encode(), 1)
    assert parser.finish() is None


def test_of_a_large_error_body_only_the_beginning_is_kept() -> None:
    parser = ResponseParser(load("chat"), stream=True)
    parser.start(500, b"text/plain")
    piece = b"x" * 50_000
    assert [parser.feed(piece, 1) for _ in range(4)] == [None, True, True, True]
    assert len(parser._body) == MAX_ERROR_BODY
    failure = parser.finish()
    assert failure is not None
    assert failure.kind == "status"
    assert len(failure.message) < 600


@pytest.mark.parametrize(("stream", "limit"), [(True, MAX_EVENT), (False, MAX_ANSWER)])
def test_an_endless_answer_is_a_failure(stream: bool, limit: int) -> None:
    parser = ResponseParser(load("chat"), stream=stream)
    parser.start(200, b"text/event-stream" if stream else b"application/json")
    parser.feed(b'data: {"choices": "' if stream else b'{"choices": "', 1)
    piece = b"x" * 2**22
    assert any(parser.feed(piece, 1) for _ in range(limit // len(piece) + 1))
    failure = parser.finish()
    assert failure is not None
    assert failure.kind == "protocol"
    assert f"{limit >> 20} MiB" in failure.message
