"""Protocols: what a prompt looks like as a request, and what an event of the response means.

`base.py` has the base class `API` and the events; each protocol is one file. `response_parser.py` assembles the events
of one response (`sse.py` splits the stream, `fast_path.py` recognises repeated events). Computes only: no sockets, no
clocks. May import the root's nouns.
"""

from __future__ import annotations

from loadstone.apis.base import (
    API,
    BadEventError,
    Delta,
    Event,
    RequestSettings,
    Splitter,
    ToolCall,
    ToolFunction,
)
from loadstone.errors import UsageError

__all__ = [
    "API",
    "APIS",
    "BadEventError",
    "Delta",
    "Event",
    "RequestSettings",
    "Splitter",
    "ToolCall",
    "ToolFunction",
    "check_api",
]

# Built-in protocols by name: where their class is.
APIS: dict[str, str] = {
    "chat": "loadstone.apis.openai:Chat",
    "completions": "loadstone.apis.openai:Completions",
    "responses": "loadstone.apis.responses:Responses",
    "messages": "loadstone.apis.anthropic:Messages",
    "embeddings": "loadstone.apis.embeddings:Embeddings",
    "rerank": "loadstone.apis.embeddings:Rerank",
    "generate": "loadstone.apis.sglang:Generate",
    "tgi": "loadstone.apis.tgi:TGI",
    "ollama": "loadstone.apis.ollama:Ollama",
    "template": "loadstone.apis.template:TemplateAPI",
}


def check_api(part: object, name: str) -> API:
    """The part that was found as `--api NAME`, if it is an API. Raises UsageError."""
    if not isinstance(part, API):
        raise UsageError(
            f"--api {name} is {type(part).__name__!r}, not an API: make it a subclass of loadstone.apis.API"
        )
    return part
