"""Measures the records of a run, and writes all derived files of the run folder."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadstone.checks.rules import judge
from loadstone.engine import run_folder
from loadstone.host import ceiling
from loadstone.metrics import chart_data
from loadstone.metrics import measure as metrics_measure
from loadstone.metrics.columns import Columns, TokenCounter, build
from loadstone.records import Failure, FailureCause, Record
from loadstone.report import json, run_page, summary_csv
from loadstone.report.exports import requests_csv
from loadstone.server_metrics import csv as server_csv
from loadstone.server_metrics.series import ScrapedSource, chart_series
from loadstone.server_metrics.summary import summarize as server_side
from loadstone.summary import RunInfo, Summary

# Settings that replace those of a run, by name.
Changes = Mapping[str, Any]
REQUESTS_CSV = "requests.csv"
PAGE = "report.html"


def write_results(folder: run_folder.RunFolder, tokenizer: str | None = None, html: bool = True) -> Summary:
    """Measure a finished run from its records, and write requests.csv, summary.json and summary.csv.

    tokenizer: counts the tokens of kept texts where the server reported no usage.
    html: whether to write report.html too.
    """
    table = requests_csv.Writer(folder.path / REQUESTS_CSV)
    records = table.through(run_folder.load_records(folder.path))
    scraped = server_csv.read(folder.path)
    summary, columns = measure_records(
        records,
        run_folder.load_run(folder.path),
        tokenizer,
        scraped=scraped,
        inputs=run_folder.load_input_tokens(folder.path),
    )
    folder.write("summary.json", json.to_json(summary))
    folder.write("summary.csv", summary_csv.render(summary))
    with run_folder.writing(folder.path / REQUESTS_CSV):
        table.close()
    if html:
        folder.write(PAGE, render_page(summary, columns, scraped))
    return summary


def render_page(summary: Summary, columns: Columns, scraped: Sequence[ScrapedSource] = ()) -> str:
    """Return the report of a run with its charts as HTML."""
    pattern = summary.run.config.scrape_name
    return run_page.render(summary, chart_data.trace(columns), chart_data.thin_series(chart_series(scraped, pattern)))


def saved_page(folder: Path) -> str | None:
    """Return the HTML report in a run folder, or None."""
    path = folder / PAGE
    return path.read_text("utf-8") if path.exists() else None


def read_summary(path: Path, tokenizer: str | None = None, changes: Changes | None = None) -> Summary:
    """Measure a run folder, or a records file on its own.

    tokenizer: counts the tokens of kept texts where the server reported no usage.
    changes: settings that replace those of the run: goodput, percentiles.
    """
    return read_summary_and_columns(path, tokenizer, changes)[0]


def read_summary_and_columns(
    path: Path, tokenizer: str | None = None, changes: Changes | None = None
) -> tuple[Summary, Columns]:
    """Return the same as `read_summary`, and the columns it was measured from."""
    run = run_folder.load_run(path) if path.is_dir() else RunInfo()
    inputs = run_folder.load_input_tokens(path) if path.is_dir() else {}
    return measure_records(run_folder.load_records(path), run, tokenizer, changes, server_csv.read(path), inputs)


def measure(
    records: Iterable[Record],
    run: RunInfo | Mapping[str, Any] | None = None,
    count: TokenCounter | None = None,
    scraped: Sequence[ScrapedSource] = (),
) -> Summary:
    """Return everything that a report shows.

    run: content of run.json: the configuration and the state of the client; without it those figures are None.
    count: counts the tokens of kept texts where the server reported no usage.
    scraped: what the servers reported about themselves.
    """
    return measure_columns(build(records, count), run, scraped)


def measure_columns(
    columns: Columns, run: RunInfo | Mapping[str, Any] | None = None, scraped: Sequence[ScrapedSource] = ()
) -> Summary:
    """Return the same as `measure`, from columns that the caller also needs."""
    info = run if isinstance(run, RunInfo) else msgspec.convert(run or {}, RunInfo)
    summary = metrics_measure.measure_columns(columns, info)
    if scraped:
        summary = msgspec.structs.replace(summary, server=server_side(scraped, columns, summary))
    summary = ceiling.add_share(summary)
    return msgspec.structs.replace(summary, verdict=judge(summary))


def measure_records(
    records: Iterable[Record],
    run: RunInfo,
    tokenizer: str | None = None,
    changes: Changes | None = None,
    scraped: Sequence[ScrapedSource] = (),
    inputs: Mapping[str, int] | None = None,
) -> tuple[Summary, Columns]:
    """Return the summary and the columns of records. Arguments as those of `read_summary` and `measure`.

    inputs: tokens of prompts by their ids, for those that the server did not count.
    """
    if changes:
        run = msgspec.structs.replace(run, config=dataclasses.replace(run.config, **changes))
    count: TokenCounter | None = None
    if tokenizer:
        from loadstone.dataset import tokenizer as tokenizers

        count = tokenizers.load(tokenizer).count
    columns = build(records, count, inputs)
    return measure_columns(columns, run, scraped), columns


def decode_summary(content: bytes) -> Summary:
    """Decode the content of a summary.json. Raises msgspec.MsgspecError."""
    summary = msgspec.json.decode(content, type=Summary)
    # Older files have what this machine lacked in the messages of failures alone.
    failures = Counter({Failure(FailureCause(kind), text): times for kind, text, times in summary.failures})
    lacking = summary.counts.lacking or metrics_measure.count_lacking(failures)
    return msgspec.structs.replace(summary, counts=msgspec.structs.replace(summary.counts, lacking=lacking))
