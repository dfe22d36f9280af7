"""From one row of a dataset, JSON or CSV, to a Prompt: which field is the prompt, the id, the output length.

The rules are the same for every format; finding the rows in a file is the formats' own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard

import msgspec

from loadstone.dataset import conversations, images
from loadstone.dataset.source import Options, RowPosition
from loadstone.errors import UsageError
from loadstone.records import Prompt

FIELDS = ("prompt", "question", "text", "input")
BATCHES = ("texts", "input")
RANKED = ("documents", "passages", "texts")
IDS = ("id", "_id", "task_id", "question_id")
LENGTHS = ("output_len", "output_tokens")
_REQUEST = """
    model max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p stream stream_options stop
    stop_token_ids tools tool_choice parallel_tool_calls n best_of seed response_format presence_penalty
    frequency_penalty repetition_penalty logit_bias logprobs top_logprobs prompt_logprobs echo suffix ignore_eos
    reasoning_effort chat_template_kwargs extra_body functions function_call modalities user service_tier
"""
# Fields of OpenAI's requests, and vLLM's own: one of them beside a prompt makes a row a request body.
REQUEST = frozenset(_REQUEST.split())

# Beside the messages of a request body: texts of the user, each said after the answer to what was said before.
LATER = "later"

Row = Mapping[str, Any]


def to_prompt(row: object, position: RowPosition, options: Options) -> Prompt:
    """The prompt of a JSON row: an object, a string, or a list of messages. Raises UsageError."""
    if not isinstance(row, dict):
        return _value(row, position, "the row", options, id=position.id)
    if options.prompt_field is not None:
        return _chosen(row, position, options, options.prompt_field)
    if is_request(row) and not REQUEST.isdisjoint(row):
        return request_prompt(row, position)
    return from_fields(row, position, options)


def from_fields(row: Row, where: RowPosition, options: Options) -> Prompt:
    """The prompt of a row that is no request: the field asked for, or else what rerank takes, the first of FIELDS,
    messages, turns, or texts to embed."""
    if options.prompt_field is None and (ranked := _ranked(row, where)):
        return ranked
    found = _field(row, where, options.prompt_field)
    return _made(row, row[found], found, where, options)


def request_prompt(row: Row, where: RowPosition, drop: tuple[str, ...] = (*IDS, *LENGTHS)) -> Prompt:
    """The prompt of a row that is a request body with `messages` or a `prompt`, less the fields to drop. With LATER its
    settings are those of each turn."""
    asked = "prompt" if _blank(row.get("messages")) else "messages"
    name, length = row_id(row, where), output_len(row, where)
    said = row[LATER] if asked == "messages" and _is_texts(row.get(LATER)) else []
    body = {key: value for key, value in row.items() if key not in drop and not (said and key == LATER)}
    if asked == "prompt" and _is_tokens(
        row[asked]
    ):  # token ids have no text here; the completions API sends them as they are
        return Prompt(id=name, body=body, output_len=length)
    del body[asked]
    later = [Prompt(id=f"{name}.{turn}", text=text, body=body, output_len=length) for turn, text in enumerate(said, 2)]
    return _plain(row[asked], where, asked, id=name, body=body, output_len=length, later=later)


def is_request(row: Row) -> bool:
    """Whether the row says what to ask under the names of a request."""
    return not (_blank(row.get("messages")) and _blank(row.get("prompt")))


def is_messages(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether this is a list of chat messages, not empty."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def row_id(row: Row, where: RowPosition, names: tuple[str, ...] = IDS) -> str:
    """The row's own id, or else its place."""
    values = (row.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and not _blank(value)), where.id)


def output_len(row: Row, where: RowPosition, names: tuple[str, ...] = LENGTHS) -> int | None:
    """The output tokens that the row asks for. Raises UsageError."""
    for name in names:
        value = row.get(name)
        if _blank(value):
            continue
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
            value = int(value)
        if type(value) is not int or value < 1:
            raise UsageError(f"{where}: {name} is {str(value)[:40]!r}, not a whole number of at least 1")
        return value
    return None


def _chosen(row: Row, where: RowPosition, options: Options, path: str) -> Prompt:
    value = _dig(row, path)
    if _blank(value):
        _refuse(row, where, (path,))
    if not isinstance(value, dict):
        return _made(row, value, path, where, options)
    inner = to_prompt(value, where, msgspec.structs.replace(options, prompt_field=None))  # a batch file's request
    return msgspec.structs.replace(inner, id=row_id(row, where))


def _made(row: Row, value: object, name: str, where: RowPosition, options: Options) -> Prompt:
    prompt = _value(value, where, name, options, id=row_id(row, where), output_len=output_len(row, where))
    return images.attach_images(prompt, row, where)


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


def _field(row: Row, where: RowPosition, asked: str | None) -> str:
    names = (asked,) if asked else (*FIELDS, "messages")
    found = next((name for name in names if not _blank(row.get(name))), None)
    lists = () if asked else (*conversations.LISTS, *BATCHES)
    found = found or next((name for name in lists if row.get(name) and isinstance(row[name], list)), None)
    return found or _refuse(row, where, names)


def _ranked(row: Row, where: RowPosition) -> Prompt | None:
    """A query with the documents to rank by it."""
    found = next((name for name in RANKED if isinstance(row.get(name), list) and row[name]), None)
    if found is None or not isinstance(row.get("query"), str) or _blank(row["query"]):
        return None
    texts = [entry.get("text") if isinstance(entry, dict) else entry for entry in row[found]]
    if not _is_texts(texts):
        raise UsageError(f"{where}: {found} is not a list of texts")
    return Prompt(id=row_id(row, where), text=row["query"], documents=texts)


def _value(value: object, where: RowPosition, name: str, options: Options, **rest: Any) -> Prompt:
    last = name.rpartition(".")[2]
    if last in BATCHES and _is_texts(value):
        return Prompt(documents=value, **rest)
    if last in conversations.LISTS or _is_texts(value) or (is_messages(value) and options.history):
        return _conversation(value, where, name, options, **rest)
    if is_messages(value):
        value = [turn.message for turn in conversations.read_turns(value, where, name)]
    return _plain(value, where, name, **rest)


def _conversation(value: object, where: RowPosition, name: str, options: Options, **rest: Any) -> Prompt:
    said = conversations.read_turns(
        images.inline_images(value, where) if isinstance(value, list) else value, where, name
    )
    prompt = conversations.build_prompt(said, where, options, "first", **rest)
    if prompt is None:
        raise UsageError(f"{where}: {name} has no turn of the user")
    return prompt


def _plain(value: object, where: RowPosition, name: str, **rest: Any) -> Prompt:
    if isinstance(value, str) and value.strip():
        return Prompt(text=value, **rest)
    if is_messages(value):
        return Prompt(messages=images.inline_images(value, where), **rest)
    raise UsageError(f"{where}: {name} is neither a text nor a list of messages with a role each")


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and all(type(token) is int for token in value)


def _blank(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _refuse(row: Row, where: RowPosition, names: tuple[str, ...]) -> NoReturn:
    fields = ", ".join(map(str, list(row)[:12])) or "none"
    raise UsageError(
        f"{where}: no prompt in {' or '.join(names)}; say with --prompt-field which field it is ({fields})"
    )
