"""What people and spreadsheets get to see: the example run as committed, and what no view may let through."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone import results
from loadstone.engine import run_folder
from loadstone.metrics.columns import build
from loadstone.records import Failure, FailureCause, Record, Usage, from_line, to_line
from loadstone.report import VIEWS, classic, markdown, page, run_tables, summary_csv, terminal
from loadstone.report import json as json_view
from loadstone.report.exports import requests_csv
from loadstone.results import measure, measure_columns
from loadstone.schedule.plan import schedule_lines
from loadstone.summary import Summary
from support.example_run import plan, records, run
from support.golden import EXAMPLE, Golden
from support.records import failed, streamed

CLASSIC = [
    "Time taken",
    "Expected number of requests",
    "Concurrency",
    "Completed",
    "Succeed",
    "Failed",
    "QPS",
    "Latency",
    "Time to first token",
    "Throughput",
    "Time per output token",
    "Package per request",
    "Time per package",
    "Input tokens per request",
    "Output tokens per request",
]
RENDERED = {
    "summary.json": json_view.render,
    "summary.csv": summary_csv.render,
    "report.txt": terminal.render,
    "report.md": markdown.render,
    "classic.txt": classic.render,
}
HOSTILE = "a|b <script> `x` [y](z) *c* \\ & line\ntwo\r\x1b[31mred\x00"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour, whatever the environment of the tests says."""
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def summary() -> Summary:
    return measure(records(), run())


@pytest.fixture
def hostile() -> Summary:
    failed = Record(index=0, prompt="p", scheduled=0, sent=1, end=2, error=Failure(FailureCause.SERVER, HOSTILE))
    return measure([failed], run() | {"model": HOSTILE})


def test_example_records(golden: Golden) -> None:
    golden("example/records.jsonl", b"".join(map(to_line, records())).decode())
    golden("example/run.json", json.dumps(run(), indent=2) + "\n")
    golden("example/schedule.jsonl", b"".join(schedule_lines(plan())).decode())


@pytest.mark.parametrize("name", RENDERED)
def test_example_rendered(name: str, golden: Golden, summary: Summary) -> None:
    golden(f"example/{name}", RENDERED[name](summary))


def test_example_web_page(request: pytest.FixtureRequest) -> None:
    """Byte for byte, but for the library inside: that of another release or zlib is not ours."""
    columns = build(records())
    made, path = results.render_page(measure_columns(columns, run()), columns), EXAMPLE / "report.html"
    same = path.exists() and _without_library(path.read_text("utf-8")) == _without_library(made)
    if request.config.getoption("--golden") and not same:
        path.write_bytes(made.encode())
        same = True
    assert same, f"{path} differs; make golden rewrites it"


def _without_library(page: str) -> str:
    page = re.sub(r'(id="library">)[A-Za-z0-9+/=]+(</script>)', r"\1\2", page)
    return re.sub(r"<footer>Charts by plotly\.js v[\d.]+\. Copyright [\d-]+,", "<footer>", page)


def test_example_requests_csv(golden: Golden, tmp_path: Path) -> None:
    requests_csv.write_csv(records(), tmp_path / "requests.csv")
    golden("example/requests.csv", (tmp_path / "requests.csv").read_bytes().decode())


def test_committed_folder_gives_the_committed_summary() -> None:
    assert json_view.render(results.read_summary(EXAMPLE)) == (EXAMPLE / "summary.json").read_text("utf-8")


def test_finish_writes_the_derived_files(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path / "run")
    for name in (run_folder.RUN, run_folder.RECORDS):
        folder.write(name, (EXAMPLE / name).read_bytes())
    results.write_results(folder)
    for name in ("summary.json", "summary.csv", "requests.csv"):
        assert (folder.path / name).read_bytes() == (EXAMPLE / name).read_bytes()
    made, committed = ((place / "report.html").read_text("utf-8") for place in (folder.path, EXAMPLE))
    same = _without_library(made) == _without_library(committed)
    assert same, "the web page differs"


def test_finish_leaves_out_the_web_page_if_told(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path / "run")
    for name in (run_folder.RUN, run_folder.RECORDS):
        folder.write(name, (EXAMPLE / name).read_bytes())
    results.write_results(folder, html=False)
    assert (folder.path / "summary.json").exists()
    assert not (folder.path / "report.html").exists()


def test_example_is_small() -> None:
    sizes = {file.name: file.stat().st_size for file in EXAMPLE.iterdir()}
    assert sizes.pop("report.html") < 3_000_000
    assert sum(sizes.values()) < 320_000


def test_records_alone_give_the_same_numbers(summary: Summary) -> None:
    alone = results.read_summary(EXAMPLE / "records.jsonl", changes={"goodput": {"ttft": 0.15, "tpot": 0.015}})
    assert (alone.metrics, alone.rates, alone.steady) == (summary.metrics, summary.rates, summary.steady)
    assert alone.verdict is not None
    assert "client not known" in [doubt.what for doubt in alone.verdict.doubts]


def test_summary_json_is_the_documented_layout(summary: Summary) -> None:
    shown = json.loads(json_view.render(summary))
    assert list(shown) == [
        "format", "run", "counts", "duration", "metrics", "rates", "sources", "steady", "client", "checks", "verdict",
        "failures", "groups", "server",
    ]  # fmt: skip
    assert shown["format"] == 1
    assert list(shown["counts"]) == [
        "expected", "completed", "succeeded", "failed", "empty", "stopped", "warmup", "by_error", "cooldown",
        "cancelled", "abandoned", "retried", "resent", "lacking", "finishes",
    ]  # fmt: skip
    assert list(shown["metrics"]["ttft"]) == [
        "unit", "n", "mean", "std", "min", "p1", "p5", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9", "max", "ci95",
        "note", "refused",
    ]  # fmt: skip
    assert set(shown["metrics"]) == set(run_tables.LABELS)
    assert {"mean", "p50"} <= set(shown["metrics"]["ttft"]["ci95"])
    assert {"qps", "output_throughput", "total_throughput", "goodput", "attainment"} <= set(shown["rates"])
    assert list(shown["steady"]) == ["name", "start", "end", "requests", "metrics", "rates"]
    assert {"cpu_share", "loop_lag_p99", "send_lag_p99"} <= set(shown["client"])
    assert {"shared_reads", "length_missed", "unfinished", "rate_ratio", "little"} <= set(shown["checks"])
    assert {"opened_a_minute", "drift_ttft", "drift_ttft_margin"} <= set(shown["checks"])
    assert list(shown["verdict"]) == ["status", "doubts"]
    assert list(shown["verdict"]["doubts"][0]) == ["what", "severity", "measured", "limit", "advice"]
    assert shown["metrics"]["ttft"]["p99.9"] is None
    assert {kind: [part["name"] for part in parts] for kind, parts in shown["groups"].items()} == {
        "input": ["8-15", "16-31", "32-63", "64-127", "128-255"]
    }
    assert list(shown["groups"]["input"][0]) == list(shown["steady"])


def test_summary_json_reads_back(summary: Summary) -> None:
    assert results.decode_summary(json_view.render(summary).encode()) == summary


def test_classic_has_the_old_names_and_no_number_that_was_not_measured() -> None:
    def cells(summary: Summary) -> list[list[str]]:
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in classic.render(summary).splitlines()[3:-1]]

    rows = cells(measure([]))
    assert [row[0] for row in rows][: len(CLASSIC)] == CLASSIC
    assert [row[0] for row in rows if row[1] != "-"] == ["Completed", "Succeed", "Failed"]
    assert len({len(line) for line in classic.render(measure([])).splitlines()}) == 1


def test_classic_values(summary: Summary) -> None:
    text = classic.render(summary)
    assert "| Expected number of requests |" in text
    for key, value in (("Concurrency", 8), ("Completed", 120), ("Succeed", 114), ("Failed", 6)):
        row = next(line for line in text.splitlines() if line.startswith(f"| {key} "))
        assert row.split("|")[2].strip() == str(value)


def test_markdown_escapes_what_would_break_it(hostile: Summary) -> None:
    text = markdown.render(hostile)
    row = next(line for line in text.splitlines() if line.startswith("| server | 1 |"))
    assert row == "| server | 1 | a\\|b &lt;script&gt; \\`x\\` \\[y\\](z) \\*c\\* \\\\ &amp; line two  \\[31mred  |"
    assert "<script>" not in text


def test_markdown_rows_are_as_wide_as_their_head(summary: Summary) -> None:
    for block in markdown.render(summary).split("### ")[1:]:
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) == 1


@pytest.mark.parametrize("name", ["report.txt", "report.md", "classic.txt"])
def test_no_control_character_reaches_the_terminal(name: str, hostile: Summary) -> None:
    assert all(char.isprintable() or char == "\n" for char in RENDERED[name](hostile))


def test_long_messages_are_cut() -> None:
    failed = Record(index=0, prompt="p", scheduled=0, sent=1, end=2, error=Failure(FailureCause.SERVER, "x" * 500))
    [table] = [table for table in run_tables.tables(measure([failed])) if table.title == "Failures"]
    assert table.rows == [["server", "1", "x" * 157 + "..."]]


def test_summary_csv_parses_back(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(summary_csv.render(summary))))
    ttft = next(row for row in rows if (row["window"], row["metric"]) == ("whole", "ttft"))
    metric = summary.metrics["ttft"]
    assert (float(ttft["mean"]), float(ttft["p95"]), ttft["p99.9"]) == (metric.mean, metric.p95, "")
    assert (int(ttft["n"]), ttft["unit"]) == (114, "s")
    interval = metric.ci95["mean"]
    assert interval == (float(ttft["mean_low"]), float(ttft["mean_high"]))
    qps = next(row for row in rows if (row["window"], row["metric"]) == ("steady", "qps"))
    assert summary.steady is not None
    assert (float(qps["mean"]), qps["unit"]) == (summary.steady.rates["qps"], "1/s")
    assert {len(row) for row in csv.reader(io.StringIO(summary_csv.render(summary)))} == {len(rows[0])}


def test_summary_csv_names_the_windows_of_groups(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(summary_csv.render(summary))))
    windows = list(dict.fromkeys(row["window"] for row in rows))
    assert windows == ["whole", "steady", *(f"input={part.name}" for part in summary.groups["input"])]
    latency = next(row for row in rows if (row["window"], row["metric"]) == ("input=64-127", "latency"))
    assert float(latency["mean"]) == summary.groups["input"][3].metrics["latency"].mean


def test_summary_csv_of_nothing_is_a_head() -> None:
    assert summary_csv.render(measure([])).count("\n") == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "-"),
        (0.0, "s", "0.00"),
        (0.0123456, "s", "12.35"),
        (1.5, "s", "1500.0"),
        (75.0, "s", "75,000"),
        (128.0, "tokens", "128.00"),
        (12345.6, "tokens", "12,346"),
    ],
)
def test_number(value: float | None, unit: str, text: str) -> None:
    assert run_tables.number(value, unit) == text


def test_a_run_of_which_nothing_is_known_renders_in_every_view() -> None:
    for render in RENDERED.values():
        assert render(measure([])).endswith("\n")


@pytest.mark.parametrize(
    ("load", "text"),
    [
        ({"concurrency": 4}, "4 in flight"),
        ({"rate": 12.5}, "12.5 requests/s, poisson"),
        ({"rate": 12.5, "concurrency": 4}, "12.5 requests/s, poisson, at most 4 in flight"),
        ({"stages": "30s@2,60s@8", "concurrency": 4}, "stages 30s@2,60s@8, at most 4 in flight"),
        ({"arrivals": "replay"}, "recorded times, speed 1"),
        ({"arrivals": "replay", "speed": 2.5}, "recorded times, speed 2.5"),
        ({}, "-"),
    ],
)
def test_the_load_is_described(load: dict[str, Any], text: str) -> None:
    assert shown("Run", {"config": {"arrivals": "poisson"} | load})["load"] == [text]


def shown(title: str, run: dict[str, Any], *records: Record) -> dict[str, list[str]]:
    """Rows of the table with this title, by their first cell."""
    [table] = [table for table in run_tables.tables(measure(records, run)) if table.title == title]
    return {row[0]: row[1:] for row in table.rows}


def test_why_a_run_ended() -> None:
    because = "in flight rose from 31 to 212 in 40 s"
    rows = shown("Run", {"ended": "saturated", "ended_because": because}, streamed(0, 10, 20))
    assert rows["duration"] == [f"0.02 s, ended: saturated ({because})"]
    assert shown("Run", {"ended": "done"}, streamed(0, 10, 20))["duration"] == ["0.02 s, ended: done"]
    assert shown("Run", {}, streamed(0, 10, 20))["duration"] == ["0.02 s, ended: -"]


def test_what_was_not_measured_is_counted() -> None:
    records = [
        streamed(0, 10, 20),
        streamed(0, 10, 20, phase="warmup"),
        streamed(0, 10, 20, phase="cooldown"),
        failed("cancelled", 0, 10, abandoned=3),
        failed("server", 0, 10, abandoned=2),
        failed("stopped", 0, 10),
    ]
    rows = shown("Run", {"expected": 9}, *records)
    assert rows["requests"] == ["2 completed of 9 (1 more for warm-up, 1 more for cool-down)"]
    assert rows["failed"] == ["1, 1 cut off at the end"]
    assert rows["cancelled"] == ["1 by the client, as configured"]
    assert rows["abandoned"] == ["5 later turns: the turn before them failed"]
    assert {"cancelled", "abandoned"}.isdisjoint(shown("Run", {}, streamed(0, 10, 20)))


def test_several_servers_and_models_are_named() -> None:
    run = {"config": {"url": ["http://one", "http://two"], "api": "chat"}, "model": "a", "models": ["a", "b"]}
    assert shown("Run", run)["server"] == ["http://one, http://two, model a and b, chat"]


def test_objectives_one_by_one_and_together() -> None:
    records = [streamed(0, 100, 110), streamed(0, 300, 310), failed("server", 0, 500), failed("stopped", 0, 500)]
    run = {"config": {"goodput": {"ttft": 0.2, "output_tokens": 2, "latency": 5.0}}}
    assert shown("Objectives", run, *records) == {
        "TTFT": ["200 ms", "33.3%", "33.3%"],
        "output tokens": ["2", "66.7%", "66.7%"],
        "latency": ["5000 ms", "66.7%", "66.7%"],
        "all objectives": ["", "33.3%", "33.3%"],
        "goodput": ["", "2 /s", "8 /s"],
    }
    [table] = [table for table in run_tables.tables(measure(records, run)) if table.title == "Objectives"]
    assert table.note == "of 3 judged requests; a failed request meets no objective"


def test_an_objective_that_cannot_be_told_is_not_shown_as_met() -> None:
    run = {"config": {"goodput": {"tpot": 0.1}}}
    rows = shown("Objectives", run, streamed(0, 10, 20, usage=None))
    assert (rows["TPOT"], rows["all objectives"], rows["goodput"]) == (
        ["100 ms", "-", "-"],
        ["", "-", "-"],
        ["", "-", "-"],
    )


TALK = [
    streamed(0, 100, 150, 200, turn=1, usage=Usage(10, 3, 0)),
    streamed(200, 220, 230, 400, turn=2, usage=Usage(10, 3, 8)),
    failed("server", 400, 500, 400, turn=2),
]


def test_a_group_is_a_table_without_the_columns_nobody_told() -> None:
    [table] = [table for table in run_tables.tables(measure(TALK)) if table.title == "By turn of the conversation"]
    assert table.columns == [
        "times in ms", "requests", "QPS", "TTFT mean", "TPOT mean", "output tokens/s", "cached", "errors",
    ]  # fmt: skip
    assert table.rows == [
        ["1", "1", "2", "100.00", "50.00", "6.0", "0.0%", "0.00%"],
        ["later", "2", "2", "20.00", "90.00", "6.0", "80.0%", "50.00%"],
    ]


@pytest.mark.parametrize("width", [20, 60, 80, 100, 160])
def test_no_number_is_cut_however_narrow_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
    summary = measure(TALK, {"config": {"goodput": {"ttft": 0.2}}})
    lines = terminal.render(summary).splitlines()
    for row in (row for table in run_tables.tables(summary) if table.numeric for row in table.rows):
        assert any(all(cell in line for cell in row) for line in lines), row


def test_a_narrow_terminal_gets_the_columns_of_a_table_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["task", *(f"column {place}" for place in range(12))]
    table = page.Table(
        "Tasks", names, [["sums", *(f"{place}.00 to 9.99" for place in range(12))]], "a note", numeric=True
    )
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    terminal.draw([table], file)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("sums" in line for line in lines) == 3
    assert [file.getvalue().count(told) for told in ("a note", "Tasks")] == [1, 1]
    assert all(file.getvalue().count(f"{place}.00 to 9.99") == 1 for place in range(2, 10))
    terminal.draw([table], plain := io.StringIO())
    assert sum("sums" in line for line in plain.getvalue().splitlines()) == 1


def test_built_in_views_are_where_the_table_says() -> None:
    from importlib import import_module

    for place in VIEWS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))


def test_example_records_read_back() -> None:
    raw = (EXAMPLE / "records.jsonl").read_bytes().splitlines()
    assert [from_line(line) for line in raw] == records()
    assert msgspec.json.decode((EXAMPLE / "run.json").read_bytes()) == run()


def test_the_report_says_why_a_mean_has_no_interval(summary: Summary) -> None:
    why = "consecutive values are correlated: effective sample size {}, an interval needs 14"
    lone = {
        name: msgspec.structs.replace(summary.metrics[name], ci95={"mean": None}, refused={"mean": why.format(count)})
        for name, count in (("ttft", 7), ("tpot", 13))
    }
    told = " ".join(terminal.render(msgspec.structs.replace(summary, metrics=summary.metrics | lone)).split())
    assert f"no ± for TTFT, TPOT: {why.format('7 to 13')} (a run 2 times as long would have intervals for all)" in told
