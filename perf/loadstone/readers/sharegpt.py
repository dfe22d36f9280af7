"""ShareGPT: rows with `conversations`, of which the first human turn is the prompt, as in vLLM's benchmark.

A leading system turn is kept as the system message. Conversations without a human turn are passed over and
counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadstone.readers.jsonl import rows
from loadstone.readers.source import Options, Source, Where
from loadstone.records import Prompt, UsageError

HUMAN = ("human", "user")


def read(source: Source, _options: Options) -> Iterator[Prompt]:
    """One prompt a conversation; how many were passed over is told at the end."""
    passed = 0
    for where, row in rows(source):
        prompt = _prompt(row, where)
        passed += prompt is None
        if prompt:
            yield prompt
    if passed:
        source.notice(f"{source.name}: {passed} conversations without a human turn were passed over")


def _prompt(row: Any, where: Where) -> Prompt | None:
    turns = _turns(row, where)
    human = next((text for who, text in turns if who in HUMAN), "")
    if not human.strip():
        return None
    given = row.get("id")
    name = str(given) if isinstance(given, str | int) and given != "" else where.id
    if turns[0][0] != "system":
        return Prompt(id=name, text=human)
    system = {"role": "system", "content": turns[0][1]}
    return Prompt(id=name, messages=[system, {"role": "user", "content": human}])


def _turns(row: Any, where: Where) -> list[tuple[str, str]]:
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        raise UsageError(f"{where}: no list of `conversations` in the row; is this file ShareGPT?")
    return [_turn(turn, where) for turn in turns]


def _turn(turn: Any, where: Where) -> tuple[str, str]:
    who, text = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
    if not isinstance(who, str) or not isinstance(text, str):
        raise UsageError(f"{where}: a turn of `conversations` lacks `from` or `value`")
    return who, text
