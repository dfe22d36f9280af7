"""Protocols: the request body of a prompt, and the meaning of each event of the response.

`base.py` has the base class `API` and its events; each protocol is one file. `response_parser.py` assembles the events
of one response; `sse.py` splits the stream, and `fast_path.py` recognises repeated events. The room only computes: no
sockets, no clocks. It may import the modules in the package root.
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
from loadstone.errors import ConfigError

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


def check_api(plugin: object, name: str) -> API:
    """Return the object that `--api NAME` loaded, if it is an API. Raises ConfigError."""
    if not isinstance(plugin, API):
        raise ConfigError(
            f"--api {name} is {type(plugin).__name__!r}, not an API: make it a subclass of loadstone.apis.API",
            field="api",
        )
    return plugin
