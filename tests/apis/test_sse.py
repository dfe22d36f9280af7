"""The splitter against the WHATWG rules, whole, byte by byte and cut at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.apis.sse import ServerSentEvents

CASES = {
    "one event": (b"data: a\n\n", [b"a"]),
    "two events in one read": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    "no space after the colon": (b"data:a\n\n", [b"a"]),
    "only one space is dropped": (b"data:  a \n\n", [b" a "]),
    "data lines are joined": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "a data line without colon is an empty line": (b"data\ndata: b\n\n", [b"\nb"]),
    "an empty data line makes an empty event": (b"data:\n\n", [b""]),
    "comment": (b": ping\n\ndata: a\n\n", [b"a"]),
    "comment inside an event": (b"data: a\n: ping\ndata: b\n\n", [b"a\nb"]),
    "other fields": (b"event: x\nid: 7\nretry: 10\ndata: a\nfoo: bar\n\n", [b"a"]),
    "an event of other fields only is none": (b"event: ping\n\ndata: a\n\n", [b"a"]),
    "many blank lines": (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "a second BOM is content": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"b"]),
    "BOM-like bytes in the data": (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
    "broken off": (b"data: a\n\ndata: b\n", [b"a"]),
    "colon first": (b":data: a\n\n", []),
    "field names are exact": (b"Data: a\n\n data: b\n\n", []),
    "NUL and 0xff are content": (b"data: \x00\xff\n\n", [b"\x00\xff"]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES)
def test_rules(stream: bytes, events: list[bytes]) -> None:
    assert ServerSentEvents().feed(stream) == events


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES)
def test_byte_by_byte(stream: bytes, events: list[bytes]) -> None:
    splitter = ServerSentEvents()
    assert [event for i in range(len(stream)) for event in splitter.feed(stream[i : i + 1])] == events


@given(st.data())
def test_any_cut_gives_the_same(data: st.DataObject) -> None:
    pieces = st.sampled_from(
        [b"data: x", b"data:", b"\n", b"\r", b"\r\n", b"\n\n", b": c", b"\xef\xbb\xbf", b"id: 1", b"y"]
    )
    stream = b"".join(data.draw(st.lists(pieces, max_size=30)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, parts = ServerSentEvents(), zip([0, *cuts], [*cuts, len(stream)], strict=True)
    assert [event for a, b in parts for event in splitter.feed(stream[a:b])] == ServerSentEvents().feed(stream)


def test_an_event_is_given_when_its_blank_line_ends() -> None:
    splitter = ServerSentEvents()
    assert splitter.feed(b"data: a\r") == []
    assert splitter.feed(b"\r") == [b"a"]
    assert splitter.feed(b"\ndata: b\n\n") == [b"b"]


@pytest.mark.parametrize(
    ("stream", "rest"),
    [(b"data: a\n\n", b""), (b"data: a\n", b"a\n"), (b"data: a\n\nda", b"da"), (b": ping\n", b""), (b"\n", b"")],
)
def test_rest_is_what_is_not_complete(stream: bytes, rest: bytes) -> None:
    splitter = ServerSentEvents()
    splitter.feed(stream)
    assert splitter.remainder == rest


def test_long_event_in_small_pieces() -> None:
    splitter, text = ServerSentEvents(), b"x" * 300_000
    for place in range(0, len(text), 100):
        assert splitter.feed((b"data: " if place == 0 else b"") + text[place : place + 100]) == []
    assert splitter.feed(b"\n\n") == [text]
