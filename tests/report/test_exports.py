"""What other programs read: vLLM's result and sweep, JUnit XML, Parquet; and runs side by side."""

from __future__ import annotations

import csv
import io
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone import results
from loadstone.cli import run_arguments
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.records import Choice, Record, Usage, to_line
from loadstone.report import junit, markdown, output, side_by_side
from loadstone.report.exports import parquet, vllm
from loadstone.report.junit import Case, Suite
from loadstone.results import measure
from loadstone.sweep import vllm_export
from loadstone.sweep.folder import SWEEP
from loadstone.sweep.junit import sweep_suites
from loadstone.sweep.points import Grid, Sweep, SweepPoint
from loadstone.sweep.slo_search import Answer, SearchOutcome, SearchResult
from support import example_run
from support.paths import SHARED
from support.records import failed, streamed, whole
from support.servers import loadstone, refused

Capture = pytest.CaptureFixture[str]
CAPTURE = SHARED / "captures/vllm_bench/vllm_bench_result.json"
KEYS = [
    "date",
    "endpoint_type",
    "backend",
    "label",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "burstiness",
    "max_concurrency",
    "duration",
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "input_lens",
    "output_lens",
    "ttfts",
    "itls",
    "latencies",
    "start_times",
    "queue_times",
    "generated_texts",
    "errors",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
    "rtfx",
]
STATISTICS = [
    f"{what}_{name}_ms"
    for name in ("ttft", "tpot", "itl", "e2el")
    for what in ("mean", "median", "std", "p50", "p90", "p95", "p99")
]
HOSTILE = "a|b <script>&\"' `x` \\ line\ntwo\r\x1b[31mred\x00 \ufffe"


pytestmark = pytest.mark.clean_folder


def run_of(**config: Any) -> dict[str, Any]:
    return {"began": "2025-01-01T12:00:00.000+00:00", "model": "tiny", "config": {"api": "chat", **config}}


def exported(*records: Record, **config: Any) -> dict[str, Any]:
    run = run_of(**config)
    text = io.BytesIO()
    vllm.write(measure(records, run), records, None, text)
    found: dict[str, Any] = json.loads(text.getvalue())
    return found


def folder(name: str, **config: Any) -> Path:
    """A finished run of the example's records."""
    run = example_run.run()
    made = run_folder.RunFolder(Path(name))
    made.write_json(run_folder.RUN, run | {"config": run["config"] | config})
    made.append(made.path / run_folder.RECORDS, example_run.records())
    results.write_results(made)
    return made.path


# vLLM's result


def test_keys_and_their_order() -> None:
    assert list(exported(streamed(0, 10, 20))) == KEYS + STATISTICS


@pytest.mark.skipif(not CAPTURE.is_file(), reason="the captured result of ../shared/captures is not here")
def test_keys_and_types_are_those_of_a_real_result() -> None:
    real, ours = json.loads(CAPTURE.read_text("utf-8")), exported(streamed(0, 10, 20), concurrency=8)
    assert [key for key in ours if not key.startswith("p95")] == list(real)
    assert {key: type(ours[key]) for key in real if key != "request_goodput"} == {
        key: type(value) for key, value in real.items() if key != "request_goodput"
    }


def test_rows_in_the_order_of_the_plan_in_seconds_and_tokens() -> None:
    second = streamed(100, 150, 160, 190, index=1, scheduled=95, usage=Usage(7, 3), text="abc")
    first = failed("timeout", 50, 90, scheduled=50)
    found = exported(second, msgspec.structs.replace(first, index=0))
    assert found["num_prompts"] == 2
    assert (found["completed"], found["failed"]) == (1, 1)
    assert found["errors"] == ["timeout: timeout it was", ""]
    assert found["input_lens"] == [0, 7]
    assert found["output_lens"] == [0, 3]
    assert found["ttfts"] == [0.0, 0.05]
    assert found["itls"] == [[], [0.01, 0.03]]
    assert found["latencies"] == [0.0, 0.09]
    assert found["start_times"] == [0.05, 0.1]
    assert found["queue_times"] == [0.0, 0.005]
    assert found["generated_texts"] == ["", "abc"]
    assert found["mean_tpot_ms"] == pytest.approx(20)
    assert found["median_itl_ms"] == pytest.approx(20)


def test_warm_up_is_left_out_and_what_was_cut_off_is_not() -> None:
    records = [streamed(0, 10, phase="warmup"), failed("stopped", 5, 9), streamed(20, 30, index=1)]
    assert exported(*records)["num_prompts"] == 2
    assert exported(*records)["errors"][1] == "stopped: stopped it was"


def test_totals_are_null_where_the_server_does_not_count() -> None:
    found = exported(streamed(0, 10, 20), streamed(0, 10, 20, index=1, usage=None))
    unknown = ("total_input_tokens", "total_output_tokens", "output_throughput", "total_token_throughput")
    assert [found[key] for key in unknown] == [None] * 4
    assert found["output_lens"] == [2, None]


def test_tokens_of_kept_texts_are_counted() -> None:
    record = streamed(0, 10, 20, usage=None, text="four of these tokens")
    summary = measure([record], run_of())
    assert vllm.result(summary, [record], lambda text: len(text.split()))["output_lens"] == [4]


def test_a_run_without_success_and_one_without_requests() -> None:
    for found in (exported(failed("connect", None, 5)), exported()):
        assert found["completed"] == 0
        assert {found[key] for key in STATISTICS} == {None}
        assert (found["max_output_tokens_per_s"], found["max_concurrent_requests"]) == (0.0, 0)


def test_an_answer_in_one_piece_has_no_ttft() -> None:
    found = exported(whole(0, 100))
    assert found["ttfts"] == [None]
    assert found["mean_ttft_ms"] is None
    assert found["mean_e2el_ms"] == pytest.approx(100)


def test_peaks_are_counted_as_vllm_counts_them() -> None:
    """Events of the fullest second; requests that touched the same one, though never two were in flight together."""
    found = exported(streamed(0, 100, 200, 900), streamed(910, 950, 1100, index=1))
    assert found["max_output_tokens_per_s"] == 4.0
    assert found["max_concurrent_requests"] == 2


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"concurrency": 8}, ("inf", 1.0, 8)),
        ({"rate": 5.0, "arrivals": "poisson"}, (5.0, 1.0, None)),
        ({"rate": 5.0, "arrivals": "gamma", "burstiness": 0.5, "concurrency": 9}, (5.0, 0.5, 9)),
        ({"rate": 5.0, "arrivals": "constant"}, (5.0, "inf", None)),
        ({"arrivals": "replay"}, (None, None, None)),
        ({"stages": "30s@2"}, (None, 1.0, None)),
    ],
)
def test_the_load(config: dict[str, Any], told: tuple[Any, ...]) -> None:
    found = exported(streamed(0, 10), **config)
    assert (found["request_rate"], found["burstiness"], found["max_concurrency"]) == told


def test_embeddings_have_the_shorter_result() -> None:
    found = exported(whole(0, 10, usage=Usage(prompt=5)), api="embeddings")
    assert found["endpoint_type"] == "openai-embeddings"
    assert found["total_input_tokens"] == 5
    assert "ttfts" not in found
    assert [key for key in found if key.startswith("mean")] == ["mean_e2el_ms"]


def test_figures_are_those_of_the_arrays() -> None:
    """Of the example, failures and all, by numpy on what the file itself holds."""
    found = vllm.result(measure(example_run.records(), example_run.run()), example_run.records())
    good = [place for place, error in enumerate(found["errors"]) if not error]
    ttfts = np.array([found["ttfts"][place] for place in good])
    gaps = np.concatenate([found["itls"][place] for place in good])
    assert found["completed"] == 114
    assert found["mean_ttft_ms"] == pytest.approx(ttfts.mean() * 1e3)
    assert found["p99_itl_ms"] == pytest.approx(np.percentile(gaps, 99) * 1e3)
    assert found["total_output_tokens"] == sum(found["output_lens"])
    assert found["output_throughput"] == pytest.approx(found["total_output_tokens"] / found["duration"])


def test_the_command_writes_it(capsys: Capture) -> None:
    folder("run")
    done = loadstone(capsys, "report", "run", "--as", "vllm")
    assert done.status == 0
    assert json.loads(done.out)["completed"] == 114
    assert loadstone(capsys, "report", "run", "--as", "vllm", "-o", "v.json").status == 0
    assert Path("v.json").read_text("utf-8") == done.out
    assert "cannot write v.json: " in refused(capsys, "report", "run", "--as", "vllm", "-o", "v.json")
    assert "takes one run, not 2" in refused(capsys, "report", "run", "run", "--as", "vllm")


# a sweep for vLLM


def sweep(*levels: int, gpus: int | None = None, runs: int = 1) -> Path:
    places = [SweepPoint(f"concurrency-{level}", {"concurrency": level}) for level in (*levels, 99)]
    grid = Grid(config={"max_error_rate": 1.0}, varied=["concurrency"], places=places, gpus=gpus)
    for level in levels:
        for number in range(runs):
            folder(f"sweep/concurrency-{level}/run-{number}", concurrency=level)
    Path("sweep").mkdir(exist_ok=True)
    Path("sweep", SWEEP).write_bytes(msgspec.json.encode(grid))
    return Path("sweep")


def test_a_sweep_has_the_layout_of_vllm() -> None:
    """The point that has not been run is not there."""
    vllm_export.write(sweep(2, 4, gpus=8, runs=2), Path("out"))
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "BENCH--max_concurrency=2", "BENCH--max_concurrency=4", "summary.csv",
    ]  # fmt: skip
    point = Path("out/BENCH--max_concurrency=4")
    assert sorted(path.name for path in point.iterdir()) == ["run=0.json", "run=1.json", "summary.json"]
    listed = json.loads((point / "summary.json").read_text("utf-8"))
    assert listed == [json.loads((point / f"run={n}.json").read_text("utf-8")) for n in (0, 1)]
    assert [run["run_number"] for run in listed] == [0, 1]
    assert {run["max_concurrency"] for run in listed} == {4}
    assert {run["num_gpus"] for run in listed} == {8}
    assert not set(vllm.DETAILS) & set(listed[0])


def test_the_table_of_a_sweep() -> None:
    vllm_export.write(sweep(2, 4), Path("out"))
    rows = list(csv.DictReader(io.StringIO(Path("out/summary.csv").read_text("utf-8"))))
    assert [(row[""], row["max_concurrency"]) for row in rows] == [("0", "2"), ("1", "4")]
    assert float(rows[0]["median_ttft_ms"]) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("sweep -o sweep/out", "is in the sweep itself"),
        ("sweep", "writes a folder: name a new one with -o"),
        ("sweep/concurrency-2 -o out", "is not a sweep: no sweep.json in it"),
        ("sweep -o full", "full exists and is not empty"),
        ("sweep sweep -o out", "takes one sweep, not 2"),
    ],
)
def test_a_sweep_that_cannot_be_exported(arguments: str, words: str, capsys: Capture) -> None:
    sweep(2)
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine", "utf-8")
    assert words in refused(capsys, "report", *arguments.split(), "--as", "vllm-sweep")


def test_a_sweep_without_results(capsys: Capture) -> None:
    sweep()
    assert "no finished run yet" in refused(capsys, "report", "sweep", "--as", "vllm-sweep", "-o", "out")
    assert not Path("out").exists()


def test_long_and_odd_settings_make_a_folder_name() -> None:
    assert vllm_export.folder_name(SweepPoint("p", {"dataset": "../x/y"})) == "BENCH--dataset=___x_y"
    assert vllm_export.folder_name(SweepPoint("p", {"extra_body": "x" * 300})) == "BENCH--p"


# JUnit


# What the schema that Jenkins' xunit plugin publishes lets each element have, as far as it is used here.
SCHEMA = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "timestamp", "time"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name"},
    "failure": {"message"},
    "skipped": {"message"},
    "system-out": set(),
}


def test_outcomes_of_gates() -> None:
    cases = [Case("a", "met", "1 ms"), Case("b", "missed", "9 ms"), Case("c", "unresolved"), Case("d", "met")]
    root = ET.fromstring(junit.draw([Suite("gates", cases), Suite("more", cases[:1])]))
    assert root.attrib == {"name": "loadstone", "tests": "5", "failures": "1", "errors": "0"}
    told = {case.attrib["name"]: [part.tag for part in case] for case in root[0]}
    assert told == {"a": ["system-out"], "b": ["failure"], "c": ["skipped"], "d": []}
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == failure.text == "9 ms"


def test_hostile_text_stays_text() -> None:
    text = junit.draw([Suite(HOSTILE, [Case(HOSTILE, "missed", HOSTILE)], {HOSTILE: HOSTILE})])
    root = ET.fromstring(text)
    cleaned = HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd").replace("\ufffe", "\ufffd")
    (case,) = root.iter("testcase")
    assert case.attrib["name"] == cleaned
    assert case[0].attrib["message"] == cleaned
    assert {element.tag for element in root.iter()} <= set(SCHEMA)


def test_the_verdict_of_a_run() -> None:
    summary = measure(example_run.records(), example_run.run())
    root = ET.fromstring(junit.render(summary))
    assert all(set(element.attrib) <= SCHEMA[element.tag] for element in root.iter())
    skipped = [case.attrib["name"] for case in root.iter("testcase") if case.find("skipped") is not None]
    assert summary.verdict is not None
    assert skipped == [doubt.what for doubt in summary.verdict.doubts if doubt.severity == "suspect"]
    told = [case.find("system-out") for case in root.iter("testcase")]
    assert [one.text for one in told if one is not None and not (one.text or "").endswith(")")] == [], "no advice"
    figures = {item.attrib["name"]: item.attrib["value"] for item in root.iter("property")}
    assert figures["failed"] == "6"
    assert float(figures["ttft.p50"]) == summary.metrics["ttft"].p50


def test_an_invalid_run_fails_and_so_does_too_high_an_error_rate() -> None:
    summary = measure([failed("connect", None, 5)], run_of())
    root = ET.fromstring(junit.render(summary))
    missed = {case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None}
    assert missed == {"no success", "--max-error-rate"}


def test_the_points_of_a_sweep_are_tests(capsys: Capture) -> None:
    sweep(2, 4)
    root = ET.fromstring(loadstone(capsys, "report", "sweep", "--as", "junit").out)
    outcomes = {case.attrib["name"]: case.find("failure") is None for case in root.iter("testcase")}
    assert outcomes == {"concurrency-2": True, "concurrency-4": True, "concurrency-99": False}


def test_an_objective_that_was_searched_for_is_a_test() -> None:
    answers = {"met": Answer(8.0, 9.0, []), "missed": Answer(None, 1.0, []), "unresolved": Answer(None, None, [])}
    outcomes = [SearchOutcome({"input_len": 9}, answer, [], "said") for answer in answers.values()]
    found = SearchResult("rate", ["ttft.p99<500ms"], 0.05, outcomes)
    _, searched = sweep_suites(Sweep(Grid(config={}, varied=[], places=[]), []), found, [])
    assert [case.outcome for case in searched.cases] == list(answers)
    assert searched.cases[0].name == "ttft.p99<500ms, input_len=9"
    assert searched.cases[1].reason == "highest rate that meets them: - to 1; said"


# Parquet


def back(path: Path) -> list[Record]:
    """The records in a Parquet file."""
    library = pytest.importorskip("pyarrow.parquet")
    rows = library.ParquetFile(path).read().to_pylist()
    for row in rows:
        row["tools"] = None if row["tools"] is None else json.loads(row["tools"])
    for row in rows:
        for name in ("resent", "summarized", "unterminated"):
            if row[name] is None:  # a table has a null where records.jsonl has no such field
                del row[name]
    return [msgspec.convert(row, Record) for row in rows]


def odd() -> list[Record]:
    return [
        streamed(0, 10, 20, text=HOSTILE, tools=[{"function": {"name": "f", "arguments": "{}"}, "index": 0}]),
        streamed(0, 10, index=1, choices=[Choice("a", None, "stop"), Choice()], usage=Usage(1, 2, 3, 4)),
        failed("server", None, 2**42),
    ]


def test_parquet_holds_the_records_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP", 50)
    records = [*example_run.records(), *odd()]
    with Path("r.parquet").open("wb") as file:
        parquet.write(measure(records, example_run.run()), records, None, file)
    assert back(Path("r.parquet")) == records
    told = library.ParquetFile("r.parquet")
    assert told.num_row_groups == 3
    assert json.loads(told.schema_arrow.metadata[b"loadstone.run"])["model"] == "tiny"
    assert told.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_number_that_parquet_has_no_room_for(capsys: Capture) -> None:
    pytest.importorskip("pyarrow")
    Path("r.jsonl").write_bytes(to_line(streamed(0, 10, usage=Usage(prompt=2**63))))
    said = refused(capsys, "report", "r.jsonl", "--as", "parquet", "-o", "x.parquet")
    assert "has no room for a number" in said
    assert not Path("x.parquet").exists()


def test_every_field_of_a_record_has_a_column_of_its_type() -> None:
    """A field without a type would not be exported: this test reminds of it."""
    arrow = pytest.importorskip("pyarrow")
    for name in Record.__struct_fields__:
        assert parquet._type(arrow, name) is not None


def test_the_command_writes_parquet(capsys: Capture) -> None:
    pytest.importorskip("pyarrow")
    folder("run")
    assert loadstone(capsys, "report", "run", "--as", "parquet", "-o", "r.parquet").status == 0
    assert back(Path("r.parquet")) == example_run.records()


def test_parquet_is_not_for_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder("run")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "not for a terminal: name a file with -o" in refused(capsys, "report", "run", "--as", "parquet")


def test_parquet_without_its_library(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder("run")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'loadstone[parquet]'" in refused(capsys, "report", "run", "--as", "parquet", "-o", "x.parquet")
    assert not Path("x.parquet").exists()


# several runs


def two() -> side_by_side.Runs:
    run = example_run.run()
    other = run | {"config": run["config"] | {"concurrency": 16, "label": "b"}, "server": {"software": "new"}}
    return side_by_side.Runs(
        {"a": measure(example_run.records(), run), "b|c": measure(example_run.records()[:60], other)}, ["x: no"]
    )


def test_what_differs_comes_first() -> None:
    """Where results go, and how a run is called, is no setting that could explain a difference."""
    assert side_by_side.differing_settings(two()) == {"concurrency": [8, 16], "server software": [None, "new"]}
    page = side_by_side.page(two())
    first, second, left_out = page.sections[0].blocks
    assert isinstance(first, side_by_side.Table)
    assert isinstance(second, side_by_side.Table)
    assert first.rows == [["concurrency", "8", "16"], ["server software", "-", "new"]]
    assert {row[0]: row[1:] for row in second.rows}["requests"] == ["120", "52"]
    assert left_out == side_by_side.Prose("left out: x: no", "bad")
    assert page.lead.tone == "doubt"


def test_a_matrix_as_markdown_csv_and_json() -> None:
    assert "b\\|c" in side_by_side.as_markdown(two())
    rows = list(csv.DictReader(io.StringIO(side_by_side.as_csv(two()))))
    assert rows[0] == {"kind": "setting", "name": "concurrency", "unit": "", "a": "8", "b|c": "16"}
    by_name = {row["name"]: row for row in rows}
    assert float(by_name["ttft.p50"]["a"]) == two().summaries["a"].metrics["ttft"].p50
    assert by_name["ttft.p99.9"]["a"] == ""
    told = json.loads(side_by_side.as_json(two()))
    assert [run["name"] for run in told["runs"]] == ["a", "b|c"]
    assert told["runs"][1]["counts"]["completed"] == 52
    assert told["unreadable"] == ["x: no"]


def test_runs_that_are_alike() -> None:
    summary = measure(example_run.records(), example_run.run())
    (settings, *_) = side_by_side.page(side_by_side.Runs({"a": summary, "b": summary})).sections[0].blocks
    assert isinstance(settings, side_by_side.Table)
    assert (settings.rows, settings.note) == ([], "none")


def test_names_are_as_short_as_they_can_be() -> None:
    assert run_arguments.short_names([Path("x/a"), Path("x/b")]) == ["a", "b"]
    assert run_arguments.short_names([Path("x/1"), Path("y/1"), Path("y/2")]) == ["x/1", "y/1", "y/2"]


def test_the_command_lays_runs_side_by_side(capsys: Capture) -> None:
    folder("a")
    folder("b", concurrency=9)
    done = loadstone(capsys, "report", "a", "b")
    assert done.status == 0
    assert "2 runs side by side" in done.out
    assert loadstone(capsys, "report", "a", "b", "--as", "md", "-o", "m.md").status == 0
    assert Path("m.md").read_text("utf-8") == loadstone(capsys, "report", "a", "b", "--as", "md").out
    page = loadstone(capsys, "report", "a", "b", "--as", "html")
    assert page.status == 0
    assert page.out.startswith("<!doctype html>")
    assert "2 runs side by side" in page.out
    assert "for several runs, not 'classic'" in refused(capsys, "report", "a", "b", "--as", "classic")


def test_a_run_that_is_unreadable_is_one_sentence(capsys: Capture) -> None:
    folder("a")
    Path("bad").mkdir()
    done = loadstone(capsys, "report", "a", "bad", "nowhere", "--as", "csv")
    assert done.status == 1
    assert done.err.splitlines() == [
        "loadstone: left out: bad is not a run: no run.json in it, nor in a folder in it",
        "loadstone: left out: nowhere is not a run: give a folder that loadstone run has written",
    ]
    assert done.out.startswith("kind,name,unit,a\n")
    assert "none of these runs can be read" in loadstone(capsys, "report", "bad", "nowhere").err


def test_a_folder_of_repeats_is_laid_side_by_side(capsys: Capture) -> None:
    folder("repeats/run-1")
    folder("repeats/run-2")
    assert loadstone(capsys, "report", "repeats", "--as", "csv").out.startswith("kind,name,unit,run-1,run-2\n")


# where it goes


def test_the_summary_of_a_job(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder("a")
    Path("summary.md").write_text("before\n\n", "utf-8")
    monkeypatch.setenv(output.VARIABLE, "summary.md")
    assert loadstone(capsys, "report", "a", "--as", "csv", "--summary").status == 0
    report = markdown.render(results.read_summary(Path("a")))
    assert Path("summary.md").read_text("utf-8") == f"before\n\n{report.rstrip()}\n\n"
    loadstone(capsys, "report", "a", "a/records.jsonl", "--summary")
    assert "## Runs side by side" in Path("summary.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("environment", "words"),
    [({}, "is not set"), ({output.VARIABLE: "no/where"}, "cannot write"), ({output.VARIABLE: "full"}, "nearly full")],
)
def test_a_summary_that_cannot_be_written_is_said_and_no_more(environment: dict[str, str], words: str) -> None:
    Path("full").write_bytes(b"x" * output.MOST)
    said: list[str] = []
    output.step_summary("text", said.append, environment)
    assert len(said) == 1
    assert words in said[0]
    assert Path("full").stat().st_size == output.MOST


def test_a_file_that_could_not_be_written_whole_is_not_left() -> None:
    for error, seen in ((RuntimeError(), RuntimeError), (OSError(28, "no room"), UsageError)):
        with pytest.raises(seen), output.open_target("half"):
            raise error
    assert not Path("half").exists()
    Path("mine").write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="cannot write mine: "), output.open_target("mine"):
        raise AssertionError
    assert Path("mine").read_text("utf-8") == "mine"


def test_a_place_for_the_end_is_looked_for_before_a_run(capsys: Capture) -> None:
    Path("there.xml").write_text("", "utf-8")
    assert "there.xml exists" in refused(capsys, "run", "--junit", "there.xml")
    assert "there is no folder for" in refused(capsys, "run", "--junit", "no/where.xml")
    assert not Path("reports").exists()
