"""The format of a file, from its content first and its ending second. Reads prompts with none of the formats.

A file that begins as JSON is JSON: a later line that is broken is then an error, and never makes it plain
text.
"""

from __future__ import annotations

import re

from loadstone.readers.csv import looks_like
from loadstone.readers.jsonl import parse
from loadstone.readers.source import Options, Source
from loadstone.records import UsageError

HEAD = 65536
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
TEXT_ENDINGS = (".txt", ".csv", ".tsv")
OPENING = re.compile(r'\s*(\{\s*["}]|\[\s*["{\[\]])')
CONVERSATIONS = re.compile(r'(?<!\\)"conversations"\s*:')


def detect(source: Source, options: Options) -> str:
    """The name of a reader. With --prompt-field ShareGPT is JSON like any other."""
    if _is_json(source):
        shared = options.prompt_field is None and CONVERSATIONS.search(source.text, 0, HEAD)
        return "sharegpt" if shared else "jsonl"
    if source.ending in (".csv", ".tsv") or looks_like(source, options.prompt_field):
        return "csv"
    return "lines"


def _is_json(source: Source) -> bool:
    if source.ending in JSON_ENDINGS or OPENING.match(source.text):
        return True
    first = next(source.lines(), None)
    if first is None or source.ending in TEXT_ENDINGS or not first.text.lstrip().startswith('"'):
        return False
    try:
        parse(first)
    except UsageError:
        return False
    return True
