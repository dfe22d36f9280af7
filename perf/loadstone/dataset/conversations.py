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
# Fields of a turn with the pause before it, in seconds.
PAUSES = ("think_time", "delay")
_ROLES = {"human": "user", "user": "user", "system": "system"}
# Roles whose messages are sent if the answers are the server's own.
_NOT_ASSISTANT = frozenset({"user", "system", "developer"})
_MISSING = {"conversations": "`from` or `value`", "conversation": "`human`"}

Message = dict[str, Any]
Count = Callable[[str], int]


class Turn(Struct, frozen=True):
    """One side's contribution to a conversation.

    message: as a chat message. pause: seconds before it, None if not recorded.
    """

    message: Message
    pause: float | None = None

    @property
    def role(self) -> str:
        return str(self.message["role"])


def read_turns(value: object, position: RowPosition, name: str) -> list[Turn]:
    """Return the turns in the field `name`, without blank ones. Raises DataError.

    An entry of the list that has a question and an answer is two turns.
    """
    if not isinstance(value, list):
        raise position.error(f"no list of `{name}` in the row")
    turns = []
    for entry in value:
        pause: float | None = None
        # The first pause that is recorded, in seconds.
        for name_of_pause in PAUSES if isinstance(entry, dict) else ():
            seconds = entry.get(name_of_pause)
            if seconds is None:
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
                raise position.error(f"{name_of_pause} is {str(seconds)[:40]!r}, not a number of seconds")
            pause = float(seconds)
            break
        # A chat message as it is, or the texts of an entry in another form.
        match entry:
            case {"role": str()}:
                turns.append(Turn({key: value for key, value in entry.items() if key not in PAUSES}, pause))
                continue
            case {"from": str(sender), "value": str(text)}:
                texts = [(_ROLES.get(sender, "assistant"), text)]
            case {"human": str(text)}:
                answer = entry.get("assistant")
                texts = [("user", text), ("assistant", answer if isinstance(answer, str) else "")]
            case str(text) | {"text": str(text)} | {"content": str(text)} | {"prompt": str(text)}:
                texts = [("user", text)]
            case _:
                raise position.error(f"a turn of `{name}` lacks {_MISSING.get(name, 'a text')}")
        turns += [Turn({"role": role, "content": text}, pause) for role, text in texts if text.strip()]
    return turns


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
