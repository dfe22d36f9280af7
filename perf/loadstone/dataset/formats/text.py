"""Plain text: one prompt a line, as it is; or `line_by_line`, where a line may also be JSON. Skips blank lines.

source.py decodes the file and splits its lines.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.dataset.formats import jsonl
from loadstone.dataset.rows import is_request, request_prompt, to_prompt
from loadstone.dataset.source import Options, Source, uses
from loadstone.records import Prompt


@uses()
def read(source: Source, _options: Options) -> Iterator[Prompt]:
    """Yield a prompt for each line, named by the file and the line's number."""
    for position, text in source.lines():
        yield Prompt(id=position.id, text=text)


@uses("prompt_field")
def line_by_line(source: Source, options: Options) -> Iterator[Prompt]:
    """Yield the prompts of EvalScope's format: a line is a text, a JSON list of messages, or a request body."""
    for line in source.lines():
        if not jsonl.OPENING.match(line.text):
            yield Prompt(id=line.position.id, text=line.text)
            continue
        row = jsonl.parse(line)
        if isinstance(row, dict) and is_request(row) and options.prompt_field is None:
            yield request_prompt(row, line.position)
        else:
            yield to_prompt(row, line.position, options)
