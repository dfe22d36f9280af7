"""Events as real servers send them, and the parser's reading of them."""

from __future__ import annotations

import json
from typing import Any

from loadstone.apis import API, APIS
from loadstone.apis.response_parser import ResponseParser
from loadstone.plugins import load_instance

Events = list[Any]


def load(name: str) -> API:
    api = load_instance("loadstone.apis", name, APIS, "--api")
    assert isinstance(api, API)
    return api


def read(events: Events | bytes, api: str = "chat", content_type: bytes = b"text/event-stream") -> ResponseParser:
    """Read a stream: one event in each read, the first at 10 ns, the next at 20."""
    parser = ResponseParser(load(api), stream=True, keep_text=True)
    parser.start(200, content_type)
    pieces = [events] if isinstance(events, bytes) else [as_event(event, api) for event in events]
    for number, piece in enumerate(pieces, 1):
        parser.feed(piece, 10 * number)
    parser.finish()
    return parser


def as_event(event: Any, api: str) -> bytes:
    if isinstance(event, bytes):
        return event
    text = json.dumps(event)
    return f"{text}\n".encode() if api == "ollama" else f"data: {text}\n\n".encode()


def chat(delta: dict[str, Any], finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


ROLE = chat({"role": "assistant", "content": ""})
ANSWER = chat({"content": "yes"})
STOP = chat({}, "stop")
DONE = b"data: [DONE]\n\n"
