"""Test --metadata: what it takes, and that each result of a run shows it without its keys."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.cli.parser import build_parser
from loadstone.compare.settings import differing_settings
from loadstone.config import flags, loading, secrets
from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.report import json as report_json
from loadstone.report import junit, markdown, run_page, side_by_side
from loadstone.report.exports import vllm
from loadstone.report.run_tables import tables
from loadstone.results import measure
from loadstone.summary import RunInfo, Summary
from loadstone.sweep import csv as sweep_csv
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint
from support.records import streamed

RECORD = streamed(0, 10, 20)
KEY = "sk-proj-abcdef123456"


def read(*typed: str, file: Path | None = None) -> dict[str, str]:
    """Return the metadata of a command line, and of a file if there is one."""
    options = vars(build_parser("run").parse_args(["run", *typed]))
    given = loading.merge_settings(Config, options | {"config": str(file) if file else None})
    config: Config = flags.from_mapping(Config, given, "run").check()
    return config.metadata


def summary_with(metadata: dict[str, str], **settings: Any) -> Summary:
    config = Config(requests=1, concurrency=1, metadata=metadata, **settings)
    run = RunInfo(config=msgspec.convert(secrets.redacted_settings(config), Config), began="2026-01-01T00:00:00+00:00")
    return measure([RECORD], run)


@pytest.mark.parametrize(
    "typed",
    [
        ("--metadata", "gpu=H100", "--metadata", "note=a = b, c"),
        ("--metadata", "gpu=H100", "note=a = b, c"),
        ("--metadata", " gpu = H100 ", "note= a = b, c"),
    ],
)
def test_pairs_may_be_repeated_or_listed(typed: tuple[str, ...]) -> None:
    assert read(*typed) == {"gpu": "H100", "note": "a = b, c"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.toml", '[metadata]\nnodes = 2\nfast = true\nload = 0.5\nnote = "x y"\n'),
        ("run.toml", 'metadata = ["nodes=2", "fast=true", "load=0.5", "note=x y"]\n'),
        ("run.yaml", "metadata:\n  nodes: 2\n  fast: true\n  load: 0.5\n  note: x y\n"),
        ("run.json", '{"metadata": {"nodes": 2, "fast": true, "load": 0.5, "note": "x y"}}'),
    ],
)
def test_a_file_has_a_table_whose_values_become_text(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert read(file=file) == {"nodes": "2", "fast": "true", "load": "0.5", "note": "x y"}
    assert read("--metadata", "a=b", file=file) == {"a": "b"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"a b": "1"},
        {"": "1"},
        {"=": "1"},
        {"-a": "1"},
        {"a,b": "1"},
        {'a"': "1"},
        {"a" * 65: "1"},
        {"\x1b[31m": "1"},
        {"a": "line\nline"},
        {"a": "\x1b[31mred"},
        {"a": "bidi \u202e"},
        {"a": "\ud800"},
        {"a": "x" * 1001},
        {"a": None},
        {"a": {"b": 1}},
        {"a": [1]},
    ],
)
def test_what_no_report_can_show_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^--metadata ") as refusal:
        flags.from_mapping(Config, {"metadata": metadata}, "run")
    assert refusal.value.field == "metadata"
    assert str(refusal.value).isprintable()


def test_a_name_has_one_value() -> None:
    with pytest.raises(ConfigError, match="--metadata gpu is given twice"):
        read("--metadata", "gpu=a", "--metadata", "gpu=b")


def test_keys_in_it_are_hidden_under_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    given = {"note": f"sent with {KEY}", "api_key": "hunter22", "other": "sk-123456789", "gpu": "H100"}
    config = Config(metadata=given)
    shown = secrets.redacted_settings(config)["metadata"]
    assert shown == {"note": "sent with ***", "api_key": "***", "other": "***", "gpu": "H100"}
    # A server that quotes it is not a way round.
    assert "hunter22" in secrets.find_secrets(config)


METADATA = {"gpu": "8xH100", "duration": "<b>&", "engine/commit": "3f2a"}


def test_the_report_shows_it_at_its_head() -> None:
    summary = summary_with(METADATA)
    line = "gpu=8xH100, duration=<b>&, engine/commit=3f2a"
    assert ["metadata", line] in tables(summary)[0].rows
    html = run_page.render(summary)
    assert "gpu=8xH100, duration=&lt;b&gt;&amp;, engine/commit=3f2a" in html
    assert html.index("8xH100") < html.index("Distributions")
    assert "gpu=8xH100" in markdown.draw(run_page.page(summary, None))
    assert json.loads(report_json.to_json(summary))["run"]["config"]["metadata"] == METADATA


def test_a_run_without_it_has_no_row_for_it() -> None:
    assert "metadata" not in [row[0] for row in tables(summary_with({}))[0].rows]


def test_vllm_result_has_it_at_the_top_but_keeps_its_own_keys() -> None:
    summary = summary_with(METADATA)
    result = vllm.result(summary, [RECORD])
    assert (result["gpu"], result["engine/commit"]) == ("8xH100", "3f2a")
    assert result["duration"] == summary.duration
    names = list(result)
    assert names.index("num_prompts") < names.index("gpu") < names.index("request_rate")


def test_junit_has_it_as_properties() -> None:
    text = junit.render(summary_with(METADATA))
    assert '<property name="metadata.gpu" value="8xH100"/>' in text


def test_compare_lists_it_apart_from_the_settings() -> None:
    sides = [[summary_with({"gpu": "A", "same": "x"})], [summary_with({"gpu": "B", "same": "x", "new": "y"}, seed=1)]]
    found = {setting.name: setting.values for setting in differing_settings(sides)}
    assert found["metadata.gpu"] == [["A"], ["B"]]
    assert found["metadata.new"] == [["-"], ["y"]]
    assert "metadata.same" not in found
    assert not [name for name in found if name.startswith("config.metadata")]


def test_runs_side_by_side_have_a_row_for_each_name() -> None:
    runs = side_by_side.Runs({"a": summary_with({"gpu_type": "A"}), "b": summary_with({"gpu_type": "B"})})
    assert side_by_side.differing_settings(runs) == {"metadata.gpu_type": ["A", "B"]}
    assert ["setting", "metadata.gpu_type", "", "A", "B"] in list(csv.reader(io.StringIO(side_by_side.as_csv(runs))))


def test_points_of_a_sweep_have_columns_for_it() -> None:
    point = MeasuredPoint("rate-1", {"rate": 1.0}, [summary_with({"gpu": "A"})])
    config = Config(metadata={"gpu": "A"}).redacted()
    grid = Grid(config=config, varied=["rate"], places=[SweepPoint("rate-1", {"rate": 1.0}), SweepPoint("rate-2", {})])
    sweep = Sweep(grid, [point, MeasuredPoint("rate-2", {"rate": 2.0}, [])])
    rows = list(csv.DictReader(io.StringIO(sweep_csv.render(sweep))))
    assert [row["metadata.gpu"] for row in rows] == ["A", "A"]
    assert rows[0]["succeeded"] == "1"
