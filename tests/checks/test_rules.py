"""Test each doubt: raised beyond its limit, silent at it, with advice, and with a heading in the docs."""

from __future__ import annotations

import ast
import errno
import importlib
import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from loadstone.checks import rules
from loadstone.checks.resources import open_files_advice
from loadstone.checks.rules import examine, judge
from loadstone.metrics.measure import count_lacking
from loadstone.records import Failure, FailureCause, Resource
from loadstone.report import run_tables
from loadstone.summary import Counts, Doubt, Metric, Summary, Window
from loadstone.transport import Target
from loadstone.transport.common import connect_failure
from support.paths import ROOT
from support.records import run_info

HOST = {"cores": 8, "allowed_cores": list(range(8)), "open_files": 1024, "local_ports": [101, 200]}
RUN: dict[str, Any] = {"began": "2025-01-01", "ended": "done", "config": {"concurrency": 8}, "host": HOST}


METRICS = {
    "ttft": Metric("s", 1000, mean=0.1, p50=0.1, p99=0.15, p999=0.2),
    "ttft_scheduled": Metric("s", 1000, mean=0.1, p50=0.1, p99=0.15, p999=0.2),
    "latency": Metric("s", 1000, mean=1.0, p50=1.0, p99=1.5),
    "gap": Metric("s", 1000, mean=0.01, p50=0.01, p99=0.02, p999=0.04),
}
# Stages, or recorded times, with a cap on what is in flight.
OPEN: dict[str, Any] = {"run": RUN | {"schedule": {"loop": "open"}}}


SHORT = Counts(120, 91, 91, 0, 0, 0, 5, {}, cancelled=3, abandoned=6)
CANCELLED = Counts(None, 0, 0, 0, 0, 0, 0, {}, cancelled=40)


def counts(succeeded: int = 1000, failed: int = 0, stopped: int = 0) -> Counts:
    return Counts(None, succeeded + failed, succeeded, failed, 0, stopped, 0, {})


def resent(number: int) -> Counts:
    return msgspec.structs.replace(counts(), resent=number)


def steady(concurrency: float | None) -> Window:
    return Window("steady", 0.0, 10.0, 1000, {}, {"concurrency": concurrency})


def summary(**changes: Any) -> Summary:
    sound = Summary(
        run=run_info(RUN),
        counts=counts(),
        duration=10.0,
        metrics=METRICS,
        rates={},
        sources={},
        steady=steady(8.0),
        client={"loop_lag_mean": 0.0001, "loop_lag_p99": 0.001, "cpu_share": 0.3, "run_queue_share": 0.01},
        checks={"little": 1.0, "shared_reads": 0.0, "length_missed": 0.0, "rate_ratio": 1.0},
    )
    if "run" in changes:
        changes["run"] = run_info(changes["run"])
    return msgspec.structs.replace(sound, **changes)


def configured(**config: Any) -> dict[str, Any]:
    return {"run": RUN | {"config": config}}


KERNEL: dict[str, Any] = {"run": RUN | {"clock": "kernel"}}


def client(**figures: float | None) -> dict[str, Any]:
    return {"client": figures}


def checks(**figures: float | None) -> dict[str, Any]:
    return {"checks": figures}


def clock(error: float) -> dict[str, Any]:
    told = [
        {"worker": "0", "host": "a", "offset": 0.3, "error": 0.0001},
        {"worker": "1", "host": "b", "offset": 0.0, "error": error},
    ]
    return {"run": RUN | {"clocks": told}}


def lacking(resource: Resource) -> dict[str, Any]:
    return {"counts": msgspec.structs.replace(counts(), lacking={resource: 7})}


def only(changes: dict[str, Any]) -> Doubt:
    verdict = judge(summary(**changes))
    [doubt] = verdict.doubts
    assert verdict.status == doubt.severity
    assert doubt.advice
    return doubt


def test_a_sound_run_is_valid() -> None:
    verdict = judge(summary())
    assert (verdict.status, verdict.doubts) == ("valid", [])


@pytest.mark.parametrize(
    ("changes", "what", "severity", "measured", "limit"),
    [
        ({"counts": counts(0, 5)}, "no success", "invalid", "0 of 5 requests", "1"),
        ({"counts": CANCELLED}, "no success", "invalid", "0 of 40 requests", "1"),
        ({"counts": SHORT}, "missing records", "suspect", "20 of 120 requests", "0"),
        ({"counts": counts(989, 11)}, "error rate", "suspect", "1.1%", "1%"),
        ({"counts": counts(900, 100)}, "error rate", "suspect", "10.0%", "1%"),
        ({"counts": counts(899, 101)}, "error rate", "invalid", "10.1%", "0.1 (--max-error-rate)"),
        ({"counts": counts(48, 152)}, "error rate", "invalid", "76.0%", "0.1 (--max-error-rate)"),
        (
            {"counts": counts(98, 2)} | configured(max_error_rate=0.01),
            "error rate",
            "invalid",
            "2.0%",
            "0.01 (--max-error-rate)",
        ),
        ({"counts": counts(48, 152)} | configured(max_error_rate=1.0), "error rate", "suspect", "76.0%", "1%"),
        ({"counts": resent(11)}, "resent requests", "suspect", "1.1%", "1%"),
        ({"counts": counts(900, 0, 10)}, "cut off at the end", "suspect", "10 of 910 requests", "1%"),
        ({"run": {}}, "client not known", "suspect", "no run.json", "a run folder"),
        ({"run": {"config": {"goodput": {"ttft": 1}}}}, "client not known", "suspect", "no run.json", "a run folder"),
        ({"run": {"began": "now"}}, "no end", "suspect", "the run has no end", "an end"),
        ({"run": RUN | {"ended": "interrupted"}}, "ended early", "suspect", "interrupted", "a whole run"),
        ({"run": RUN | {"ended": "saturated"}}, "ended early", "suspect", "saturated", "a whole run"),
        ({"run": RUN | {"ended": "errors"}}, "ended early", "suspect", "errors", "a whole run"),
        ({"run": RUN | {"ended": "disk is full"}}, "ended early", "suspect", "write", "a whole run"),
        (client(cpu_share=0.81), "client CPU", "suspect", "81%", "80%"),
        (client(cpu_share=0.96), "client CPU", "invalid", "96%", "80%"),
        (client(run_queue_share=0.06), "wait for a core", "suspect", "6%", "5%"),
        (client(run_queue_share=0.51), "wait for a core", "invalid", "51%", "5%"),
        (client(loop_lag_mean=0.002), "event-loop lag", "suspect", "6.0 ms of TTFT mean 100.0 ms", "5.0 ms"),
        (client(loop_lag_mean=0.009), "event-loop lag", "invalid", "27.0 ms of TTFT mean 100.0 ms", "5.0 ms"),
        (client(loop_lag_p99=0.0021), "event-loop lag", "suspect", "2.1 ms of gap p99 20.0 ms", "2.0 ms"),
        (client(loop_lag_p999=0.5), "event-loop lag", "suspect", "30.0 ms of gap p99.9 40.0 ms", "12.0 ms"),
        (client(loop_lag_max=0.51), "longest stall", "suspect", "510.0 ms", "500.0 ms"),
        (client(loop_lag_max=2.51), "longest stall", "invalid", "2510.0 ms", "500.0 ms"),
        (client(asleep=0.2), "suspended", "suspect", "0.2 s", "0.1 s"),
        (client(asleep=2.6), "suspended", "invalid", "2.6 s", "0.1 s"),
        (client(send_lag_mean=0.006), "send lag", "suspect", "6.0 ms of TTFT from schedule mean 100.0 ms", "5.0 ms"),
        (client(send_lag_p99=0.02), "send lag", "suspect", "20.0 ms of TTFT from schedule p99 150.0 ms", "15.0 ms"),
        ({"run": RUN | {"ceiling": {"share": 0.85}}}, "share of this machine's ceiling", "suspect", "85%", "80%"),
        ({"run": RUN | {"ended": "worker"}}, "lost workers", "invalid", "a worker process died", "none"),
        ({"run": RUN | {"lost": ["w1: batch 3", "w2"]}}, "lost workers", "invalid", "w1: batch 3; w2", "none"),
        (lacking(Resource.OPEN_FILES), "open files", "invalid", "7 requests failed", "1024 files"),
        (lacking(Resource.LOCAL_PORTS), "local ports", "invalid", "7 requests failed", "0"),
        (checks(opened_a_minute=81.0), "local ports", "suspect", "81 connections opened in a minute", "80% of 100"),
        (clock(0.051), "clocks", "suspect", "51.0 ms on b", "50.0 ms"),
        (clock(0.251), "clocks", "invalid", "251.0 ms on b", "50.0 ms"),
        (
            checks(warmup_ttft=130.0, warmup_ttft_shift=0.2, warmup_tpot=40.0, warmup_tpot_shift=0.01),
            "warm-up",
            "suspect",
            "mean TTFT +20% by the first 130 requests",
            "2%",
        ),
        (
            checks(drift_ttft=0.5, drift_ttft_margin=0.3),
            "drift",
            "suspect",
            "TTFT +50% ± 30% in the steady window",
            "10%",
        ),
        (
            checks(drift_qps=-0.3, drift_qps_margin=0.1),
            "drift",
            "suspect",
            "QPS -30% ± 10% in the steady window",
            "10%",
        ),
        ({"counts": counts(19)}, "sample size", "suspect", "19 successes, p99.9 without interval", "20"),
        (configured(rate=10.0) | checks(rate_ratio=0.9), "request rate", "suspect", "9/s while sending", "10/s asked"),
        (OPEN | checks(rate_ratio=0.9), "request rate", "suspect", "90% of it", "95%"),
        ({"steady": steady(7.1)}, "concurrency", "suspect", "7.1 in flight while steady", "8 asked"),
        (checks(little=1.3), "Little's law", "suspect", "ratio 1.30", "0.8 to 1.25"),
        (checks(little=0.7), "Little's law", "suspect", "ratio 0.70", "0.8 to 1.25"),
        (checks(shared_reads=0.5), "events that share a read", "suspect", "50%", "20%"),
        (checks(buffered=0.11), "buffered answers", "suspect", "11%", "10%"),
        (
            checks(rejected_output=0.5, rejected_output_count=-1441.0),
            "reported tokens",
            "suspect",
            "-1,441 output tokens or the like in 50.0% of the answers",
            "1%",
        ),
        (
            checks(rejected_input=1.0, rejected_input_count=0.0),
            "reported tokens",
            "suspect",
            "0 input tokens or the like in 100.0% of the answers",
            "1%",
        ),
        (
            checks(fewer_tokens=0.9),
            "tokens against events",
            "suspect",
            "fewer tokens than events in 90% of the answers",
            "5%",
        ),
        (checks(token_multiple=2.0), "tokens against events", "suspect", "exactly 2 tokens for each event", "1"),
        (checks(unterminated=0.02), "answers without an end", "suspect", "2%", "1%"),
        (checks(unfinished=0.02), "no finish reason", "suspect", "2%", "1%"),
        (
            configured(match_output_length=True) | checks(length_missed=0.25),
            "output length",
            "suspect",
            "25.0% of answers differ",
            "0%",
        ),
        (
            configured(ignore_eos=True) | checks(length_missed=0.25),
            "output length",
            "suspect",
            "25.0% of answers differ",
            "0%",
        ),
    ],
)
def test_a_doubt(changes: dict[str, Any], what: str, severity: str, measured: str, limit: str) -> None:
    doubt = only(changes)
    assert (doubt.what, doubt.severity, doubt.measured, doubt.limit) == (what, severity, measured, limit)


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": counts(990, 10)},
        {"counts": counts(990, 0, 10)},
        {"run": RUN | {"ended": "duration"}},
        {"run": RUN | {"ended": "stages"}},
        OPEN | {"steady": steady(3.0)},
        OPEN | checks(rate_ratio=0.95),
        {"groups": {"turn": [steady(1.0), steady(1.0)]}, "steady": steady(3.0)},
        client(cpu_share=0.8, run_queue_share=0.05, loop_lag_p99=0.002, send_lag_p99=0.015, asleep=0.1),
        client(loop_lag_mean=0.0016, loop_lag_p999=0.012, loop_lag_max=0.5, send_lag_mean=0.005),
        KERNEL | client(loop_lag_mean=0.004, loop_lag_p99=0.009),
        KERNEL | checks(kernel_stamped=0.995) | client(loop_lag_mean=0.004, loop_lag_p99=0.009),
        {"metrics": {}} | client(loop_lag_p99=0.4, send_lag_p99=0.4),
        {"metrics": {"gap": Metric("s", 1000, p50=0.0195, p99=0.02)}} | client(loop_lag_p99=0.4),
        {"metrics": {"gap": Metric("s", 1000, p50=0.0005, p99=0.001)}} | client(loop_lag_p99=0.4),
        {"run": RUN | {"ceiling": {"share": 0.31}}},
        {"run": RUN | {"clocks": []}},
        clock(0.05),
        checks(opened_a_minute=80.0),
        checks(drift_ttft=0.5, drift_ttft_margin=0.4),
        checks(drift_ttft=None, drift_ttft_margin=None),
        checks(warmup_ttft=130.0, warmup_ttft_shift=-0.019),
        {"run": RUN | {"stages": [{"index": 0, "name": "2/s", "start": 0.0, "end": 9.0}]}}
        | checks(warmup_ttft=130.0, warmup_ttft_shift=0.5),
        OPEN | checks(drift_qps=0.9, drift_qps_margin=0.1),
        {"run": RUN | {"stages": [{"index": 0, "name": "2/s", "start": 0.0, "end": 9.0}]}}
        | checks(drift_ttft=2.0, drift_ttft_margin=0.1),
        configured(concurrency=8, arrivals="replay") | checks(drift_ttft=2.0, drift_ttft_margin=0.1),
        {"groups": {"turn": [steady(1.0)]}} | checks(drift_ttft=2.0, drift_ttft_margin=0.1),
        {"counts": counts(20)},
        {"counts": resent(10)},
        client(cpu_share=None, run_queue_share=None, loop_lag_p99=None, send_lag_p99=None),
        client(),
        configured(rate=10.0) | checks(rate_ratio=0.95),
        configured(rate=10.0) | checks(rate_ratio=None),
        configured(concurrency=8) | checks(rate_ratio=0.1),
        {"steady": steady(7.2)},
        {"steady": steady(None)},
        {"steady": None},
        configured(rate=10.0, concurrency=64) | {"steady": steady(3.0)},
        checks(little=0.8),
        checks(little=1.25),
        {"counts": counts(99)} | checks(little=2.0),
        checks(shared_reads=0.2),
        checks(buffered=0.1, rejected_output=0.01, rejected_output_count=0.0, unterminated=0.01, fewer_tokens=0.05),
        checks(reasoning_only=1.0, not_streamed=1.0, token_multiple=None),
        checks(length_missed=0.9),
        configured(ignore_eos=True) | checks(length_missed=None),
    ],
)
def test_no_doubt(changes: dict[str, Any]) -> None:
    assert judge(summary(**changes)).status == "valid"


@pytest.mark.parametrize(
    ("succeeded", "failed", "severity"),
    [(3, 1, "suspect"), (1, 1, "suspect"), (4, 0, None), (2, 2, "invalid"), (8, 2, "invalid"), (19, 1, "suspect")],
)
def test_of_few_requests_one_failure_shows_no_rate(succeeded: int, failed: int, severity: str | None) -> None:
    findings = examine(summary(counts=counts(succeeded, failed)))
    assert [finding.severity for finding in findings if finding.what == rules.ERROR_RATE] == [severity]


def test_a_high_error_rate_is_a_figure_of_the_server() -> None:
    dead = summary(counts=counts(48, 152))
    dead = msgspec.structs.replace(dead, verdict=judge(dead))
    assert dead.verdict is not None
    assert (dead.verdict.status, rules.unfit(dead)) == ("invalid", None)
    late = summary(counts=counts(48, 152), **client(cpu_share=0.97))
    doubt = rules.unfit(msgspec.structs.replace(late, verdict=judge(late)))
    assert doubt is not None
    assert doubt.what == "client CPU"


def test_where_nothing_is_streamed_lag_is_held_against_the_latency() -> None:
    metrics = {"ttft": Metric("s", 0), "latency": Metric("s", 1000, mean=0.02, p50=0.02)}
    doubt = only({"metrics": metrics} | client(loop_lag_mean=0.001))
    assert (doubt.measured, doubt.limit) == ("3.0 ms of latency mean 20.0 ms", "1.0 ms")


@pytest.mark.parametrize(
    ("late", "measured"),
    [
        ({"loop_lag_p99": 0.05, "loop_lag_mean": 0.0001}, "gap p99"),
        ({"loop_lag_p99": 0.021, "loop_lag_mean": 0.01}, "TTFT mean"),
        ({"loop_lag_p999": 0.09, "loop_lag_p99": 0.001}, "gap p99.9"),
    ],
)
def test_a_lag_longer_than_a_gap_moves_stamps_of_the_kernel_too(late: dict[str, float], measured: str) -> None:
    """The next event of the stream has come by then, and both have the stamp of the last."""
    gap = Metric("s", 10_000, mean=0.02, p50=0.02, p99=0.05, p999=0.08)
    ttft = Metric("s", 1000, mean=0.1, p50=0.1, p99=0.101)
    doubt = only(KERNEL | {"metrics": {"ttft": ttft, "gap": gap}} | client(**late))
    assert doubt.what == "event-loop lag"
    assert measured in doubt.measured


def test_a_kernel_that_stamped_little_is_no_kernel_clock() -> None:
    assert only(KERNEL | checks(kernel_stamped=0.9) | client(loop_lag_p99=0.009)).what == "event-loop lag"


def test_late_sends_count_whatever_clock_stamps_arrivals() -> None:
    assert only({"run": RUN | {"clock": "kernel"}} | client(send_lag_mean=0.1)).what == "send lag"


def test_waiting_for_a_core_spoils_less_where_the_kernel_stamps() -> None:
    assert only({"run": RUN | {"clock": "kernel"}} | client(run_queue_share=0.9)).severity == "suspect"


def test_the_worst_doubt_decides() -> None:
    verdict = judge(summary(counts=counts(900, 100), **client(cpu_share=0.99, run_queue_share=0.1)))
    assert verdict.status == "invalid"
    assert [doubt.what for doubt in verdict.doubts] == ["error rate", "client CPU", "wait for a core"]


HERE = {"url": "http://127.0.0.1:8000", "concurrency": 64}
AWAY = {"url": ["http://10.0.0.2", "http://10.0.0.3"], "concurrency": 64}


def on(cores: list[int], config: dict[str, Any], figures: dict[str, Any], workers: int = 1, of: int = 8) -> str:
    host = {"cores": of, "allowed_cores": cores}
    run = RUN | {"config": config, "host": host, "workers": [{}] * workers}
    return judge(summary(run=run, steady=None, **figures)).doubts[-1].advice


@pytest.mark.parametrize(
    ("advice", "says"),
    [
        (on([0, 1, 2, 3, 4, 5, 6, 7], HERE, client(cpu_share=0.97)), "use --workers 2"),
        (on([0, 1, 2, 3, 4, 5, 6, 7], AWAY, client(cpu_share=0.97), workers=2), "use --workers 4"),
        (on([0, 1, 2, 3], HERE, client(cpu_share=0.97), workers=2), "use --workers 3 and another client machine"),
        (on([0, 1], HERE, client(cpu_share=0.97)), "use another client machine, or fewer streams than 64"),
        (on([0, 1], AWAY, client(cpu_share=0.97)), "use --workers 2"),
        (on([0], {"rate": 50.0}, client(cpu_share=0.97)), "use another client machine, or a lower --rate than 50"),
        (
            on([0, 1, 2], HERE, client(run_queue_share=0.2)),
            "pin the server elsewhere: taskset -c 0,1 SERVER, and taskset -c 2 loadstone run ...",
        ),
        (on([0, 1, 2], AWAY, client(run_queue_share=0.2)), "keep it off one core: taskset -c 2 loadstone run ..."),
        (on([0], HERE, client(run_queue_share=0.2)), "it was limited to core 0"),
        (on([0], HERE, client(run_queue_share=0.2), of=1), "use another client machine"),
        (
            on([0, 1], HERE, client(loop_lag_mean=0.1)),
            "look for what holds up the client's loop, or use fewer streams than 64",
        ),
        (on([0, 1], {}, client(send_lag_mean=0.1)), "use a lighter load"),
        (on([0, 1, 2], HERE, client(cpu_share=0.7, loop_lag_mean=0.1)), "core is busy; use --workers 2"),
        (
            on([0, 1], {"url": "unix:/run/x"}, client(run_queue_share=0.06, loop_lag_mean=0.1)),
            "the client waited for a core; pin the server elsewhere: taskset -c 0 SERVER",
        ),
    ],
)
def test_advice_is_for_this_run(advice: str, says: str) -> None:
    assert says in advice


def test_a_rise_of_an_open_loop_hints_at_an_overloaded_server() -> None:
    rising = OPEN | checks(drift_ttft=0.9, drift_ttft_margin=0.2)
    assert "falling behind; lower the --rate" in only(rising).advice
    assert "--warmup" in only(OPEN | checks(drift_ttft=-0.9, drift_ttft_margin=0.2)).advice


@pytest.mark.parametrize(("number", "what"), [(errno.EMFILE, "open files"), (errno.EADDRNOTAVAIL, "local ports")])
def test_the_transport_says_what_ran_out(number: int, what: str) -> None:
    failure = connect_failure(OSError(number, "?"), Target("10.0.0.1", 80))
    assert failure.resource is not None
    assert only(lacking(failure.resource)).what == what
    before = Failure(FailureCause.CONNECT, failure.message)  # as in records that do not have the resource
    assert count_lacking(Counter([before])) == {failure.resource: 1}


@pytest.mark.parametrize(
    ("streams", "limit", "workers", "says"),
    [
        (1100, 1024, 1, "1100 streams need 1132 open files in a process, and the hard limit is 1024"),
        (1100, 1024, 1, "(ulimit -Hn 2200), or stay at -c 992"),
        (1100, 1024, 2, None),
        (992, 1024, 1, None),
        (993, 1024, 1, "-c 992"),
        (100_000, None, 1, None),
    ],
)
def test_streams_that_do_not_fit_the_limit_of_open_files(
    streams: int, limit: int | None, workers: int, says: str | None
) -> None:
    found = open_files_advice(streams, limit, workers)
    assert found is None if says is None else says in (found or "")


def test_the_innocent_are_shown_with_their_evidence() -> None:
    found = summary(run=RUN | {"ceiling": {"share": 0.31}}, **client(cpu_share=0.97, run_queue_share=0.01))
    status, doubt, blank, head, *rows = run_tables.check_text(found).splitlines()
    assert (status, blank) == ("invalid", "")
    assert doubt.startswith("invalid: client CPU: 97% (limit 80%): ")
    assert re.split("  +", head) == ["passed", "measured", "limit"]
    shown = [re.split("  +", row) for row in rows]
    assert ["wait for a core", "1%", "5%"] in shown
    assert ["share of this machine's ceiling", "31%", "80%"] in shown
    assert len(shown) == sum(finding.severity is None for finding in examine(found))


def raised() -> set[str]:
    """What the findings of all rules are called, from the code."""
    names = set()
    for file in ("rules", "answers", "client_lag", "load", "resources", "server"):
        for node in ast.walk(ast.parse((ROOT / f"perf/loadstone/checks/{file}.py").read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "check_limit", "_worst"):
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    names.add(str(first.value))
                elif isinstance(first, ast.Name) and first.id.isupper():
                    names.add(str(getattr(importlib.import_module(f"loadstone.checks.{file}"), first.id)))
    return names


def test_each_doubt_has_a_heading_in_the_docs_and_each_heading_is_a_doubt() -> None:
    text = (ROOT / "docs/doubts.md").read_text("utf-8")
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert headings == raised()
    assert len(headings) > 20


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"counts": counts(0, 5), "failures": [("status", "HTTP 500", 1), ("timeout", "no output", 4)]},
            "4 ended with timeout: no output",
        ),
        (
            {"counts": counts(0, 1), "failures": [("server", "no\x1b[2Jway\n" * 50, 1)]},
            "1 ended with server: " + ("no [2Jway " * 50)[:157] + "...",
        ),
        ({"counts": CANCELLED}, "each was cancelled: give a lower --cancel-share or a later --cancel-after"),
        ({"counts": counts(0, 0)}, "none was sent and ended in time: give a longer --duration"),
        (
            {"run": RUN | {"ended": "errors"}, "failures": [("status", "HTTP 500", 9)]},
            "too many requests failed: 9 ended with status: HTTP 500",
        ),
    ],
)
def test_the_advice_says_what_failed(changes: dict[str, Any], why: str) -> None:
    """`loadstone check` prints no list of failures that it could point to."""
    assert only(changes).advice == why


@pytest.mark.parametrize("duration", [None, 0.0])
def test_a_stall_is_held_against_a_run_that_lasted(duration: float | None) -> None:
    found = examine(summary(duration=duration, client={"loop_lag_max": 0.5}))
    assert "longest stall" not in {finding.what for finding in found}


@pytest.mark.parametrize("ended", ["done", "duration"])
def test_no_records_are_missed_that_were_never_due(ended: str) -> None:
    """A run that went to its end has all of them; another may have sent fewer than planned."""
    number = 100 if ended == "done" else 120
    short = msgspec.structs.replace(SHORT, expected=number)
    assert judge(summary(run=RUN | {"ended": ended}, counts=short)).status == "valid"


@pytest.mark.parametrize(("warm", "advised"), [(0, "--warmup 130"), (8, "--warmup 140"), (1000, "--warmup 1200")])
def test_a_warm_up_is_advised_on_top_of_what_was_warmed_up_already(warm: int, advised: str) -> None:
    found = checks(warmup_ttft=130.0, warmup_ttft_shift=0.2, warmup_tpot=40.0, warmup_tpot_shift=0.5)
    doubt = only(found | {"counts": msgspec.structs.replace(counts(1000), warmup=warm)})
    assert doubt.measured == "mean TPOT +50% by the first 130 requests"
    assert doubt.advice.endswith(advised)
