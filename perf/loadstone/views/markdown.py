"""The report as GitHub-flavoured Markdown, for pull requests and notes."""

from __future__ import annotations

from loadstone.records import Summary
from loadstone.views.tables import Table, tables

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "} | {mark: f"\\{mark}" for mark in "\\|`*[]"}
)


def render(summary: Summary) -> str:
    return "\n".join(_table(table) for table in tables(summary))


def _table(table: Table) -> str:
    lines = [f"### {table.title}", ""]
    if table.rows:
        rule = ["---", *["---:" if table.numeric else "---"] * (len(table.columns) - 1)]
        lines += [_row(table.columns), _row(rule), *map(_row, table.rows), ""]
    if table.note:
        lines += [table.note.translate(_ESCAPES), ""]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.translate(_ESCAPES) for cell in cells) + " |"
