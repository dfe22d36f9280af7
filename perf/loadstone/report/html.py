"""Render a page as one self-contained HTML file: it sends no request, and foreign text in it stays text.

Tables and prose are HTML; charts are data that page.js draws when they come into view. Texts are escaped by escape.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, groupby

from msgspec.structs import replace

from loadstone.report import assets, escape
from loadstone.report.page import Block, Chart, Page, Prose, Section, Table
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
    return "".join(_lines(page))


def _lines(page: Page) -> Iterator[str]:
    yield _HEAD.format(policy=_POLICY, title=escape.text(page.title, 200), style=assets.own("page.css"))
    yield f"<header>\n<h1>{escape.text(page.title, 200)}</h1>\n{_prose(page.lead, 'lead ')}</header>\n"
    charts = any(isinstance(block, Chart) for block in page.blocks)
    if charts:
        yield _NEEDS
    numbers = count(1)
    for section in page.sections:
        yield from _section(section, numbers)
    yield "</main>\n"
    if charts:
        yield from _drawing()
    yield "</body>\n</html>\n"


def _drawing() -> Iterator[str]:
    library = assets.library()
    yield f"<footer>Charts by {escape.text(library.notice)}.</footer>\n"
    yield f'<script type="text/plain" id="library">{library.packed}</script>\n'
    yield f"<script>\n{assets.own('page.js')}</script>\n"


def _section(section: Section, numbers: Iterator[int]) -> Iterator[str]:
    title = escape.text(section.title)
    if section.folded:
        yield f"<section>\n<details>\n<summary><h2>{title}</h2></summary>\n"
    else:
        yield f"<section>\n<h2>{title}</h2>\n"
    for pairs, blocks in groupby(_blocks(section), _is_half):
        drawn = "".join(_block(block, numbers) for block in blocks)
        yield f'<div class="pairs">\n{drawn}</div>\n' if pairs else drawn
    yield "</details>\n</section>\n" if section.folded else "</section>\n"


def _is_half(block: Block) -> bool:
    return isinstance(block, Chart) and block.half


def _block(block: Block, numbers: Iterator[int]) -> str:
    if isinstance(block, Chart):
        return _chart(block, next(numbers))
    if isinstance(block, Prose):
        return _prose(block)
    return _cards(block) if block.cards else _table(block)


def _blocks(section: Section) -> Iterator[Block]:
    """Yield the blocks of a section. A table with the title of its section gets no heading of its own."""
    for block in section.blocks:
        same = isinstance(block, Table) and block.title == section.title
        yield replace(block, title="") if same else block


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
    rows = "".join(_row(table, index) for index in range(len(table.rows)))
    return (
        f'{heading}<div class="scroll" role="region" aria-label="{title or "Table"}" tabindex="0"><table'
        f"{' class=numeric' if table.numeric else ''}>\n{top}<tbody>\n{rows}</tbody>\n</table></div>\n{note}"
    )


def _row(table: Table, index: int) -> str:
    first, *cells = table.rows[index]
    data = "".join(
        f"<td{_long(table, cell)}{_data(table, index, column)}>{_cell(cell)}</td>"
        for column, cell in enumerate(cells, 1)
    )
    return f'<tr><th scope="row">{escape.text(first)}</th>{data}</tr>\n'


def _long(table: Table, cell: str) -> str:
    """Return the class of a cell with prose: it keeps a readable width, and the table scrolls."""
    return ' class="long"' if not table.numeric and len(cell) > _LONG else ""


def _cell(text: str) -> str:
    """Render a cell; lines after the first are small."""
    first, *rest = text.split("\n")
    return escape.text(first) + "".join(f"<small>{escape.text(line)}</small>" for line in rest)


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
