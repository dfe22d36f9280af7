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
    "OTHER_NAMES",
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
    "tei-rerank": "loadstone.apis.embeddings:TEIRerank",
    "generate": "loadstone.apis.sglang:Generate",
    "tgi": "loadstone.apis.tgi:TGI",
    "ollama": "loadstone.apis.ollama:Ollama",
    "template": "loadstone.apis.template:TemplateAPI",
}
# What other tools call these protocols (vLLM's and SGLang's --backend, EvalScope's --api, AIPerf's --endpoint-type).
OTHER_NAMES: dict[str, str] = {
    **dict.fromkeys(("openai", "openai-chat", "chat-completions", "chat_completions", "/v1/chat/completions"), "chat"),
    **dict.fromkeys(("vllm-chat", "sglang-oai-chat", "lmdeploy-chat", "local-chat-completions"), "chat"),
    **dict.fromkeys(("vllm", "sglang-oai", "lmdeploy", "local-completions", "openai-completions"), "completions"),
    **dict.fromkeys(("text-completions", "completion", "/v1/completions"), "completions"),
    **dict.fromkeys(("openai-responses", "openai_responses", "/v1/responses"), "responses"),
    **dict.fromkeys(("anthropic", "claude", "anthropic-messages", "/v1/messages"), "messages"),
    **dict.fromkeys(("openai-embeddings", "openai_embedding", "embedding", "/v1/embeddings"), "embeddings"),
    **dict.fromkeys(("rankings", "vllm-rerank", "openai_rerank", "nim_rankings", "cohere_rankings"), "rerank"),
    **dict.fromkeys(("sglang", "sglang-native", "/generate"), "generate"),
    **dict.fromkeys(("huggingface_generate", "text-generation-inference", "generate_stream"), "tgi"),
    **dict.fromkeys(("custom", "raw"), "template"),
}


def check_api(plugin: object, name: str) -> API:
    """Return the object that `--api NAME` loaded, if it is an API. Raises ConfigError."""
    if not isinstance(plugin, API):
        raise ConfigError(
            f"--api {name} is {type(plugin).__name__!r}, not an API: make it a subclass of loadstone.apis.API",
            field="api",
        )
    return plugin
