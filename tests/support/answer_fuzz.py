"""Answers of every protocol, spoilt at random, sent through the real sender in virtual time.

An answer begins as a valid one (hand-made below, or captured where captures are at hand). Its JSON values, its bytes,
its framing, its head and its end are then changed at random, and it is cut into pieces anywhere. The request takes
the way of every request: runner, sender, parser, record. What must hold: nothing raises, every request has a record,
and every record encodes and decodes to the same line.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from loadstone.apis import API, APIS, RequestSettings
from loadstone.apis.template import TemplateAPI
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.plugins import load_instance
from loadstone.records import Failure, FailureCause, Prompt, Record, from_line, to_line
from loadstone.schedule.plan import DatasetShape, Load, make_plan
from loadstone.transport import Exchange, Request, TransportError
from support import virtual_time
from support.captures import CAPTURES

PATH = "/v1/x"
POOLING = ("embeddings", "rerank", "tei-rerank")
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "a", "logprob": -0.5}]}
COUNTS = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def _chat(delta: dict[str, Any], finish: Any = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice], **fields}


def _text(text: str, finish: Any = None) -> dict[str, Any]:
    logprobs = {"tokens": [text], "token_logprobs": [-0.5], "top_logprobs": [{text: -0.5}], "text_offset": [0]}
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}]}


def _generate(text: str, count: int, finish: Any = None) -> dict[str, Any]:
    meta = {"prompt_tokens": 7, "completion_tokens": count, "cached_tokens": 2, "finish_reason": finish}
    return {"text": text, "index": 0, "meta_info": {**meta, "output_token_logprobs": [[-0.5, 5, "a"]]}}


# The events of one valid answer of each protocol, and a whole answer.
EVENTS: dict[str, list[Any]] = {
    "chat": [
        _chat({"role": "assistant", "content": ""}),
        _chat({"reasoning_content": "hm"}),
        _chat({"reasoning": "so", "reasoning_details": [{"type": "reasoning.text", "text": "so", "index": 0}]}),
        _chat({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "w"}]}]}),
        _chat({"content": " yes"}),
        {"choices": [{"index": 0, "delta": {"content": " a"}, "logprobs": {"content": [TOKEN]}}]},
        _chat({"content": " b"}, usage=COUNTS),
        _chat({"tool_calls": [CALL]}),
        _chat({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        _chat({"function_call": {"name": "f", "arguments": "{}"}}),
        _chat({"audio": {"id": "a", "data": "AA", "transcript": "t"}}),
        _chat({}, "stop", x_groq={"usage": COUNTS}, timings={"prompt_n": 3, "predicted_n": 2, "cache_n": 1}),
        {"choices": [], "usage": COUNTS, "prompt_logprobs": [None, {"5": {"logprob": -1.0, "decoded_token": "a"}}]},
    ],
    "completions": [_text(" a"), _text(" b"), _text(" c", "length"), {"choices": [], "usage": COUNTS}],
    "responses": [
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm", "output_index": 0},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"},
        {"type": "response.output_text.delta", "delta": " yes", "output_index": 2},
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "incomplete_details": {"reason": "max_output_tokens"},
                "usage": {"input_tokens": 7, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}},
            },
        },
    ],
    "messages": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c", "name": "f"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": " yes"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ],
    "embeddings": [{"data": [{"index": 0, "embedding": [0.5, -0.5]}], "usage": {"prompt_tokens": 3}}],
    "rerank": [{"results": [{"index": 0, "relevance_score": 0.9}], "usage": {"total_tokens": 3}}],
    "tei-rerank": [[{"index": 0, "score": 0.9}, {"index": 1, "score": 1e-9}]],
    "generate": [_generate(" a", 1), _generate(" a b", 2), _generate(" a b c", 3, {"type": "length", "length": 3})],
    "tgi": [
        {"index": 1, "token": {"id": 1, "text": " a", "logprob": -0.5, "special": False}},
        {
            "token": {"text": " b"},
            "generated_text": " a b",
            "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 7},
        },
    ],
    "ollama": [
        {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"message": {"content": " yes", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}},
        {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3},
    ],
    "template": [{"out": {"text": " yes"}, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}],
}
WHOLE: dict[str, Any] = {
    "chat": {
        "choices": [{"message": {"content": "a", "reasoning": "b", "tool_calls": [CALL]}, "finish_reason": "stop"}],
        "usage": COUNTS,
    },
    "completions": {**_text("a", "stop"), "usage": COUNTS},
    "responses": {
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": [{"text": "hm"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
        ],
    },
    "messages": {
        "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 7, "output_tokens": 3},
    },
    "rerank": [{"index": 0, "score": 0.9}],
    "tei-rerank": [{"index": 0, "score": 0.9, "text": "a"}],
    "generate": [_generate(" a", 1, {"type": "stop"}), _generate(" b", 1, {"type": "abort", "message": "full"})],
    "tgi": [{"generated_text": "a", "details": {"finish_reason": "length", "generated_tokens": 2}}],
}
ERRORS: list[Any] = [
    {"error": {"message": "died", "code": 500}},
    {"error": "died"},
    {"detail": [{"loc": ["body", 0], "msg": "bad"}]},
    {"detail": "lost"},
    {"errors": [{"message": "a"}, "b"]},
    {"object": "error", "message": "died", "code": 400},
    {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    {"base_resp": {"status_code": 1008, "status_msg": "no"}},
]
# Values that no protocol expects where they are put.
ODD: list[Any] = [
    *(None, True, False, 0, -1, 7.0, 7.5, 1e308, -0.0, float("nan"), float("inf"), 2**31, 2**53, 2**63 - 1, 2**63),
    *(-(2**63), -(2**63) - 1, 2**64, 10**30, -(10**400), "", " ", "7", "7.0", "1e3", "nan", "9" * 400, "null", "abort"),
    *("\ud800", "a\udfffb", "\ud83d\ude00", "\x00", "\x1b[2J", "\u202e", "\r\n", "=1+1", "é" * 50, "x" * 5000),
    *([], {}, [[]], [None], [1, 2], ["a"], [{}], {"": ""}, {"text": "t"}, {"message": "m"}, {"\ud800": "\udc00"}),
    *({"type": "abort", "message": "\ud800"}, [{"type": "text", "text": "t"}], {"name": None, "arguments": None}),
]
KEYS = [
    "choices",
    "index",
    "delta",
    "message",
    "content",
    "text",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking",
    "tool_calls",
    "id",
    "type",
    "function",
    "name",
    "arguments",
    "function_call",
    "audio",
    "refusal",
    "role",
    "finish_reason",
    "logprobs",
    "prompt_logprobs",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "x_groq",
    "timings",
    "error",
    "errors",
    "detail",
    "object",
    "status",
    "code",
    "response",
    "output",
    "item",
    "summary",
    "content_block",
    "stop_reason",
    "partial_json",
    "meta_info",
    "token",
    "details",
    "generated_text",
    "done",
    "done_reason",
    "eval_count",
    "data",
    "embedding",
    "results",
    "relevance_score",
    "score",
    "tokens",
    "top_logprobs",
    "token_logprobs",
    "text_offset",
]
# Bytes that are put into a stream anywhere.
SNIPPETS: list[bytes] = [
    *(
        b"\x00",
        b"\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"\n\n",
        b'"',
        b"\\",
        b"\\ud800",
        b"\\udc00",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"NaN",
        b"Infinity",
        b"-",
        b"1e999",
        b"9" * 50,
        b"9" * 5000,
        b"\xed\xa0\x80",
    ),
    *(
        b"data: ",
        b"data:",
        b"data",
        b"event: error\n",
        b"event: x\n",
        b": ping\n\n",
        b"id: 1\n",
        b"data: [DONE]\n\n",
        b"[DONE]",
    ),
    *(
        b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
        b"<html>",
        b"\x1f\x8b\x08",
        b"\xe2\x80\xa8",
        b"[ERROR] x\n\n",
    ),
    *(b"data: " + b"[" * 2000 + b"\n\n", b'{"error":' * 300, b'data: {"error": {"message": "\\udead"}}\n\n'),
]
# Deeper than Python's json can write: marks in a value, and what the encoded bytes have instead.
NESTED: dict[str, bytes] = {
    f"@{depth} {key}@": b'[{"%b":' % key.encode() * depth + rb'"\ud800"' + b"}]" * depth
    for depth, key in ((20, "error"), (200, "message"), (450, "text"), (2000, "detail"), (20_000, "choices"))
}
CONTENT_TYPES = (
    b"text/event-stream",
    b"application/json",
    b"application/x-ndjson",
    b"text/html",
    b"",
    b"\xff\x00",
    b"text/plain",
)


def build_api(name: str) -> API:
    """Return a protocol of that name, with a template where it needs one."""
    if name == "template":
        return TemplateAPI('{"in": "%p"}', "out.text", "usage")
    api = load_instance("loadstone.apis", name, APIS, "--api")
    assert isinstance(api, API)
    return api


def captured(chance: Random) -> Iterator[bytes]:
    """Yield the captured bodies that are at hand, shuffled; none where there are none."""
    paths = sorted([*CAPTURES.glob("*/*.sse"), *CAPTURES.glob("*/*.json")]) if CAPTURES.is_dir() else []
    paths = [path for path in paths if not path.name.endswith(".meta.json") and path.stat().st_size < 20_000]
    chance.shuffle(paths)
    for path in paths:
        yield path.read_bytes()


class Answers:
    """Makes spoilt answers of one protocol."""

    def __init__(self, name: str, chance: Random) -> None:
        self._name = name
        self._chance = chance
        self._captures = list(captured(chance)) if name in ("chat", "completions") else []

    def body(self) -> bytes:
        """Return the bytes of one answer."""
        chance = self._chance
        if self._captures and chance.random() < 0.2:
            body = chance.choice(self._captures)
        elif chance.random() < (0.9 if self._name in POOLING else 0.15):
            whole = copy.deepcopy(WHOLE.get(self._name, EVENTS[self._name][-1]))
            body = _encode(self._spoil(whole), chance)
        else:
            body = self._stream()
        return self._spoil_bytes(body) if chance.random() < 0.4 else body

    def _stream(self) -> bytes:
        """Return a stream of events, some of them spoilt, framed in one of many ways."""
        chance = self._chance
        events = copy.deepcopy(EVENTS[self._name])
        if chance.random() < 0.15:
            events.insert(chance.randrange(len(events) + 1), copy.deepcopy(chance.choice(ERRORS)))
        if chance.random() < 0.2:
            chance.shuffle(events)
        if chance.random() < 0.2:
            events *= chance.choice((2, 20))
        rate = chance.choice((0.0, 0.05, 0.2))
        data = [_encode(self._spoil(event) if chance.random() < rate else event, chance) for event in events]
        end = chance.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r"))
        if self._name == "ollama":
            return end.join(data) + chance.choice((end, b""))
        if self._name not in POOLING and chance.random() < 0.7:
            data.append(b"[DONE]")
        prefix = chance.choice((b"data: ", b"data: ", b"data:", b": x\ndata: ", b"event: y\ndata: "))
        lines = [prefix + item + end + end for item in data]
        return b"".join(lines) if chance.random() < 0.9 else b"".join(lines)[:-1]

    def _spoil(self, value: Any) -> Any:
        """Return a JSON value in which some values, keys or levels are others."""
        chance = self._chance
        for _ in range(chance.choice((1, 1, 2, 5))):
            holders = list(_holders(value))
            if not holders:
                return chance.choice(ODD)
            holder = chance.choice(holders)
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            act = chance.random()
            if isinstance(holder, dict) and (act < 0.25 or not places):
                holder[chance.choice(KEYS)] = copy.deepcopy(chance.choice((*ODD, *ERRORS)))
            elif not places:
                holder.append(copy.deepcopy(chance.choice(ODD)))
            elif act < 0.4:
                del holder[chance.choice(places)]
            elif act < 0.45:
                holder[chance.choice(places)] = chance.choice(list(NESTED))
            elif act < 0.55:
                place = chance.choice(places)
                holder[place] = [holder[place]] if chance.random() < 0.5 else {chance.choice(KEYS): holder[place]}
            else:
                holder[chance.choice(places)] = copy.deepcopy(chance.choice(ODD))
        return value

    def _spoil_bytes(self, body: bytes) -> bytes:
        """Return the bytes with some removed, changed, repeated or put in."""
        chance = self._chance
        data = bytearray(body)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(data) + 1)
            act = chance.random()
            if act < 0.4:
                data[at:at] = chance.choice(SNIPPETS)
            elif act < 0.55:
                del data[at : at + chance.choice((1, 3, 40))]
            elif act < 0.7 and at < len(data):
                data[at] = chance.randrange(256)
            elif act < 0.85:
                data[at:at] = data[at : at + chance.choice((5, 80))]
            else:
                del data[at:]
        return bytes(data)


def _encode(value: Any, chance: Random) -> bytes:
    """Return JSON, with lone surrogates as escapes, or as the bytes that strict UTF-8 refuses."""
    if chance.random() < 0.7:
        data = json.dumps(value).encode()
    else:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    for mark, nested in NESTED.items():
        data = data.replace(json.dumps(mark).encode(), nested)
    return data


def _holders(value: Any) -> Iterator[Any]:
    """Yield the objects and lists in a value, itself among them, not deeper than Python's json can write."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict | list):
            yield item
            stack += item.values() if isinstance(item, dict) else item


class FuzzTransport:
    """A transport whose answers are spoilt; all that it does is decided by `chance`."""

    def __init__(self, answers: Answers, chance: Random) -> None:
        self._answers = answers
        self._chance = chance

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        chance = self._chance
        exchange.connect, exchange.sent = 0, virtual_time.clock()
        await asyncio.sleep(0.001)
        if chance.random() < 0.02:
            raise TransportError(Failure(FailureCause.CONNECT, "reset \ud800"))
        exchange.first_byte = virtual_time.clock()
        exchange.status = 200 if chance.random() < 0.9 else chance.choice((201, 307, 400, 404, 429, 500, 999))
        kind = CONTENT_TYPES[0] if chance.random() < 0.8 else chance.choice(CONTENT_TYPES)
        exchange.headers = [(b"Content-Type", kind)]
        if chance.random() < 0.05:
            name = chance.choice((b"content-encoding", b"location", b"retry-after"))
            exchange.headers.append(
                (name, chance.choice((b"gzip", b"\xff\x1b", b"1e999", b"-1", b"nan", b"http://k@h/?key=x")))
            )
        body, position = self._answers.body(), 0
        longest = chance.choice((1, 7, 60, 500, 10**6)) if len(body) < 3000 else 5000
        while position < len(body):
            size = chance.randint(1, longest)
            exchange.reads += 1
            if exchange.sink(body[position : position + size], virtual_time.clock()):
                break
            position += size
            if chance.random() < 0.01:
                await asyncio.sleep(0.001)
        if chance.random() < 0.05:
            raise TransportError(Failure(FailureCause.TRUNCATED, "cut"))
        exchange.end = virtual_time.clock()

    async def close(self) -> None:
        """Close nothing."""


def fuzz(name: str, seed: int, requests: int) -> tuple[list[Record], list[str]]:
    """Send requests of a protocol, as a run does; return their records and what was wrong with them.

    Two of three runs keep texts, every second asks for streams, and half of them are conversations of two turns, so
    that the history of the second is what was read in the first.
    """
    chance = Random(f"{name} {seed}")
    api = build_api(name)
    pooling = name in POOLING
    later = [Prompt(id="p", text="and?")] if seed % 2 and not pooling else []
    rows = [Prompt(id="p", text="hi", documents=["a"] if pooling else None, later=later)]
    settings = RequestSettings(model="m", stream=api.streams and seed % 5 != 0)
    records: list[Record] = []
    plan = make_plan(Load(concurrency=8, requests=requests, seed=seed), DatasetShape(["p"], [1 + len(later)]))
    sender = Sender(
        plan,
        PreparedRequests(rows, api, [settings], PATH, ()),
        api,
        [Endpoint(FuzzTransport(Answers(name, chance), chance), PATH)],
        records.append,
        clock=virtual_time.clock,
        keep_text=(lambda _: True) if seed % 3 else None,
        retries=RetryPolicy(max_retries=1, seed=seed) if seed % 7 == 0 else None,
    )
    virtual_time.run(Runner(sender, stagger=0).run())
    return records, list(_faults(plan.requests or 0, records))


def _faults(requests: int, records: list[Record]) -> Iterator[str]:
    """Yield what is wrong with the records of a run."""
    answered = Counter(record.index for record in records if not record.superseded)
    answered.update(record.index + turn for record in records for turn in range(1, record.abandoned + 1))
    if len(answered) != requests or max(answered.values()) > 1:
        yield f"{len(answered)} of {requests} requests have a record, the most {max(answered.values(), default=0)}"
    for record in records:
        line = to_line(record)
        line.decode()
        if line.count(b"\n") != 1 or to_line(from_line(line)) != line:
            yield f"a line that does not decode to itself: {line!r:.300}"
        words = record.error.message if record.error is not None else ""
        if "recording the response failed" in words or ".parse_" in words or ".missing" in words:
            yield f"raised: {words}"
