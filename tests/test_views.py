"""What people and spreadsheets get to see: the example run as committed, and what no view may let through."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from conftest import EXAMPLE, Golden
from example import PROMPTS as EXAMPLE_PROMPTS
from example import plan, records, run
from loadstone import console, frame, results, store
from loadstone.measure import measure
from loadstone.plan import lines
from loadstone.records import Failure, Record, Summary, from_line, to_line
from loadstone.views import VIEWS, classic, markdown, tables
from loadstone.views import csv as csv_view
from loadstone.views import json as json_view

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
    "summary.csv": csv_view.render,
    "report.txt": console.render,
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
    failed = Record(index=0, prompt="p", scheduled=0, sent=1, end=2, error=Failure("server", HOSTILE))
    return measure([failed], run() | {"model": HOSTILE})


def test_example_records(golden: Golden) -> None:
    golden("example/records.jsonl", b"".join(map(to_line, records())).decode())
    golden("example/run.json", json.dumps(run(), indent=2) + "\n")
    golden("example/schedule.jsonl", b"".join(lines(plan(), EXAMPLE_PROMPTS)).decode())


@pytest.mark.parametrize("name", RENDERED)
def test_example_rendered(name: str, golden: Golden, summary: Summary) -> None:
    golden(f"example/{name}", RENDERED[name](summary))


def test_example_requests_csv(golden: Golden, tmp_path: Path) -> None:
    frame.write_csv(records(), tmp_path / "requests.csv")
    golden("example/requests.csv", (tmp_path / "requests.csv").read_bytes().decode())


def test_committed_folder_gives_the_committed_summary() -> None:
    assert json_view.render(results.read(EXAMPLE)) == (EXAMPLE / "summary.json").read_text("utf-8")


def test_finish_writes_the_derived_files(tmp_path: Path) -> None:
    folder = store.Folder(tmp_path / "run")
    for name in (store.RUN, store.RECORDS):
        folder.write(name, (EXAMPLE / name).read_bytes())
    results.finish(folder)
    for name in ("summary.json", "summary.csv", "requests.csv"):
        assert (folder.path / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_example_is_small() -> None:
    assert sum(file.stat().st_size for file in EXAMPLE.iterdir()) < 300_000


def test_records_alone_give_the_same_numbers(summary: Summary) -> None:
    alone = results.read(EXAMPLE / "records.jsonl", goodput={"ttft": 0.15, "tpot": 0.015})
    assert (alone.metrics, alone.rates, alone.steady) == (summary.metrics, summary.rates, summary.steady)
    assert alone.verdict is not None
    assert "client not known" in [doubt.what for doubt in alone.verdict.doubts]


def test_summary_json_is_the_documented_layout(summary: Summary) -> None:
    shown = json.loads(json_view.render(summary))
    assert list(shown) == [
        "format", "run", "counts", "duration", "metrics", "rates", "sources", "steady", "client", "checks", "verdict",
        "failures",
    ]  # fmt: skip
    assert shown["format"] == 1
    assert list(shown["counts"]) == [
        "expected", "completed", "succeeded", "failed", "empty", "stopped", "warmup", "by_error",
    ]  # fmt: skip
    assert list(shown["metrics"]["ttft"]) == [
        "unit", "n", "mean", "std", "min", "p1", "p5", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9", "max", "ci95",
        "note",
    ]  # fmt: skip
    assert set(shown["metrics"]) == set(tables.LABELS)
    assert {"mean", "p50"} <= set(shown["metrics"]["ttft"]["ci95"])
    assert {"qps", "output_throughput", "total_throughput", "goodput", "attainment"} <= set(shown["rates"])
    assert list(shown["steady"]) == ["name", "start", "end", "requests", "metrics", "rates"]
    assert {"cpu_share", "loop_lag_p99", "send_lag_p99"} <= set(shown["client"])
    assert list(shown["checks"]) == ["shared_reads", "length_missed", "unfinished", "rate_ratio", "little"]
    assert list(shown["verdict"]) == ["status", "doubts"]
    assert list(shown["verdict"]["doubts"][0]) == ["what", "severity", "measured", "limit", "advice"]
    assert shown["metrics"]["ttft"]["p99.9"] is None


def test_summary_json_reads_back(summary: Summary) -> None:
    assert results.load_summary(json_view.render(summary).encode()) == summary


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
    failed = Record(index=0, prompt="p", scheduled=0, sent=1, end=2, error=Failure("server", "x" * 500))
    [table] = [table for table in tables.tables(measure([failed])) if table.title == "Failures"]
    assert table.rows == [["server", "1", "x" * 157 + "..."]]


def test_summary_csv_parses_back(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_view.render(summary))))
    ttft = next(row for row in rows if (row["window"], row["metric"]) == ("whole", "ttft"))
    metric = summary.metrics["ttft"]
    assert (float(ttft["mean"]), float(ttft["p95"]), ttft["p99.9"]) == (metric.mean, metric.p95, "")
    assert (int(ttft["n"]), ttft["unit"]) == (114, "s")
    interval = metric.ci95["mean"]
    assert interval == (float(ttft["mean_low"]), float(ttft["mean_high"]))
    qps = next(row for row in rows if (row["window"], row["metric"]) == ("steady", "qps"))
    assert summary.steady is not None
    assert (float(qps["mean"]), qps["unit"]) == (summary.steady.rates["qps"], "1/s")
    assert {len(row) for row in csv.reader(io.StringIO(csv_view.render(summary)))} == {len(rows[0])}


def test_summary_csv_of_nothing_is_a_head() -> None:
    assert csv_view.render(measure([])).count("\n") == 1


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
    assert tables.number(value, unit) == text


def test_a_run_of_which_nothing_is_known_renders_in_every_view() -> None:
    for render in RENDERED.values():
        assert render(measure([])).endswith("\n")


def test_open_loop_is_described() -> None:
    base = run()
    for cap, text in ((None, "12.5 requests/s, poisson"), (4, "12.5 requests/s, poisson, at most 4 in flight")):
        config = base["config"] | {"rate": 12.5, "concurrency": cap}
        [table] = [t for t in tables.tables(measure([], base | {"config": config})) if t.title == "Run"]
        assert ["load", text] in table.rows


def test_built_in_views_are_where_the_table_says() -> None:
    from importlib import import_module

    for place in VIEWS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))


def test_example_records_read_back() -> None:
    raw = (EXAMPLE / "records.jsonl").read_bytes().splitlines()
    assert [from_line(line) for line in raw] == records()
    assert msgspec.json.decode((EXAMPLE / "run.json").read_bytes()) == run()
