"""ShareGPT: rows with `conversations`, or with the `conversation` of swift's form.

Of each the first human turn is the prompt, as in vLLM's benchmark, unless --history says otherwise. Conversations
without a human turn are passed over and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from loadstone.dataset import conversations, tokenizer
from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.rows import row_id
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

LISTS = ("conversations", "conversation")
IDS = ("id", "conversation_id")


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """One prompt a conversation; how many were passed over is told at the end."""
    return prompts(rows(source), source, options)


def prompts(rows: Iterable[tuple[RowPosition, Any]], source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of rows from wherever. A tokenizer counts the recorded answers, and as many tokens are asked for, unless
    --output-len says how many, as in vLLM."""
    count = tokenizer.load(options.tokenizer).count if options.tokenizer and options.output_len is None else None
    passed = 0
    for where, row in rows:
        said = conversations.read_turns(*_turns(row, where))
        prompt = conversations.build_prompt(said, where, options, "first", count, id=row_id(row, where, IDS))
        passed += prompt is None
        if prompt:
            yield prompt
    if passed:
        source.notice(f"{source.name}: {passed} conversations without a human turn were passed over")


def _turns(row: Any, where: RowPosition) -> tuple[list[Any], RowPosition, str]:
    for name in LISTS:
        if isinstance(row, dict) and isinstance(row.get(name), list):
            return row[name], where, name
    raise UsageError(f"{where}: no list of `conversations` in the row; is this file ShareGPT?")
