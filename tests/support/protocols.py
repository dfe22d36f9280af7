"""Prompts, and helpers that read streams, for the tests of the protocols."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import msgspec

from loadstone.apis import API, RequestSettings
from loadstone.apis.anthropic import Messages
from loadstone.apis.embeddings import Embeddings, Rerank, TEIRerank
from loadstone.apis.ollama import Ollama
from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.responses import Responses
from loadstone.apis.sglang import Generate
from loadstone.apis.template import TemplateAPI
from loadstone.apis.tgi import TGI
from loadstone.records import Prompt
from support import servers as servers

TEXT_OUTPUT = '{"text_input": "%p", "model": "%m"}'


def fill(template: str = TEXT_OUTPUT, text_path: str = "text_output", usage_path: str | None = None) -> TemplateAPI:
    return TemplateAPI(template, text_path, usage_path)


MAKERS: dict[str, Callable[[], API]] = {
    "chat": Chat,
    "completions": Completions,
    "responses": Responses,
    "messages": Messages,
    "embeddings": Embeddings,
    "rerank": Rerank,
    "tei-rerank": TEIRerank,
    "generate": Generate,
    "tgi": TGI,
    "ollama": Ollama,
    "template": fill,
}


# bodies


HI = Prompt(id="p", text="hi")
IDS = Prompt(id="p", tokens=[5, 6])
TALK = Prompt(
    id="p",
    messages=[
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": "ok"},
    ],
)
PAIRS = Prompt(id="p", text="q", documents=["a", "b c"])
RESPONSE_USAGE = {
    "input_tokens": 9,
    "output_tokens": 4,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens_details": {"reasoning_tokens": 1},
}
JOINED = {"index": 1, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}


def read(api: API, stream: bytes, cuts: list[int] | None = None) -> tuple[dict[str, Any], ResponseParser]:
    """What a stream comes to, and the reply it was read by."""
    reply = ResponseParser(api, stream=True, keep_text=True)
    reply.start(200, b"application/x-ndjson" if isinstance(api, Ollama) else b"text/event-stream")
    for begin, end in itertools.pairwise([0, *(cuts or []), len(stream)]):
        reply.feed(stream[begin:end], 5)
    reply.finish()
    pieces, choices = reply.pieces, reply.choices()
    first = choices[0] if choices else None
    return {
        "chars": pieces.chars if pieces else None,
        "text": first.text if first else None,
        "finish": reply.finish_reason,
        "usage": msgspec.to_builtins(reply.usage),
        "reasoning": first.reasoning if first else None,
        "tools": reply.tool_calls(),
        "tokens": pieces.tokens if pieces else None,
    }, reply


# answers in one piece


def whole(api: API, body: Any) -> ResponseParser:
    reply = ResponseParser(api, stream=False, keep_text=True)
    reply.start(200, b"application/json")
    reply.feed(body if isinstance(body, bytes) else json.dumps(body).encode(), 3)
    reply.finish()
    return reply


# a template


def body(template: str, prompt: Prompt = HI) -> Any:
    return TemplateAPI(template, "x").build_body(prompt, RequestSettings(model="m"))
