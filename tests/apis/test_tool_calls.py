"""Tool calls as real servers send them: in pieces, whole, with odd ids and indices."""

from __future__ import annotations

from typing import Any

import pytest

from support.real_answers import DONE, ROLE, Events, chat, read


def call(**fields: Any) -> dict[str, Any]:
    return chat({"tool_calls": [fields]})


TOOLS: dict[str, tuple[Events, list[tuple[str | None, str, str]]]] = {
    "pieces": (
        [
            call(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            call(index=0, function={"arguments": '{"x"'}),
            call(index=0, function={"name": None, "arguments": ": 1}"}),
        ],
        [("a", "f", '{"x": 1}')],
    ),
    "an id in every piece": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": '{"x"'}),
            call(index=0, id="a", function={"arguments": ": 1}"}),
        ],
        [("a", "f", '{"x": 1}')],
    ),
    "an object": ([call(index=0, id="a", function={"name": "f", "arguments": {"x": 1}})], [("a", "f", '{"x":1}')]),
    "no index": (
        [
            call(id="a", function={"name": "f", "arguments": '{"x"'}),
            call(function={"arguments": ": 1}"}),
            call(id="b", function={"name": "g", "arguments": "{}"}),
        ],
        [("a", "f", '{"x": 1}'), ("b", "g", "{}")],
    ),
    "several in one event": (
        [
            chat(
                {
                    "tool_calls": [
                        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
                    ]
                }
            )
        ],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "an index that a gateway repeats": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": "{}"}),
            call(index=0, id="b", function={"name": "g", "arguments": '{"x"'}),
            call(index=0, function={"arguments": ": 1}"}),
        ],
        [("a", "f", "{}"), ("b", "g", '{"x": 1}')],
    ),
    "neither index nor id": (
        [
            chat(
                {
                    "tool_calls": [
                        {"function": {"name": "f", "arguments": "{}"}},
                        {"function": {"name": "g", "arguments": '{"x"'}},
                    ]
                }
            ),
            call(function={"arguments": ": 1}"}),
        ],
        [(None, "f", "{}"), (None, "g", '{"x": 1}')],
    ),
    "a lone surrogate, a number beyond 64 bits": (
        [call(index=0, id="a", function={"name": "f", "arguments": {"x": "\ud800", "y": 2**70}})],
        [("a", "f", f'{{"x":"\\ud800","y":{2**70}}}')],
    ),
    "an index beyond 64 bits": (
        [call(index=2**70, id="a", function={"name": "f", "arguments": "{}"})],
        [("a", "f", "{}")],
    ),
    "the old form": (
        [
            chat({"function_call": {"name": "f", "arguments": '{"x"'}}),
            chat({"function_call": {"arguments": ": 1}"}}),
        ],
        [(None, "f", '{"x": 1}')],
    ),
}


@pytest.mark.parametrize(("events", "calls"), TOOLS.values(), ids=TOOLS)
def test_tool_calls_are_put_together(events: Events, calls: list[tuple[str | None, str, str]]) -> None:
    parser = read([ROLE, *events, chat({}, "tool_calls"), DONE])
    assert parser.failure is None
    assert len(parser.times) == len(events)
    found = parser.tool_calls() or []
    assert all(call["type"] == "function" for call in found)
    assert [
        (call.get("id"), call["function"]["name"], call["function"].get("arguments") or "") for call in found
    ] == calls
