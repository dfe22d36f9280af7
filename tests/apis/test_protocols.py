"""The protocols: exact bodies, streams cut anywhere, whole answers, errors, and rounds with the simulated server."""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone import apis
from loadstone.apis import API, RequestSettings, sse
from loadstone.apis.anthropic import Messages
from loadstone.apis.embeddings import Embeddings, Rerank
from loadstone.apis.ollama import Ollama
from loadstone.apis.openai import Chat, Completions
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.responses import Responses
from loadstone.apis.sglang import Generate
from loadstone.apis.template import TemplateAPI
from loadstone.apis.tgi import TGI
from loadstone.errors import UsageError
from loadstone.plugins import load_instance
from loadstone.records import Prompt, Usage
from support import servers as servers
from support.servers import QUICK, Sim
from support.streams import DONE, event

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
    "generate": Generate,
    "tgi": TGI,
    "ollama": Ollama,
    "template": fill,
}


def test_every_built_in_protocol_is_tried_here() -> None:
    assert set(MAKERS) == set(apis.APIS)
    for name in set(apis.APIS) - {"template"}:
        assert isinstance(load_instance("loadstone.apis", name, apis.APIS, "--api"), MAKERS[name])  # type: ignore[arg-type]


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
PICTURE = Prompt(
    id="p",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        }
    ],
)
LINK = Prompt(
    id="p", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]
)
PAIRS = Prompt(id="p", text="q", documents=["a", "b c"])
EXACT: dict[str, Any] = {"output_len": 7, "exact_length": True, "temperature": 0.5}
# Every parameter, in the reverse of the order in which bodies have them.
ALL = {
    **{"n": 2, "logprobs": 4, "seed": 3, "stop": ["."], "min_tokens": 2, "repetition_penalty": 1.1},
    **{"frequency_penalty": 0.3, "presence_penalty": 0.2, "min_p": 0.1, "top_k": 5, "top_p": 0.9},
}
PLAIN = {"top_p": 0.9, "top_k": 5, "stop": "."}
MAX = '"max_tokens":7,"temperature":0.5'
LENGTH = '"min_tokens":7,"ignore_eos":true'
USAGE = '"stream":true,"stream_options":{"include_usage":true}'
MANY = (
    '"top_p":0.9,"top_k":5,"min_p":0.1,"presence_penalty":0.2,"frequency_penalty":0.3,"repetition_penalty":1.1,'
    '"min_tokens":2,"stop":["."],"seed":3'
)
BODIES: dict[str, tuple[str, Prompt, dict[str, Any], str]] = {
    "chat": (
        "chat",
        HI,
        EXACT,
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{MAX},{USAGE},{LENGTH}}}',
    ),
    "chat, match over what the row says": (
        "chat",
        Prompt(id="x", text="hi", output_len=7, body={"max_completion_tokens": 90, "max_tokens": 90}),
        {"exact_length": True, "stream": False},
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"max_tokens":7,"stream":false,{LENGTH}}}',
    ),
    "chat, a row that does not stream": (
        "chat",
        Prompt(id="x", text="hi", body={"stream": False}),
        {},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}',
    ),
    "chat, match leaves a grammar its end": (
        "chat",
        Prompt(id="x", text="hi", output_len=7, body={"response_format": {"type": "json_object"}}),
        {"exact_length": True, "stream": False},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":7,"stream":false,'
        '"response_format":{"type":"json_object"}}',
    ),
    "chat, sampling": (
        "chat",
        HI,
        {"sampling": ALL, "stream": False},
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{MANY},"logprobs":true,"n":2,"stream":false,'
        '"top_logprobs":4}',
    ),
    "completions, sampling": (
        "completions",
        IDS,
        {"sampling": ALL, "stream": False},
        f'{{"model":"m","prompt":[5,6],{MANY},"logprobs":4,"n":2,"stream":false}}',
    ),
    "completions, match without a length": (
        "completions",
        HI,
        {"exact_length": True, "stream": False},
        '{"model":"m","prompt":"hi","stream":false}',
    ),
    "responses": (
        "responses",
        HI,
        EXACT,
        '{"model":"m","input":"hi","max_output_tokens":7,"ignore_eos":true,"temperature":0.5,"stream":true}',
    ),
    "responses, messages": (
        "responses",
        TALK,
        {"sampling": {"logprobs": 2}},
        '{"model":"m","input":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"input_text",'
        '"text":"look"}]},{"role":"assistant","content":"ok"}],"top_logprobs":2,'
        '"include":["message.output_text.logprobs"],"stream":true}',
    ),
    "responses, image": (
        "responses",
        LINK,
        {},
        '{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x/y.png"}]}],'
        '"stream":true}',
    ),
    "messages": (
        "messages",
        TALK,
        {"sampling": PLAIN, "output_len": 7},
        '{"model":"m","system":"be kind","messages":[{"role":"user","content":[{"type":"text","text":"look"}]},'
        '{"role":"assistant","content":"ok"}],"max_tokens":7,"top_p":0.9,"top_k":5,"stop_sequences":["."],'
        '"stream":true}',
    ),
    "messages, no length": (
        "messages",
        HI,
        {"stream": False, "temperature": 0.0},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":1024,"temperature":0.0,"stream":false}',
    ),
    "messages, image": (
        "messages",
        PICTURE,
        {},
        '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":'
        '{"type":"base64","media_type":"image/png","data":"AAAA"}}]}],"max_tokens":1024,"stream":true}',
    ),
    "messages, link": (
        "messages",
        LINK,
        {},
        '{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"url",'
        '"url":"http://x/y.png"}}]}],"max_tokens":1024,"stream":true}',
    ),
    "embeddings": ("embeddings", PAIRS, {}, '{"model":"m","input":["a","b c"]}'),
    "embeddings, ids": ("embeddings", IDS, {"stream": True}, '{"model":"m","input":[5,6]}'),
    "rerank": (
        "rerank",
        PAIRS,
        {"extra_body": {"top_n": 1}},
        '{"model":"m","query":"q","documents":["a","b c"],"top_n":1}',
    ),
    "generate": (
        "generate",
        HI,
        {**EXACT, "sampling": {"seed": 3, "logprobs": 2}, "extra_body": {"sampling_params": {"skip": 1}}},
        '{"text":"hi","sampling_params":{"max_new_tokens":7,"ignore_eos":true,"temperature":0.5,"sampling_seed":3,'
        '"min_new_tokens":7,"skip":1},"stream":true,"return_logprob":true,"top_logprobs_num":2}',
    ),
    "generate, ids": (
        "generate",
        IDS,
        {"stream": False},
        '{"input_ids":[5,6],"sampling_params":{},"stream":false}',
    ),
    "tgi": (
        "tgi",
        TALK,
        {**EXACT, "sampling": PLAIN},
        '{"inputs":"be kind\\nlook\\nok","parameters":{"max_new_tokens":7,"ignore_eos_token":true,"do_sample":true,'
        '"temperature":0.5,"top_p":0.9,"top_k":5,"stop":["."],"details":true}}',
    ),
    "tgi, greedy": (
        "tgi",
        HI,
        {"temperature": 0.0},
        '{"inputs":"hi","parameters":{"do_sample":false,"details":true}}',
    ),
    "ollama": (
        "ollama",
        PICTURE,
        {"output_len": 7, "temperature": 0.5, "sampling": {**PLAIN, "repetition_penalty": 1.1, "logprobs": 2}},
        '{"model":"m","messages":[{"role":"user","content":"see","images":["AAAA"]}],"stream":true,"logprobs":true,'
        '"top_logprobs":2,"options":{"num_predict":7,"temperature":0.5,"top_p":0.9,"top_k":5,"repeat_penalty":1.1,'
        '"stop":["."]}}',
    ),
    "ollama, nothing said": (
        "ollama",
        HI,
        {"stream": False},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}',
    ),
    "template": ("template", HI, {"extra_body": {"x": 1}}, '{"text_input":"hi","model":"m","x":1}'),
    "a row's own fields win": (
        "completions",
        Prompt(id="p", text="hi", output_len=2, body={"max_tokens": 3, "top_p": 1}),
        {"stream": False, "output_len": 9, "sampling": {"top_p": 0.5}},
        '{"model":"m","prompt":"hi","max_tokens":3,"top_p":1,"stream":false}',
    ),
}


@pytest.mark.parametrize(("name", "prompt", "given", "body"), BODIES.values(), ids=BODIES)
def test_bodies(name: str, prompt: Prompt, given: dict[str, Any], body: str) -> None:
    made = MAKERS[name]().build_body(prompt, RequestSettings(**{"model": "m", **given}))
    assert msgspec.json.encode(made).decode() == body


REFUSED: dict[str, tuple[str, Prompt, dict[str, Any], str]] = {
    "ids to chat": ("chat", IDS, {}, "--api chat takes no token ids (p): say --api completions"),
    "ids to messages": ("messages", IDS, {}, "--api messages takes no token ids"),
    "ids to tgi": ("tgi", IDS, {}, "--api tgi takes no token ids"),
    "ids to rerank": ("rerank", IDS, {}, "--api rerank takes no token ids"),
    "unknown sampling": ("chat", HI, {"sampling": {"beam": 2}}, "--api chat knows no beam"),
    "sampling of others": ("messages", HI, {"sampling": {"seed": 2}}, "--api messages knows no seed"),
    "sampling of vectors": ("embeddings", HI, {"sampling": {"seed": 2}}, "--api embeddings knows no seed"),
    "match": ("messages", HI, {"exact_length": True}, "leave out --match-output-length"),
    "ignore eos": ("ollama", HI, {"ignore_eos": True}, "leave out --ignore-eos"),
    "no documents": ("rerank", HI, {}, "--api rerank needs documents, and p has none"),
    "a link": ("ollama", LINK, {}, "--api ollama takes images as data, not as links"),
    "temperature": ("template", HI, {"temperature": 1.0}, "--api template sends the template and no --temperature"),
}


@pytest.mark.parametrize(("name", "prompt", "given", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_a_protocol_cannot_say_is_refused(name: str, prompt: Prompt, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        MAKERS[name]().build_body(prompt, RequestSettings(**{"model": "m", **given}))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


# streams


def named(kind: str, **fields: Any) -> bytes:
    """An event with a name, as OpenAI's responses and Anthropic have them."""
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "created_at": "now", **fields}).encode() + b"\n"


def so_far(text: str, count: int, reason: Any = None, **more: Any) -> bytes:
    meta = {"id": "1", "finish_reason": reason, "prompt_tokens": 3, "completion_tokens": count, "cached_tokens": 1}
    return event({"text": text, "meta_info": meta, **more})


def tgi_token(text: str, special: bool = False, whole: str | None = None, details: Any = None) -> bytes:
    token = {"id": 1, "text": text, "logprob": -0.1, "special": special}
    return (
        b"data:"
        + json.dumps({"index": 1, "token": token, "generated_text": whole, "details": details}).encode()
        + (b"\n\n")
    )


def found(
    chars: list[int] | None,
    text: str | None,
    finish: str | None,
    usage: tuple[int | None, ...] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What a stream should come to."""
    told = None if usage is None else dict(zip(("prompt", "completion", "cached", "reasoning"), usage, strict=True))
    return {"chars": chars, "text": text, "finish": finish, "usage": told, **more}


CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": ""}
RESPONSE = {"id": "r", "status": "completed", "output": [{"type": "message", "content": [{"text": "again"}]}]}
RESPONSE_USAGE = {
    "input_tokens": 9,
    "output_tokens": 4,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens_details": {"reasoning_tokens": 1},
}
CUT = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": RESPONSE_USAGE}
DETAILS = {"finish_reason": "eos_token", "generated_tokens": 3, "seed": None, "input_length": 5}
TOOL_CALL = {"function": {"name": "look", "arguments": {"a": 1}}}
JOINED = {"index": 1, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}


def start(**usage: int) -> bytes:
    return named("message_start", message={"id": "m", "role": "assistant", "content": [], "usage": usage})


def block(index: int, **delta: Any) -> bytes:
    return named("content_block_delta", index=index, delta=delta)


STREAMS: dict[str, tuple[Callable[[], API], bytes, dict[str, Any]]] = {
    "responses": (
        Responses,
        named("response.created", sequence_number=0, response={"id": "r", "status": "in_progress", "output": []})
        + named("response.output_item.added", output_index=0, item={"type": "message", "content": []})
        + named("response.content_part.added", part={"type": "output_text", "text": ""})
        + named("response.output_text.delta", sequence_number=3, delta=" two", logprobs=[])
        + named("response.output_text.delta", sequence_number=4, delta="", logprobs=[])
        + named("response.output_text.delta", sequence_number=5, delta=" é\u2028x", logprobs=[])
        + named("response.output_text.done", text=" two é\u2028x")
        + named("response.completed", response={**RESPONSE, "usage": RESPONSE_USAGE}),
        found([4, 0, 4], " two é\u2028x", "completed", (9, 4, 2, 1)),
    ),
    "responses that are cut": (
        Responses,
        named("response.output_text.delta", delta="a") + named("response.completed", response=CUT),
        found([1], "a", "max_output_tokens", (9, 4, 2, 1)),
    ),
    "responses that are incomplete": (
        Responses,
        named("response.refusal.delta", delta="no") + named("response.incomplete", response=CUT),
        found([2], "no", "max_output_tokens", (9, 4, 2, 1)),
    ),
    "responses with thoughts and tools": (
        Responses,
        named("response.reasoning_text.delta", delta="hm")
        + named("response.reasoning_summary_text.delta", delta="so")
        + named("response.output_item.added", output_index=1, item=CALL)
        + named("response.function_call_arguments.delta", output_index=1, delta='{"a"')
        + named("response.function_call_arguments.delta", output_index=1, delta=":1}")
        + named("response.function_call_arguments.done", output_index=1, arguments='{"a":1}')
        + named("response.audio.delta", delta={"of": "another kind"})
        + named("response.completed", response={"status": "completed"}),
        found([2, 2, 4, 4, 3], "", "completed", reasoning="hmso", tools=[JOINED]),
    ),
    "messages": (
        Messages,
        start(input_tokens=4, output_tokens=1, cache_read_input_tokens=16, cache_creation_input_tokens=8)
        + named("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
        + named("ping")
        + block(0, type="thinking_delta", thinking="hm")
        + block(0, type="signature_delta", signature="abc")
        + named("content_block_stop", index=0)
        + named("content_block_start", index=1, content_block={"type": "text", "text": ""})
        + block(1, type="text_delta", text=" two")
        + block(1, type="text_delta", text=" words")
        + named("content_block_stop", index=1)
        + named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7})
        + named("message_stop"),
        found([2, 4, 6], " two words", "end_turn", (28, 7, 16, None), reasoning="hm"),
    ),
    "messages with tools": (
        Messages,
        start(input_tokens=4, output_tokens=0)
        + named("content_block_start", index=1, content_block={"type": "tool_use", "id": "call_1", "name": "look"})
        + block(1, type="input_json_delta", partial_json="")
        + block(1, type="input_json_delta", partial_json='{"a":')
        + block(1, type="input_json_delta", partial_json="1}")
        + named("message_delta", delta={"stop_reason": "tool_use"}, usage={"input_tokens": 4, "output_tokens": 9})
        + named("message_stop"),
        found([4, 5, 2], "", "tool_use", (4, 9, None, None), tools=[JOINED]),
    ),
    "messages without names, as the short cut sees them": (
        Messages,
        b"".join(
            event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f" {n}"}})
            for n in range(4)
        )
        + event({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 4}})
        + event({"type": "message_stop"}),
        found([2] * 4, " 0 1 2 3", "max_tokens", (None, 4, None, None)),
    ),
    "generate, the text so far": (
        Generate,
        so_far(" one", 1)
        + so_far(" one", 2)
        + so_far(" one two", 4)
        + so_far(" one two!", 5, {"type": "length", "length": 5})
        + DONE,
        found([4, 0, 4, 1], " one two!", "length", (3, 5, 1, None), tokens=[1, 1, 2, 1]),
    ),
    "generate, increments": (
        Generate,
        so_far(" one", 1) + so_far(" two", 2) + so_far("", 3) + so_far(" two", 4, {"type": "stop"}) + DONE,
        found([4, 4, 0, 4], " one two two", "stop", (3, 4, 1, None), tokens=[1, 1, 1, 1]),
    ),
    "generate, the text so far and nothing else": (
        Generate,
        event({"text": "a"}) + event({"text": "ab"}) + event({"text": "abc"}) + DONE,
        found([1, 1, 1], "abc", None),
    ),
    "generate, two choices": (
        Generate,
        so_far("a", 1, index=0)
        + so_far("b", 1, index=1)
        + so_far("ax", 2, {"type": "length"}, index=0)
        + so_far("by", 2, {"type": "length"}, index=1)
        + DONE,
        found([1, 1, 1, 1], "ax", "length", (3, 4, 1, None), tokens=[1, 1, 1, 1]),
    ),
    "tgi": (
        TGI,
        tgi_token(" one") + tgi_token(" two") + tgi_token("</s>", True, " one two", DETAILS),
        found([4, 4], " one two", "eos_token", (5, 3, None, None)),
    ),
    "tgi, cut, with a special token": (
        TGI,
        tgi_token("<s>", True) + tgi_token(" one", False, " one", {"finish_reason": "length", "generated_tokens": 2}),
        found([0, 4], " one", "length", (None, 2, None, None)),
    ),
    "tgi without details": (
        TGI,
        tgi_token(" one") + tgi_token(" two", False, " one two"),
        found([4, 4], " one two", None),
    ),
    "ollama": (
        Ollama,
        line(message={"role": "assistant", "content": "", "thinking": "hm"}, done=False)
        + line(message={"role": "assistant", "content": " one"}, done=False)
        + b"\r\n"
        + line(message={"role": "assistant", "content": " zwei é"}, done=False)
        + line(
            message={"role": "assistant", "content": ""},
            done=True,
            done_reason="length",
            prompt_eval_count=5,
            eval_count=3,
        ),
        found([2, 4, 7], " one zwei é", "length", (5, 3, None, None), reasoning="hm"),
    ),
    "ollama with tools": (
        Ollama,
        line(message={"content": "", "tool_calls": [TOOL_CALL]}, done=False)
        + line(message={"content": "", "tool_calls": [TOOL_CALL]}, done=False)
        + line(message={"content": ""}, done=True, done_reason="stop"),
        found(
            [12, 12],
            "",
            "stop",
            tools=[
                {"index": n, "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}} for n in (0, 1)
            ],
        ),
    ),
    "ollama of old, without a reason": (
        Ollama,
        line(message={"content": "a"}, done=False) + line(done=True, eval_count=1),
        found([1], "a", None, (None, 1, None, None)),
    ),
    "template": (
        lambda: fill(usage_path="usage"),
        event({"id": 1, "text_output": " one"})
        + event({"text_output": " two"})
        + event({"text_output": None, "usage": None})
        + event({"usage": {"input_tokens": 3, "output_tokens": 2}}),
        found([4, 4], " one two", None, (3, 2, None, None)),
    ),
    "template for chat": (
        lambda: fill(text_path="choices.0.delta.content"),
        event({"choices": [{"delta": {"role": "assistant"}}]})
        + event({"choices": [{"delta": {"content": "a"}}]})
        + event({"choices": [{"delta": {"content": "b"}}]})
        + event({"choices": []})
        + DONE,
        found([1, 1], "ab", None),
    ),
}


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


@pytest.mark.parametrize(("make", "stream", "wanted"), STREAMS.values(), ids=STREAMS)
def test_a_stream_whole_and_byte_by_byte(make: Callable[[], API], stream: bytes, wanted: dict[str, Any]) -> None:
    events = [at for at in range(2, len(stream)) if stream[at - 2 : at] == b"\n\n"]
    lines = [at for at in range(1, len(stream)) if stream[at - 1 : at] == b"\n"]
    for cuts in (None, list(range(1, len(stream))), events, lines):
        got, reply = read(make(), stream, cuts)
        assert reply.failure is None
        assert got == {"reasoning": None, "tools": None, "tokens": None, **wanted}


@given(st.data())
def test_streams_cut_at_random(data: st.DataObject) -> None:
    make, stream, _ = data.draw(st.sampled_from(list(STREAMS.values())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert read(make(), stream, cuts)[0] == read(make(), stream)[0]


def test_one_api_serves_many_answers_at_once() -> None:
    """What one answer has told so far is nothing to another."""
    api = Generate()
    first, second = (ResponseParser(api, stream=True, keep_text=True) for _ in range(2))
    for text in ("a", "ab"):
        for reply in (first, second):
            reply.feed(so_far(text, len(text)), 1)
    assert [reply.choices()[0].text for reply in (first, second)] == ["ab", "ab"]


def test_a_placeholder_is_no_count() -> None:
    """vLLM tells 0 input tokens where it does not know them yet, and some servers tell them at the end alone."""
    end = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 5, "output_tokens": 1})
    text = block(0, type="text_delta", text="a")
    assert read(Messages(), start(input_tokens=0, output_tokens=0) + text + end)[1].usage == Usage(5, 1)
    late = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 0, "output_tokens": 1})
    assert read(Messages(), start(input_tokens=7, output_tokens=1) + text + late)[1].usage == Usage(7, 1)


FAILURES: dict[str, tuple[str, bytes, str, str]] = {
    "responses, error": ("responses", named("error", code="server_error", message="died"), "server", "died"),
    "responses, failed": (
        "responses",
        named("response.failed", response={"status": "failed", "error": {"code": "x", "message": "died"}}),
        "server",
        "died",
    ),
    "responses, vLLM's error": ("responses", event({"error": {"message": "died"}}), "server", "died"),
    "responses, no text": ("responses", named("response.output_text.delta", delta=7), "protocol", "is no text: 7"),
    "responses, cut": ("responses", named("response.output_text.delta", delta="a"), "truncated", "without finish"),
    "responses, empty": ("responses", named("response.completed", response=RESPONSE), "empty", "without any output"),
    "messages, error": (
        "messages",
        start(input_tokens=1) + named("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        "server",
        "Overloaded",
    ),
    "messages, cut": ("messages", block(0, type="text_delta", text="a"), "truncated", "without finish"),
    "messages, a number": ("messages", block(0, type="text_delta", text=7), "protocol", "not an answer of this API"),
    "generate, error": ("generate", event({"error": {"message": "died"}}) + DONE, "server", "died"),
    "generate, abort": ("generate", so_far("a", 1, {"type": "abort", "message": "no memory"}), "server", "no memory"),
    "generate, cut": ("generate", so_far("a", 1), "truncated", "without finish"),
    "tgi, error": (
        "tgi",
        tgi_token("a") + event({"error": "Request failed during generation", "error_type": "generation"}),
        "server",
        "Request failed during generation",
    ),
    "tgi, cut": ("tgi", tgi_token("a"), "truncated", "without finish"),
    "ollama, error": ("ollama", line(message={"content": "a"}) + b'{"error":"died"}\n', "server", "died"),
    "ollama, cut": ("ollama", line(message={"content": "a"}), "truncated", "without finish"),
    "ollama, inside a line": ("ollama", line(message={"content": "a"}) + b'{"model":', "truncated", "inside an event"),
    "ollama, not JSON": ("ollama", b"oops\n", "protocol", "not an answer of this API"),
    "template, error": ("template", event({"error": {"message": "died"}}), "server", "died"),
    "template, no event": ("template", b"", "empty", "without any output"),
    "template, no such path": (
        "template",
        event({"output": {"text": "a", "n": [1, {}]}, "x": None}),
        "protocol",
        "nothing at text_output in the answer, which has output.text, output.n.0, output.n.1, x",
    ),
    "template, a number": (
        "template",
        event({"text_output": 7}),
        "protocol",
        "text_output leads to 7, which is no text",
    ),
}


@pytest.mark.parametrize(("name", "stream", "kind", "words"), FAILURES.values(), ids=FAILURES)
def test_how_streams_fail(name: str, stream: bytes, kind: str, words: str) -> None:
    for cuts in (None, list(range(1, len(stream)))):
        failure = read(MAKERS[name](), stream, cuts)[1].failure
        assert failure is not None
        assert failure.kind == kind
        assert words in failure.message


# answers in one piece


def whole(api: API, body: Any) -> ResponseParser:
    reply = ResponseParser(api, stream=False, keep_text=True)
    reply.start(200, b"application/json")
    reply.feed(body if isinstance(body, bytes) else json.dumps(body).encode(), 3)
    reply.finish()
    return reply


META = {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0, "finish_reason": {"type": "length"}}
BLOCKS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": " hi"}]
ITEMS = [
    {"type": "reasoning", "summary": [{"text": "hm"}]},
    {"type": "message", "content": [{"type": "output_text", "text": " hi"}]},
]
WHOLE: dict[str, tuple[str, Any, str | None, str | None, Usage | None]] = {
    "responses": (
        "responses",
        {"status": "completed", "output": ITEMS, "usage": RESPONSE_USAGE, "error": None},
        " hi",
        "completed",
        Usage(9, 4, 2, 1),
    ),
    "messages": (
        "messages",
        {"content": BLOCKS, "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2}},
        " hi",
        "end_turn",
        Usage(3, 2),
    ),
    "embeddings": (
        "embeddings",
        {"data": [{"index": 0, "embedding": [0.5, 1]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}},
        "",
        None,
        Usage(4),
    ),
    "embeddings as base64": ("embeddings", {"data": [{"embedding": "AAAA"}]}, "", None, None),
    "rerank": (
        "rerank",
        {"results": [{"index": 1, "relevance_score": 0.0}], "usage": {"total_tokens": 9}},
        "",
        None,
        Usage(9),
    ),
    "generate": ("generate", {"text": " hi", "meta_info": META}, " hi", "length", Usage(3, 2, 0)),
    "generate, two": (
        "generate",
        [{"text": " hi", "meta_info": META}, {"text": " ho", "meta_info": META}],
        " hi",
        "length",
        Usage(3, 4, 0),
    ),
    "tgi": (
        "tgi",
        {"generated_text": " hi", "details": {"finish_reason": "length", "generated_tokens": 2, "prefill": [{}, {}]}},
        " hi",
        "length",
        Usage(2, 2),
    ),
    "tgi, in a list": ("tgi", [{"generated_text": " hi"}], " hi", None, None),
    "ollama": (
        "ollama",
        {"message": {"content": " hi"}, "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2},
        " hi",
        "stop",
        Usage(3, 2),
    ),
    "template": ("template", {"text_output": " hi"}, " hi", None, None),
}


@pytest.mark.parametrize(("name", "body", "text", "finish", "usage"), WHOLE.values(), ids=WHOLE)
def test_answers_in_one_piece(name: str, body: Any, text: str | None, finish: str | None, usage: Usage | None) -> None:
    reply = whole(MAKERS[name](), body)
    assert (reply.failure, reply.finish_reason, reply.usage, reply.pieces) == (None, finish, usage, None)
    assert reply.choices()[0].text == text


def test_tools_in_one_piece() -> None:
    items = [{"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"a":1}'}]
    blocks = [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"a": 1}}]
    wanted = [{**JOINED, "index": 0}]
    assert whole(Responses(), {"status": "completed", "output": items}).tool_calls() == wanted
    assert whole(Messages(), {"content": blocks, "stop_reason": "tool_use"}).tool_calls() == wanted


WHOLE_FAILURES = {
    **{f"{name}, nothing": (name, {}, "empty") for name in sorted(MAKERS.keys() - {"template"})},
    **{f"{name}, no bytes": (name, b"", "empty") for name in MAKERS},
    **{f"{name}, not JSON": (name, b"{", "protocol") for name in MAKERS},
    **{f"{name}, error": (name, {"error": {"message": "died"}}, "server") for name in MAKERS},
    "no vectors": ("embeddings", {"data": []}, "empty"),
    "empty vectors": ("embeddings", {"data": [{"embedding": []}]}, "empty"),
    "vLLM's other error": ("embeddings", {"object": "error", "message": "died"}, "server"),
    "no scores": ("rerank", {"results": []}, "empty"),
    "an empty list": ("generate", [], "empty"),
    "another empty list": ("tgi", [], "empty"),
    "a path that is not there": ("template", {"text": "a"}, "protocol"),
    "a list": ("template", [1], "protocol"),
}


@pytest.mark.parametrize(("name", "body", "kind"), WHOLE_FAILURES.values(), ids=WHOLE_FAILURES)
def test_answers_in_one_piece_that_are_none(name: str, body: Any, kind: str) -> None:
    failure = whole(MAKERS[name](), body).failure
    assert failure is not None
    assert failure.kind == kind


# nothing makes it raise


FIELDS = """type delta text message content error usage index item response output status choices data results embedding
relevance_score meta_info finish_reason token special generated_text details prefill done done_reason thinking name id
tool_calls function arguments content_block stop_reason output_index incomplete_details reason summary text_output
input_tokens output_tokens prompt_tokens completion_tokens prompt_eval_count eval_count cache_read_input_tokens"""
KINDS = """message_start content_block_start content_block_delta message_delta message_stop error text_delta
input_json_delta response.output_text.delta response.output_item.added response.function_call_arguments.delta
response.completed response.failed function_call tool_use abort"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS.split()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=5),
    max_leaves=15,
)
APIS = st.sampled_from([*MAKERS.values(), lambda: fill(text_path="choices.0.text", usage_path="usage")])


@given(APIS, st.lists(JSON, max_size=4), st.booleans(), st.lists(st.integers(0, 60), max_size=4))
def test_no_json_makes_it_raise(make: Callable[[], API], values: list[Any], streamed: bool, cuts: list[int]) -> None:
    if not streamed:
        for value in values:
            whole(make(), value)
        return
    ends = b"\n" if isinstance(make(), Ollama) else b""
    stream = b"".join(json.dumps(value).encode() + b"\n" if ends else event(value) for value in values)
    read(make(), stream, sorted(min(cut, len(stream)) for cut in cuts))


@given(APIS, st.binary(max_size=100), st.booleans())
def test_no_bytes_make_it_raise(make: Callable[[], API], data: bytes, framed: bool) -> None:
    read(make(), b"data: " + data + b"\n\n" if framed else data + b"\n")
    whole(make(), data)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_deep_nesting_is_a_protocol_failure(make: Callable[[], API]) -> None:
    failure = whole(make(), b'{"error":' * 100_000).failure
    assert failure is not None
    assert failure.kind == "protocol"


# lines of JSON


@given(
    st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")), max_size=6), st.binary(max_size=5), st.data()
)
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], rest: bytes, data: st.DataObject) -> None:
    rest = rest.replace(b"\n", b"")
    stream = b"".join(one + b"\n" for one in lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = sse.JSONLines()
    got = [
        one for begin, end in itertools.pairwise([0, *cuts, len(stream)]) for one in splitter.feed(stream[begin:end])
    ]
    assert got == [one.strip() for one in lines if one.strip()]
    assert (splitter.remainder, splitter.at_boundary) == (rest, not rest)


# a template


def body(template: str, prompt: Prompt = HI) -> Any:
    return TemplateAPI(template, "x").build_body(prompt, RequestSettings(model="m"))


HARD = Prompt(id="p", text='a "quoted"\n%m %p \\ line')


def test_a_template_is_filled_in() -> None:
    assert body('{"a": "<%p>", "b": [{"c": "%m/%p"}], "n": 3}', HARD) == {
        "a": f"<{HARD.text}>",
        "b": [{"c": f"m/{HARD.text}"}],
        "n": 3,
    }
    assert body('{"messages": [{"role": "user", "content": "%p"}]}', TALK) == {
        "messages": [{"role": "user", "content": "be kind\nlook\nok"}]
    }
    assert body('{"messages": "%p"}', TALK) == {"messages": TALK.messages}
    assert body('{"messages": "%p"}') == {"messages": [{"role": "user", "content": "hi"}]}
    assert body('{"prompt": "%p"}', IDS) == {"prompt": [5, 6]}


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text('{"q": "%p"}', "utf-8")
    assert body(f"@{path}") == {"q": "hi"}
    path.write_text('{"q":\n oops}', "utf-8")
    with pytest.raises(UsageError, match=re.escape(f"{path}, line 2: a template is JSON")):
        body(f"@{path}")


BAD_TEMPLATES = {
    "@/no/such/file": "cannot read the template /no/such/file",
    "{": "--body-template, line 1: a template is JSON",
    '["%p"]': "--body-template: a template is a JSON object, not list",
    '{"a": "%m"}': "--body-template has no %p",
}


@pytest.mark.parametrize(("template", "sentence"), BAD_TEMPLATES.items())
def test_a_wrong_template_is_one_sentence(template: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        TemplateAPI(template, "x")
    assert "\n" not in str(caught.value)


def test_a_template_needs_its_paths() -> None:
    with pytest.raises(UsageError, match="needs --text-path"):
        TemplateAPI(TEXT_OUTPUT, None)
    with pytest.raises(UsageError, match=r"token ids \(p\) only fit"):
        body('{"a": "x %p"}', IDS)
    failure = read(fill(usage_path="meta.usage"), event({"text_output": "a", "n": 1}))[1].failure
    assert failure is not None
    assert failure.message == "nothing at meta.usage in the answer, which has text_output, n"
    failure = read(fill(usage_path="n"), event({"text_output": "a", "n": 1}))[1].failure
    assert failure is not None
    assert failure.message == "n leads to 1, which is no object with prompt_tokens and completion_tokens"


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
