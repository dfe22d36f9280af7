"""Recorded conversations: from the turns of a row, in any of several forms, to the requests that are sent.

Answers before the first question are left out, because chat templates refuse them. The formats know which field holds
the turns, and what happens to rows without a question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from loadstone.config.kinds import parse_seconds
from loadstone.dataset.source import Options, RowPosition
from loadstone.dataset.synthetic import random_values
from loadstone.errors import ConfigError
from loadstone.records import Prompt

# Fields that hold turns.
LISTS = ("conversations", "conversation", "turns")
# Fields of a turn with the pause before it, in seconds; `delay` beside `text` is AIPerf's, in milliseconds.
PAUSES = ("think_time", "delay")
# What datasets call the roles of a chat.
_ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "bing", "chatgpt", "bard", "model", "bot", "ai"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
    "system": "system",
    "developer": "developer",
}
# Fields of a turn that may hold its text, the first that is a text does.
_TEXTS = ("content", "value", "text", "prompt")
# Roles whose messages are sent if the answers are the server's own.
_NOT_ASSISTANT = frozenset({"user", "system", "developer", "tool"})
_MISSING = {"conversations": "`from` or `value`", "conversation": "`human`"}
# Fields of a request that a turn may set for itself.
_REQUEST = """
    max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p stop seed tools tool_choice
    response_format thinking_token_budget reasoning_effort chat_template_kwargs ignore_eos
"""
REQUEST_OF_TURN = frozenset(_REQUEST.split())
# AIPerf's fields with more of them.
_EXTRAS = ("extra", "extra_body")

Message = dict[str, Any]
Count = Callable[[str], int]


class Turn(Struct, frozen=True):
    """One side's contribution to a conversation.

    message: as a chat message. pause: seconds before it, None if not recorded.
    body: fields of the request that asks for the answer to it.
    """

    message: Message
    pause: float | None = None
    body: dict[str, Any] = {}

    @property
    def role(self) -> str:
        return str(self.message["role"])


def read_turns(value: object, position: RowPosition, name: str) -> list[Turn]:
    """Return the turns in the field `name`, without blank ones. Raises DataError.

    An entry of the list that has a question and an answer is two turns.
    """
    if not isinstance(value, list):
        raise position.error(f"no list of `{name}` in the row")
    return [turn for entry in value for turn in _read_entry(entry, position, name)]


def _read_entry(entry: object, position: RowPosition, name: str) -> list[Turn]:
    """Return the turns of an entry: a text, a message in any form, or a question with its answer. Raises DataError."""
    if isinstance(entry, str):
        return [Turn({"role": "user", "content": entry})] if entry.strip() else []
    if not isinstance(entry, dict):
        raise position.error(f"a turn of `{name}` lacks {_MISSING.get(name, 'a text')}")
    pause = read_pause(entry, position)
    body = {key: value for key, value in entry.items() if key in REQUEST_OF_TURN}
    for extra in _EXTRAS:
        if isinstance(entry.get(extra), dict):
            body |= entry[extra]
    if isinstance(entry.get("human"), str):
        answer = entry.get("assistant")
        pair = (("user", entry["human"]), ("assistant", answer if isinstance(answer, str) else ""))
        return [Turn({"role": role, "content": text}, pause, body) for role, text in pair if text.strip()]

    # A chat message as it is.
    sender = entry.get("role", entry.get("from"))
    role = _ROLES.get(sender, sender if "role" in entry else "assistant") if isinstance(sender, str) else "user"
    content, calls = entry.get("content"), entry.get("tool_calls")
    if isinstance(entry.get("role"), str) and (calls or content is not None):
        left_out = (*PAUSES, *REQUEST_OF_TURN, *_EXTRAS)
        message = {key: value for key, value in entry.items() if key not in left_out}
        return [Turn({**message, "role": role}, pause, body)]

    # A text under another name.
    texts = entry.get("texts")
    text = next((entry[field] for field in _TEXTS if isinstance(entry.get(field), str)), None)
    if text is None and isinstance(texts, list) and texts and all(isinstance(part, str) for part in texts):
        text = "\n".join(texts)
    if text is None:
        raise position.error(f"a turn of `{name}` lacks {_MISSING.get(name, 'a text')}")
    return [Turn({"role": role, "content": text}, pause, body)] if text.strip() else []


def read_pause(entry: dict[str, Any], position: RowPosition) -> float | None:
    """Return the pause before a turn in seconds, None if there is none. Raises DataError."""
    for name in PAUSES:
        value = entry.get(name)
        if value is None:
            continue
        milliseconds = name == "delay" and ("text" in entry or "texts" in entry)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            unit = "milliseconds" if milliseconds else "seconds"
            raise position.error(f"{name} is {str(value)[:40]!r}, not a number of {unit}")
        return value / 1000 if milliseconds else float(value)
    return None


def build_prompt(
    turns: list[Turn], position: RowPosition, options: Options, default: str, count: Count | None = None, **fields: Any
) -> Prompt | None:
    """Return the prompt that sends these turns as --history requests; None if no turn is the user's.

    default: the history if the option is not given. count: counts the tokens of recorded answers, which are then
    requested as output length. fields: further fields of the prompt. Raises DataError.
    """
    history = options.history or default
    if history not in _SPANS:
        raise ConfigError(f"--history takes {', '.join(_SPANS)}, not {history!r}", field="history")
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        return None
    position.source.used.add("history")
    turns = [turn for turn in turns[:first] if turn.role != "assistant"] + turns[first:]
    roles = [turn.role for turn in turns]
    if history == "recorded" and roles.count("user") > 1 and "assistant" not in roles:
        raise position.error("no answers are recorded between the turns; say --history first or live")

    # One request for each span of turns; the first is the prompt, the others follow it.
    spans = _SPANS[history]([index for index, role in enumerate(roles) if role == "user"])
    roles_sent = _NOT_ASSISTANT if history == "live" else frozenset(roles)
    requests = []
    for start, end in spans:
        messages = [turn.message for turn in turns[start : end + 1] if turn.role in roles_sent]
        # The length of the recorded answer is the output length.
        answer = turns[end + 1] if end + 1 < len(turns) else None
        text = answer.message.get("content") if answer and answer.role == "assistant" else None
        request_fields = dict(fields)
        own = turns[end].body
        if own:
            request_fields["body"] = {**fields.get("body", {}), **own}
        if count is not None and isinstance(text, str):
            request_fields["output_len"] = max(1, count(text))
        # One message that is only text becomes a text.
        only = messages[0]
        if len(messages) == 1 and isinstance(only.get("content"), str) and only.keys() == {"role", "content"}:
            requests.append(Prompt(text=only["content"], **request_fields))
        else:
            requests.append(Prompt(messages=messages, **request_fields))

    pauses = _pauses([turns[end].pause for _, end in spans[1:]], position, options)
    later = [
        replace(request, id=f"{request.id}.{number}", think=pause)
        for number, (request, pause) in enumerate(zip(requests[1:], pauses, strict=True), 2)
    ]
    return replace(requests[0], later=later)


# By history: from the indices of the user's turns to the first and the last turn of each request.
_SPANS: dict[str, Callable[[list[int]], list[tuple[int, int]]]] = {
    "first": lambda users: [(0, users[0])],
    "recorded": lambda users: [(0, users[-1])],
    "live": lambda users: list(zip([0, *(index + 1 for index in users)], users, strict=False)),
}


def _pauses(recorded: list[float | None], position: RowPosition, options: Options) -> list[float]:
    """Return the recorded pauses, in seconds. Missing ones are drawn from --think-time, each row by itself."""
    if None in recorded:
        position.source.used.add("think_time")
    if options.think_time is None or None not in recorded:
        return [pause or 0.0 for pause in recorded]
    distribution = random_values.parse_distribution("--think-time", options.think_time, parse_seconds)
    rng = random_values.generator(options, random_values.THINK, position.number)
    drawn = distribution.draw(rng, len(recorded)).tolist()
    return [max(0.0, new) if old is None else old for old, new in zip(recorded, drawn, strict=True)]
