"""The bodies of the simulated server against captured ones of vLLM, and the requests that it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadstone.sim.server import Server
from support.sim_client import CHAT, HELLO, TEXT, USAGE, Client, capture, chat, one, plain

STREAMS = {
    "chat_stream_usage": (CHAT, chat(8, stream_options=USAGE)),
    "chat_stream_nousage": (CHAT, chat(8)),
    "chat_stream_ignore_eos_min": (CHAT, chat(16, min_tokens=16, ignore_eos=True, stream_options=USAGE)),
    "chat_stream_continuous_usage": (CHAT, chat(4, stream_options=USAGE | {"continuous_usage_stats": True})),
    "completions_stream_usage": (
        TEXT,
        {"prompt": "import os", "max_tokens": 8, "stream": True, "stream_options": USAGE},
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_vllms_byte_for_byte(live: Any, name: str) -> None:
    path, body = STREAMS[name]
    reply, _ = live(one("POST", path, body | {"model": "tiny"}), model="tiny")
    assert plain(reply.body) == plain(capture(f"vllm/{name}.sse"))
    meta = json.loads(capture(f"vllm/{name}.meta.json"))
    theirs = {name.lower() for name in meta["headers"]} - {"vary", "connection"}
    assert (reply.status, set(reply.headers)) == (meta["status"], theirs)
    assert reply.headers["content-type"] == meta["headers"]["Content-Type"]


def test_a_stream_of_two_choices_has_vllms_events(live: Any) -> None:
    body = chat(3, n=2, stream_options=USAGE, model="tiny")
    reply, row = live(one("POST", CHAT, body), model="tiny")
    theirs = capture("vllm/chat_stream_n2.sse").replace(b'{"content":""}', b'{"content":"x"}')
    assert set(plain(reply.body).split(b"\n\n")) == set(plain(theirs).split(b"\n\n"))
    assert reply.events[-2]["usage"] == {"prompt_tokens": 4, "total_tokens": 10, "completion_tokens": 6}
    assert (len(row["planned"]), len(row["sent"]), row["tokens"]) == (6, 6, 6)


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("chat_nostream", CHAT, {"messages": HELLO, "max_tokens": 8}),
        ("completions_token_ids_prompt", TEXT, {"prompt": [10, 20, 30], "max_tokens": 2}),
        ("completions_batch_prompts", TEXT, {"prompt": ["import os", "def f"], "max_tokens": 2}),
    ],
)
def test_a_whole_answer_is_vllms_byte_for_byte(live: Any, name: str, path: str, body: dict[str, Any]) -> None:
    reply, row = live(one("POST", path, body | {"model": "tiny"}), model="tiny")
    assert plain(reply.body) == plain(capture(f"vllm/{name}.json"))
    assert reply.headers["content-type"] == "application/json"
    assert (len(row["planned"]), len(row["sent"])) == (1, 1)


LONG = [{"role": "user", "content": "word " * 9000}]
ERRORS: dict[str, tuple[str, str, object]] = {
    "err_bad_json": ("POST", CHAT, b'{"model": '),
    "err_unknown_model": (
        "POST",
        CHAT,
        {"model": "no-such-model", "messages": HELLO, "max_tokens": 2},
    ),
    "err_missing_messages": ("POST", CHAT, {"model": "tiny", "max_tokens": 2}),
    "err_messages_type": ("POST", CHAT, {"model": "tiny", "messages": "hi", "max_tokens": 2}),
    "err_bad_temperature": ("POST", CHAT, {"messages": HELLO, "temperature": -1, "max_tokens": 2}),
    "err_max_tokens_negative": ("POST", CHAT, {"messages": HELLO, "max_tokens": -5}),
    "err_max_tokens_too_big": ("POST", CHAT, {"messages": HELLO, "max_tokens": 10**6}),
    "err_too_long_prompt": ("POST", CHAT, {"messages": LONG, "max_tokens": 2}),
    "err_too_long_prompt_stream": ("POST", CHAT, {"messages": LONG, "max_tokens": 2, "stream": True}),
    "err_stream_options_without_stream": ("POST", CHAT, {"messages": HELLO, "stream_options": USAGE}),
    "err_404_path": ("POST", "/v1/nope", {}),
    "err_405_method": ("GET", CHAT, None),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_vllms_exactly(live: Any, name: str) -> None:
    reply, _ = live(one(*ERRORS[name]), model="tiny", max_model_len=2048)
    meta = json.loads(capture(f"vllm/{name}.meta.json"))
    assert (reply.status, reply.body) == (meta["status"], capture(f"vllm/{name}.json"))
    assert reply.headers.get("allow") == meta["headers"].get("Allow")


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b'{"model": "\xff"}', "error parsing the body"),
        (b"[]", "model_attributes_type"),
        (b"[" * 100_000, "error parsing the body"),
        (chat(tokens=None, max_tokens="many"), "int_parsing"),
        (chat(tokens=None, max_tokens=1.5), "int_from_float"),
        (chat(tokens=None, max_tokens=[1]), "int_type"),
        (chat(stream="maybe"), "bool_parsing"),
        (chat(n=0), "n must be at least 1, got 0."),
        (chat(messages=["hi"]), "body.messages.0"),
        (chat(2047), "you requested 2047 output tokens and your prompt contains 4 input tokens, for a total of 2051"),
    ],
)
def test_other_bad_requests(live: Any, body: object, part: str) -> None:
    reply, row = live(one("POST", CHAT, body), max_model_len=2048)
    assert reply.status == 400
    assert part in json.loads(reply.body)["error"]["message"]
    assert (row["planned"], row["sent"], row["tokens"]) == ([], [], 0)


@pytest.mark.parametrize("prompt", [None, "", [], 7, {}, [1, "a"]])
def test_bad_prompts(live: Any, prompt: object) -> None:
    reply, _ = live(one("POST", TEXT, {"prompt": prompt}))
    assert reply.status == 400


def test_lenient_numbers_and_none(live: Any) -> None:
    reply, _ = live(one("POST", CHAT, chat(tokens=None, max_tokens="3", n=None, stream_options=None)))
    assert len(reply.text.split()) == 3


def test_max_completion_tokens_and_default(live: Any) -> None:
    reply, _ = live(one("POST", CHAT, chat(9, max_completion_tokens=3)))
    assert reply.events[-2]["choices"][0]["finish_reason"] == "length"
    assert len(reply.text.split()) == 3
    reply, _ = live(one("POST", CHAT, chat(None)), default_tokens=5)
    assert reply.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert len(reply.text.split()) == 5


def test_prompt_tokens_are_words(live: Any) -> None:
    parts = [{"type": "text", "text": "a b"}, {"type": "image_url"}, {"type": "text", "text": "c"}]
    messages = [{"role": "system", "content": "x y"}, {"role": "user", "content": parts}, {"content": None}]
    reply, _ = live(one("POST", CHAT, chat(1, messages=messages, stream_options=USAGE)))
    assert reply.events[-2]["usage"]["prompt_tokens"] == 5


def test_texts_depend_on_seed_and_number_only(live: Any) -> None:
    async def texts(server: Server) -> list[str]:
        client = await Client.to(server.url)
        found = [(await client.ask("POST", CHAT, chat(6))).text for _ in range(2)]
        client.close()
        return found

    first = live(texts, seed=3)
    assert first == live(texts, seed=3)
    assert first[0] != first[1]
    assert first != live(texts, seed=4)


def test_several_tokens_a_chunk(live: Any) -> None:
    reply, row = live(one("POST", CHAT, chat(10, stream_options=USAGE)), tokens_per_chunk=4)
    sizes = [len(e["choices"][0]["delta"]["content"].split()) for e in reply.events[1:-2]]
    assert sizes == [1, 4, 4, 1]  # as vLLM's --stream-interval 4
    offsets = [at - row["received"] for at in row["planned"]]
    assert offsets == [2_000_000, 6_000_000, 10_000_000, 11_000_000]
    assert reply.events[-2]["usage"]["completion_tokens"] == row["tokens"] == 10
