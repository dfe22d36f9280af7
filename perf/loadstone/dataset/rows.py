"""From one row of a dataset, JSON or CSV, to a Prompt: which field is the prompt, the id, the output length.

The rules are the same for every format; the formats find the rows in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard

import msgspec

from loadstone.dataset import conversations, images
from loadstone.dataset.source import Options, RowPosition
from loadstone.records import Prompt

# Fields that may hold the prompt; the first that is filled does.
FIELDS = ("prompt", "question", "text", "input")
# Fields whose list of texts is embedded in one request.
BATCHES = ("texts", "input")
# Fields whose texts are ranked by the field `query`.
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

# Beside the messages of a request body: further turns, each sent after the answer to the one before.
LATER = "later"

Row = Mapping[str, Any]


def to_prompt(row: object, position: RowPosition, options: Options) -> Prompt:
    """Return the prompt of a JSON row: an object, a string, or a list of messages. Raises DataError."""
    if not isinstance(row, dict):
        return _from_value(row, position, "the row", options, id=position.id)
    path = options.prompt_field
    if path is not None:
        value = _value_at(row, path)
        if _is_blank(value):
            _refuse(row, position, (path,))
        if not isinstance(value, dict):
            return _from_field(row, value, path, position, options)
        # An object, as in a batch file, has a prompt of its own.
        prompt = to_prompt(value, position, msgspec.structs.replace(options, prompt_field=None))
        return msgspec.structs.replace(prompt, id=row_id(row, position))
    if is_request(row) and not REQUEST.isdisjoint(row):
        return request_prompt(row, position, options=options)
    return from_fields(row, position, options)


def from_fields(row: Row, position: RowPosition, options: Options) -> Prompt:
    """Return the prompt of a row that is no request body. Raises DataError.

    It is the field of --prompt-field. Without that flag, in this order: a query with documents to rank, the first of
    FIELDS, messages, turns, or texts to embed.
    """
    # A query with documents to rank.
    ranked = next((name for name in RANKED if isinstance(row.get(name), list) and row[name]), None)
    query = row.get("query")
    if options.prompt_field is None and ranked is not None and isinstance(query, str) and query.strip():
        texts = [entry.get("text") if isinstance(entry, dict) else entry for entry in row[ranked]]
        if not _is_texts(texts):
            raise position.error(f"{ranked} is not a list of texts")
        return Prompt(id=row_id(row, position), text=query, documents=texts)

    # The first field that is filled.
    names = (options.prompt_field,) if options.prompt_field else (*FIELDS, "messages")
    lists = () if options.prompt_field else (*conversations.LISTS, *BATCHES)
    field = next((name for name in names if not _is_blank(row.get(name))), None)
    field = field or next((name for name in lists if row.get(name) and isinstance(row[name], list)), None)
    if field is None:
        _refuse(row, position, names)
    return _from_field(row, row[field], field, position, options)


def request_prompt(
    row: Row, position: RowPosition, drop: tuple[str, ...] = (*IDS, *LENGTHS), options: Options | None = None
) -> Prompt:
    """Return the prompt of a row that is a request body with `messages` or a `prompt`. Raises DataError.

    drop: fields that are not sent. With LATER, the other fields are sent with each turn.
    options: with --history, which may make turns of the recorded messages.
    """
    field = "prompt" if _is_blank(row.get("messages")) else "messages"
    name, length = row_id(row, position), output_len(row, position)
    body = {key: value for key, value in row.items() if key not in (*drop, LATER)}
    if field == "prompt" and isinstance(row[field], list) and all(type(token) is int for token in row[field]):
        # Token ids have no text here; the completions API sends them as they are.
        return Prompt(id=name, body=body, output_len=length)
    del body[field]
    if options is not None and options.history and LATER not in row and is_messages(row[field]):
        turns = conversations.read_turns(images.inline_images(row[field], position), position, field)
        prompt = conversations.build_prompt(turns, position, options, "first", id=name, body=body, output_len=length)
        if prompt is not None:
            return prompt
    later = _read_later(row, position, id=name, body=body, output_len=length)
    return _plain(row[field], position, field, id=name, body=body, output_len=length, later=later)


def _read_later(row: Row, position: RowPosition, **fields: Any) -> list[Prompt]:
    """Return the turns of LATER. Raises DataError.

    Each is a text, a message, a list of messages (results of tools, then a question), or an object with `messages`;
    objects may have `think_time` and fields of their own request. fields: those of the row.
    """
    entries = row.get(LATER)
    if entries is None or entries == []:
        return []
    if not isinstance(entries, list):
        raise position.error(f"`{LATER}` is no list of turns")
    later = []
    for number, entry in enumerate(entries, 2):
        own = entry if isinstance(entry, dict) and "messages" in entry else {}
        listed = own["messages"] if own else entry
        turns = conversations.read_turns(listed if isinstance(listed, list) else [listed], position, LATER)
        if not turns:
            raise position.error(f"turn {number} in `{LATER}` is empty")
        pauses = [turn.pause for turn in turns if turn.pause is not None]
        body = dict(fields["body"])
        for each in (*(turn.body for turn in turns), {name: own[name] for name in own if name in REQUEST}):
            body |= each
        messages = images.inline_images([turn.message for turn in turns], position)
        pause = next(iter(pauses), conversations.read_pause(own, position) or 0.0)
        turn_fields = {**fields, "id": f"{fields['id']}.{number}", "body": body, "think": pause}
        later.append(_plain_turn(messages, **turn_fields))
    return later


def _plain_turn(messages: list[Any], **fields: Any) -> Prompt:
    """Return the prompt of messages; one of the user that is only text becomes a text."""
    only = messages[0]
    plain = only.keys() == {"role", "content"} and only["role"] == "user" and isinstance(only["content"], str)
    if len(messages) == 1 and plain:
        return Prompt(text=only["content"], **fields)
    return Prompt(messages=messages, **fields)


def is_request(row: Row) -> bool:
    """Return True if the row has messages or a prompt under the names of a request body."""
    return not (_is_blank(row.get("messages")) and _is_blank(row.get("prompt")))


def is_messages(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Return True for a list of chat messages that is not empty."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in value)


def row_id(row: Row, position: RowPosition, names: tuple[str, ...] = IDS) -> str:
    """Return the row's own id, or else its position."""
    values = (row.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and not _is_blank(value)), position.id)


def output_len(row: Row, position: RowPosition, names: tuple[str, ...] = LENGTHS) -> int | None:
    """Return the output tokens that the row requests, None if it requests none. Raises DataError."""
    for name in names:
        value = row.get(name)
        if _is_blank(value):
            continue
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
            value = int(value)
        if type(value) is not int or value < 1:
            raise position.error(f"{name} is {str(value)[:40]!r}, not a whole number of at least 1")
        return value
    return None


def _from_field(row: Row, value: object, name: str, position: RowPosition, options: Options) -> Prompt:
    """Return the prompt of a field's value, with the id, output length and images of its row."""
    prompt = _from_value(value, position, name, options, id=row_id(row, position), output_len=output_len(row, position))
    return images.attach_images(prompt, row, position)


def _value_at(row: Row, path: str) -> Any:
    """Return the value at a dotted path. A number is an index of a list; a name that contains dots comes first."""
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


def _from_value(value: object, position: RowPosition, name: str, options: Options, **fields: Any) -> Prompt:
    """Return the prompt of a value: texts to embed, a conversation, messages or a text. `fields` are the prompt's."""
    last = name.rpartition(".")[2]
    if last in BATCHES and _is_texts(value):
        return Prompt(documents=value, **fields)
    if last in conversations.LISTS or _is_texts(value) or (is_messages(value) and options.history):
        messages = images.inline_images(value, position) if isinstance(value, list) else value
        turns = conversations.read_turns(messages, position, name)
        prompt = conversations.build_prompt(turns, position, options, "first", **fields)
        if prompt is None:
            raise position.error(f"{name} has no turn of the user")
        return prompt
    if is_messages(value):
        value = [turn.message for turn in conversations.read_turns(value, position, name)]
    return _plain(value, position, name, **fields)


def _plain(value: object, position: RowPosition, name: str, **fields: Any) -> Prompt:
    """Return the prompt of a text or of messages."""
    if isinstance(value, str) and value.strip():
        return Prompt(text=value, **fields)
    if is_messages(value):
        return Prompt(messages=images.inline_images(value, position), **fields)
    raise position.error(f"{name} is neither a text nor a list of messages with a role each")


def _is_texts(value: object) -> TypeGuard[list[str]]:
    """Return True for a list of texts that is not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_blank(value: object) -> bool:
    """Return True if a field is missing, empty or white space."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _refuse(row: Row, position: RowPosition, names: tuple[str, ...]) -> NoReturn:
    """Raise DataError for a row without a prompt, with the fields that it has."""
    fields = ", ".join(map(str, list(row)[:12])) or "none"
    raise position.error(f"no prompt in {' or '.join(names)}; say with --prompt-field which field it is ({fields})")
