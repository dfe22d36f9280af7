"""Each doubt: raised beyond its limit, silent at it, and in words that say what to do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadstone.check import judge
from loadstone.records import Counts, Doubt, Metric, Summary, Window

RUN: dict[str, Any] = {"began": "2025-01-01T00:00:00+00:00", "ended": "done", "config": {"concurrency": 8}}


OPEN: dict[str, Any] = {"run": RUN | {"schedule": {"loop": "open"}}}
"""Stages, or recorded times, with a cap on what is in flight."""


def counts(succeeded: int = 1000, failed: int = 0, stopped: int = 0) -> Counts:
    return Counts(None, succeeded + failed, succeeded, failed, 0, stopped, 0, {})


def steady(concurrency: float | None) -> Window:
    return Window("steady", 0.0, 10.0, 1000, {}, {"concurrency": concurrency})


def summary(**changes: Any) -> Summary:
    sound = Summary(
        run=RUN,
        counts=counts(),
        duration=10.0,
        metrics={"ttft": Metric("s", 1000, p50=0.1), "gap": Metric("s", 1000, p50=0.01)},
        rates={},
        sources={},
        steady=steady(8.0),
        client={"loop_lag_p99": 0.001, "send_lag_p99": 0.001, "cpu_share": 0.3, "run_queue_share": 0.01},
        checks={"little": 1.0, "shared_reads": 0.0, "length_missed": 0.0, "rate_ratio": 1.0},
    )
    return msgspec.structs.replace(sound, **changes)


def configured(**config: Any) -> dict[str, Any]:
    return {"run": RUN | {"config": config}}


def client(**figures: float | None) -> dict[str, Any]:
    return {"client": figures}


def checks(**figures: float | None) -> dict[str, Any]:
    return {"checks": figures}


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
        ({"counts": counts(989, 11)}, "error rate", "suspect", "1.1%", "1%"),
        ({"counts": counts(900, 0, 10)}, "cut off at the end", "suspect", "10 of 910 requests", "1%"),
        ({"run": {}}, "client not known", "suspect", "no run.json", "a run folder"),
        ({"run": {"config": {"goodput": {"ttft": 1}}}}, "client not known", "suspect", "no run.json", "a run folder"),
        ({"run": {"began": "now"}}, "no end", "suspect", "the run has no end", "an end"),
        ({"run": RUN | {"ended": "interrupted"}}, "ended early", "suspect", "interrupted", "a whole run"),
        ({"run": RUN | {"ended": "saturated"}}, "ended early", "suspect", "saturated", "a whole run"),
        ({"run": RUN | {"ended": "errors"}}, "ended early", "suspect", "errors", "a whole run"),
        ({"run": RUN | {"ended": "disk is full"}}, "ended early", "suspect", "disk is full", "a whole run"),
        (client(cpu_share=0.81), "client CPU", "suspect", "81%", "80%"),
        (client(cpu_share=0.96), "client CPU", "invalid", "96%", "80%"),
        (client(run_queue_share=0.06), "wait for a core", "suspect", "6%", "5%"),
        (client(run_queue_share=0.3), "wait for a core", "invalid", "30%", "5%"),
        (client(loop_lag_p99=0.011), "event-loop lag p99", "suspect", "11.0 ms", "10.0 ms"),
        (client(loop_lag_p99=0.051), "event-loop lag p99", "invalid", "51.0 ms", "10.0 ms"),
        (client(send_lag_p99=0.011), "send lag p99", "suspect", "11.0 ms", "10.0 ms"),
        (client(send_lag_p99=0.201), "send lag p99", "invalid", "201.0 ms", "10.0 ms"),
        (configured(rate=10.0) | checks(rate_ratio=0.9), "request rate", "suspect", "9/s sent", "10/s asked"),
        (OPEN | checks(rate_ratio=0.9), "request rate", "suspect", "90% of it", "95%"),
        ({"steady": steady(7.1)}, "concurrency", "suspect", "7.1 in flight while steady", "8 asked"),
        (checks(little=1.3), "Little's law", "suspect", "ratio 1.30", "0.8 to 1.25"),
        (checks(little=0.7), "Little's law", "suspect", "ratio 0.70", "0.8 to 1.25"),
        (checks(shared_reads=0.5), "events that share a read", "suspect", "50%", "20%"),
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
        client(cpu_share=0.8, run_queue_share=0.05, loop_lag_p99=0.01, send_lag_p99=0.01),
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
        checks(length_missed=0.9),
        configured(ignore_eos=True) | checks(length_missed=None),
    ],
)
def test_no_doubt(changes: dict[str, Any]) -> None:
    assert judge(summary(**changes)).status == "valid"


@pytest.mark.parametrize(
    ("ttft", "gap", "limit"),
    [
        (0.1, 0.01, "10.0 ms"),
        (0.1, 0.05, "25.0 ms"),
        (0.01, 0.001, "5.0 ms"),
        (None, None, "5.0 ms"),
        (2.0, 0.01, "200.0 ms"),
    ],
)
def test_lag_is_judged_by_what_it_could_spoil(ttft: float | None, gap: float | None, limit: str) -> None:
    metrics = {"ttft": Metric("s", 9, p50=ttft), "gap": Metric("s", 9, p50=gap)}
    assert only({"metrics": metrics} | client(loop_lag_p99=2.0)).limit == limit


def test_lag_is_judged_without_any_latency() -> None:
    assert only({"metrics": {}} | client(loop_lag_p99=0.006)).limit == "5.0 ms"


def test_the_worst_doubt_decides() -> None:
    verdict = judge(summary(counts=counts(900, 100), **client(cpu_share=0.99, run_queue_share=0.1)))
    assert verdict.status == "invalid"
    assert [doubt.what for doubt in verdict.doubts] == ["error rate", "client CPU", "wait for a core"]
