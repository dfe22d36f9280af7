"""Pages as HTML: what foreign text may not do, what a program can read, and what is in the file at all."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from typing import Any

import msgspec
import pytest

from loadstone.errors import UsageError
from loadstone.report import assets, escape, html
from loadstone.report.page import Axis, Band, Chart, Mark, Page, Prose, Section, Series, Table
from loadstone.report.plotly import figure
from support.html_reader import Reader

X = Axis("time", "s")
Y = Axis("TTFT", "ms")
POINTS = Series("TTFT", [0.0, 1.0, 2.0], [5.0, None, 7.0])


def chart(*series: Series, **more: Any) -> Chart:
    return Chart(**{"title": "A chart", "x": X, "y": Y, "series": series or (POINTS,), **more})


def page(*blocks: Table | Prose | Chart, folded: bool = False) -> Page:
    return Page("A page", Prose("Valid.", "good"), [Section("Numbers", blocks, folded)])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a & \"b\" 'c'", "a &amp; &quot;b&quot; &#x27;c&#x27;"),
        ("\x00\x1b[31mred\x7f\x85", "\ufffd\ufffd[31mred\ufffd\ufffd"),
        ("half \ud83d of one, \udc00", "half \ufffd of one, \ufffd"),
        ("\u202eright to left", "\u202eright to left"),
        ("x" * 4001, "x" * 4000 + "… (4,001 characters)"),
        ("plain ünïcödé 模型 🙂\tok", "plain ünïcödé 模型 🙂\tok"),
    ],
)
def test_text(given: str, shown: str) -> None:
    assert escape.text(given) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>bold</b> &lt;", "&lt;b>bold&lt;/b> &amp;lt;"),
        ("a\u202eb\u2066c\u200f", "abc"),
        ("two\nlines", "two lines"),
        ("x" * 10_000_000, "x" * 400 + "… (10,000,000 characters)"),
    ],
)
def test_labels_of_charts(given: str, shown: str) -> None:
    assert escape.label(given) == shown


def test_nothing_ends_a_script_element() -> None:
    given = "</script><!-- <SCRIPT> & \u2028\u2029 -->"
    written = escape.script({"text": given})
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == {"text": given}


def test_hostile_text_makes_no_element_and_no_attribute() -> None:
    bad = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>\u202e\ud800"
    table = Table(bad, [bad, bad], [[bad, bad]], bad, figures={(0, 1): (bad, 1.0)})
    cards = Table(bad, ["", "", ""], [[bad, bad, bad]], bad, cards=True)
    drawing = chart(Series(bad, [bad], [1.0], texts=[bad]), title=bad, note=bad, group=bad, bands=[Band(0, 1, bad)])
    text = html.draw(Page(bad, Prose(bad), [Section(f"of {bad}", [table, cards, drawing], folded=True)]))
    plain = html.draw(Page("p", Prose("p"), [Section("s", [
        Table("t", ["a", "b"], [["a", "b" * 80]], "n", figures={(0, 1): ("m", 1.0)}),
        Table("t", ["", "", ""], [["a", "b", "c"]], "n", cards=True),
        chart(Series("s", ["x"], [1.0], texts=["t"]), title="t", note="n", group="g", bands=[Band(0, 1, "b")]),
    ], folded=True)]))  # fmt: skip
    assert [tag for tag, _ in Reader(text).tags] == [tag for tag, _ in Reader(plain).tags]
    assert [list(given) for _, given in Reader(text).tags] == [list(given) for _, given in Reader(plain).tags]
    text.encode()


def test_every_element_of_text_keeps_marks_of_direction_inside() -> None:
    style = assets.own("page.css")
    assert re.search(r"h1, h2, h3, p, td, th, dt, dd, summary, small \{[^}]*unicode-bidi: isolate", style)


def test_a_file_asks_for_nothing() -> None:
    found = Reader(html.draw(page(chart(), Table("T", ["a"], [["b"]]))))
    assert not [given for _, given in found.tags if "src" in given]
    assert [given["href"] for _, given in found.tags if "href" in given] == ["data:,"]
    policy = next(given["content"] for given in found.all("meta") if given.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    own = [assets.own(name) for name in ("page.css", "page.js")]
    assert not [text for text in own if re.search(r"https?:|url\(|@import|fetch\(|innerHTML", text)]


def test_the_library_is_whole_with_its_licence_and_never_imported() -> None:
    text = html.draw(page(chart()))
    [packed] = re.findall(r'id="library">([A-Za-z0-9+/=]+)</script>', text)
    code = gzip.decompress(base64.b64decode(packed))
    assert code == assets._bundle().read_bytes()
    assert b"Licensed under the MIT license" in code[:400]
    assert re.search(r"Charts by plotly\.js v\d.*Plotly, Inc\..*MIT license", text)
    assert "plotly" not in sys.modules
    assert len(text.encode()) < 2_200_000


def test_the_same_page_is_the_same_file() -> None:
    made = page(chart(), chart())
    first = html.draw(made)
    assets.library.cache_clear()
    assert html.draw(made) == first


def test_a_page_without_charts_has_no_library() -> None:
    text = html.draw(page(Table("T", ["a"], [["b"]])))
    assert "plotly" not in text
    assert len(text) < 20_000


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.util, "find_spec", lambda name: None)
    assets.library.cache_clear()
    with pytest.raises(UsageError, match="pip install --force-reinstall plotly"):
        html.draw(page(chart()))


def test_headings_tables_and_charts_are_named() -> None:
    table = Table("Rates", ["", "whole run"], [["QPS", "11.9\n11 to 12"]], "a note", numeric=True)
    found = Reader(html.draw(page(table, chart(note="What it shows."), folded=True)))
    assert [tag for tag, _ in found.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h3", "h3"]
    assert [given["scope"] for given in found.all("th")] == ["col", "col", "row"]
    assert found.all("small") == [{}]
    [drawn] = [given for given in found.all("div") if given.get("role") == "img"]
    assert drawn["aria-label"] == "A chart. What it shows."
    [region] = [given for given in found.all("div") if given.get("role") == "region"]
    assert (region["aria-label"], region["tabindex"]) == ("Rates", "0")
    assert found.all("html") == [{"lang": "en"}]


def test_figures_can_be_read_by_a_program() -> None:
    table = Table("T", ["", "a"], [["x", "0.12"], ["y", "-"]], figures={(0, 1): ("metrics.ttft.p50", 0.12345678901)})
    cells = Reader(html.draw(page(table))).all("td")
    assert cells == [{"data-metric": "metrics.ttft.p50", "data-value": "0.12345678901"}, {}]


def test_cards() -> None:
    table = Table("", ["", "", ""], [["QPS", "11.9", "steady: 12"], ["Succeeded", "3", ""]], cards=True)
    text = html.draw(page(table))
    assert '<dt>QPS</dt><dd>11.9</dd><dd class="about">steady: 12</dd>' in text
    assert "<dt>Succeeded</dt><dd>3</dd></div>" in text


def test_a_table_without_rows_is_its_note() -> None:
    text = html.draw(page(Table("Check: valid", ["doubt"], [], "nothing to doubt")))
    assert "<table" not in text
    assert "nothing to doubt" in Reader(text).text


def test_figure_of_points_and_gaps() -> None:
    made = figure(
        chart(Series("TTFT", [0.0, 1.23456789], [float("nan"), 7.0], kind="points"), marks=[Mark(1.0, "p50")])
    )
    [trace] = made["data"]
    assert (trace["x"], trace["y"], trace["mode"]) == ([0.0, 1.23457], [None, 7.0], "markers")
    assert made["layout"]["shapes"][0]["label"]["text"] == "p50"
    assert not made["layout"]["showlegend"]
    json.loads(msgspec.json.encode(made))


def test_bands_leave_out_what_is_not_known() -> None:
    line = Series("a", [0, 1, 2, 3], [1, 2, None, 4], low=[0, 1, None, 3], high=[2, 3, None, 5])
    band, drawn = figure(chart(line))["data"]
    assert band["x"] == [0.0, 1.0, 1.0, 0.0, None, 3.0, 3.0, None]
    assert band["y"] == [2.0, 3.0, 1.0, 0.0, None, 5.0, 3.0, None]
    assert (band["fillcolor"], drawn["line"]["color"]) == ("--c0-soft", "--c0")


def test_intervals_of_points_are_bars_around_them() -> None:
    [trace] = figure(chart(Series("a", [0, 1], [2, None], kind="points", low=[1, None], high=[5, None])))["data"]
    assert (trace["error_y"]["array"], trace["error_y"]["arrayminus"]) == ([3, None], [1, None])


def test_plain_series_take_the_palette_in_turn() -> None:
    names = [Series(str(number), [0], [1]) for number in range(9)]
    colours = [trace["line"]["color"] for trace in figure(chart(*names, Series("good", [0], [1], role="good")))["data"]]
    assert colours == [*(f"--c{number}" for number in range(8)), "--c0", "--good"]


def test_names_are_never_taken_for_dates() -> None:
    layout = figure(chart(Series("a", ["2024-01-01", "<b>"], [1, 2], kind="bars")))["layout"]
    assert layout["xaxis"]["type"] == "category"
    assert figure(chart())["layout"]["xaxis"]["type"] == "linear"
    assert figure(chart(x=Axis("t", log=True)))["layout"]["xaxis"]["type"] == "log"


@pytest.mark.parametrize(
    ("axis", "ends"),
    [
        (Axis("a"), {}),
        (Axis("a", low=0), {"minallowed": 0}),
        (Axis("a", log=True, low=10, high=1000), {"clipmin": 10, "clipmax": 1000, "include": [10, 1000]}),
        (Axis("a", log=True, low=0), {}),
    ],
)
def test_ends_of_axes(axis: Axis, ends: dict[str, float]) -> None:
    assert figure(chart(y=axis))["layout"]["yaxis"]["autorangeoptions"] == ends


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([5.0], 2), ([20.0, 900.0], 4), ([0.1, None, 2000.0], 5), (["a"], 2), ([0.0, -1.0], 2)],
)
def test_logarithms_have_no_more_labels_than_there_is_room_for(values: list[float | str | None], ticks: int) -> None:
    drawn = figure(chart(Series("a", [0] * len(values), values), y=Axis("t", "ms", log=True)))["layout"]
    assert drawn["yaxis"]["nticks"] == ticks
    assert "nticks" not in drawn["xaxis"]
    ends = figure(chart(y=Axis("t", "ms", log=True, low=0.01, high=100.0)))["layout"]
    assert ends["yaxis"]["nticks"] == 5


def test_neighbouring_bands_differ_and_narrow_ones_are_not_labelled() -> None:
    bands = [Band(0, 5, "warm-up"), Band(5, 100, "steady")]
    narrow, wide = figure(chart(x=Axis("t", "s", low=0, high=100), bands=bands))["layout"]["shapes"]
    assert (narrow["fillcolor"], wide["fillcolor"]) == ("--shade-more", "--shade")
    [alone] = figure(chart(bands=bands[1:]))["layout"]["shapes"]
    assert alone["fillcolor"] == "--shade"
    assert (narrow["label"]["text"], wide["label"]["text"]) == ("", "steady")


def test_labels_around_zero_keep_to_their_sides() -> None:
    above, below = figure(chart(marks=[Mark(5, "+5%", "y"), Mark(-5, "-5%", "y")]))["layout"]["shapes"]
    assert (above["label"]["yanchor"], below["label"]["yanchor"]) == ("bottom", "top")


def test_a_table_called_as_its_section_has_one_heading() -> None:
    text = html.draw(page(Table("Numbers", ["a"], [["1"]]), Table("Others", ["a"], [["1"]])))
    assert text.count(">Numbers<") == 1
    assert "<h3>Others</h3>" in text


def test_prose_in_a_cell_keeps_its_width() -> None:
    text = html.draw(page(Table("t", ["a", "b", "c"], [["1", "short", "word " * 20]])))
    assert "<td>short</td>" in text
    assert '<td class="long">word' in text


def test_each_of_some_names_has_its_label() -> None:
    some, many = ([f"name {number}" for number in range(count)] for count in (15, 40))
    drawn = [
        figure(chart(Series("a", names, [1.0] * len(names), "points")))["layout"]["xaxis"] for names in (some, many)
    ]
    assert [axis.get("dtick") for axis in drawn] == [1, None]


def test_spans_lie_from_x_to_ends() -> None:
    [trace] = figure(chart(Series("wait", [1.0, 2.0], ["a", "b"], kind="spans", ends=[4.0, 2.5])))["data"]
    assert (trace["base"], trace["x"], trace["y"]) == ([1.0, 2.0], [3.0, 0.5], ["a", "b"])


def test_texts_in_common_are_written_once() -> None:
    texts = ["one\n<two>"]
    first, second, third = figure(
        chart(
            Series("a", [0], [1], texts=texts), Series("b", [0], [2], texts=texts), Series("c", [0], [2], texts=["x"])
        )
    )["data"]
    assert (first["text"], second["text"], third["text"]) == (["one<br>&lt;two>"], 0, ["x"])


def test_halves_stand_in_pairs() -> None:
    half = chart(half=True)
    text = html.draw(page(half, half, chart(), half))
    assert re.findall(r'<div class="pairs">|<figure|</div>\n<figure', text.replace("\n<figure", "<figure")) == [
        '<div class="pairs">', "<figure", "<figure", "<figure", '<div class="pairs">', "<figure",
    ]  # fmt: skip
