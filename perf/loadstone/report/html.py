"""Render a page as one self-contained HTML file: it sends no request, and foreign text in it stays text.

Tables and prose are HTML; charts are data that page.js draws when they come into view. Texts are escaped by escape.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, groupby

from msgspec.structs import replace

from loadstone.report import assets, escape
from loadstone.report.page import Chart, Page, Prose, Section, Table
from loadstone.report.plotly import figure

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
# Cells longer than this are prose.
_LONG = 40
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
"""
_NEEDS = """<p class="prose doubt" id="no-charts" hidden>This browser cannot draw the charts; all tables are complete. \
Charts need DecompressionStream: Chrome or Edge 80, Firefox 113, Safari 16.4, or later.</p>
<noscript><p class="prose doubt">Charts need JavaScript; all tables are complete without it.</p></noscript>
"""


def draw(page: Page) -> str:
    """Return the whole file. The same page gives the same text."""
    title = escape.text(page.title, 200)
    parts = [
        _HEAD.format(policy=_POLICY, title=title, style=assets.own("page.css")),
        f"<header>\n<h1>{title}</h1>\n{_prose(page.lead, 'lead ')}</header>\n",
    ]
    has_charts = any(isinstance(block, Chart) for block in page.blocks)
    if has_charts:
        parts.append(_NEEDS)
    numbers = count(1)
    parts += [_section(section, numbers) for section in page.sections]
    parts.append("</main>\n")

    # The charting library comes last, so that a reader sees the text first.
    if has_charts:
        library = assets.library()
        parts += [
            f"<footer>Charts by {escape.text(library.notice)}.</footer>\n",
            f"<!-- {library.notice}\n\n{library.license} -->\n",
            f'<script type="text/plain" id="library">{library.packed}</script>\n',
            f"<script>\n{assets.own('page.js')}</script>\n",
        ]
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def _section(section: Section, numbers: Iterator[int]) -> str:
    """Render a section. numbers: of the charts, counted over the page."""
    title = escape.text(section.title)
    if section.folded:
        parts = [f"<section>\n<details>\n<summary><h2>{title}</h2></summary>\n"]
    else:
        parts = [f"<section>\n<h2>{title}</h2>\n"]

    # Charts of half width that follow each other stand in pairs.
    for in_pairs, blocks in groupby(section.blocks, lambda block: isinstance(block, Chart) and block.half):
        rendered = []
        for block in blocks:
            if isinstance(block, Chart):
                rendered.append(_chart(block, next(numbers)))
            elif isinstance(block, Prose):
                rendered.append(_prose(block))
            else:
                # A table with the title of its section gets no heading of its own.
                table = replace(block, title="") if block.title == section.title else block
                rendered.append(_cards(table) if table.cards else _table(table))
        text = "".join(rendered)
        parts.append(f'<div class="pairs">\n{text}</div>\n' if in_pairs else text)
    parts.append("</details>\n</section>\n" if section.folded else "</section>\n")
    return "".join(parts)


def _prose(prose: Prose, kind: str = "") -> str:
    """Render prose; each line is a paragraph."""
    paragraphs = [f"<p>{escape.text(line)}</p>" for line in prose.text.split("\n") if line.strip()]
    return f'<div class="{kind}prose {prose.tone}">{"".join(paragraphs)}</div>\n'


def _chart(chart: Chart, number: int) -> str:
    half = ' class="half"' if chart.half else ""
    spoken = f"{chart.title}. {chart.note}" if chart.note else chart.title
    note = f'<p class="note">{escape.text(chart.note)}</p>' if chart.note else ""
    return (
        f'<figure id="chart-{number}"{half} data-group="{escape.text(chart.group)}">\n'
        f"<h3>{escape.text(chart.title)}</h3>\n"
        f'<div class="plot" role="img" aria-label="{escape.text(spoken)}" style="height:{int(chart.height)}px"></div>\n'
        f'{note}<script type="application/json">{escape.script(figure(chart))}</script>\n</figure>\n'
    )


def _table(table: Table) -> str:
    title = escape.text(table.title)
    heading = f"<h3>{title}</h3>\n" if table.title else ""
    note = f'<p class="note">{escape.text(table.note)}</p>\n' if table.note else ""
    if not table.rows:
        return f"{heading}{note}"
    head = "".join(f'<th scope="col">{escape.text(column)}</th>' for column in table.columns)
    top = f"<thead><tr>{head}</tr></thead>\n" if any(table.columns) else ""
    rows = []
    for index, (name, *cells) in enumerate(table.rows):
        data = []
        for column, cell in enumerate(cells, 1):
            # A cell with prose keeps a readable width, and the table scrolls. Lines after the first are small.
            kind = ' class="long"' if not table.numeric and len(cell) > _LONG else ""
            first, *rest = cell.split("\n")
            small = "".join(f"<small>{escape.text(line)}</small>" for line in rest)
            data.append(f"<td{kind}{_data(table, index, column)}>{escape.text(first)}{small}</td>")
        rows.append(f'<tr><th scope="row">{escape.text(name)}</th>{"".join(data)}</tr>\n')
    return (
        f'{heading}<div class="scroll" role="region" aria-label="{title or "Table"}" tabindex="0"><table'
        f"{' class=numeric' if table.numeric else ''}>\n{top}<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n{note}"
    )


def _cards(table: Table) -> str:
    """Render each row as a card: label, figure and remarks."""
    cards = []
    for index, (name, value, *rest) in enumerate(table.rows):
        about = "".join(f'<dd class="about">{escape.text(word)}</dd>' for word in rest if word)
        cards.append(
            f"<div><dt>{escape.text(name)}</dt><dd{_data(table, index, 1)}>{escape.text(value)}</dd>{about}</div>\n"
        )
    note = f'<p class="note">{escape.text(table.note)}</p>\n' if table.note else ""
    heading = f"<h3>{escape.text(table.title)}</h3>\n" if table.title else ""
    return f'{heading}<dl class="cards">\n{"".join(cards)}</dl>\n{note}'


def _data(table: Table, row: int, column: int) -> str:
    """Return the attributes for programs: the name of the figure in the summary, and all its digits."""
    figure = (table.figures.get((row, column))) if table.figures else None
    return "" if figure is None else f' data-metric="{escape.text(figure[0])}" data-value="{figure[1]!r}"'
