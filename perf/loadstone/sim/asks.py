"""What a request body asks for, or the page that refuses it. Pure.

Checks, their order and their words are vLLM 0.32's (chat_completion/protocol.py, completion/protocol.py,
renderers/params.py, sampling_params.py), for the fields that matter here; other fields are ignored.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.sim.model import Settings
from loadstone.sim.pages import Page, error, no_model

MAX_CHOICES = 16384


class Ask(Struct, frozen=True):
    """A request that will be answered: `choices` answers of `tokens` tokens each."""

    chat: bool
    stream: bool
    tokens: int
    choices: int
    prompt_tokens: int
    finish: str
    usage: bool
    continuous: bool


class Refused(Exception):
    """Leaves the checks early, with the page to send."""

    def __init__(self, page: Page) -> None:
        self.page = page


@lru_cache(maxsize=1024)
def read(body: bytes, chat: bool, settings: Settings) -> Ask | Page:
    """The one entrance. Load tests send the same bodies again and again."""
    try:
        return _ask(_decode(body), chat, settings)
    except Refused as refused:
        return refused.page


def _ask(data: dict[str, Any], chat: bool, settings: Settings) -> Ask:
    prompts = _chat_prompt(data) if chat else _prompts(data)
    stream, usage, continuous = _streaming(data)
    limit = _whole(data, "max_completion_tokens") if chat else None
    limit = _whole(data, "max_tokens") if limit is None else limit
    choices = _whole(data, "n", 1)
    _sampling(data, limit, choices, settings)
    tokens = _fit(max(prompts, default=0), limit, settings)
    return Ask(
        chat=chat,
        stream=stream,
        tokens=tokens,
        choices=(choices or 1) * len(prompts),
        prompt_tokens=sum(prompts),
        finish="stop" if limit is None else "length",
        usage=usage,
        continuous=usage and continuous,
    )


def _decode(body: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = _strict(body)
    if not isinstance(data, dict):
        text = "Input should be a valid dictionary or object to extract fields from"
        raise _invalid("model_attributes_type", "body", text, data)
    return data


def _strict(body: bytes) -> Any:
    """The standard library's verdict: it names the place, and takes NaN as vLLM does."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as exc:
        raise _invalid("json_invalid", f"body.{exc.pos}", "JSON decode error", {}, exc.msg) from exc
    except (ValueError, RecursionError) as exc:
        raise Refused(error(400, "There was an error parsing the body", "Bad Request")) from exc


def _invalid(kind: str, place: str, text: str, value: Any, ctx: str | None = None) -> Refused:
    """A pydantic error as vLLM words it."""
    shown = f"<{type(value).__name__} of {len(value)} items>" if isinstance(value, dict | list) else value
    if not isinstance(shown, str):
        shown = str(shown)
    what: dict[str, Any] = {"type": kind, "loc": place, "msg": text, "input": shown[:200]}
    if ctx:
        what["ctx"] = {"error": ctx}
    return Refused(error(400, f"1 validation error:\n  {what}", "Bad Request", place))


def _bad(message: str, param: str | None = None, value: object = None) -> Refused:
    """vLLM's VLLMValidationError."""
    extras = [f"parameter={param}"] if param else []
    extras += [f"value={value}"] if value is not None else []
    return Refused(error(400, f"{message} ({', '.join(extras)})" if extras else message, param=param))


def _whole(data: dict[str, Any], name: str, default: int | None = None) -> int | None:
    """An integer, as leniently as pydantic: 5, 5.0, "5" and true are integers."""
    value = data.get(name, default)
    if value is None or type(value) is int:
        return value
    place = f"body.{name}"
    if isinstance(value, float) and not value.is_integer():
        text = "Input should be a valid integer, got a number with a fractional part"
        raise _invalid("int_from_float", place, text, value)
    if not isinstance(value, str | float | bool):
        raise _invalid("int_type", place, "Input should be a valid integer", value)
    try:
        return int(value)
    except ValueError as exc:
        text = "Input should be a valid integer, unable to parse string as an integer"
        raise _invalid("int_parsing", place, text, value) from exc


def _streaming(data: dict[str, Any]) -> tuple[bool, bool, bool]:
    """stream, include_usage, continuous_usage_stats."""
    stream = data.get("stream") or False
    if not isinstance(stream, bool):
        text = "Input should be a valid boolean, unable to interpret input"
        raise _invalid("bool_parsing", "body.stream", text, stream)
    options = data.get("stream_options")
    if options and not stream:
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    options = options if isinstance(options, dict) else {}
    return stream, bool(options.get("include_usage")), bool(options.get("continuous_usage_stats"))


def _chat_prompt(data: dict[str, Any]) -> list[int]:
    """Words over all messages."""
    if "messages" not in data:
        raise _invalid("missing", "body.messages", "Field required", data)
    messages = data["messages"]
    if not isinstance(messages, list):
        raise _invalid("list_type", "body.messages", "Input should be a valid list", messages)
    return [sum(_message_words(index, message) for index, message in enumerate(messages))]


def _message_words(index: int, message: object) -> int:
    if not isinstance(message, dict):
        raise _invalid("dict_type", f"body.messages.{index}", "Input should be a valid dictionary", message)
    content = message.get("content")
    if isinstance(content, str):
        return len(content.split())
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return sum(len(text.split()) for text in texts if isinstance(text, str))


def _prompts(data: dict[str, Any]) -> list[int]:
    """Length of each prompt: words of a text, ids of a list of ids; a list of either is several prompts."""
    prompt = data.get("prompt")
    if prompt is None or prompt in ("", []):
        raise _bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return [len(prompt.split())]
    if not isinstance(prompt, list):
        raise _invalid("list_type", "body.prompt", "Input should be a valid list", prompt)
    if all(type(token) is int for token in prompt):
        return [len(prompt)]
    if not all(isinstance(one, str | list) for one in prompt):
        raise _invalid("list_type", "body.prompt", "Input should be a valid list", prompt)
    return [len(one.split()) if isinstance(one, str) else len(one) for one in prompt]


def _sampling(data: dict[str, Any], limit: int | None, choices: int | None, settings: Settings) -> None:
    model = data.get("model")
    if model and model != settings.model:
        raise Refused(no_model(str(model), settings.model))
    longest = settings.max_model_len
    if limit is not None and limit > longest:
        text = f"max_tokens={limit} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
        raise _bad(text, "max_tokens", limit)
    if choices is not None and not 1 <= choices <= MAX_CHOICES:
        bound = "at least 1" if choices < 1 else f"at most {MAX_CHOICES}"
        raise _bad(f"n must be {bound}, got {choices}.")
    temperature = data.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        value = float(temperature)
        raise _bad(f"temperature must be non-negative, got {value}.", "temperature", value)
    if limit is not None and limit < 1:
        raise _bad(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)


def _fit(prompt: int, limit: int | None, settings: Settings) -> int:
    """Tokens to generate. vLLM 0.25 refused what does not fit in all; 0.32 would silently generate less."""
    longest = settings.max_model_len
    length = f"This model's maximum context length is {longest} tokens. However, "
    if prompt > longest:
        seen = longest + 1
        text = f"your prompt contains at least {seen} input tokens, which exceeds this limit even without any "
        raise _bad(f"{length}{text}output tokens. Please reduce the length of the input prompt.", "input_tokens", seen)
    tokens = max(1, min(settings.default_tokens, longest - prompt)) if limit is None else limit
    if prompt + tokens > longest:
        text = f"you requested {tokens} output tokens and your prompt contains {prompt} input tokens, for a total of "
        hint = "Please reduce the length of the input prompt or the number of requested output tokens."
        raise _bad(f"{length}{text}{prompt + tokens} tokens. {hint}", "input_tokens", prompt)
    return tokens
