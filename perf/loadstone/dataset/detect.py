"""The format of a file, from its content first and its ending second. Reads prompts with none of the formats.

A file that begins as JSON is JSON: a later line that is broken is then an error, and never makes it plain
text.
"""

from __future__ import annotations

import re

from loadstone.dataset.formats.csv import looks_like
from loadstone.dataset.formats.jsonl import OPENING, parse
from loadstone.dataset.formats.parquet import MAGIC
from loadstone.dataset.source import Line, Options, Source
from loadstone.errors import UsageError

HEAD = 65536
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
TEXT_ENDINGS = (".txt", ".csv", ".tsv")
# JSON formats by the fields of their rows: any of these sets.
FORMS: dict[str, tuple[set[str], ...]] = {
    "mooncake": ({"hash_ids", "input_length"},),
    "workload_trace": ({"timestamp", "body"},),
    "sharegpt": ({"conversations"}, {"conversation"}),
}
# Traces in CSV by their columns.
HEADERS: dict[str, set[str]] = {
    "azure": {"TIMESTAMP", "ContextTokens", "GeneratedTokens"},
    "burstgpt": {"Timestamp", "Request tokens", "Response tokens"},
}
_FIELD = re.compile(r'(?<!\\)"(\w+)"\s*:\s*(\[)?')


def detect(source: Source, options: Options) -> str:
    """The name of a reader. With --prompt-field rows are rows, whatever else they hold."""
    if source.data.startswith(MAGIC) or source.ending == ".parquet":
        return "parquet"
    if _is_json(source):
        return _known(FORMS, _fields(source), options) or "jsonl"
    if name := _known({name: (columns,) for name, columns in HEADERS.items()}, _columns(source), options):
        return name
    if source.ending in (".csv", ".tsv") or looks_like(source, options.prompt_field):
        return "csv"
    return "lines"


def _known(forms: dict[str, tuple[set[str], ...]], fields: set[str], options: Options) -> str | None:
    if options.prompt_field is not None:
        return None
    return next((name for name, sets in forms.items() if any(wanted <= fields for wanted in sets)), None)


def _columns(source: Source) -> set[str]:
    first = next(source.lines(), None)
    return {name.strip().strip('"') for name in first.text.split(",")} if first else set()


def _fields(source: Source) -> set[str]:
    """Of the first row; of a JSON array, those that are found near its beginning. A `conversation` that is no list is
    the name of one."""
    first = next(source.lines(), None)
    row = _value(first) if first and first.text.lstrip().startswith("{") else None
    if isinstance(row, dict):
        return {name for name, value in row.items() if name != "conversation" or isinstance(value, list)}
    return {name for name, opens in _FIELD.findall(source.text, 0, HEAD) if name != "conversation" or opens}


def _is_json(source: Source) -> bool:
    if source.ending in JSON_ENDINGS or OPENING.match(source.text):
        return True
    first = next(source.lines(), None)
    if first is None or source.ending in TEXT_ENDINGS or not first.text.lstrip().startswith('"'):
        return False
    return _value(first) is not None


def _value(line: Line) -> object:
    try:
        return parse(line)
    except UsageError:
        return None
