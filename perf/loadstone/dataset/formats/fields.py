"""Formats that are JSON rows with a known field: EvalScope's `openqa` and `longalpaca`, and vLLM's `custom`.

A row of theirs is never a request body: of its other fields only the id and the output length count.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.rows import from_fields
from loadstone.dataset.source import Options, Source
from loadstone.records import Prompt, UsageError


def openqa(source: Source, options: Options) -> Iterator[Prompt]:
    """HC3: the `question` of each row."""
    return _field("question", source, options)


def longalpaca(source: Source, options: Options) -> Iterator[Prompt]:
    """LongAlpaca: the `instruction` of each row, which holds the long text as well."""
    return _field("instruction", source, options)


def custom(source: Source, options: Options) -> Iterator[Prompt]:
    """vLLM: the `prompt` of each row; `output_tokens`, if it is there, is asked for."""
    return _field("prompt", source, options)


def _field(name: str, source: Source, options: Options) -> Iterator[Prompt]:
    options = replace(options, prompt_field=options.prompt_field or name)
    for where, row in rows(source):
        if not isinstance(row, dict):
            raise UsageError(f"{where}: not an object with a field {options.prompt_field!r}")
        yield from_fields(row, where, options)
