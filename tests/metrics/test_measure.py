"""The formulas, on records small enough to check in one's head. All times are whole milliseconds."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from loadstone.metrics import windows
from loadstone.metrics.columns import build
from loadstone.records import Failure, FailureCause, Pieces, Record, Usage, from_lines, to_line
from loadstone.results import measure
from loadstone.summary import Metric, Summary
from support.records import MS, failed, streamed, whole

FAILURES: list[FailureCause] = ["connect", "tls", "timeout", "status", "protocol", "truncated", "empty", "server"]


def of(*records: Record, **config: Any) -> Summary:
    return measure(records, {"config": config})


def mean(summary: Summary, name: str) -> float | None:
    return summary.metrics[name].mean


def test_one_request() -> None:
    summary = of(streamed(100, 150, 160, 180, 210, scheduled=90))
    expected = {
        "ttft": 0.050,
        "ttft_scheduled": 0.060,
        "ttfat": 0.050,
        "latency": 0.110,
        "latency_scheduled": 0.120,
        "tpot": 0.020,
        "packet_time": 0.020,
        "packets": 4,
        "input_tokens": 10,
        "output_tokens": 4,
        "wait": 0.010,
        "gap": 0.020,
        "itl": 0.020,
    }
    assert {name: mean(summary, name) for name in expected} == pytest.approx(expected)
    assert {summary.metrics[name].n for name in expected} == {1, 3}
    assert summary.metrics["connect"] == Metric("s", 0)
    assert summary.duration == pytest.approx(0.120)
    assert summary.rates == pytest.approx(
        {
            "qps": 1 / 0.120,
            "request_rate": 1 / 0.120,
            "output_throughput": 4 / 0.120,
            "input_throughput": 10 / 0.120,
            "total_throughput": 14 / 0.120,
            "concurrency": 110 / 120,
            "peak_concurrency": 1,
            "error_rate": 0,
            "cached_share": None,
        }
    )
    assert summary.sources == {"input": "server", "output": "server"}


def test_no_records() -> None:
    summary = measure([])
    assert (summary.duration, summary.metrics, summary.rates, summary.steady) == (None, {}, {}, None)
    assert (summary.counts.completed, summary.counts.expected) == (0, None)
    assert set(summary.checks.values()) == {None}
    assert summary.sources == {"input": "unknown", "output": "unknown"}


def test_warmup_alone_measures_nothing() -> None:
    summary = of(streamed(0, 10, 20, phase="warmup"))
    assert (summary.duration, summary.metrics, summary.counts.warmup) == (None, {}, 1)


def test_units_are_named() -> None:
    units = {name: metric.unit for name, metric in of(streamed(0, 10, 20)).metrics.items()}
    assert units == {
        **dict.fromkeys(("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot"), "s"),
        **dict.fromkeys(("packet_time", "wait", "connect", "gap", "itl"), "s"),
        "packets": "events",
        **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens"), "tokens"),
    }


def test_latency_leaves_out_trailing_usage_and_done() -> None:
    assert mean(of(streamed(0, 10, 20, end=500 * MS)), "latency") == pytest.approx(0.020)


def test_first_answer_comes_after_the_reasoning() -> None:
    summary = of(streamed(0, 10, 20, 30, first_answer=30 * MS))
    assert (mean(summary, "ttft"), mean(summary, "ttfat")) == pytest.approx((0.010, 0.030))


def test_an_answer_of_reasoning_alone_has_no_first_answer() -> None:
    assert of(streamed(0, 10, 20, first_answer=None)).metrics["ttfat"] == Metric("s", 0)


def test_not_streamed() -> None:
    summary = of(whole(100, 400))
    assert mean(summary, "latency") == pytest.approx(0.300)
    assert {name for name, metric in summary.metrics.items() if metric.n} == {
        "latency",
        "latency_scheduled",
        "input_tokens",
        "output_tokens",
        "wait",
    }
    assert summary.rates["output_throughput"] == pytest.approx(5 / 0.300)
    assert summary.metrics["itl"].note is None


def test_a_one_token_answer_has_no_tpot_and_no_gap() -> None:
    metrics = of(streamed(0, 10)).metrics
    assert [metrics[name].n for name in ("ttft", "tpot", "packet_time", "gap", "itl")] == [1, 0, 0, 0, 0]


def test_an_answer_of_no_tokens_counts_as_zero_only_if_it_has_no_text() -> None:
    silent = of(streamed(0, 10, pieces=Pieces([0], [0]), usage=Usage(10, 0)))
    assert (mean(silent, "output_tokens"), silent.metrics["tpot"].n) == (0, 0)
    assert silent.rates["output_throughput"] == 0
    summary = of(streamed(0, 10, usage=Usage(10, 0)))
    assert (mean(summary, "output_tokens"), summary.metrics["tpot"].n) == (None, 0)
    assert summary.rates["output_throughput"] is None


def test_tpot_by_tokens_and_packet_time_by_events() -> None:
    summary = of(streamed(0, 10, 40, usage=Usage(10, 7)))
    assert (mean(summary, "tpot"), mean(summary, "packet_time")) == pytest.approx((0.005, 0.030))


def test_connect_is_of_requests_that_opened_a_connection() -> None:
    summary = of(streamed(0, 10), streamed(0, 10, connect=4 * MS))
    assert (summary.metrics["connect"].n, mean(summary, "connect")) == pytest.approx((1, 0.004))


# Gaps and inter-token latency


def test_itl_one_token_an_event() -> None:
    summary = of(streamed(0, 10, 20, 50))
    assert (summary.metrics["itl"].n, mean(summary, "itl"), summary.metrics["itl"].note) == (2, 0.020, None)


def test_itl_stop_token_has_no_event() -> None:
    summary = of(streamed(0, 10, 20, 50, usage=Usage(10, 4), finish="stop"))
    assert (summary.metrics["itl"].n, summary.metrics["itl"].note) == (2, None)
    assert mean(summary, "tpot") == pytest.approx(0.040 / 3)


@pytest.mark.parametrize("usage", [Usage(10, 4), Usage(10, 2), Usage(10, None), None])
def test_itl_is_none_with_the_reason_where_tokens_per_event_are_not_known(usage: Usage | None) -> None:
    itl = of(streamed(0, 10, 20, 50, usage=usage)).metrics["itl"]
    assert (itl.n, itl.mean) == (0, None)
    assert itl.note == "tokens per event are known for 0 of 2 gaps (--usage each asks the server for them)"


def test_itl_spreads_gaps_over_the_tokens_the_server_counts() -> None:
    pieces = Pieces([0, 12 * MS, 30 * MS], [1, 9, 5], [1, 3, 2])
    summary = of(streamed(0, 10, 22, 52, pieces=pieces, usage=Usage(10, 6)))
    itl = summary.metrics["itl"]
    assert (itl.n, itl.min, itl.max, itl.mean) == pytest.approx((5, 0.004, 0.015, (3 * 4 + 2 * 15) / 5 / 1000))
    assert (summary.metrics["gap"].n, mean(summary, "gap")) == (2, 0.021)


def test_itl_of_a_mixture_is_of_what_is_known_and_says_so() -> None:
    itl = of(streamed(0, 10, 20), streamed(0, 10, 30, 40, usage=None)).metrics["itl"]
    assert (itl.n, itl.mean) == (1, 0.010)
    assert itl.note is not None
    assert itl.note.startswith("tokens per event are known for 1 of 3 gaps")


def test_gaps_are_pooled_in_order_of_time() -> None:
    slow, fast = streamed(0, 10, 40, 70), streamed(0, 12, 22, 32)
    summary = of(slow, fast)
    assert (summary.metrics["gap"].n, mean(summary, "gap")) == pytest.approx((4, 0.020))


# Tokens and throughput


def test_tokens_are_booked_when_they_arrive() -> None:
    """A warm-up request sends ten tokens into the window: the steady rate counts them, the whole run's does not."""
    warm = streamed(0, *range(100, 2001, 100), phase="warmup", usage=Usage(50, 20))
    summary = of(warm, streamed(1050, 2050, index=1, usage=Usage(7, 1)))
    assert summary.duration == pytest.approx(1.0)
    assert summary.rates["output_throughput"] == pytest.approx(1)
    assert summary.rates["input_throughput"] == pytest.approx(7)
    assert summary.steady is not None
    assert (summary.steady.start, summary.steady.end) == pytest.approx((1.05, 2.0))
    assert summary.steady.rates["output_throughput"] == pytest.approx(10 / 0.95)


def test_tokens_of_an_event_are_their_even_share() -> None:
    """Two events, six tokens: three of them arrive in the second half."""
    columns = build([streamed(0, 100, 1100, usage=Usage(50, 6))])
    everyone = columns.requests.measured
    assert windows.output_booked(columns, (1e9, 2e9), everyone) == pytest.approx(3)
    assert windows.output_booked(columns, (0, 2e9), ~everyone) is None


@pytest.mark.parametrize("usage", [None, Usage(None, None)])
def test_unknown_tokens_are_none(usage: Usage | None) -> None:
    summary = of(streamed(0, 10, 20, usage=usage), streamed(0, 10, 20))
    rates = {name: value for name, value in summary.rates.items() if "throughput" in name}
    assert rates == {"output_throughput": None, "input_throughput": None, "total_throughput": None}
    assert summary.sources == {"input": "server and unknown", "output": "server and unknown"}
    assert (summary.metrics["output_tokens"].n, summary.metrics["tpot"].n) == (1, 1)


def test_the_tokenizer_counts_what_the_server_did_not() -> None:
    counted = streamed(0, 10, 30, usage=None, text="one two three", reasoning="four")
    summary = measure([counted], None, lambda text: len(text.split()))
    assert (mean(summary, "output_tokens"), mean(summary, "tpot")) == pytest.approx((4, 0.020 / 3))
    assert summary.sources == {"input": "unknown", "output": "tokenizer"}


def test_the_server_s_count_wins_over_the_tokenizer_s() -> None:
    summary = measure([streamed(0, 10, 30, text="one two three")], None, lambda text: len(text.split()))
    assert (mean(summary, "output_tokens"), summary.sources["output"]) == (2, "server")


def test_cached_tokens_are_those_the_server_tells() -> None:
    told, none, untold = Usage(40, 1, 30), Usage(40, 1, 0), Usage(40, 1)
    cached = of(*(streamed(0, 10, usage=usage) for usage in (told, none, untold))).metrics["cached_tokens"]
    assert (cached.n, cached.mean) == (2, 15)
    assert of(streamed(0, 10, usage=untold)).metrics["cached_tokens"] == Metric("tokens", 0)


def test_cached_share_is_of_the_tokens_the_server_told_it_for() -> None:
    told, untold = streamed(0, 10, usage=Usage(40, 1, 30)), streamed(0, 10, usage=Usage(100, 1))
    assert of(told, streamed(0, 10, usage=Usage(60, 1, 20)), untold).rates["cached_share"] == pytest.approx(0.5)
    assert of(untold).rates["cached_share"] is None


# Failures


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_counted_and_never_measured(kind: FailureCause) -> None:
    slow = msgspec.structs.replace(streamed(0, 900, 990), error=Failure(kind, "gone"))
    summary = of(streamed(0, 10, 20), slow)
    assert {metric.n for metric in summary.metrics.values()} <= {0, 1}
    assert mean(summary, "latency") == pytest.approx(0.020)
    assert summary.counts.by_error == {kind: 1}
    assert (summary.counts.completed, summary.counts.succeeded, summary.counts.failed) == (2, 1, 1)
    assert summary.counts.empty == (kind == "empty")
    assert summary.rates["error_rate"] == 0.5
    assert summary.rates["output_throughput"] == pytest.approx(2 / 0.990)


def test_stopped_requests_did_not_complete() -> None:
    summary = of(streamed(0, 10, 20), failed("stopped", 5, 30), failed("stopped", None, 30))
    counts = summary.counts
    assert (counts.completed, counts.succeeded, counts.failed, counts.stopped) == (1, 1, 0, 2)
    assert summary.rates["error_rate"] == 0


def test_cancelled_requests_are_neither_success_nor_failure() -> None:
    """They were sent and in flight, and nothing else of them is told."""
    slow = streamed(0, 900, 990, error=Failure(FailureCause.CANCELLED, "after 990 ms"), abandoned=2)
    summary = of(streamed(0, 10, 20), slow, goodput={"ttft": 1.0})
    counts = summary.counts
    assert (counts.completed, counts.succeeded, counts.failed, counts.cancelled) == (1, 1, 0, 1)
    assert (counts.stopped, counts.abandoned, counts.by_error) == (0, 2, {"cancelled": 1})
    assert (summary.rates["error_rate"], summary.rates["attainment"], summary.failures) == (0, 1, [])
    assert (summary.metrics["ttft"].n, mean(summary, "latency")) == pytest.approx((1, 0.020))
    assert summary.rates["request_rate"] == pytest.approx(2 / 0.990)
    assert summary.rates["concurrency"] == pytest.approx((20 + 990) / 990)


def test_only_cancelled() -> None:
    summary = of(failed("cancelled", 0, 10), goodput={"ttft": 1.0})
    assert (summary.rates["error_rate"], summary.rates["attainment"], summary.counts.completed) == (None, None, 0)


def test_only_failures() -> None:
    summary = of(failed("status", 0, 10), failed("empty", 0, 20), failed("status", 10, 40))
    assert summary.duration == pytest.approx(0.040)
    assert {metric.n for metric in summary.metrics.values()} == {0}
    assert (summary.rates["qps"], summary.rates["error_rate"]) == (0, 1)
    assert summary.failures == [("status", "status it was", 2), ("empty", "empty it was", 1)]
    assert summary.verdict is not None
    assert summary.verdict.status == "invalid"


def test_only_refused_connections() -> None:
    """Nothing was ever in flight; that the run took its time and failed throughout is known all the same."""
    summary = of(failed("connect", None, 10), failed("connect", None, 30, scheduled=10))
    assert summary.duration == pytest.approx(0.030)
    assert (summary.rates["error_rate"], summary.rates["peak_concurrency"], summary.steady) == (1, 0, None)


def test_requests_that_were_never_sent_are_errors_too() -> None:
    summary = of(streamed(0, 10, 20), failed("connect", None, 15, scheduled=5), goodput={"ttft": 1.0})
    assert (summary.rates["error_rate"], summary.rates["attainment"]) == (0.5, 0.5)


def test_the_ten_commonest_failures_are_shown() -> None:
    rows = [failed("server", 0, 10) for _ in range(3)]
    many = [
        msgspec.structs.replace(failed("server", 0, 10), error=Failure(FailureCause.SERVER, f"no {i}"))
        for i in range(20)
    ]
    summary = of(*many, *rows)
    assert summary.failures[0] == ("server", "server it was", 3)
    assert len(summary.failures) == 10


# Warm-up


def test_warmup_is_excluded_from_distributions_and_counts() -> None:
    summary = of(
        streamed(0, 100, 200, phase="warmup"),
        msgspec.structs.replace(failed("status", 0, 10), phase="warmup"),
        streamed(210, 220, 230),
    )
    assert (mean(summary, "ttft"), summary.metrics["ttft"].n) == pytest.approx((0.010, 1))
    assert (summary.counts.warmup, summary.counts.completed, summary.counts.by_error) == (2, 1, {})
    assert summary.duration == pytest.approx(0.020)
    assert summary.failures == []


def test_warmup_that_waited_into_the_window_is_not_measured() -> None:
    late = streamed(60, 100, 200, scheduled=0, phase="warmup")
    summary = of(late, streamed(70, 80, 90, scheduled=50))
    assert (summary.metrics["ttft"].n, mean(summary, "ttft")) == pytest.approx((1, 0.010))
    assert summary.rates["error_rate"] == 0


def test_cooldown_is_not_measured_but_keeps_the_load_up() -> None:
    cooling = [streamed(100, 150, 400, phase="cooldown"), failed("status", 100, 400, phase="cooldown")]
    summary = of(streamed(0, 10, 100), streamed(100, 120, 200), *cooling)
    counts = summary.counts
    assert (counts.cooldown, counts.warmup, counts.completed, counts.by_error) == (2, 0, 2, {})
    assert (summary.duration, summary.metrics["ttft"].n) == (pytest.approx(0.2), 2)
    assert (summary.rates["qps"], summary.rates["peak_concurrency"]) == pytest.approx((10, 3))
    assert summary.steady is not None
    assert (summary.steady.start, summary.steady.end) == pytest.approx((0.1, 0.2))


def test_the_peak_is_of_the_window() -> None:
    warm = [streamed(0, 10, 20, phase="warmup") for _ in range(5)]
    assert of(*warm, streamed(30, 40, 50)).rates["peak_concurrency"] == 1


# Windows


def test_steady_window_by_hand() -> None:
    """Slices of 50 ms. Eleven in flight from 100 to 910 ms, one less for each 10 ms before and after. 80 % of eleven
    are 8.8: the slice at 900 ms holds 9 on average, the one at 50 ms only 8."""
    records = [streamed(10 * i, 700, 900 + 10 * i) for i in range(1, 11)]
    steady = of(*records, streamed(0, 1, 1000)).steady
    assert steady is not None
    assert (steady.start, steady.end) == pytest.approx((0.100, 0.950))
    assert steady.requests == 1
    assert steady.rates["concurrency"] == pytest.approx((11 * 800 + (11 + 10 + 9 + 8 + 7) * 10) / 850)


def test_steady_window_bridges_the_instant_between_two_waves() -> None:
    waves = [streamed(start, start + 50, start + 99) for start in (0, 100, 200) for _ in range(4)]
    steady = of(*waves).steady
    assert steady is not None
    assert (steady.start, steady.end) == pytest.approx((0.0, 0.299))


def test_steady_window_ends_at_a_long_dip() -> None:
    waves = [streamed(start, start + 50, start + 99) for start in (0, 100, 200, 401) for _ in range(4)]
    steady = of(*waves).steady
    assert steady is not None
    assert (steady.start, steady.end, steady.requests) == pytest.approx((0.0, 0.3, 12))


def test_steady_window_begins_at_the_load_that_warmup_left() -> None:
    warm = [streamed(0, 50, 500, phase="warmup") for _ in range(3)]
    steady = of(*warm, streamed(100, 150, 500)).steady
    assert steady is not None
    assert (steady.start, steady.end, steady.requests) == (0.1, 0.5, 1)


def test_steady_window_of_random_arrivals_is_not_a_lucky_peak() -> None:
    """Some 20 in flight for 50 s: single instants reach 30 or more, and the window is most of the run all the same."""
    chance, at = random.Random(7), 0.0
    records = []
    for _ in range(10_000):
        at += chance.expovariate(0.2)
        sent = round(at)
        records.append(streamed(sent, sent + 50, sent + 100))
    summary = of(*records)
    assert summary.rates["peak_concurrency"] is not None
    assert summary.rates["peak_concurrency"] > 30
    assert summary.steady is not None
    assert summary.duration is not None
    assert summary.steady.end - summary.steady.start > 0.8 * summary.duration
    assert summary.checks["little"] == pytest.approx(1, abs=0.02)


def test_a_slot_handed_over_does_not_count_twice() -> None:
    back_to_back = [streamed(100 * i, 100 * i + 50, 100 * i + 100) for i in range(5)]
    summary = of(*back_to_back)
    assert (summary.rates["peak_concurrency"], summary.rates["concurrency"]) == pytest.approx((1, 1))
    assert summary.checks["little"] == pytest.approx(1)


def test_a_run_of_no_length_has_no_rates() -> None:
    instant = streamed(5, 5)
    summary = of(instant, goodput={"ttft": 1.0})
    assert (summary.duration, summary.rates, summary.metrics["ttft"].mean) == (0, {}, 0)


# Goodput


def test_goodput_by_hand() -> None:
    """Four in 1 s: one meets both objectives, one misses each, one fails."""
    records = [
        streamed(0, 100, 110, 120),
        streamed(0, 300, 310, 320),
        streamed(0, 100, 500, 1000),
        failed("server", 0, 50),
    ]
    rates = of(*records, goodput={"ttft": 0.2, "tpot": 0.05}).rates
    assert (rates["goodput"], rates["attainment"]) == pytest.approx((1.0, 0.25))
    assert (rates["attainment.ttft"], rates["attainment.tpot"]) == (0.5, 0.5)


def test_the_limit_itself_is_met() -> None:
    assert of(streamed(0, 200, 250), goodput={"ttft": 0.2}).rates["attainment"] == 1


def test_without_objectives_there_is_no_goodput() -> None:
    assert "goodput" not in of(streamed(0, 10, 20)).rates


def test_requests_cut_off_at_the_end_are_not_judged() -> None:
    rates = of(streamed(0, 10, 20), failed("stopped", 5, 30), goodput={"ttft": 0.2}).rates
    assert rates["attainment"] == 1


@pytest.mark.parametrize(
    ("record", "objective", "attainment"),
    [
        (streamed(0, 10), "tpot", 1.0),
        (streamed(0, 10, 20, usage=None), "tpot", None),
        (streamed(0, 10), "packet_time", 1.0),
        (whole(0, 10), "ttft", None),
        (whole(0, 10), "latency", 1.0),
        (streamed(0, 10, 20, first_answer=None), "ttfat", 0.0),
    ],
)
def test_objectives_that_do_not_apply_or_are_not_known(
    record: Record, objective: str, attainment: float | None
) -> None:
    rates = of(record, goodput={objective: 5.0, "latency_scheduled": 5.0}).rates
    assert (rates[f"attainment.{objective}"], rates["attainment"]) == (attainment, attainment)
    assert rates["attainment.latency_scheduled"] == 1
    assert (rates["goodput"] is None) == (attainment is None)


# Checks


def test_shared_reads() -> None:
    pieces = Pieces([0, 0, 0, 10 * MS], [1, 1, 1, 1])
    assert of(streamed(0, 10, 10, 10, 20, pieces=pieces)).checks["shared_reads"] == 0.5


def test_length_missed() -> None:
    assert of(streamed(0, 10, 20, asked=2), streamed(0, 10, 20, asked=8)).checks["length_missed"] == 0.5
    assert of(streamed(0, 10, 20)).checks["length_missed"] is None


def test_rate_ratio_takes_the_stages_as_they_were_planned() -> None:
    planned = [*range(0, 1000, 100), *range(1000, 1500, 20)]
    punctual = [streamed(at, at + 5, stage=at // 1000) for at in planned]
    late = [streamed(2 * at, 2 * at + 5, scheduled=at, stage=at // 1000) for at in planned]
    around = [streamed(-900, -800, phase="warmup"), streamed(9000, 9100, phase="cooldown")]
    assert of(*punctual, *around).checks["rate_ratio"] == pytest.approx(1)
    assert of(*late, *around).checks["rate_ratio"] == pytest.approx(0.5)


def test_rate_ratio() -> None:
    late = [streamed(200 * i, 200 * i + 5, scheduled=100 * i) for i in range(5)]
    assert of(*late).checks["rate_ratio"] == pytest.approx(0.5)
    assert of(late[0]).checks["rate_ratio"] is None


# The file


def test_records_in_any_order_give_the_same_numbers() -> None:
    records = [
        *(streamed(10 * i, 10 * i + 5, 10 * i + 9 + i % 3, index=i) for i in range(40)),
        failed("status", 55, 60),
        streamed(3, 8, 9, phase="warmup"),
    ]
    first = measure(records)
    random.Random(5).shuffle(records)
    second = measure(records)
    assert (second.metrics, second.rates, second.steady) == (first.metrics, first.rates, first.steady)


def test_records_alone_give_the_same_numbers_as_with_the_run() -> None:
    records = [streamed(10 * i, 10 * i + 5, 10 * i + 9) for i in range(30)]
    known, alone = measure(records, {"began": "now", "ended": "done"}), measure(records)
    assert (known.metrics, known.rates, known.checks) == (alone.metrics, alone.rates, alone.checks)


def test_a_killed_run_is_measured_without_its_cut_line() -> None:
    lines = b"".join(to_line(streamed(10 * i, 10 * i + 5, 10 * i + 9, index=i)) for i in range(4))
    summary = measure(from_lines(lines[:-30].splitlines(keepends=True)))
    assert summary.counts.succeeded == 3


def test_percentiles_of_a_small_sample_are_none() -> None:
    ttft = of(*(streamed(0, 10 + i, 50) for i in range(12))).metrics["ttft"]
    assert (ttft.p50, ttft.p90) == pytest.approx((0.0155, 0.0199))
    assert (ttft.p1, ttft.p5, ttft.p95, ttft.p99, ttft.p999) == (None,) * 5
    assert ttft.ci95 == {"mean": None, "p25": None, "p50": None, "p75": None, "p90": None}
