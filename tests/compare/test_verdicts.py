"""`loadstone compare` from end to end on runs of the simulated engine: verdicts, refusals, gates, and every form."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from loadstone.compare import difference, settings
from loadstone.compare import load as sides
from loadstone.compare import verdicts as compare
from loadstone.compare.difference import Estimate, symmetric
from loadstone.compare.estimate import estimate
from loadstone.compare.verdicts import (
    MARGIN,
    Figure,
    SideComparison,
    figure_names,
    judge_sides,
    overall_verdict,
    round_up,
)
from loadstone.records import Failure, FailureCause, Record, Usage, to_line
from loadstone.results import measure
from loadstone.results import read_summary_and_columns as load_run
from support.engine_records import Load, records, run
from support.paths import ROOT
from support.records import run_info
from support.servers import Done, loadstone, refused

Capture = pytest.CaptureFixture[str]
SMALL = Load(requests=150, concurrency=4, preset="tiny", spread=0.3)
CLIENT = {"cpu_share": 0.1, "loop_lag_p99": 0.0001, "send_lag_p99": 0.0001}


def save(path: Path, made: list[Record], load: Load = SMALL, **more: Any) -> Path:
    """A run folder. `more` goes into run.json; `config` is added to what is there."""
    path.mkdir(parents=True)
    head = run(load)
    config = head["config"] | more.pop("config", {})
    (path / "run.json").write_text(json.dumps(head | {"client": CLIENT} | more | {"config": config}))
    (path / "records.jsonl").write_bytes(b"".join(map(to_line, made)))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: two alike, one with a slower first token, one of a single request, one without success."""
    root = tmp_path_factory.mktemp("runs")
    alike = records(SMALL, 1)
    save(root / "base", alike, digest={"bodies": "a", "schedule": "s"})
    save(root / "again", records(SMALL, 2), digest={"bodies": "a", "schedule": "s"})
    slower = msgspec.structs.replace(SMALL, slower=0.6)
    told = {"config": {"model": "m<2>", "temperature": 0.5}, "versions": {"loadstone": "9"}}
    save(root / "slower", records(slower, 3), digest={"bodies": "b", "schedule": "s"}, **told)
    save(root / "single", alike[:1])
    error = Failure(FailureCause.STATUS, "HTTP 500")
    failing = [Record(index=n, prompt="p", scheduled=n, sent=n, end=n + 9, error=error) for n in range(30)]
    save(root / "failed", failing)
    for number in range(3):
        save(root / "repeats" / f"run-{number}", records(SMALL, 10 + number))
    return root


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)


def shown(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """The JSON form, by figure in `found`."""
    done = loadstone(capsys, "compare", *arguments, "--as", "json")
    assert done.status == 0, done
    whole: dict[str, Any] = json.loads(done.out)
    whole["found"] = {figure["name"]: figure for figure in whole["against"][0]["figures"]}
    return whole


def ok(done: Done) -> str:
    assert (done.status, done.err) == (0, "")
    return done.out


# What is found


def test_a_slower_first_token_is_worse_and_nothing_else_is(capsys: Capture) -> None:
    found = shown(capsys, "base", "slower")["found"]
    assert found["ttft.p50"]["verdict"] == "worse"
    assert found["ttft.p50"]["change_interval"][0] > 0.1
    assert found["ttft.p50"]["wanted"] is None
    assert {found[name]["verdict"] for name in ("tpot.mean", "gap.mean")} <= {"same", "inconclusive"}
    assert {name for name, figure in found.items() if figure["verdict"] == "better"} == set()


def test_runs_of_one_server_are_not_told_apart(capsys: Capture) -> None:
    whole = shown(capsys, "base", "again")
    assert {figure["verdict"] for figure in whole["found"].values()} <= {"same", "inconclusive"}
    open_ = [figure for figure in whole["found"].values() if figure["verdict"] == "inconclusive"]
    assert open_
    assert all(figure["wanted"] >= 1 for figure in open_)
    assert {figure["wanted_of"] for figure in open_} == {"requests"}


def test_figures_are_those_of_the_report(capsys: Capture) -> None:
    found, (summary, _) = shown(capsys, "base", "again")["found"], load_run(Path("base"))
    for name, figure in found.items():
        metric, _, stat = name.partition(".")
        of_report = getattr(summary.metrics[metric], stat) if stat else summary.rates[metric]
        assert figure["base"] == pytest.approx(of_report), name


def test_the_json_form_is_as_documented(capsys: Capture) -> None:
    whole = shown(capsys, "base", "slower", "--gate", "qps >= 1")
    assert list(whole) == [
        "format", "margin", "level", "window", "sides", "settings", "same_prompts", "same_schedule", "against",
        "gates", "found",
    ]  # fmt: skip
    assert (whole["format"], whole["margin"], whole["level"], whole["window"]) == (2, 0.05, 0.05, "whole")
    assert list(whole["against"][0]) == ["name", "verdict", "figures", "cache", "load", "doubts"]
    assert list(whole["found"]["ttft.mean"]) == [
        "name", "family", "unit", "base", "new", "base_interval", "new_interval", "difference", "difference_interval",
        "change", "change_interval", "p_alone", "p", "verdict", "wanted", "wanted_of",
    ]  # fmt: skip
    assert list(whole["gates"][0]) == ["name", "side", "status", "reason"]
    text = (ROOT / "docs" / "comparing.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in [*whole["found"]["ttft.mean"], *list(whole)[:-1]])


def test_repeats_are_runs_of_one_side(capsys: Capture) -> None:
    whole = shown(capsys, "repeats", "base,again")
    assert [len(side["runs"]) for side in whole["sides"]] == [3, 2]
    assert {figure["wanted_of"] for figure in whole["found"].values()} <= {"runs", "requests", None}
    assert "runs" in {figure["wanted_of"] for figure in whole["found"].values()}
    text = ok(loadstone(capsys, "compare", "repeats", "base,again"))
    assert "Intervals come from how the runs of a side differ" in text
    assert "tells nothing of how runs differ" not in text


def test_several_new_sides_are_tested_together(capsys: Capture) -> None:
    alone = shown(capsys, "base", "slower")["found"]["ttft.mean"]
    both = json.loads(loadstone(capsys, "compare", "base", "slower", "again", "--as", "json").out)
    assert [side["name"] for side in both["against"]] == ["slower", "again"]
    beside = next(figure for figure in both["against"][0]["figures"] if figure["name"] == "ttft.mean")
    assert beside["p_alone"] == alone["p_alone"]
    assert beside["p"] >= alone["p"]


def test_a_margin_decides_what_is_the_same(capsys: Capture) -> None:
    wide = shown(capsys, "base", "again", "--margin", "60%")["found"]
    narrow = shown(capsys, "base", "again", "--margin", "0.01%")["found"]
    assert wide["tpot.mean"]["verdict"] == "same"
    assert narrow["tpot.mean"]["verdict"] != "same"
    assert (narrow["tpot.mean"]["wanted"] or 0) > 100_000


def test_margins_and_chances_are_shown_as_they_are(capsys: Capture) -> None:
    text = ok(loadstone(capsys, "compare", "base", "slower", "--margin", "2.5%"))
    assert "within 2.5% (--margin" in " ".join(text.split())
    assert "ame within 2.5%:" in " ".join(text.split())
    assert "below 0.001" in text
    assert " 0.000 " not in text


def test_steady_windows(capsys: Capture) -> None:
    whole = shown(capsys, "base", "again", "--window", "steady")
    summary, _ = load_run(Path("base"))
    assert summary.steady is not None
    assert whole["window"] == "steady"
    assert whole["found"]["ttft.mean"]["base"] == pytest.approx(summary.steady.metrics["ttft"].mean)


# What is shown


def test_what_differs_comes_first(capsys: Capture) -> None:
    text = ok(loadstone(capsys, "compare", "base", "slower"))
    order = ["slower is worse than base", "did not send the same requests", "config.temperature", "versions.loadstone",
             "Runs", "Headline figures", "Further figures", "Holm", "--repeat"]  # fmt: skip
    assert [text.find(words) for words in order] == sorted(text.find(words) for words in order)
    assert -1 not in [text.find(words) for words in order]
    assert "TTFT mean" in text


def test_what_is_the_same_is_said(capsys: Capture) -> None:
    text = ok(loadstone(capsys, "compare", "base", "again"))
    assert "All sides sent the same requests, in the same order." in text
    assert "No setting, server, host or version differs" in text


def test_markdown_for_a_pull_request(capsys: Capture) -> None:
    text = ok(loadstone(capsys, "compare", "base", "slower", "--as", "md"))
    assert text.startswith("## slower against base\n\n**slower is worse than base. Worse: TTFT ")
    assert "| TTFT p50 |" in text
    assert "m&lt;2&gt;" in text
    assert "<2>" not in text


def test_a_web_page_with_both_distributions(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert ok(loadstone(capsys, "compare", "base", "slower", "--as", "html", "-o", str(file))) == ""
    text = file.read_text("utf-8")
    assert "slower is worse than base" in text
    assert "<2>" not in text
    assert text.count("fraction at or below") >= 4
    assert "exists" in refused(capsys, "compare", "base", "slower", "-o", str(file))


def test_charts_hold_both_ends_of_every_distribution() -> None:
    for side in sides.read_sides(["base", "repeats"]):
        for drawn in side.runs:
            ranked = sorted(value for value in load_run(drawn.path)[1].requests.first.tolist())
            curve = drawn.figures.curves["ttft"]
            assert len(curve.values) == len(ranked)
            assert curve.fractions[-1] == 1.0
        assert len(side.curves("gap")) == len(side.runs)


def test_identical_twins_are_left_out(capsys: Capture) -> None:
    text = ok(loadstone(capsys, "compare", "base", "again"))
    assert "time per packet" not in text
    assert "time to first answer" not in text
    assert "gap between events" in text


# Gates


def test_gates_met(capsys: Capture) -> None:
    done = loadstone(capsys, "compare", "base", "again", "--gate", "ttft.p50 <= 10s, error_rate <= 10%")
    assert done.status == 0
    assert re.search(r"ttft.p50 <= 10s +again +met +ttft.p50 is ", done.out)


def test_a_gate_missed_is_exit_1_with_the_reason(capsys: Capture) -> None:
    done = loadstone(capsys, "compare", "base", "slower", "--gate", "ttft.p50 <= +5%", "--gate", "qps >= 0.001")
    assert done.status == 1
    assert done.err.startswith("loadstone: gate missed: ttft.p50 <= +5%: ttft.p50 is +")
    assert "1 of 2 gates missed: ttft.p50 <= +5%." in done.out
    assert "none of it is within the gate" in done.out


def test_an_unresolved_gate_fails_if_strict(capsys: Capture) -> None:
    gate = ("compare", "base", "again", "--gate", "latency.p50 <= +0.01%")
    assert loadstone(capsys, *gate).status == 0
    strict = loadstone(capsys, *gate, "--gate-strict")
    assert strict.status == 1
    assert "gate unresolved: latency.p50" in strict.err


def test_gates_as_junit_and_in_the_summary_of_a_job(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "job.md"))
    gates = ("--gate", "ttft.p50 <= +5%, qps >= 0.001", "--junit", tmp_path / "gates.xml", "--summary")
    assert loadstone(capsys, "compare", "base", "slower", *gates).status == 1
    (suite,) = ElementTree.parse(tmp_path / "gates.xml").getroot()
    assert [(case.get("name"), case.find("failure") is None) for case in suite.iter("testcase")] == [
        ("ttft.p50 <= +5%", False),
        ("qps >= 0.001", True),
    ]
    assert "1 of 2 gates missed" in (tmp_path / "job.md").read_text("utf-8")
    assert "gates.xml exists" in refused(capsys, "compare", "base", "slower", *gates)


def test_gates_on_requests_that_meet_objectives_of_their_own(capsys: Capture) -> None:
    """Neither run has --goodput: the terms say what a request must meet. None meets a TTFT of 1 us."""
    gates = "goodput(ttft<60s, latency:5m) >= 80%, goodput(ttft<1us)>=30%, goodput(ttft<60s) >= 0.01/s, goodput>=9%"
    done = loadstone(capsys, "compare", "base", "again", "--gate", gates, "--as", "json")
    found = json.loads(done.out)
    assert done.status == 1
    assert [gate["status"] for gate in found["gates"]] == ["met", "missed", "met", "missed"]
    assert "(95 % interval" in found["gates"][0]["reason"]
    assert "needs --goodput" in found["gates"][3]["reason"]
    figures = {figure["name"]: figure for figure in found["against"][0]["figures"]}
    fraction = figures["goodput(ttft<60000ms, latency<300000ms)"]
    assert (fraction["new"], fraction["unit"], fraction["new_interval"][1]) == (1.0, "share", 1.0)
    assert figures["goodput(ttft<60000ms)/s"]["new"] == figures["qps"]["new"]
    assert "goodput(ttft<60000ms)/s" in ok(
        loadstone(capsys, "compare", "base", "again", "--gate", "goodput(ttft<60s) >= 0.01/s")
    )


# What is refused


def test_bad_words_are_refused_before_anything_is_read(capsys: Capture) -> None:
    assert "--gate takes METRIC.STATISTIC<=LIMIT" in refused(
        capsys, "compare", "nowhere", "there", "--gate", "fast please"
    )
    assert "takes a fraction such as 5% or 0.05, not '5'" in refused(
        capsys, "compare", "base", "again", "--margin", "5"
    )
    assert "required: NEW" in refused(capsys, "compare", "base")


def test_bad_paths(capsys: Capture, tmp_path: Path) -> None:
    assert "nowhere is not a run" in refused(capsys, "compare", "base", "nowhere")
    assert "no run.json in it" in refused(capsys, "compare", str(tmp_path), "base")
    assert "is given twice" in refused(capsys, "compare", "base", "again,base")
    (tmp_path / "sweep.json").write_text("{}")
    assert "is a sweep: give two of the points in it" in refused(capsys, "compare", "base", str(tmp_path))


def test_an_invalid_run_is_refused_unless_forced(capsys: Capture) -> None:
    assert "failed is invalid (no success: 0 of 30 requests, limit 1)" in refused(capsys, "compare", "base", "failed")
    assert "--force" in refused(capsys, "compare", "failed", "base")
    found = shown(capsys, "base", "failed", "--force")["found"]
    assert (found["error_rate"]["verdict"], found["error_rate"]["new"]) == ("worse", 1.0)
    assert (found["ttft.mean"]["new"], found["ttft.mean"]["verdict"]) == (None, "inconclusive")
    text = ok(loadstone(capsys, "compare", "base", "failed", "--force"))
    assert "error rate" in text
    assert loadstone(capsys, "compare", "base", "failed", "--force", "--as", "html").status == 0
    gate = loadstone(capsys, "compare", "base", "failed", "--force", "--gate", "ttft.p50 <= +5%")
    assert (gate.status, "was not measured" in gate.err) == (1, True)


def test_a_repeat_that_was_cut_short_is_refused_unless_forced(capsys: Capture, tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "five" / str(number), records(SMALL, 20 + number), ended="done")
    save(tmp_path / "five" / "3", records(SMALL, 23)[:40], ended="interrupted")
    told = refused(capsys, "compare", "base", str(tmp_path / "five"))
    assert f"{tmp_path}/five/3 did not end as planned (interrupted)" in told
    assert f"give {tmp_path}/five/1,{tmp_path}/five/2, or compare all the same with --force" in told
    ok(loadstone(capsys, "compare", "base", str(tmp_path / "five"), "--force"))
    ok(loadstone(capsys, "compare", "base", str(tmp_path / "five" / "3")))


def test_a_single_request_tells_nothing(capsys: Capture) -> None:
    found = shown(capsys, "base", "single")["found"]
    assert found["ttft.mean"]["verdict"] == "inconclusive"
    assert found["ttft.mean"]["change"] is not None
    assert found["ttft.mean"]["change_interval"] is None
    assert found["ttft.mean"]["wanted"] > 1
    assert (found["ttft.p95"]["new"], found["ttft.p95"]["wanted"]) == (None, 100)
    assert "-" in ok(loadstone(capsys, "compare", "single", "base"))


def test_records_alone_can_be_compared(capsys: Capture) -> None:
    whole = shown(capsys, "base/records.jsonl", "again")
    assert whole["same_prompts"] is None
    assert "client not known" in whole["sides"][0]["runs"][0]["doubts"][0]


# Parts


def test_nothing_measured_gives_nothing() -> None:
    from loadstone.metrics.columns import build

    columns = build([])
    assert estimate(measure([]), columns).estimates == {}
    assert estimate(measure([]), columns, "steady").curves == {}


def test_answers_that_were_not_streamed() -> None:
    whole = [Record(index=n, prompt="p", scheduled=n * 10**7, sent=n * 10**7, end=(n + 2) * 10**7, streamed=False,
                    status=200, finish="stop", usage=Usage(prompt=5, completion=4)) for n in range(60)]  # fmt: skip
    from loadstone.metrics.columns import build

    found = estimate(measure(whole), build(whole)).estimates
    assert found["latency.mean"].value == pytest.approx(0.02)
    assert found["output_throughput"].error == pytest.approx(0, abs=20)
    assert "ttft.mean" not in found
    assert "gap.mean" not in found


def test_more_requests_are_asked_for_only_where_they_help() -> None:
    """A side without streams has no TTFT however long it runs; one with few requests has a p99 if it has more."""
    few, many = difference.symmetric(0.1, 0.01, 50.0, 60), difference.symmetric(0.2, 0.01, 50.0, 600)
    base = {"ttft.mean": many, "ttft.p99": many, "latency.mean": many, "latency.p99": many}
    (side,) = judge_sides(base, {"new": {"latency.mean": few}})
    wanted = {figure.name: (figure.wanted, figure.wanted_of) for figure in side.figures if figure.new is None}
    assert wanted == {"ttft.mean": (None, None), "ttft.p99": (None, None), "latency.p99": (500, "requests")}


def by_twos(record: Record) -> Record:
    """The same, with two tokens in each event."""
    assert record.pieces is not None
    count = len(record.pieces.times)
    pieces = msgspec.structs.replace(record.pieces, tokens=[2] * count)
    return msgspec.structs.replace(record, pieces=pieces, usage=Usage(prompt=9, completion=2 * count))


def test_goodput_and_tokens_of_events(tmp_path: Path) -> None:
    made = [by_twos(record) for record in records(SMALL, 4)]
    path = save(tmp_path / "run", made, config={"goodput": {"ttft": 10.0}})
    (summary, columns) = load_run(path)
    found = estimate(summary, columns).estimates
    assert found["goodput"].value == summary.rates["goodput"]
    assert found["itl.mean"].value == pytest.approx(summary.metrics["itl"].mean)
    assert found["itl.p95"].value == summary.metrics["itl"].p95
    assert found["itl.mean"].value == pytest.approx(found["gap.mean"].value / 2, rel=0.01)


def figures(**values: tuple[float, float]) -> dict[str, Estimate]:
    """By name with _ for the dot: value and error."""
    return {name.replace("__", "."): symmetric(*pair, 1e6, 1000) for name, pair in values.items()}


@pytest.mark.parametrize(
    ("name", "new", "error", "verdict"),
    [
        ("latency__mean", 1.2, 0.01, "worse"),
        ("latency__mean", 0.8, 0.01, "better"),
        ("latency__mean", 1.01, 0.001, "same"),
        ("latency__mean", 1.2, 0.2, "inconclusive"),
        ("qps", 1.2, 0.01, "better"),
        ("output_throughput", 0.8, 0.01, "worse"),
        ("error_rate", 1.02, 0.002, "worse"),
        ("error_rate", 1.002, 0.0005, "same"),
        ("output_tokens__mean", 1.2, 0.01, "differs"),
        ("packets__mean", 1.0, 0.0, "same"),
    ],
)
def test_verdicts_know_their_direction(name: str, new: float, error: float, verdict: str) -> None:
    (found,) = judge_sides(figures(**{name: (1.0, error)}), {"new": figures(**{name: (new, error)})}, MARGIN)
    assert [figure.verdict for figure in found.figures] == [verdict]


def test_zero_on_one_side_has_no_share() -> None:
    (found,) = judge_sides(figures(gap__p50=(0.0, 0.0)), {"new": figures(gap__p50=(0.01, 0.001))})
    (figure,) = found.figures
    assert (figure.change, figure.verdict, figure.wanted) == (None, "worse", None)
    assert figure.difference == 0.01


def test_holm_is_within_families() -> None:
    base = figures(ttft__mean=(1.0, 0.01), ttft__p50=(1.0, 0.01), tpot__mean=(1.0, 0.01))
    new = figures(ttft__mean=(1.035, 0.01), ttft__p50=(1.0, 0.01), tpot__mean=(1.035, 0.01))
    (found,) = judge_sides(base, {"new": new}, 0.01)
    by_name = {figure.name: figure for figure in found.figures}
    assert by_name["tpot.mean"].p == by_name["tpot.mean"].p_alone
    assert by_name["ttft.mean"].p == pytest.approx(2 * (by_name["ttft.mean"].p_alone or 0))


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["better", "worse"], "mixed"),
        (["better", "same", "inconclusive"], "better"),
        (["worse", "same"], "worse"),
        (["same", "inconclusive"], "inconclusive"),
        (["same", "same"], "same"),
        ([], "inconclusive"),
    ],
)
def test_the_verdict_on_all(verdicts: list[Any], whole: str) -> None:
    found = [Figure(name="ttft.mean", family="ttft", unit="s", base=1, new=1, verdict=verdict) for verdict in verdicts]
    tokens = Figure(name="packets.mean", family="packets", unit="events", base=1, new=1, verdict="differs")
    assert overall_verdict([*found, tokens]) == whole


def test_names_are_unique_and_have_units() -> None:
    assert len(set(figure_names())) == len(figure_names())
    assert compare.unit("ttft.p99") == "s"
    assert compare.unit("output_tokens.mean") == "tokens"
    assert [round_up(value) for value in (1, 9.1, 101, 1234, 99_999)] == [1, 10, 110, 1300, 100_000]


def test_settings_that_differ() -> None:
    def told(**config: Any) -> Any:
        return measure(
            [], {"config": config, "server": {"software": "x"}, "servers": [{"software": config.pop("soft")}]}
        )

    one, two, three = (
        told(rate=5, soft="v1", output="a"),
        told(rate=5, soft="v2"),
        told(rate=6, soft="v1", extra_body={"a": [1]}),
    )
    assert settings.differing_settings([[one], [one]]) == []
    found = {setting.name: setting.values for setting in settings.differing_settings([[one], [two, three]])}
    assert found == {
        "config.rate": [["5.0"], ["5.0", "6.0"]],
        "config.extra_body.a": [["-"], ["-", "[1]"]],
        "servers.software": [["v1"], ["v2", "v1"]],
    }


# Promises, in small (tests/bench/verdicts.py holds them at large)


def test_equals_are_called_equal() -> None:
    load = Load(requests=120, concurrency=4, preset="tiny")
    found = [estimate(*_measured(load, seed)).estimates for seed in range(100, 120)]
    called = [judge_sides(base, {"new": new})[0] for base, new in zip(found[::2], found[1::2], strict=True)]
    assert sum(_different(one, "ttft") for one in called) <= 1
    assert sum(_different(one, "rates") for one in called) <= 1
    assert sum(_different(one, "latency") for one in called) <= 1


def test_the_size_asked_for_is_enough() -> None:
    load = Load(requests=150, concurrency=4, preset="tiny", spread=0.1)
    slower = msgspec.structs.replace(load, slower=0.2)
    (pilot,) = judge_sides(*_two(load, slower, 1), margin=0.2)
    asked = next(figure for figure in pilot.figures if figure.name == "ttft.mean")
    count = asked.wanted or load.requests
    assert 150 <= count < 2000
    larger = [msgspec.structs.replace(each, requests=count) for each in (load, slower)]
    found = [judge_sides(*_two(*larger, seed), margin=0.2)[0] for seed in (31, 33, 35)]
    verdicts = [figure.verdict for one in found for figure in one.figures if figure.name == "ttft.mean"]
    assert verdicts.count("worse") >= 2


def _measured(load: Load, seed: int) -> Any:
    from support.engine_records import measured

    return measured(load, seed)


def _two(base: Load, new: Load, seed: int) -> tuple[dict[str, Estimate], dict[str, dict[str, Estimate]]]:
    one, two = (estimate(*_measured(load, seed + place)).estimates for place, load in enumerate((base, new)))
    return one, {"new": two}


def _different(found: SideComparison, family: str) -> bool:
    return any(figure.verdict in ("better", "worse", "differs") for figure in found.figures if figure.family == family)


@pytest.mark.parametrize(
    ("sides", "same"),
    [
        ([["a"], ["a"]], True),
        ([["a"], ["b"]], False),
        ([["a", "b"], ["b", "a"]], True),
        ([["a", "b"], ["a", "a"]], False),
        ([["a", "a"], ["a"]], True),
        ([["a", "b"], ["a"]], False),
        ([["a"], [None]], None),
    ],
)
def test_sides_that_sent_the_same(sides: list[list[str | None]], same: bool | None) -> None:
    """Repeats have seeds of their own, and two sides the same ones."""
    one = measure(records(Load(requests=2), 0), None)
    runs = [
        [msgspec.structs.replace(one, run=run_info({"digest": {"bodies": name}})) for name in side] for side in sides
    ]
    assert settings.same_digest(runs, "bodies") is same
