"""From one row of a dataset, JSON or CSV, to a Prompt: which field is the prompt, the id, the output length.

The rules are the same for every format; finding the rows in a file is the formats' own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard

import msgspec

from loadstone.readers.source import Options, Where
from loadstone.records import Prompt, UsageError

FIELDS = ("prompt", "question", "text", "input")
IDS = ("id", "_id", "task_id")
LENGTHS = ("output_len", "output_tokens")
_REQUEST = """
    model max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p stream stream_options stop
    stop_token_ids tools tool_choice parallel_tool_calls n best_of seed response_format presence_penalty
    frequency_penalty repetition_penalty logit_bias logprobs top_logprobs prompt_logprobs echo suffix ignore_eos
    reasoning_effort chat_template_kwargs extra_body functions function_call modalities user service_tier
"""
REQUEST = frozenset(_REQUEST.split())
"""Fields of OpenAI's requests, and vLLM's own: one of them beside a prompt makes a row a request body."""

Row = Mapping[str, Any]


def to_prompt(row: object, where: Where, options: Options) -> Prompt:
    """The prompt of a JSON row: an object, a string, or a list of messages. Raises UsageError."""
    if not isinstance(row, dict):
        return _value(row, where, "the row", id=where.id)
    if options.prompt_field is not None:
        return _chosen(row, where, options.prompt_field)
    if _is_body(row):
        return _body(row, where)
    return from_fields(row, where)


def from_fields(row: Row, where: Where, prompt_field: str | None = None) -> Prompt:
    """The prompt of a row that is no request: the field asked for, or the first of FIELDS, or `messages`."""
    names = (prompt_field,) if prompt_field else (*FIELDS, "messages")
    found = next((name for name in names if not _blank(row.get(name))), None)
    if found is None:
        _refuse(row, where, names)
    return _value(row[found], where, found, id=_id(row, where), output_len=_output_len(row, where))


def _chosen(row: Row, where: Where, path: str) -> Prompt:
    value = _dig(row, path)
    if _blank(value):
        _refuse(row, where, (path,))
    if isinstance(value, dict):  # a request inside a row, as in a batch file
        prompt = _body(value, where) if _is_body(value) else from_fields(value, where)
        return msgspec.structs.replace(prompt, id=_id(row, where))
    return _value(value, where, path, id=_id(row, where), output_len=_output_len(row, where))


def _dig(row: Row, path: str) -> Any:
    """The value at a dotted path; a number is a place in a list, and a name that has dots goes first."""
    if path in row:
        return row[path]
    value: Any = row
    for key in path.split("."):
        if isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value


def _is_body(row: Row) -> bool:
    return not (_blank(row.get("messages")) and _blank(row.get("prompt"))) and not REQUEST.isdisjoint(row)


def _body(row: Row, where: Where) -> Prompt:
    asked = "prompt" if _blank(row.get("messages")) else "messages"
    name, output_len = _id(row, where), _output_len(row, where)
    body = {key: value for key, value in row.items() if key not in (*IDS, *LENGTHS)}
    if _is_tokens(row[asked]):  # token ids have no text here; the completions API sends them as they are
        return Prompt(id=name, body=body, output_len=output_len)
    del body[asked]
    return _value(row[asked], where, asked, id=name, body=body, output_len=output_len)


def _value(value: object, where: Where, name: str, **rest: Any) -> Prompt:
    if isinstance(value, str) and value.strip():
        return Prompt(text=value, **rest)
    if is_messages(value):
        return Prompt(messages=value, **rest)
    raise UsageError(f"{where}: {name} is neither a text nor a list of messages with a role each")


def is_messages(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether this is a list of chat messages, not empty."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and all(type(token) is int for token in value)


def _blank(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _id(row: Row, where: Where) -> str:
    values = (row.get(name) for name in IDS)
    return next((str(value) for value in values if isinstance(value, str | int) and not _blank(value)), where.id)


def _output_len(row: Row, where: Where) -> int | None:
    for name in LENGTHS:
        value = row.get(name)
        if _blank(value):
            continue
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
            value = int(value)
        if type(value) is not int or value < 1:
            raise UsageError(f"{where}: {name} is {str(value)[:40]!r}, not a whole number of at least 1")
        return value
    return None


def _refuse(row: Row, where: Where, names: tuple[str, ...]) -> NoReturn:
    fields = ", ".join(map(str, list(row)[:12])) or "none"
    raise UsageError(
        f"{where}: no prompt in {' or '.join(names)}; say with --prompt-field which field it is ({fields})"
    )
