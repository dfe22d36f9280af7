"""The short cut must change nothing: what it reads, the decoder reads alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.apis.fast_path import EventTemplate
from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from support.streams import chunk, token, usage


def data(event: bytes) -> bytes:
    return event.removeprefix(b"data: ").strip()


def taught(event: bytes) -> EventTemplate:
    template = EventTemplate()
    template.learn(data(event), Chat().parse_event(data(event)))
    return template


def test_an_event_with_another_text_fits() -> None:
    template = taught(token(" hello"))
    assert template.text(token(" world")) == " world"
    assert template.text(token("x")) == "x"
    assert (template.reasoning, template.index) == (False, 0)


NOT_PLAIN = {
    "a quote": token('say "hi"'),
    "an escape": token("a\nb"),
    "a held-back token": token(""),
    "another choice": chunk({"content": "x"}, index=1),
    "a finish reason": token("x", "stop"),
    "usage beside it": token("x", usage={"completion_tokens": 2}),
    "reasoning": chunk({"reasoning": "x"}),
    "a role": chunk(),
    "usage": usage(1, 2),
    "bad UTF-8": token("@@").replace(b"@@", b"\xff\xfe"),
    "a control character": token("@@").replace(b"@@", b"a\tb"),
    "a surrogate in UTF-8": token("@@").replace(b"@@", b"\xed\xa0\x80"),
    "the template's own edges, overlapping": token("@@").replace(b'@@"', b""),
}


@pytest.mark.parametrize("event", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_everything_else_is_left_to_the_decoder(event: bytes) -> None:
    assert taught(token(" hello")).text(event) is None


NO_LESSON = {
    "its text stands there twice": token("x"),
    "it has an escape": token("a\\b"),
    "its text is written with an escape, and stands elsewhere": token("role").replace(b'"role"', b'"\\u0072ole"'),
    "it has a finish reason": token(" hello", "stop"),
    "it brings a tool call": chunk({"tool_calls": [{"function": {"name": "hello"}}]}),
    "it brings both kinds of text": chunk({"content": " hello", "reasoning": " hmm"}),
    "it brings usage": token(" hello", usage={"completion_tokens": 2}),
    "it brings nothing": chunk(),
}


@pytest.mark.parametrize("event", NO_LESSON.values(), ids=NO_LESSON)
def test_some_events_are_no_template(event: bytes) -> None:
    assert taught(event).text(token(" other")) is None
    assert taught(event).text(event) is None


def test_reasoning_and_then_an_answer_are_both_learnt() -> None:
    template = taught(chunk({"reasoning": " hmm"}))
    assert (template.text(chunk({"reasoning": " so"})), template.reasoning) == (" so", True)
    answer = data(token(" hello"))
    template.learn(answer, Chat().parse_event(answer))
    assert (template.text(token(" world")), template.reasoning) == (" world", False)


def read(stream: bytes, lessons: int, size: int) -> object:
    """`size`: bytes of a read."""
    reply = ResponseParser(Chat(), stream=True, keep_text=True)
    reply._template._learnable = lessons
    for place in range(0, len(stream), size):
        reply.feed(stream[place : place + size], place)
    failure = reply.finish()
    return failure, reply.choices(), reply.pieces, reply.finish_reason, reply.first_answer, reply.usage


TEXTS = st.text(max_size=6) | st.sampled_from(
    ["x", "content", "role", '"', "\\", "", "é", "\u2028", "😀", "\x7f", "index"]
)
DELTAS = st.fixed_dictionaries({}, optional={"content": TEXTS, "reasoning": TEXTS, "role": st.just("assistant")})
EVENTS = st.tuples(DELTAS, st.sampled_from([None, None, None, "stop"]), st.integers(0, 1), st.booleans())


@given(st.lists(EVENTS, max_size=12), st.sampled_from([40, 400, 10_000]))
def test_a_stream_reads_the_same_with_and_without(
    events: list[tuple[dict[str, str], str | None, int, bool]], size: int
) -> None:
    parts = []
    for delta, finish, index, ascii_only in events:
        payload = {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
        parts.append(b"data: " + json.dumps(payload, ensure_ascii=ascii_only).encode("utf-8", "replace") + b"\n\n")
    assert read(b"".join(parts), 4, size) == read(b"".join(parts), 0, size)


def test_each_of_several_events_in_a_read_takes_the_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    event = Chat.parse_event
    monkeypatch.setattr(Chat, "parse_event", lambda self, data: decoded.append(data) or event(self, data))
    reply = ResponseParser(Chat(), stream=True, keep_text=True)
    reply.feed(chunk() + token("a") + token("b") + token("c") + token("d", "stop"), 7)
    assert reply.finish() is None
    assert (reply.times, reply.choices()[0].text) == ([0, 0, 0, 0], "abcd")
    assert decoded == [data(chunk()), data(token("a")), data(token("d", "stop"))]


def test_completions_have_templates_too() -> None:
    def event(text: str) -> bytes:
        return json.dumps({"choices": [{"index": 0, "text": text, "finish_reason": None}]}).encode()

    template = EventTemplate()
    template.learn(event(" os"), Completions().parse_event(event(" os")))
    assert template.text(b"data: " + event(" buf") + b"\n\n") == " buf"
