"""Plain text: one prompt a line, as it stands; or `line_by_line`, in which a line may also be JSON. Blank lines are
passed over.

What ends a line, and in which encoding it is read, is settled in source.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.dataset.formats import jsonl
from loadstone.dataset.rows import is_request, request_prompt, to_prompt
from loadstone.dataset.source import Line, Options, Source
from loadstone.records import Prompt


def read(source: Source, _options: Options) -> Iterator[Prompt]:
    """Prompts named after the file and the number of their line."""
    for where, text in source.lines():
        yield Prompt(id=where.id, text=text)


def line_by_line(source: Source, options: Options) -> Iterator[Prompt]:
    """EvalScope's format: each line is a text, a JSON list of messages, or a JSON object, which is a request body."""
    for line in source.lines():
        yield _prompt(line, options)


def _prompt(line: Line, options: Options) -> Prompt:
    if not jsonl.OPENING.match(line.text):
        return Prompt(id=line.where.id, text=line.text)
    row = jsonl.parse(line)
    if isinstance(row, dict) and is_request(row) and options.prompt_field is None:
        return request_prompt(row, line.where)
    return to_prompt(row, line.where, options)
