"""The grammar of objectives: what one may type after --goodput, --slo and --gate, and how mistakes are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from loadstone.cli.main import main
from loadstone.compare import estimate, verdicts
from loadstone.config.loading import load_config
from loadstone.config.schema import Config, from_mapping
from loadstone.config.slo import (
    ALIASES,
    ERRORS,
    GATE,
    GOODPUT,
    METRICS,
    SLO,
    WHOLE,
    Objective,
    format_value,
    parse,
    parse_goodput,
    with_errors,
)
from loadstone.errors import ConfigError, UsageError
from loadstone.metrics.request_slo import VALUES
from support.paths import ROOT

GOOD = {"ttft": 0.2, "tpot": 0.05}


@pytest.mark.parametrize(
    ("flags", "text", "wanted"),
    [
        # Figures of a run.
        ((SLO, GATE), "ttft.p99 < 500ms", ("ttft", "p99", 0.5)),
        ((SLO, GATE), "ttft.p99<=500 ms", ("ttft", "p99", 0.5)),
        ((SLO, GATE), "TTFT.P99 ≤ 0.5s", ("ttft", "p99", 0.5)),
        ((SLO, GATE), "ttft.p99<500", ("ttft", "p99", 0.5)),
        ((SLO, GATE), "tpot.p95 <= 50ms", ("tpot", "p95", 0.05)),
        ((SLO, GATE), "latency.mean < 5s", ("latency", "mean", 5.0)),
        ((SLO, GATE), "e2el.mean<1.5m", ("latency", "mean", 90.0)),
        ((SLO, GATE), "inter-token-latency.p50<900us", ("itl", "p50", 9e-4)),
        ((SLO,), "gap.p99.9<200", ("gap", "p99.9", 0.2)),
        ((SLO, GATE), "error_rate < 1%", ("error_rate", "", 0.01)),
        ((SLO, GATE), "error-rate<0.05", ("error_rate", "", 0.05)),
        # Fractions of requests that meet objectives.
        ((SLO, GATE), "goodput >= 99%", ("attainment", "", 0.99, True)),
        ((SLO, GATE), "goodput>0.99", ("attainment", "", 0.99, True)),
        ((SLO, GATE), "attainment>=99%", ("attainment", "", 0.99, True)),
        (
            (SLO, GATE),
            "goodput ( ttft<200ms, tpot < 50 ms ) >= 99%",
            ("attainment", "", 0.99, True, False, GOOD),
        ),
        ((SLO, GATE), "goodput(ttft:200 tpot:50) >= 99%", ("attainment", "", 0.99, True, False, GOOD)),
        # Single requests. A gate on a metric alone is on its mean.
        ((GOODPUT, GATE), "ttft<200ms", ("ttft", "", 0.2)),
        ((GOODPUT,), "ttft:200ms", ("ttft", "", 0.2)),
        ((GOODPUT,), "ttft:200", ("ttft", "", 0.2)),
        ((GOODPUT,), "e2el:1500", ("latency", "", 1.5)),
        ((GOODPUT,), "packet_time:250us", ("packet_time", "", 0.00025)),
        ((GOODPUT,), "ttfat:.5s", ("ttfat", "", 0.5)),
        ((GOODPUT,), "latency_scheduled:1s", ("latency_scheduled", "", 1.0)),
        # Rates, counts and changes.
        ((GATE,), "output_throughput >= 1000", ("output_throughput", "", 1000.0, True)),
        ((GATE,), "request_throughput > 10/s", ("qps", "", 10.0, True)),
        ((GATE,), "goodput >= 2.5/s", ("goodput", "", 2.5, True)),
        ((GATE,), "goodput >= 2.5", ("goodput", "", 2.5, True)),
        ((GATE,), "goodput(ttft<200ms, tpot<50ms) >= 2.5/s", ("goodput", "", 2.5, True, False, GOOD)),
        ((GATE,), "output_tokens.mean >= 100", ("output_tokens", "mean", 100.0, True)),
        ((GATE,), "output_throughput >= -2%", ("output_throughput", "", -0.02, True, True)),
        ((GATE,), "ttft.p99 <= +5%", ("ttft", "p99", 0.05, False, True)),
        ((GATE,), "goodput >= -2%", ("goodput", "", -0.02, True, True)),
    ],
)
def test_a_term_means_the_same_after_every_flag(flags: tuple[str, ...], text: str, wanted: tuple[Any, ...]) -> None:
    (objective,) = parse(text, flags[0])
    assert all(parse(text, flag) == (objective,) for flag in flags)
    metric, figure, limit, at_least, relative, requests = (*wanted, *(False, False, {})[len(wanted) - 3 :])
    assert (objective.metric, objective.figure, objective.text) == (metric, figure, text)
    assert (objective.at_least, objective.relative) == (at_least, relative)
    assert objective.limit == pytest.approx(limit)
    assert objective.requests == pytest.approx(requests)


@pytest.mark.parametrize(
    "text",
    [
        "ttft.p99<500ms tpot.p95<50ms goodput(ttft<1s, tpot<2s)>=9%",
        "ttft.p99 < 500ms, tpot.p95 < 50 ms,goodput(ttft<1s tpot<2s)>=9%",
        " ttft.p99<500ms; tpot.p95<50ms; goodput(ttft<1s; tpot<2s) >= 9%; ",
        "ttft.p99<500ms and tpot.p95<50ms && goodput(ttft<1s and tpot<2s)>=9%",
    ],
)
def test_separators(text: str) -> None:
    assert [one.name for one in parse(text, SLO)] == ["ttft.p99", "tpot.p95", "goodput(ttft<1000ms, tpot<2000ms)"]


FORM = {
    GOODPUT: "--goodput takes METRIC<TIME such as 'ttft<200ms, tpot<50ms' or ttft:200ms",
    SLO: "--slo takes METRIC.STATISTIC<LIMIT such as 'ttft.p99<500ms, tpot.p95<50ms, goodput(ttft<200ms)>=99%'",
    GATE: "--gate takes METRIC.STATISTIC<=LIMIT such as 'ttft.p99<=+5%, output_throughput>=-2%, latency.mean<=5s'",
}
ALL = "mean, p1, p5, p25, p50, p75, p90, p95, p99, p99.9"
ONE = "ttft, tpot, latency, ttft_scheduled, ttfat, packet_time, latency_scheduled"


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        # Terms of another form.
        (SLO, "", f"{FORM[SLO]}, not ''"),
        (SLO, "ttft", f"{FORM[SLO]}, not 'ttft'"),
        (SLO, "tpot.p95<1s, ttft.p99 = 5ms, itl.p50<1s", f"{FORM[SLO]}, not 'ttft.p99 = 5ms'"),
        (SLO, "ttft.p99:5ms", f"{FORM[SLO]}, not 'ttft.p99:5ms'"),
        (GATE, "ttft.p99 <= fast", f"{FORM[GATE]}, not 'ttft.p99 <= fast'"),
        (GOODPUT, "ttft:-ms", f"{FORM[GOODPUT]}, not 'ttft:-ms'"),
        (GOODPUT, "ttft:1.2.3s", f"{FORM[GOODPUT]}, not 'ttft:1.2.3s'"),
        (GOODPUT, ":5ms", f"{FORM[GOODPUT]}, not ':5ms'"),
        # Unknown metrics, and metrics of other flags.
        (SLO, "tttft.p99<5ms", f"{FORM[SLO]}, not 'tttft.p99<5ms': did you mean ttft?"),
        (GATE, "output_thruput >= 9", f"{FORM[GATE]}, not 'output_thruput >= 9': did you mean output_throughput?"),
        (SLO, "speed.p99<5ms", f"--slo takes a metric ({ONE}, gap, itl, error_rate, goodput), not 'speed.p99<5ms'"),
        (GOODPUT, "speed:1s", f"--goodput takes a metric ({ONE}), not 'speed:1s'"),
        (GOODPUT, "itl<5ms", f"{FORM[GOODPUT]} (itl is for --slo and --gate), not 'itl<5ms'"),
        (GOODPUT, "goodput>=9%", f"{FORM[GOODPUT]} (goodput is for --slo and --gate), not 'goodput>=9%'"),
        (SLO, "qps>=9", f"{FORM[SLO]} (qps is for --gate), not 'qps>=9'"),
        # Statistics.
        (SLO, "ttft<5ms", f"--slo takes a statistic of ttft such as ttft.p99 ({ALL}), not 'ttft<5ms'"),
        (SLO, "ttft.p98<5ms", f"--slo takes a statistic of ttft such as ttft.p99 ({ALL}), not 'ttft.p98<5ms'"),
        (GATE, "ttft.p42<1s", "--gate takes a statistic of ttft such as ttft.p99 (mean, p50, p95, p99)"
         ", not 'ttft.p42<1s'"),
        (GATE, "qps.p99>=3", "--gate takes qps without a statistic, not 'qps.p99>=3'"),
        (GOODPUT, "ttft.p99<5s", "--goodput takes the longest ttft of a request such as ttft<200ms, not 'ttft.p99<5s'"),
        # The wrong side, or the wrong unit.
        (SLO, "ttft.p99>5ms", "--slo takes an upper limit of ttft.p99, not 'ttft.p99>5ms'"),
        (SLO, "goodput<99%", "--slo takes a lower limit such as goodput>=99%, not 'goodput<99%'"),
        (GOODPUT, "ttft>5s", "--goodput takes the longest ttft of a request such as ttft<200ms, not 'ttft>5s'"),
        (SLO, "ttft.p99<0ms", "--slo takes a time such as 500ms above 0 for ttft, not 'ttft.p99<0ms'"),
        (SLO, "ttft.p99<5%", "--slo takes a time such as 500ms for ttft, not 'ttft.p99<5%'"),
        (GOODPUT, "ttft:5parsec", "--goodput takes a time such as 500ms for ttft, not 'ttft:5parsec'"),
        (SLO, "error_rate<5ms", "--slo takes a fraction such as 1% or 0.01 for error_rate, not 'error_rate<5ms'"),
        (SLO, "error_rate<1", "--slo takes a fraction such as 1% or 0.01 for error_rate, below 100%"
         ", not 'error_rate<1'"),
        (SLO, "goodput>=1.5", "--slo takes a fraction such as 1% or 0.01 for goodput, below 100%, not 'goodput>=1.5'"),
        (GATE, "qps>=9ms", "--gate takes a number such as 1000 for qps, or a change such as +5%, not 'qps>=9ms'"),
        # Changes against a base.
        (SLO, "ttft.p99<=+5%",
         "--slo takes a time such as 500ms for ttft (a change against a base is for --gate), not 'ttft.p99<=+5%'"),
        (GATE, "ttft.p99<=5%", "--gate takes a change with its sign, such as +5% or -5%, not 'ttft.p99<=5%'"),
        (GATE, "ttft.p99<=+5ms", "--gate takes a change against the base in percent, such as +5%"
         ", not 'ttft.p99<=+5ms'"),
        (GATE, "error_rate<=+5%",
         "--gate takes a fraction such as 1% or 0.01 for error_rate, without a sign, not 'error_rate<=+5%'"),
        # Objectives of single requests inside a term, and two limits.
        (SLO, "goodput(ttft.p9<5ms)>=9%",
         "--slo goodput(...) takes the longest ttft of a request such as ttft<200ms, not 'ttft.p9<5ms'"),
        (GATE, "goodput()>=9%", f"--gate goodput(...){FORM[GOODPUT].removeprefix(GOODPUT)}, not ''"),
        (SLO, "ttft.p99(tpot<5ms)<3s",
         "--slo takes objectives in brackets after goodput, such as goodput(ttft<200ms)>=99%"
          ", not 'ttft.p99(tpot<5ms)<3s'"),
        (SLO, "ttft.p99<1s ttft.p99<2s", "--slo takes one limit of ttft.p99, not 'ttft.p99<1s ttft.p99<2s'"),
        (GOODPUT, "ttft<1s ttft:2s", "--goodput takes one limit of ttft, not 'ttft<1s ttft:2s'"),
    ],
)  # fmt: skip
def test_refused(flag: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, flag)
    assert str(caught.value) == message
    assert caught.value.field == flag.removeprefix("--")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gsm8k >= 80%", ("gsm8k", "", 0.8, True, False)),
        ("gsm8k>=0.8", ("gsm8k", "", 0.8, True, False)),
        ("gsm8k >= -1%", ("gsm8k", "", -0.01, True, True)),
        ("gsm8k.exact_match >= 80%", ("gsm8k", "exact_match", 0.8, True, False)),
        ("my-task.v2 >= 80%", ("my-task.v2", "", 0.8, True, False)),
        ("my-task.v2.acc >= 80%", ("my-task.v2", "acc", 0.8, True, False)),
    ],
)
def test_scores(text: str, wanted: tuple[Any, ...]) -> None:
    (found,) = parse(text, GATE, ["gsm8k", "my-task", "my-task.v2"])
    assert (found.metric, found.figure, found.limit, found.at_least, found.relative) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gsm >= 80%", "--gate takes a task or group of these evaluations (gsm8k, mmlu)"
         ", not 'gsm >= 80%': did you mean gsm8k?"),
        ("qps >= 1", "--gate takes a task or group of these evaluations (gsm8k, mmlu), not 'qps >= 1'"),
        ("gsm8k >= 80", "--gate takes a score of gsm8k up to 100% such as 80% or 0.8, not 'gsm8k >= 80'"),
        ("gsm8k >= -1", "--gate takes a difference to the base in points, such as -1%, not 'gsm8k >= -1'"),
        ("gsm8k >= 5ms",
         "--gate takes TASK>=LIMIT such as 'gsm8k>=80%' or, against the base in points, 'gsm8k>=-1%'"
          ", not 'gsm8k >= 5ms'"),
    ],
)  # fmt: skip
def test_scores_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, GATE, ["gsm8k", "mmlu"])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "value",
    [
        "ttft:200ms tpot:50ms",
        "ttft<200ms, tpot<50ms",
        ["ttft:200", "tpot:50ms"],
        ["ttft<200ms,", "tpot<50ms"],
        {"ttft": 0.2, "tpot": 0.05},
        {"ttft": "200ms", "tpot": "50ms"},
        {"ttft": "200ms", "tpot": 0.05},
    ],
)
def test_goodput_of_flags_and_files(value: Any) -> None:
    assert parse_goodput(value) == pytest.approx(GOOD)
    assert from_mapping({"goodput": value}).check().goodput == pytest.approx(GOOD)


@pytest.mark.parametrize("lines", ['goodput = ["ttft:200ms", "tpot:50ms"]', 'goodput = "ttft<200ms, tpot<50ms"',
                                   '[goodput]\nttft = 0.2\ntpot = "50ms"'])  # fmt: skip
def test_goodput_of_a_file(lines: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(lines)
    assert load_config({"config": str(tmp_path / "run.toml")}).goodput == pytest.approx(GOOD)
    flags = {"config": str(tmp_path / "run.toml"), "goodput": ["latency:5s"]}
    assert load_config(flags).goodput == {"latency": 5.0}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"speed": 1.0}, f"--goodput takes a metric ({ONE}), not 'speed:1s'"),
        ({"ttft": 0.0}, f"{FORM[GOODPUT]}, not 'ttft:0.0s'"),
        ({"ttft": [1]}, f"{FORM[GOODPUT]}, not 'ttft:[1]s'"),
        ({"ttft": "fast"}, f"{FORM[GOODPUT]}, not 'ttft:fast'"),
        (["ttft:200ms", "itl:5ms"], f"{FORM[GOODPUT]} (itl is for --slo and --gate), not 'itl:5ms'"),
    ],
)
def test_goodput_refused(value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_goodput(value)
    assert str(caught.value) == message


def test_a_wrong_objective_of_a_library_user_is_refused() -> None:
    with pytest.raises(UsageError, match="--goodput takes a metric"):
        Config(goodput={"speed": 1.0}).check()


def test_the_table_of_names_is_that_of_the_code() -> None:
    assert {name for name, (_, flags) in METRICS.items() if GOODPUT in flags} == set(VALUES)
    gated = {name for name, (_, flags) in METRICS.items() if GATE in flags} - {"attainment"}
    assert gated == {name.partition(".")[0] for name in verdicts.figure_names()}
    whole = {name for name in gated if METRICS[name][0] in WHOLE}
    assert whole == set(estimate.RATES)


def test_the_page_about_objectives_has_all_names_with_their_flags() -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "objectives.md").read_text("utf-8").splitlines()
            if line.startswith("| `") and line.count("|") == 7]  # fmt: skip
    names = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert set(names) == set(METRICS) - {"attainment"}
    for name, row in names.items():
        flags = {*METRICS[name][1], *(METRICS["attainment"][1] if name == "goodput" else ())}
        assert [bool(cell.strip()) for cell in row[4:7]] == [flag in flags for flag in (GOODPUT, SLO, GATE)], name
        aliases = {alias for alias, metric in ALIASES.items() if metric == name}
        assert set(re.findall(r"`(\w+)`", row[2])) - {"attainment"} == aliases


def test_words() -> None:
    for text in (
        "ttft.p99 < 500 ms", "latency.mean < 12 s", "error_rate < 1%", "goodput >= 99%", "qps >= 1,000/s",
        "goodput(ttft<200ms, tpot<50ms) >= 99%", "ttft.p99 < +5%",
    ):  # fmt: skip
        (found,) = parse(text.replace("1,000", "1000"), GATE)
        assert str(found) == text
    assert format_value("ttft", None) == "-"


def test_errors_have_a_limit_always() -> None:
    assert with_errors(parse("ttft.p99<1s", SLO))[1] == Objective("error_rate", "", ERRORS)
    assert with_errors(parse("error_rate<9%", SLO)) == parse("error_rate<9%", SLO)


def test_commands_refuse_in_the_same_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = []
    for words in (
        ["run", "--url", "http://127.0.0.1:9", "--goodput", "tttft<5ms"],
        ["report", str(tmp_path), "--goodput", "tttft<5ms"],
        ["sweep", "--url", "http://127.0.0.1:9", "--slo", "tttft.p99<5ms"],
        ["plan", str(tmp_path), "--rate", "1", "--slo", "tttft.p99<5ms"],
        ["compare", str(tmp_path), str(tmp_path), "--gate", "tttft.p99<5ms"],
    ):
        assert main(words) == 2
        said.append(capsys.readouterr().err)
    assert all("did you mean ttft?" in text and text.count("\n") == 1 for text in said)
