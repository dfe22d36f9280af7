"""Detect the format of a file, by its content first and its ending second.

A file that begins as JSON is JSON: a later line that is broken is then an error, and never makes it plain text.
"""

from __future__ import annotations

import re

from loadstone.dataset.formats.csv import looks_like
from loadstone.dataset.formats.jsonl import OPENING, parse
from loadstone.dataset.formats.parquet import MAGIC
from loadstone.dataset.source import Line, Options, Source
from loadstone.errors import UsageError

# Characters at the beginning of a JSON array in which fields are searched.
HEAD = 65536
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
TEXT_ENDINGS = (".txt", ".csv", ".tsv")
# JSON formats by the fields of their rows: one of these sets must be complete.
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
    """Return the name of the reader for a source. With --prompt-field, rows are rows, whatever else they hold."""
    if source.data.startswith(MAGIC) or source.ending == ".parquet":
        return "parquet"
    first = next(source.lines(), None)
    start = first.text.lstrip()[:1] if first else ""
    is_json = source.ending in JSON_ENDINGS or OPENING.match(source.text) is not None
    if not is_json and source.ending not in TEXT_ENDINGS and first is not None and start == '"':
        is_json = _value(first) is not None
    if is_json:
        # The fields of the first row; of a JSON array, those near its beginning. A `conversation` that is no list does
        # not count: it is a conversation's name.
        row = _value(first) if first is not None and start == "{" else None
        if isinstance(row, dict):
            fields = {name for name, value in row.items() if name != "conversation" or isinstance(value, list)}
        else:
            matches = _FIELD.findall(source.text, 0, HEAD)
            fields = {name for name, opens in matches if name != "conversation" or opens}
        forms = {} if options.prompt_field is not None else FORMS
        return next((name for name, sets in forms.items() if any(required <= fields for required in sets)), "jsonl")
    if options.prompt_field is None:
        columns = {name.strip().strip('"') for name in first.text.split(",")} if first else set()
        if name := next((name for name, required in HEADERS.items() if required <= columns), None):
            return name
    if source.ending in (".csv", ".tsv") or looks_like(source, options.prompt_field):
        return "csv"
    return "lines"


def _value(line: Line) -> object:
    """Return the JSON value of a line, None if it is not JSON."""
    try:
        return parse(line)
    except UsageError:
        return None
