"""Recorded conversations: from the turns of a row, in whichever form, to what is asked of the server.

Answers that came before the first question are left out, as chat templates refuse them. Which field of a row holds the
turns, and what happens to rows without a question, is the formats' affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from loadstone.config.parse import parse_seconds
from loadstone.dataset.source import Options, RowPosition
from loadstone.dataset.synthetic import random_values
from loadstone.errors import UsageError
from loadstone.records import Prompt

LISTS = ("conversations", "conversation", "turns")
PAUSES = ("think_time", "delay")
_ROLES = {"human": "user", "user": "user", "system": "system"}
_HUMAN = frozenset({"user", "system", "developer"})
_LACKS = {"conversations": "`from` or `value`", "conversation": "`human`"}

Message = dict[str, Any]
Count = Callable[[str], int]


class Turn(Struct, frozen=True):
    """What one side said, as a chat message, and the pause before it in seconds, where that was recorded."""

    message: Message
    pause: float | None = None

    @property
    def role(self) -> str:
        return str(self.message["role"])


def read_turns(value: object, where: RowPosition, name: str) -> list[Turn]:
    """The turns of the field `name`; blank ones are left out. Raises UsageError."""
    if not isinstance(value, list):
        raise UsageError(f"{where}: no list of `{name}` in the row")
    return [turn for entry in value for turn in _turns(entry, where, name)]


def build_prompt(
    said: list[Turn], where: RowPosition, options: Options, usual: str, count: Count | None = None, **rest: Any
) -> Prompt | None:
    """What the history option, or else `usual`, asks of these turns; None if the user says nothing in them.

    count: recorded answers tell how many tokens to ask for. rest: further fields of the prompt.
    """
    history = options.history or usual
    if history not in _SPANS:
        raise UsageError(f"--history takes {', '.join(_SPANS)}, not {history!r}")
    begin = next((at for at, turn in enumerate(said) if turn.role == "user"), None)
    if begin is None:
        return None
    said = [turn for turn in said[:begin] if turn.role != "assistant"] + said[begin:]
    if history == "recorded":
        _answered(said, where)
    spans = _SPANS[history]([at for at, turn in enumerate(said) if turn.role == "user"])
    kept = _HUMAN if history == "live" else None
    asked = [_asked(said, start, at, kept, rest | _output_len(said, at, count)) for start, at in spans]
    pauses = _pauses([said[at].pause for _, at in spans[1:]], where, options)
    later = [
        replace(turn, id=f"{turn.id}.{number}", think=pause)
        for number, (turn, pause) in enumerate(zip(asked[1:], pauses, strict=True), 2)
    ]
    return replace(asked[0], later=later)


# From the places of the user's turns to the first and the last turn of each request.
_SPANS: dict[str, Callable[[list[int]], list[tuple[int, int]]]] = {
    "first": lambda places: [(0, places[0])],
    "recorded": lambda places: [(0, places[-1])],
    "live": lambda places: list(zip([0, *(at + 1 for at in places)], places, strict=False)),
}


def _answered(said: list[Turn], where: RowPosition) -> None:
    roles = [turn.role for turn in said]
    if roles.count("user") > 1 and "assistant" not in roles:
        raise UsageError(f"{where}: no answers are recorded between the turns; say --history first or live")


def _asked(said: list[Turn], start: int, end: int, kept: frozenset[str] | None, rest: dict[str, Any]) -> Prompt:
    messages = [turn.message for turn in said[start : end + 1] if kept is None or turn.role in kept]
    only = messages[0]
    if len(messages) == 1 and isinstance(only.get("content"), str) and only.keys() == {"role", "content"}:
        return Prompt(text=only["content"], **rest)
    return Prompt(messages=messages, **rest)


def _output_len(said: list[Turn], at: int, count: Count | None) -> dict[str, int]:
    answer = said[at + 1] if at + 1 < len(said) else None
    text = answer.message.get("content") if answer and answer.role == "assistant" else None
    if count is None or not isinstance(text, str):
        return {}
    return {"output_len": max(1, count(text))}


def _pauses(recorded: list[float | None], where: RowPosition, options: Options) -> list[float]:
    """Recorded pauses; those that are missing are drawn, of each row apart."""
    if options.think_time is None or None not in recorded:
        return [pause or 0.0 for pause in recorded]
    law = random_values.parse_distribution("--think-time", options.think_time, parse_seconds)
    drawn = law.draw(random_values.generator(options, random_values.THINK, where.number), len(recorded)).tolist()
    return [max(0.0, new) if old is None else old for old, new in zip(recorded, drawn, strict=True)]


def _turns(entry: Any, where: RowPosition, name: str) -> list[Turn]:
    pause = _pause(entry, where) if isinstance(entry, dict) else None
    match entry:
        case {"role": str()}:
            return [Turn({key: value for key, value in entry.items() if key not in PAUSES}, pause)]
        case {"from": str(who), "value": str(text)}:
            said = [(_ROLES.get(who, "assistant"), text)]
        case {"human": str(text)}:
            answer = entry.get("assistant")
            said = [("user", text), ("assistant", answer if isinstance(answer, str) else "")]
        case str(text) | {"text": str(text)} | {"content": str(text)} | {"prompt": str(text)}:
            said = [("user", text)]
        case _:
            raise UsageError(f"{where}: a turn of `{name}` lacks {_LACKS.get(name, 'a text')}")
    return [Turn({"role": role, "content": text}, pause) for role, text in said if text.strip()]


def _pause(entry: dict[str, Any], where: RowPosition) -> float | None:
    for name in PAUSES:
        value = entry.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UsageError(f"{where}: {name} is {str(value)[:40]!r}, not a number of seconds")
        return float(value)
    return None
