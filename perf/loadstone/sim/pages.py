"""The bodies the simulated server sends besides streams: whole answers, errors, models, metrics. Pure.

Their shape is that of vLLM 0.32, key for key; only the names of server and fingerprint are our own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

FINGERPRINT = "loadstone-sim"
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."

encode = msgspec.json.Encoder().encode


class Page(Struct, frozen=True):
    """A whole response: status, body, its type, and further header lines."""

    status: int
    body: bytes
    kind: bytes | None = JSON
    headers: bytes = b""


def error(status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> Page:
    """vLLM's error object."""
    return Page(status, encode({"error": {"message": message, "type": kind, "param": param, "code": status}}))


def no_model(asked: str, model: str) -> Page:
    return error(404, f"The model `{asked}` does not exist. Valid aliases: {model}.", "NotFoundError", "model")


HEALTH = Page(200, b"", None)
NOT_FOUND = Page(404, b'{"detail":"Not Found"}')
UNAUTHORIZED = Page(401, b'{"error":"Unauthorized"}')
NOT_HTTP = Page(400, b"Invalid HTTP request received.", TEXT)
DEAD = error(500, ENGINE_DEAD, "InternalServerError")


def not_allowed(methods: bytes) -> Page:
    return Page(405, b'{"detail":"Method Not Allowed"}', headers=b"allow: " + methods + b"\r\n")


def fault_page(fault: str, model: str) -> Page | None:
    """The reply of a fault that is a status."""
    return {
        "400": error(400, "The request was refused by the simulated server."),
        "401": UNAUTHORIZED,
        "404": no_model("no-such-model", model),
        "429": Page(429, _TOO_MANY.body, headers=b"retry-after: 1\r\n"),
        "500": DEAD,
        "503": error(503, "The server is overloaded, please try again later.", "ServiceUnavailableError"),
    }.get(fault)


_TOO_MANY = error(429, "Too many requests, please try again later.", "Too Many Requests")


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


_DETAILS = {"prompt_tokens_details": None, "completion_tokens_details": None}
_TRANSFER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}


def _chat_choice(index: int, text: str, finish: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, **nothing},
        "logprobs": None,
        "finish_reason": finish,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }


def _text_choice(index: int, text: str, finish: str) -> dict[str, Any]:
    nothing = ("stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts")
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **dict.fromkeys(nothing)}


def whole(
    chat: bool, name: str, created: int, model: str, texts: list[str], finish: str, usage: dict[str, Any]
) -> bytes:
    """The answer to a request that is not streamed."""
    choice = _chat_choice if chat else _text_choice
    prompt = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")) if chat else {}
    return encode(
        {
            "id": name,
            "object": "chat.completion" if chat else "text_completion",
            "created": created,
            "model": model,
            "choices": [choice(index, text, finish) for index, text in enumerate(texts)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": usage | _DETAILS,
            **prompt,
            **_TRANSFER,
        }
    )


def models(model: str, created: int, max_model_len: int) -> Page:
    """GET /v1/models."""
    rights = {
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
    }
    permission = {"id": "modelperm-loadstone", "object": "model_permission", "created": created, **rights}
    card = {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "loadstone",
        "root": model,
        "parent": None,
        "max_model_len": max_model_len,
        "permission": [permission | {"organization": "*", "group": None, "is_blocking": False}],
    }
    return Page(200, encode({"object": "list", "data": [card]}))


FINISHES = ("stop", "length", "abort", "error", "repetition")


class Counters:
    """What the server counts: tokens as they are sent, requests as they end."""

    __slots__ = ("finished", "generated", "prompt", "running")

    def __init__(self) -> None:
        self.running = 0
        self.prompt = 0
        self.generated = 0
        self.finished = dict.fromkeys(FINISHES, 0)


def metrics(counters: Counters, model: str) -> Page:
    """GET /metrics: Prometheus text with vLLM's names."""
    name = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    label = f'engine="0",model_name="{name}"'
    rows: tuple[tuple[str, str, str, int], ...] = (
        ("num_requests_running", "gauge", "Number of requests in model execution batches.", counters.running),
        ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", 0),
        ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", counters.prompt),
        ("generation_tokens_total", "counter", "Number of generation tokens processed.", counters.generated),
    )
    lines = [
        f"# HELP vllm:{metric} {text}\n# TYPE vllm:{metric} {kind}\nvllm:{metric}{{{label}}} {float(value)}\n"
        for metric, kind, text, value in rows
    ]
    lines.append("# HELP vllm:request_success_total Count of successfully processed requests.\n")
    lines.append("# TYPE vllm:request_success_total counter\n")
    for reason, count in counters.finished.items():
        labels = f'engine="0",finished_reason="{reason}",model_name="{name}"'
        lines.append(f"vllm:request_success_total{{{labels}}} {float(count)}\n")
    return Page(200, "".join(lines).encode(), b"text/plain; version=1.0.0; charset=utf-8")
