"""ShareGPT: rows with `conversations`, or with a `conversation` as ms-swift writes it.

The first human turn of each is the prompt, as in vLLM's benchmark, unless --history is given. Conversations without a
human turn are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from loadstone.dataset import conversations
from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.rows import row_id
from loadstone.dataset.source import BadRows, Options, RowPosition, Source, uses
from loadstone.records import Prompt

LISTS = ("conversations", "conversation", "messages", "items")
IDS = ("id", "conversation_id")


@uses()
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Return one prompt for each conversation. Raises DataError."""
    bad = BadRows(source)
    return prompts(rows(source, bad), source, options, bad)


def prompts(
    rows: Iterable[tuple[RowPosition, Any]], source: Source, options: Options, bad: BadRows | None = None
) -> Iterator[Prompt]:
    """Yield the prompts of rows of any origin. Rows that cannot be used are left out. Raises DataError.

    With a tokenizer, the tokens of the recorded answers are requested as output length, unless --output-len is given,
    as in vLLM.
    """
    count = None
    if options.tokenizer and options.output_len is None:
        from loadstone.dataset import tokenizer as tokenizers

        count = tokenizers.load(options.tokenizer).count
    skipped = 0
    bad = bad or BadRows(source)
    for position, row in rows:
        with bad:
            field = next((name for name in LISTS if isinstance(row, dict) and isinstance(row.get(name), list)), None)
            if field is None:
                raise position.error("no list of `conversations` in the row; is this file ShareGPT?")
            turns = conversations.read_turns(row[field], position, field)
            prompt = conversations.build_prompt(turns, position, options, "first", count, id=row_id(row, position, IDS))
            bad.kept += 1
            if prompt is None:
                skipped += 1
            else:
                yield prompt
    bad.finish()
    if skipped:
        source.notice(f"{source.name}: {skipped} conversations without a human turn were passed over")
