"""Render reports and pages as GitHub-flavoured Markdown, without charts."""

from __future__ import annotations

from loadstone.report.page import Page, Prose, Table
from loadstone.report.run_tables import tables
from loadstone.summary import Summary

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "} | {mark: f"\\{mark}" for mark in "\\|`*[]"}
)


def render(summary: Summary) -> str:
    return "\n".join(_table(table) for table in tables(summary))


def draw(page: Page) -> str:
    """Render a page, its title as a heading of the second level."""
    parts = [_table(block) if isinstance(block, Table) else _prose(block)
             for block in page.blocks if isinstance(block, Table | Prose)]  # fmt: skip
    return "\n".join([f"## {page.title.translate(_ESCAPES)}", "", *parts])


def _prose(prose: Prose) -> str:
    text = prose.text.translate(_ESCAPES)
    return f"**{text}**\n" if prose.tone != "plain" else f"{text}\n"


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
