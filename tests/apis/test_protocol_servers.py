"""Every protocol against the simulated server, the documented example, and runs by name."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from loadstone import apis
from loadstone.apis import API, RequestSettings
from loadstone.apis.openai import Chat
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.sglang import Generate
from loadstone.apis.tgi import TGI
from loadstone.errors import UsageError
from loadstone.records import Prompt, Usage
from support import servers as servers
from support.protocols import HI, MAKERS, PAIRS
from support.servers import QUICK, Sim

# with the simulated server


def exchange(url: str, path: str, api: API, body: dict[str, Any], stream: bool) -> tuple[ResponseParser, str]:
    """One request over a plain connection, and its reply."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port or 0, timeout=servers.PATIENCE)
    try:
        connection.request("POST", path, msgspec.json.encode(body), dict(api.headers))
        answer = connection.getresponse()
        kind = answer.headers.get("content-type", "")
        reply = ResponseParser(api, stream=stream and api.streams, keep_text=True)
        reply.start(answer.status, kind.encode())
        while data := answer.read1(65536):
            reply.feed(data, 1)
        reply.finish()
    finally:
        connection.close()
    return reply, kind


FOUR = "a b c d"
ROUNDS: dict[str, tuple[str, str | None]] = {
    "chat": ("length", "text/event-stream"),
    "completions": ("length", "text/event-stream"),
    "responses": ("max_output_tokens", "text/event-stream"),
    "messages": ("max_tokens", "text/event-stream"),
    "generate": ("length", "text/event-stream"),
    "tgi": ("length", "text/event-stream"),
    "ollama": ("length", "application/x-ndjson"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ROUNDS)
def test_a_round_with_the_simulated_server(name: str, stream: bool) -> None:
    api, (finish, kind) = MAKERS[name](), ROUNDS[name]
    path = api.path if stream else api.path_unstreamed or api.path
    asked = api.build_body(Prompt(id="p", text=FOUR), RequestSettings(model="sim", stream=stream, output_len=6))
    with Sim() as sim:
        reply, told = exchange(sim.url, path, api, asked, stream)
        (row,) = sim.truth
    assert (reply.failure, reply.finish_reason, reply.streamed) == (None, finish, stream)
    assert (kind if stream else "application/json") == told.partition(";")[0]
    assert reply.usage is not None
    assert reply.usage.completion == row["tokens"] == 6
    assert reply.usage.prompt == (None if name == "tgi" and not stream else 4)
    text = reply.choices()[0].text or ""
    assert len(text.split()) == 6
    if stream:
        assert reply.pieces is not None
        assert len(reply.pieces.chars) == len(row["sent"]) == 6
        assert sum(reply.pieces.chars) == len(text)
    offsets = [at - row["received"] for at in row["planned"]]
    assert offsets == ([2_000_000 + n * 500_000 for n in range(6)] if stream else [4_500_000])


@pytest.mark.parametrize(("name", "path"), [("embeddings", "/v1/embeddings"), ("rerank", "/v1/rerank"),
                                            ("rerank", "/rerank"), ("rerank", "/v2/rerank")])  # fmt: skip
def test_vectors_and_scores_from_the_simulated_server(name: str, path: str) -> None:
    api = MAKERS[name]()
    with Sim() as sim:
        reply, _ = exchange(sim.url, path, api, api.build_body(PAIRS, RequestSettings(model="sim")), True)
        (row,) = sim.truth
    assert (reply.failure, reply.streamed) == (None, False)
    assert reply.usage == Usage(3 if name == "embeddings" else 5)
    assert (row["tokens"], len(row["sent"])) == (0, 1)


REFUSALS = {
    "messages": ({"type": "error", "error": {"type": "invalid_request_error", "message": "MESSAGE"}}, 404),
    "ollama": ({"error": "MESSAGE"}, 404),
    "responses": ({"error": {"message": "MESSAGE", "type": "NotFoundError", "param": "model", "code": 404}}, 404),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_worded_as_the_protocol_does(name: str) -> None:
    api, (wanted, status) = MAKERS[name](), REFUSALS[name]
    asked = api.build_body(HI, RequestSettings(model="none"))
    with Sim() as sim:
        reply, _ = exchange(sim.url, api.path, api, asked, True)
    assert reply.failure is not None
    message = "The model `none` does not exist. Valid aliases: sim."
    assert reply.failure.message == f"HTTP {status}: {message}"
    body = bytes(reply._body).decode()
    assert json.loads(body.replace(message, "MESSAGE")) == wanted


FAULTS = {
    "truncate-clean": ("truncated", "protocol"),
    "error-event": ("server", "status"),
    "bad-json": ("protocol", "protocol"),
    "bad-utf8": ("protocol", "protocol"),
    "empty": ("empty", "empty"),
    "500": ("status", "status"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*ROUNDS, "embeddings", "rerank"])
def test_faults_in_every_protocol(name: str, fault: str, stream: bool) -> None:
    api = MAKERS[name]()
    streamed = stream and api.streams
    path = api.path if streamed else api.path_unstreamed or api.path
    asked = api.build_body(PAIRS, RequestSettings(model="sim", stream=stream, output_len=6))
    with Sim(f"{fault}@0") as sim:
        reply, _ = exchange(sim.url, path, api, asked, stream)
    assert reply.failure is not None
    assert reply.failure.kind == FAULTS[fault][not streamed], reply.failure


def test_the_two_servers_that_share_a_path() -> None:
    """SGLang's /generate and TGI's are told apart by the body."""
    with Sim() as sim:
        for api, asked in ((Generate(), {"text": "a"}), (TGI(), {"inputs": "a", "parameters": {"details": True}})):
            reply, _ = exchange(sim.url, "/generate", api, asked, False)
            assert (reply.failure, reply.usage and reply.usage.completion) == (None, QUICK["default_tokens"])


def test_several_prompts_of_one_body() -> None:
    """Each has its own answer and its own count."""
    asked = {"text": ["a b", "c"], "sampling_params": {"max_new_tokens": 2}, "stream": True}
    with Sim() as sim:
        reply, _ = exchange(sim.url, "/generate", Generate(), asked, True)
    assert reply.usage is not None
    assert (reply.failure, len(reply.choices()), reply.usage.completion) == (None, 2, 4)


@pytest.mark.parametrize("name", [*ROUNDS, "embeddings"])
def test_a_run_by_name(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Sim() as sim:
        done = servers.loadstone(
            capsys, "run", "--url", sim.url, "--api", name, "-n", 3, "--output-len", 4, "-o", folder
        )
    assert done.status == 0, done.err
    rows = servers.records(folder)
    assert [row.error for row in rows] == [None] * 3
    assert {row.usage.completion for row in rows if row.usage} == {None if name == "embeddings" else 4}
    assert {row.streamed for row in rows} == {name != "embeddings"}


# one's own


@pytest.mark.parametrize("part", [object(), "text", dict, ResponseParser])
def test_what_is_no_api_is_refused(part: object) -> None:
    with pytest.raises(UsageError, match=r"--api x\.py:X is .* make it a subclass of loadstone\.apis\.API"):
        apis.check_api(part, "x.py:X")
    assert isinstance(apis.check_api(Chat(), "chat"), Chat)
