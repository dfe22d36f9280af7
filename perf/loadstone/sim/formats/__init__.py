"""The protocols that the simulated server speaks, by path. stream_events.py has their interface."""

from __future__ import annotations

from loadstone.sim.formats import messages, ollama, openai, pooling, responses, sglang, tgi
from loadstone.sim.stream_events import Format

_RERANK = pooling.Rerank()
FORMATS: dict[bytes, Format] = {
    b"/v1/chat/completions": openai.Chat(),
    b"/v1/completions": openai.Completions(),
    b"/v1/responses": responses.Responses(),
    b"/v1/messages": messages.Messages(),
    b"/v1/embeddings": pooling.Embeddings(),
    b"/rerank": _RERANK,
    b"/v1/rerank": _RERANK,
    b"/v2/rerank": _RERANK,
    b"/generate": sglang.Generate(),
    b"/generate_stream": tgi.TGI(stream=True),
    b"/api/chat": ollama.Chat(),
    b"/api/generate": ollama.Generate(),
}
