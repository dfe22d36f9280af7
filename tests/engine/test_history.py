"""Live histories: what the server said goes back to it, in the form of each protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadstone.apis import APIS, RequestSettings
from loadstone.apis.openai import Chat
from loadstone.apis.response_parser import ResponseParser
from loadstone.engine.history import continue_conversation
from loadstone.plugins import load_instance
from loadstone.records import Prompt

FIRST = Prompt(id="c", text="Weather in Oslo?")


def answered(**message: Any) -> ResponseParser:
    parser = ResponseParser(Chat(), stream=False, keep_text=True)
    parser.start(200, b"application/json")
    parser.feed(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode(), 1)
    assert parser.finish() is None
    return parser


def call(call_id: str | None, city: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"index": 0, "id": call_id, "type": "function", "function": function}


def history(response: ResponseParser, turn: Prompt, reasoning: str | None = None) -> list[dict[str, Any]]:
    prompt = continue_conversation(FIRST, response, turn, reasoning)
    assert prompt.messages is not None
    assert prompt.messages[0] == {"role": "user", "content": "Weather in Oslo?"}
    return prompt.messages[1:]


NEXT = Prompt(id="c.2", text="And in Rome?")
ROME = {"role": "user", "content": "And in Rome?"}


def test_a_text_goes_back_as_it_came() -> None:
    assert history(answered(content="Cold."), NEXT) == [{"role": "assistant", "content": "Cold."}, ROME]


def test_tool_calls_go_back() -> None:
    called = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    found = history(answered(content=None, tool_calls=[call("a", "Oslo")]), NEXT)
    assert found == [{"role": "assistant", "content": None, "tool_calls": [called]}, ROME]
    both = history(answered(content="Let me see.", tool_calls=[call("a", "Oslo")]), NEXT)
    assert both[0] == {"role": "assistant", "content": "Let me see.", "tool_calls": [called]}


def test_recorded_results_answer_the_live_calls_in_their_order() -> None:
    results = [{"role": "tool", "tool_call_id": f"recorded_{number}", "content": str(number)} for number in range(2)]
    turn = Prompt(id="c.2", messages=[*results, ROME])
    calls = [call("a", "Oslo") | {"index": 0}, call(None, "Bergen") | {"index": 1}]
    _, *rest = history(answered(content=None, tool_calls=calls), turn)
    assert [message.get("tool_call_id") for message in rest] == ["a", "call_1", None]
    # Results of calls that the model did not make are left out.
    assert history(answered(content="Cold."), turn)[1:] == [ROME]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_only_if_asked_for(field: str) -> None:
    response = answered(content="Cold.", reasoning_content="It is winter.")
    assert history(response, NEXT)[0] == {"role": "assistant", "content": "Cold."}
    assert history(response, NEXT, field)[0] == {"role": "assistant", "content": "Cold.", field: "It is winter."}


TURNS = [
    {"role": "user", "content": "Weather in Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{k: v for k, v in call("a", "Oslo").items() if k != "index"}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "7 degrees"},
    ROME,
]


def body(api: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = load_instance("loadstone.apis", api, APIS, "--api").build_body(  # type: ignore[attr-defined]
        Prompt(id="p", messages=messages), RequestSettings(model="m")
    )
    return made


def test_other_protocols_have_forms_of_their_own() -> None:
    assert body("chat", TURNS)["messages"] == TURNS
    assert body("messages", TURNS)["messages"] == [
        TURNS[0],
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "7 degrees"}]},
        ROME,
    ]
    assert body("responses", TURNS)["input"] == [
        TURNS[0],
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "a", "output": "7 degrees"},
        ROME,
    ]
    ollama = body("ollama", TURNS)["messages"]
    assert ollama[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
    }
    assert "7 degrees" in body("completions", TURNS)["prompt"]


@pytest.mark.parametrize("arguments", ["", "no JSON", "[1]", None, {"city": "Oslo"}])
def test_arguments_that_are_no_object_are_none_where_one_is_needed(arguments: Any) -> None:
    turn = {
        "role": "assistant",
        "content": "x",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}],
    }
    (_, block) = body("messages", [turn])["messages"][0]["content"]
    assert block["input"] == (arguments if isinstance(arguments, dict) else {})
