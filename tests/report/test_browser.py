"""Reports as a browser shows them: headless Chromium draws them, prints them, and says what it complains of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.metrics import chart_data
from loadstone.metrics.columns import build
from loadstone.records import Failure
from loadstone.report import html, run_page
from loadstone.report.page import Axis, Chart, Page, Prose, Section, Series, Table
from loadstone.results import measure_columns
from loadstone.summary import Summary
from support import chromium as chromium
from support.chromium import Browser, Tab
from support.example_run import records, run

pytestmark = pytest.mark.skipif(chromium.installed() is None, reason="no Chromium or Chrome in PATH")
READY = "document.documentElement.dataset.charts === 'ready'"
DRAWN = "[...document.querySelectorAll('figure')].map(f => f.querySelectorAll('.main-svg').length > 0)"
SCROLL = "for (const figure of document.querySelectorAll('figure')) {{ figure.scrollIntoView(); await {pause}; }}"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b\ud800 &lt;b&gt; %{x} </script> \u2028 --text"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    columns = build(records())
    summary = measure_columns(columns, run())
    server = {"requests running": ([0.0, 5.0, 9.0], [1.0, None, 8.0])}
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(run_page.render(summary, chart_data.trace(columns), server), "utf-8")
    return path, summary


async def _draw_all(tab: Tab) -> list[bool]:
    """As somebody who reads to the end."""
    await tab.until(READY)
    pause = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))"
    await tab.ask(f"(async () => {{ {SCROLL.format(pause=pause)} }})()")
    await tab.until(f"{DRAWN}.every(Boolean)")
    drawn: list[bool] = await tab.ask(DRAWN)
    return drawn


def _quiet(tab: Tab, path: Path) -> None:
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def test_a_report_is_whole(browser: Browser, page: tuple[Path, Summary]) -> None:
    """All charts, the numbers of summary.json, one zoom for what lies along the run; no complaint and no request."""
    cells = (
        "[...document.querySelectorAll('[data-metric]')]"
        ".map(cell => [cell.dataset.metric, cell.dataset.value, cell.firstChild.textContent])"
    )

    async def look(tab: Tab) -> list[tuple[str, str, str]]:
        await tab.until(READY)
        assert not all(await tab.ask(DRAWN)), "those far below wait until one comes near"
        assert len(await _draw_all(tab)) == 10
        assert await tab.ask("document.querySelector('script[src], link[href^=http], img[src^=http]') === null")
        assert await tab.ask("document.getElementById('no-charts').hidden")
        found: list[tuple[str, str, str]] = await tab.ask(cells)
        await _zoom(tab)
        _quiet(tab, page[0])
        return found

    summary, found = json.loads(msgspec.json.encode(page[1])), browser.visit(page[0], look)
    assert len(found) > 200
    for name, value, text in found:
        assert float(value) == _at(summary, name), name
        assert _number(text, name) == pytest.approx(float(value), rel=6e-3, abs=6e-6), name


async def _zoom(tab: Tab) -> None:
    ranges = "[...document.querySelectorAll('figure[data-group=time] .plot')].map(plot => plot._fullLayout.xaxis.range)"
    plot = "document.querySelector('figure[data-group=time] .plot')"
    await tab.ask(f"Plotly.relayout({plot}, {{'xaxis.range': [2, 4]}}).then(() => 0)")
    await tab.until(f"{ranges}.every(range => range[0] === 2 && range[1] === 4)")
    await tab.ask(f"Plotly.relayout({plot}, {{'xaxis.autorange': true}}).then(() => 0)")
    await tab.until(f"{ranges}.every(range => range[0] < 0.5 && range[1] > 9)")


def _at(summary: Any, name: str) -> float:
    """By its place; a name of a rate may itself hold a dot."""
    if "rates." in name:
        before, _, rate = name.partition("rates.")
        return float((summary["steady"] if before else summary)["rates"][rate])
    for key in name.split("."):
        summary = summary[key]
    return float(summary)


def _number(text: str, name: str) -> float:
    """As people read it; times are in ms."""
    figure = float(text.split()[0].rstrip("%").replace(",", ""))
    counts = ("packets", "tokens", "rates.", "counts.")
    if "%" in text:
        return figure / 100
    return figure if any(word in name for word in counts) or name.endswith(".n") else figure / 1e3


def test_it_fits_a_phone(browser: Browser, page: tuple[Path, Summary]) -> None:
    async def look(tab: Tab) -> None:
        await _draw_all(tab)
        assert await tab.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        boxes = "[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)"
        assert await tab.ask(boxes), "wide tables scroll in their boxes"
        right = "[...document.querySelectorAll('.main-svg')].map(svg => svg.getBoundingClientRect().right)"
        assert max(await tab.ask(right)) <= 400

    browser.visit(page[0], look, width=400)


def test_axes_of_logarithms_keep_their_ends_and_labels_apart(browser: Browser, tmp_path: Path) -> None:
    """Ends below 1, and figures in full: the library would else give the digits 2 and 5, and 100µ of a ms."""
    axis = Axis("gap", "ms", log=True, low=0.0131, high=170.0)
    line = Series("a", [0.0000027, 0.11, 1.5, 47.8], [1.0, 2.0, 20.0, 30.0], "line")
    chart = Chart(title="Gaps", x=axis, y=Axis("gap", "ms", log=True), series=[line], half=True)
    path = tmp_path / "page.html"
    path.write_text(html.draw(Page("p", Prose("p"), [Section("s", [chart])])), "utf-8")
    boxes = (
        "[...document.querySelectorAll('.ytick text, .xtick text')].map(label => [label.textContent,"
        " label.parentNode.getAttribute('class'), label.getBoundingClientRect().toJSON()])"
    )

    async def look(tab: Tab) -> None:
        await _draw_all(tab)
        ends = await tab.ask("document.querySelector('.plot')._fullLayout.xaxis.range.map(end => 10 ** end)")
        assert ends == pytest.approx([0.0131, 170.0])
        assert await tab.ask("matchMedia('(hover: none)').matches")
        assert await tab.ask("document.querySelector('.modebar-btn') === null"), "it would stay over the legend"
        found = await tab.ask(boxes)
        assert [text for text, kind, _ in found if kind == "xtick"] == ["0.1", "1", "10", "100"]
        up = [box for _, kind, box in found if kind == "ytick"]
        assert {text for text, kind, _ in found if kind == "ytick"} >= {"1", "2", "5", "10", "20"}
        assert all(lower["top"] >= upper["bottom"] for lower, upper in pairwise(up))

    browser.visit(path, look, width=400)


def test_a_point_without_an_interval_has_no_bar(browser: Browser, tmp_path: Path) -> None:
    points = Series("a", ["p50", "p99", "max"], [1.0, 2.0, 3.0], "points", low=[0.5, None, 2.0], high=[2.0, None, 4.0])
    chart = Chart(title="Changes", x=Axis(""), y=Axis("change", "%"), series=[points])
    path = tmp_path / "page.html"
    path.write_text(html.draw(Page("p", Prose("p"), [Section("s", [chart])])), "utf-8")

    async def look(tab: Tab) -> None:
        await _draw_all(tab)
        assert await tab.ask("document.querySelectorAll('.points path.point').length") == 3
        assert await tab.ask("document.querySelectorAll('.errorbars path.yerror').length") == 2
        _quiet(tab, path)

    browser.visit(path, look)


def test_words_in_tables_stay_whole(browser: Browser, tmp_path: Path) -> None:
    columns = ["run", "check", "succeeded", "failed", "doubts"]
    told = "wait for a core: 11% (limit 5%); event-loop lag: 12.9 ms of gap p99 24.6 ms (limit 2.5 ms)"
    table = Table("Runs", columns, [["base", "suspect", "12,345", "6.93", told]])
    path = tmp_path / "page.html"
    path.write_text(
        html.draw(Page("p", Prose("p"), [Section("s", [table, Table("x", ["a"], [["y" * 4000]])])])), "utf-8"
    )

    async def look(tab: Tab) -> None:
        heights = await tab.ask(
            "[...document.querySelectorAll('thead th')].map(cell => cell.getClientRects()[0].height)"
        )
        assert max(heights) < 40, "no heading of one word takes two lines"
        assert await tab.ask("document.querySelector('tbody tr').getBoundingClientRect().height") < 200
        assert await tab.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    browser.visit(path, look, width=400)


def test_the_dark_and_paper(browser: Browser, page: tuple[Path, Summary]) -> None:
    """Colours change while one reads; paper gets every chart and every fold, in light colours."""
    colours = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
        " document.querySelector('.xtick text').style.fill]"
    )
    folds = "[...document.querySelectorAll('details')].map(fold => fold.open)"

    async def look(tab: Tab) -> bytes:
        await tab.until(READY)
        await tab.ask("document.querySelector('figure').scrollIntoView()")
        await tab.until("document.querySelector('.xtick text') !== null")
        light = await tab.ask(colours)
        await tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        await tab.until(f"{colours}.every((colour, place) => colour !== {json.dumps(light)}[place])")
        await tab.ask(
            f"addEventListener('beforeprint', () => {{ window.seen = [{DRAWN}, {folds}, {colours}[2]]; }}) ?? 0"
        )
        printed = await tab.send("Page.printToPDF", printBackground=True)
        assert await tab.ask("window.seen") == [[True] * 10, [True] * 3, light[2]]
        assert await tab.ask(folds) == [False] * 3, "they are closed again"
        await tab.until(f"{colours}[2] !== {json.dumps(light)}[2]")
        _quiet(tab, page[0])
        return base64.b64decode(printed["data"])

    assert browser.visit(page[0], look).startswith(b"%PDF")


def test_hostile_text_stays_text(browser: Browser, tmp_path: Path) -> None:
    """In tables, in what a pointer shows, as names and as titles."""
    hostile = [
        msgspec.structs.replace(
            record,
            prompt=HOSTILE,
            model=HOSTILE if record.index % 2 else "plain",
            text="x" * 10_000_000 if record.index == 9 else None,
            error=Failure(record.error.kind, HOSTILE) if record.error else None,
        )
        for record in records()
    ]
    columns = build(hostile)
    summary = measure_columns(columns, run() | {"model": HOSTILE, "server": {"software": HOSTILE}})
    path = tmp_path / "hostile.html"
    path.write_text(run_page.render(summary, chart_data.trace(columns), {HOSTILE: ([0, 1], [1, 2])}), "utf-8")
    assert path.stat().st_size < 3_000_000

    async def look(tab: Tab) -> None:
        assert len(await _draw_all(tab)) == 10
        assert (
            await tab.ask("document.querySelectorAll('main script:not([type=\"application/json\"]), main img').length")
            == 0
        )
        assert "<script>alert(1)</script><img" in await tab.ask("document.querySelector('h1').textContent")
        found = "[...document.querySelectorAll('h3')].find(title => title.textContent === 'Each request').parentNode"
        await tab.ask(f"Plotly.Fx.hover({found}.querySelector('.plot'), [{{curveNumber: 0, pointNumber: 3}}])")
        await tab.until("document.querySelector('.hovertext') !== null")
        hover = await tab.ask("document.querySelector('.hovertext').textContent")
        assert "<script>alert(1)</script>" in hover
        _quiet(tab, path)

    browser.visit(path, look)
