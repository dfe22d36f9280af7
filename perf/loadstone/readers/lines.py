"""Plain text: one prompt a line, as it stands. Blank lines are passed over.

What ends a line, and in which encoding it is read, is settled in source.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.readers.source import Options, Source
from loadstone.records import Prompt


def read(source: Source, _options: Options) -> Iterator[Prompt]:
    """Prompts named after the file and the number of their line."""
    for where, text in source.lines():
        yield Prompt(id=where.id, text=text)
