"""Parsing and validation of request bodies, common to all protocols. Pure.

Checks, their order and their messages are those of vLLM 0.32 (chat_completion/protocol.py, completion/protocol.py,
renderers/params.py, sampling_params.py), for the fields that matter here; other fields are ignored. The files in
formats/ read the fields of each protocol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from loadstone.sim.bodies import Page, error, model_not_found
from loadstone.sim.logprobs import LogprobOptions
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, PromptContent

MAX_CHOICES = 16384


def split_prompt(content: PromptContent) -> list[str | int]:
    """Return the tokens of a prompt. For this server, each word is a token."""
    return [token for one in content for token in (one.split() if isinstance(one, str) else (one,))]


def count_tokens(content: PromptContent) -> int:
    """Count the tokens of a prompt."""
    return sum(len(one.split()) if isinstance(one, str) else 1 for one in content)


class RefusedRequest(Exception):
    """The request is invalid. `page`: the error page to send."""

    def __init__(self, page: Page) -> None:
        self.page = page


@lru_cache(maxsize=1024)
def parse_body(body: bytes, form: Format, settings: Settings) -> ParsedRequest | Page:
    """Parse a body, or return its error page. Cached, since load tests send the same bodies again and again."""
    try:
        data = _decode(body)
        form = form.select(data)
        return form.parse(data, settings)
    except RefusedRequest as refused:
        return form.error_page(refused.page)


def build_request(
    form: Format,
    data: dict[str, Any],
    settings: Settings,
    prompts: Sequence[PromptContent],
    limit: int | None,
    choices: int | None = 1,
    stream: tuple[bool, bool, bool] = (False, True, False),
    logprob_options: LogprobOptions | None = None,
) -> ParsedRequest:
    """Build a request from its fields. Raises RefusedRequest if they are invalid.

    limit: most tokens to generate, None for the server's default.
    stream: stream, include_usage, continuous_usage_stats.
    """
    if logprob_options is not None and logprob_options.no_generation:
        limit = 1
    check_sampling(data, limit, choices, settings)
    sizes = [count_tokens(prompt) for prompt in prompts]
    stop = data.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return ParsedRequest(
        format=form,
        stream=stream[0],
        tokens=response_length(max(sizes, default=0), limit, settings),
        choices=(choices or 1) * len(prompts),
        prompt_tokens=sum(sizes),
        finish_reason="stop" if limit is None else "length",
        prompts=tuple(prompts),
        include_usage=stream[1],
        continuous_usage=stream[1] and stream[2],
        logprob_options=logprob_options,
        stop=tuple(text for text in stops if isinstance(text, str) and text),
    )


def _decode(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises RefusedRequest."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The standard library reports the position of an error, and accepts NaN, as vLLM does.
        try:
            data = json.loads(body)
        except json.JSONDecodeError as exc:
            raise validation_error("json_invalid", f"body.{exc.pos}", "JSON decode error", {}, exc.msg) from exc
        except (ValueError, RecursionError) as exc:
            raise RefusedRequest(error(400, "There was an error parsing the body", "Bad Request")) from exc
    if not isinstance(data, dict):
        text = "Input should be a valid dictionary or object to extract fields from"
        raise validation_error("model_attributes_type", "body", text, data)
    return data


def validation_error(kind: str, place: str, text: str, value: Any, ctx: str | None = None) -> RefusedRequest:
    """Return a pydantic error in vLLM's words."""
    shown = f"<{type(value).__name__} of {len(value)} items>" if isinstance(value, dict | list) else value
    if not isinstance(shown, str):
        shown = str(shown)
    what: dict[str, Any] = {"type": kind, "loc": place, "msg": text, "input": shown[:200]}
    if ctx:
        what["ctx"] = {"error": ctx}
    return RefusedRequest(error(400, f"1 validation error:\n  {what}", "Bad Request", place))


def parameter_error(message: str, param: str | None = None, value: object = None) -> RefusedRequest:
    """Return vLLM's VLLMValidationError."""
    extras = [f"parameter={param}"] if param else []
    extras += [f"value={value}"] if value is not None else []
    return RefusedRequest(error(400, f"{message} ({', '.join(extras)})" if extras else message, param=param))


def integer(data: dict[str, Any], name: str, default: int | None = None) -> int | None:
    """Read an integer, as leniently as pydantic: 5, 5.0, "5" and true are integers."""
    value = data.get(name, default)
    if value is None or type(value) is int:
        return value
    place = f"body.{name}"
    if isinstance(value, float) and not value.is_integer():
        text = "Input should be a valid integer, got a number with a fractional part"
        raise validation_error("int_from_float", place, text, value)
    if not isinstance(value, str | float | bool):
        raise validation_error("int_type", place, "Input should be a valid integer", value)
    try:
        return int(value)
    except ValueError as exc:
        text = "Input should be a valid integer, unable to parse string as an integer"
        raise validation_error("int_parsing", place, text, value) from exc


def flag(data: dict[str, Any], name: str = "stream", default: bool = False) -> bool:
    """Read a boolean, or null for its default."""
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        text = "Input should be a valid boolean, unable to interpret input"
        raise validation_error("bool_parsing", f"body.{name}", text, value)
    return value


def json_object(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Read an object within the body, empty if it is missing."""
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise validation_error("dict_type", f"body.{name}", "Input should be a valid dictionary", value)
    return value or {}


def messages(data: dict[str, Any], name: str = "messages") -> tuple[str, ...]:
    """Read the texts of a list of messages."""
    if name not in data:
        raise validation_error("missing", f"body.{name}", "Field required", data)
    items = data[name]
    if not isinstance(items, list):
        raise validation_error("list_type", f"body.{name}", "Input should be a valid list", items)
    contents: list[str] = []
    for index, message in enumerate(items):
        if not isinstance(message, dict):
            raise validation_error("dict_type", f"body.{name}.{index}", "Input should be a valid dictionary", message)
        contents += texts(message.get("content"))
    return tuple(contents)


def texts(content: object) -> list[str]:
    """Return the texts of a content: one, or those of its parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in found if isinstance(text, str)]


def prompts(data: dict[str, Any], name: str, missing: str) -> list[PromptContent]:
    """Read the prompts of a field: a text, a list of token ids, or a list of either for several prompts."""
    prompt = data.get(name)
    if prompt is None or prompt in ("", []):
        raise parameter_error(missing, name)
    if isinstance(prompt, str):
        return [(prompt,)]
    if not isinstance(prompt, list):
        raise validation_error("list_type", f"body.{name}", "Input should be a valid list", prompt)
    if all(type(token) is int for token in prompt):
        return [tuple(prompt)]
    contents: list[PromptContent] = []
    for item in prompt:
        if isinstance(item, str):
            contents.append((item,))
        elif isinstance(item, list) and all(type(token) is int for token in item):
            contents.append(tuple(item))
        else:
            raise validation_error("list_type", f"body.{name}", "Input should be a valid list", item)
    return contents


def check_sampling(data: dict[str, Any], limit: int | None, choices: int | None, settings: Settings) -> None:
    """Check the sampling parameters. Raises RefusedRequest."""
    model = data.get("model")
    if model and model != settings.model:
        raise RefusedRequest(model_not_found(str(model), settings.model))
    longest = settings.max_model_len
    if limit is not None and limit > longest:
        text = f"max_tokens={limit} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
        raise parameter_error(text, "max_tokens", limit)
    if choices is not None and not 1 <= choices <= MAX_CHOICES:
        bound = "at least 1" if choices < 1 else f"at most {MAX_CHOICES}"
        raise parameter_error(f"n must be {bound}, got {choices}.")
    temperature = data.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        value = float(temperature)
        raise parameter_error(f"temperature must be non-negative, got {value}.", "temperature", value)
    if limit is not None and limit < 1:
        raise parameter_error(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)


def response_length(prompt: int, limit: int | None, settings: Settings) -> int:
    """Return the tokens to generate. Like vLLM 0.25, refuse what exceeds the context; 0.32 generates less instead."""
    longest = settings.max_model_len
    length = f"This model's maximum context length is {longest} tokens. However, "
    if prompt > longest:
        seen = longest + 1
        text = f"your prompt contains at least {seen} input tokens, which exceeds this limit even without any "
        raise parameter_error(
            f"{length}{text}output tokens. Please reduce the length of the input prompt.", "input_tokens", seen
        )
    tokens = max(1, min(settings.default_tokens, longest - prompt)) if limit is None else limit
    if prompt + tokens > longest:
        text = f"you requested {tokens} output tokens and your prompt contains {prompt} input tokens, for a total of "
        hint = "Please reduce the length of the input prompt or the number of requested output tokens."
        raise parameter_error(f"{length}{text}{prompt + tokens} tokens. {hint}", "input_tokens", prompt)
    return tokens
