"""What a server says of itself: read, kept, given our names, and set beside what the client saw. No server here."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone.checks.rules import examine
from loadstone.errors import UsageError
from loadstone.metrics.chart_data import thin_series
from loadstone.metrics.columns import build
from loadstone.report import server_tables, summary_csv
from loadstone.results import measure, measure_columns
from loadstone.server_metrics import csv, prometheus
from loadstone.server_metrics import names as gauges
from loadstone.server_metrics import summary as served
from loadstone.server_metrics.histograms import HistogramGrowth
from loadstone.server_metrics.names import SeriesKey
from loadstone.server_metrics.prometheus import MAX_PAGE, NotMetricsError, SeriesFilter
from loadstone.server_metrics.series import (
    Rows,
    ScrapedSource,
    SourceMetrics,
    build_source,
    chart_series,
    count_resets,
    counter_growth,
    growth_between,
)
from loadstone.sim import metrics as simulated
from loadstone.summary import ClientServerCount, Summary
from support import example_run
from support.records import run_info

TEXT = "text/plain; version=0.0.4"
OURS = SeriesFilter(gauges.series_pattern())
INF = math.inf


def values(*lines: str, keep: SeriesFilter = OURS, kind: str = TEXT) -> dict[SeriesKey, float]:
    return prometheus.parse_page("\n".join([*lines, ""]).encode(), kind, "", keep)


def scraped(*looks: tuple[float, dict[SeriesKey, float] | None], source: str = "http://a/metrics") -> ScrapedSource:
    """By way of the file, as a run has it; all buckets are written at each look."""
    writer = csv.ServerCsvWriter(source)
    rows: Rows = {}
    for line in "".join(writer.rows(at, found, whole=True) for at, found in looks).splitlines():
        at, _, name, labels, value = line.split(",")
        times, numbers = rows.setdefault((name, csv.decode_labels(labels)), ([], []))
        times.append(float(at))
        numbers.append(float(value))
    return build_source(source, rows)


def key(name: str, **labels: str) -> SeriesKey:
    return name, tuple(sorted(labels.items()))


# Reading a page


def test_names_and_labels_are_the_servers() -> None:
    found = values(
        "# HELP vllm:num_requests_running Number of requests.",
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0",model_name="a \\"b\\", {c}"} 3.0',
        "# TYPE vllm:generation_tokens_total counter",
        'vllm:generation_tokens_total{engine="0"} 1.5e+03 1795189875647',
        "# TYPE tgi_request_success counter",
        'tgi_request_success{method="generate"} 7',
        "vllm:num_requests_runningmate 5",
        "process_open_fds 12",
    )
    assert found == {
        key("vllm:num_requests_running", engine="0", model_name='a "b", {c}'): 3.0,
        key("vllm:generation_tokens_total", engine="0"): 1500.0,
        key("tgi_request_success", method="generate"): 7.0,
    }


def test_open_metrics_with_exemplars_is_read_too() -> None:
    found = values(
        "# TYPE vllm:time_to_first_token_seconds histogram",
        'vllm:time_to_first_token_seconds_bucket{le="0.1"} 3 # {trace_id="abc"} 0.067',
        'vllm:time_to_first_token_seconds_bucket{le="+Inf"} 4',
        "vllm:time_to_first_token_seconds_count 4",
        "vllm:time_to_first_token_seconds_sum 2.5",
        "# TYPE vllm:generation_tokens counter",
        "vllm:generation_tokens_total 12",
        "# EOF",
        kind="application/openmetrics-text; version=1.0.0",
    )
    assert found[key("vllm:time_to_first_token_seconds_bucket", le="0.1")] == 3
    assert found[key("vllm:generation_tokens_total")] == 12


def test_all_or_some_more_can_be_kept() -> None:
    lines = ("vllm:num_requests_running 1", "gpu_heat_celsius 60", "nothing_at_all 2", "worthless NaN", "endless +Inf")
    everything = SeriesFilter(gauges.series_pattern(everything=True))
    assert set(values(*lines, keep=everything)) == {key(line.split()[0]) for line in lines[:3]}
    also = SeriesFilter(gauges.series_pattern(extra="heat|cold"))
    assert set(values(*lines, keep=also)) == {key("vllm:num_requests_running"), key("gpu_heat_celsius")}


def test_only_line_feeds_end_lines() -> None:
    """Not what Python takes for ends of lines besides, which labels may hold."""
    everything = SeriesFilter(gauges.series_pattern(everything=True))
    body = 'a{model="x\u2028y\x85z\x0b"} 3\nb 4'.encode()
    assert prometheus.parse_page(body, TEXT, "", everything) == {
        key("a", model="x\u2028y\x85z\x0b"): 3.0,
        key("b"): 4.0,
    }


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_page_is_unpacked(encoding: str) -> None:
    body = b"vllm:num_requests_running 4\n"
    packed = gzip.compress(body, mtime=0) if encoding == "gzip" else zlib.compress(body)
    assert prometheus.parse_page(packed, TEXT, encoding, OURS) == {key("vllm:num_requests_running"): 4.0}


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "words"),
    [
        (b"<html></html>", "text/html", "", "it is a web page or JSON"),
        (b'{"detail": 1}', "application/json", "", "it is a web page or JSON"),
        (b"vllm:num_requests_running many\n", TEXT, "", "not Prometheus text"),
        (b'vllm:num_requests_running{engine="0 3\n', TEXT, "", "not Prometheus text"),
        (b"\xff\xfe", TEXT, "", "not Prometheus text: UnicodeDecodeError"),
        (b"no gzip", TEXT, "gzip", "its gzip is broken"),
        (gzip.compress(b"a 1\n" * 100, mtime=0)[:-12], TEXT, "gzip", "cut off, or larger"),
        (gzip.compress(b"\n" * (MAX_PAGE + 1), mtime=0), TEXT, "gzip", "cut off, or larger"),
        (b"", TEXT, "br", "its encoding is br"),
    ],
)
def test_what_is_no_page_of_metrics_is_said(body: bytes, kind: str, encoding: str, words: str) -> None:
    with pytest.raises(NotMetricsError, match=words):
        prometheus.parse_page(body, kind, encoding, OURS)


# server.csv


def test_a_row_is_written_when_a_value_changes_and_buckets_now_and_then() -> None:
    writer, bucket = csv.ServerCsvWriter("s"), key("x_bucket", le="1")
    first = ["0.000,s,up,,1", "0.000,s,a,,1", "0.000,s,x_bucket,le=1,1"]
    assert writer.rows(0.0, {key("a"): 1, bucket: 1}).splitlines() == first
    assert writer.rows(1.0, {key("a"): 1, bucket: 2}).splitlines() == ["1.000,s,up,,1"]
    assert writer.rows(2.0, None).splitlines() == ["2.000,s,up,,0"]
    assert writer.rows(5.0, {key("a"): 2, bucket: 2}).splitlines()[1:] == ["5.000,s,a,,2", "5.000,s,x_bucket,le=1,2"]
    assert writer.rows(6.0, {key("a"): 2, bucket: 3}, whole=True).splitlines()[1:] == ["6.000,s,x_bucket,le=1,3"]


@pytest.mark.parametrize(
    "value", ["", "plain", "a;b=c", "back\\slash", 'quo"te, comma', "line\nbreak", "re\r\nturn\r", "a\0b", "=1+1"]
)
def test_labels_come_back_as_they_were(value: str, tmp_path: Path) -> None:
    labels = (("engine", "0"), ("model_name", value))
    assert csv.decode_labels(csv.encode_labels(labels)) == labels
    rows = csv.ServerCsvWriter("http://a").rows(0.5, {("g", labels): 2.0})
    (tmp_path / csv.NAME).write_text(csv.head() + rows, "utf-8")
    (found,) = csv.read(tmp_path)
    assert found.series[("g", labels)].tolist() == [2.0]


def test_the_file_is_read_as_far_as_a_kill_let_it_be_written(tmp_path: Path) -> None:
    file = tmp_path / csv.NAME
    assert csv.read(tmp_path) == []
    file.write_text("")
    assert csv.read(tmp_path) == []
    rows = "0.000,s,up,,1\n0.000,s,g,,1\n1.000,t,up,,0\n2.000,s,up,,1\n2.000,s,g,,123"
    file.write_text(csv.head() + rows)
    first, second = csv.read(tmp_path)
    assert (first.source, first.times.tolist(), first.series[key("g")].tolist()) == ("s", [0.0, 2.0], [1.0, 1.0])
    assert (second.source, second.times.tolist(), second.missed_times.tolist()) == ("t", [], [1.0])
    file.write_text(csv.head() + "0.000,s,up\n1.000,s,up,,1\n")
    with pytest.raises(UsageError, match=r"server.csv, line 2 is not a row of 5 cells"):
        csv.read(tmp_path)
    file.write_text("something,else\n")
    with pytest.raises(UsageError, match="does not begin with time_s,source,name,labels,value"):
        csv.read(tmp_path)


# Names

PAGES = {
    "vLLM": ("vllm:num_requests_running 1", "vllm:gpu_cache_usage_perc 0.5", "vllm:kv_cache_usage_perc 0.25"),
    "SGLang": ("sglang:num_running_reqs 1", "sglang:token_usage 0.25"),
    "llama.cpp": ("llamacpp:requests_processing 1", "llamacpp:kv_cache_usage_ratio 0.25"),
    "Triton": (
        'nv_trt_llm_request_metrics{request_type="scheduled"} 1',
        'nv_trt_llm_request_metrics{request_type="active"} 9',
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"} 0.25',
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max"} 4000',
    ),
}


@pytest.mark.parametrize("server", PAGES)
def test_servers_have_names_of_their_own_for_the_same(server: str) -> None:
    found = scraped((0.0, values(*PAGES[server])))
    figures = SourceMetrics(found, (0.0, 1.0))
    assert gauges.detect_servers(found.names) == [server]
    assert figures.gauge("running", (0.0, 1.0)).mean == 1.0
    assert figures.gauge("kv_use", (0.0, 1.0)).mean == 0.25


def test_an_old_vllm_and_gpus_are_known() -> None:
    found = scraped((0.0, values("vllm:gpu_cache_usage_perc 0.5", "vllm:time_per_output_token_seconds_count 1")))
    assert SourceMetrics(found, (0.0, 1.0)).gauge("kv_use", (0.0, 1.0)).mean == 0.5
    assert "itl" in SourceMetrics(found, (0.0, 1.0)).histograms((0.0, 1.0))
    gpus = scraped((0.0, values(
        'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 90', 'DCGM_FI_DEV_GPU_UTIL{gpu="1"} 70', 'DCGM_FI_DEV_FB_USED{gpu="0"} 1024',
        'DCGM_FI_DEV_FB_USED{gpu="1"} 2048', 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 61', 'DCGM_FI_DEV_GPU_TEMP{gpu="1"} 75',
        'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 300.5', 'DCGM_FI_DEV_POWER_USAGE{gpu="1"} 250',
    )))  # fmt: skip
    figures = SourceMetrics(gpus, (0.0, 1.0))
    means = {name: figures.gauge(name, (0.0, 1.0)).mean for name in figures.gauges}
    assert means == {"gpu_use": 0.8, "gpu_memory": 3072 * 2**20, "gpu_power": 550.5, "gpu_temperature": 75.0}


def test_every_figure_of_a_server_is_one_of_ours() -> None:
    for names in gauges.SERVERS.values():
        assert set(names) <= set(gauges.SERVER_METRICS)


# Growth


def test_a_counter_that_falls_began_anew() -> None:
    assert counter_growth(np.array([5.0, 8.0, 2.0, 2.0, 4.0])).tolist() == [0, 3, 5, 5, 7]
    assert counter_growth(np.array([np.nan, np.nan, 4.0])).tolist() == [0, 0, 4]
    fallen = scraped(*((float(at), values(f"vllm:generation_tokens_total {n}")) for at, n in enumerate((9, 20, 3))))
    assert SourceMetrics(fallen, (0.0, 2.0)).counts((0.0, 2.0)) == {"generation_tokens": 14.0}
    assert count_resets(fallen) == 1


def test_growth_is_of_the_time_in_which_the_run_was_under_way() -> None:
    """Looks at -5, 1, 2 and 3.4 s; the run lasts from 0 to 3 s, so what was there at 1 s has grown since 0."""
    at, count = np.array([-5.0, 1.0, 2.0, 3.4]), np.array([0.0, 10.0, 30.0, 60.0])
    load = (0.0, 3.0)
    assert growth_between(at, count, load, load) == 60
    assert growth_between(at, count, load, (0.0, 0.5)) == 5
    assert growth_between(at, count, load, (1.5, 2.5)) == 10 + 15
    assert growth_between(at, count, load, (2.5, 3.0)) == 15
    several_after = np.array([-5.0, -1.0, 3.1, 4.0])
    assert growth_between(several_after, np.array([0.0, 7.0, 9.0, 12.0]), load, load) == 5
    assert growth_between(np.empty(0), np.empty(0), load, load) == 0


def test_label_sets_are_summed_each_with_its_own_restarts() -> None:
    first = values('vllm:num_preemptions_total{engine="0"} 5', 'vllm:num_preemptions_total{engine="1"} 50')
    second = values('vllm:num_preemptions_total{engine="0"} 2', 'vllm:num_preemptions_total{engine="1"} 51')
    assert SourceMetrics(scraped((0.0, first), (1.0, second)), (0.0, 1.0)).counts((0.0, 1.0)) == {"preemptions": 3.0}


# Histograms


def test_quantiles_lie_between_the_bounds_of_a_bucket() -> None:
    timed = HistogramGrowth(200, 30.0, (0.05, 0.1, 0.2, INF), np.array([0.0, 50.0, 150.0, 200.0]))
    metric = timed.metric()
    assert (metric.n, metric.mean) == (200, 0.15)
    assert metric.p50 == pytest.approx(0.15)
    assert metric.p99 is None
    told = "known by the bounds of its histogram: p50 100 to 200 ms, p95 above 200 ms, p99 above 200 ms"
    assert metric.note == told


def test_nothing_is_made_up_in_the_first_bucket_or_of_few_samples() -> None:
    inside = HistogramGrowth(200, 1.0, (0.01, INF), np.array([200.0, 200.0])).metric()
    assert (inside.mean, inside.p50) == (0.005, None)
    assert inside.note is not None
    assert "p50 below 10 ms" in inside.note
    assert HistogramGrowth(40, 4.0, (0.01, 1, INF), np.array([0.0, 40.0, 40.0])).metric().p99 is None
    nothing = HistogramGrowth(0, 0.0, (0.01, INF), np.zeros(2)).metric()
    assert (nothing.n, nothing.mean, nothing.p50, nothing.note) == (0, None, None, None)
    assert HistogramGrowth(3, 0.3, (), np.empty(0)).metric().mean == pytest.approx(0.1)


def test_two_servers_are_one_where_their_bounds_agree() -> None:
    one = HistogramGrowth(100, 10.0, (0.1, 0.2, INF), np.array([50.0, 100.0, 100.0]))
    other = HistogramGrowth(100, 20.0, (0.1, 0.2, INF), np.array([0.0, 100.0, 100.0]))
    both = (one + other).metric()
    assert (both.n, both.mean, both.p50) == (200, 0.15, pytest.approx(0.1 + 0.1 * 50 / 150))
    unlike = (one + HistogramGrowth(100, 20.0, (0.3, INF), np.array([100.0, 100.0]))).metric()
    assert (unlike.mean, unlike.p50) == (0.15, None)


def test_the_window_of_a_histogram_leaves_out_what_was_before() -> None:
    def page(below: int, count: int, total: float) -> dict[SeriesKey, float]:
        name = "vllm:time_to_first_token_seconds"
        bounds = {"0.1": below, "0.2": count, "+Inf": count}
        buckets = [f'{name}_bucket{{le="{bound}"}} {number}' for bound, number in bounds.items()]
        return values(*buckets, f"{name}_count {count}", f"{name}_sum {total}")

    found = scraped((0.0, page(1000, 1000, 10.0)), (10.0, page(1000, 1300, 55.0)))
    ttft = SourceMetrics(found, (0.0, 10.0)).histograms((0.0, 10.0))["ttft"].metric()
    assert (ttft.n, ttft.mean, ttft.p50) == (300, pytest.approx(0.15), pytest.approx(0.15))


# Beside the client


def summary(*sources: ScrapedSource, **config: Any) -> Summary:
    run = example_run.run()
    return measure_columns(build(example_run.records()), run | {"config": run["config"] | config}, sources)


def vllm(at: float, requests: int, **more: float) -> tuple[float, dict[SeriesKey, float]]:
    """A page after so many requests of 100 ms TTFT each."""
    ttft = simulated.Histogram(simulated.TTFT)
    for _ in range(requests):
        ttft.add(100_000_000)
    text = simulated.MetricsText("tiny")
    text.labelled("request_success_total", "counter", "", "finished_reason", {"stop": requests, "abort": 0})
    text.histogram("time_to_first_token_seconds", "", ttft)
    text.family("num_requests_running", "gauge", "", 8 if 0 < at < 10 else 0)
    for name, value in more.items():
        text.family(name, "counter" if name.endswith("_total") else "gauge", "", value)
    body = text.page().body
    return at, prometheus.parse_page(body, TEXT, "", SeriesFilter(gauges.series_pattern(extra="queue_depth")))


SENT = sum(record.sent is not None for record in example_run.records())


def test_the_servers_side_stands_beside_the_clients() -> None:
    found = summary(scraped(vllm(-0.1, 40), vllm(6.0, 100), vllm(99.0, 40 + SENT - 5)))
    assert found.server is not None
    (source,), (beside,), (tally,) = found.server.sources, found.server.beside, found.server.tallies
    assert (source.kinds, source.scrapes, source.missed) == (["vLLM"], 3, 0)
    assert source.whole.metrics["running"].mean == 8.0
    assert source.steady is not None
    assert source.steady.counts["finished"] < source.whole.counts["finished"]
    client, server = beside.points["mean"]
    assert (beside.name, server, client) == ("ttft", pytest.approx(0.1), found.metrics["ttft"].mean)
    assert beside.difference == pytest.approx((client or 0) - 0.1)
    assert beside.bounds["p50"] == "80 to 100 ms"
    assert (tally.name, tally.server, tally.most) == ("finished", SENT - 5, SENT)
    assert tally.client == SENT - 3  # a 429, a time-out and an empty answer had no output
    assert found.server.remarks == []


@pytest.mark.parametrize(
    ("client", "words"),
    [(0.1032, "the client sees 3.20 ms more: network, HTTP parsing, templating and tokenising"),
     (0.1004, "both agree to 0.40 ms on average"), (0.1, "both agree to less than 0.01 ms on average"),
     (0.09, "the client sees 10.00 ms less: the server's figures have")],
)  # fmt: skip
def test_the_difference_is_explained(client: float, words: str) -> None:
    times = {"ttft": HistogramGrowth(100, 10.0, (), np.empty(0))}
    metrics = {"ttft": msgspec.structs.replace(summary().metrics["ttft"], mean=client)}
    (beside,) = served._compare_times(times, metrics)
    assert beside.explanation.startswith(words)


def test_what_ails_the_server_is_told() -> None:
    end = 40 + SENT // 2
    found = summary(
        scraped(
            vllm(-0.1, 40, num_preemptions_total=0, kv_cache_usage_perc=0),
            (3.0, None),
            vllm(6.0, 60, num_preemptions_total=3, kv_cache_usage_perc=0.97),
            vllm(99.0, end, num_preemptions_total=3, kv_cache_usage_perc=0),
        )
    ).server
    assert found is not None
    preempted, full, missed, partial = found.remarks
    assert preempted.startswith("3 preemptions: the KV cache was too small")
    assert full.startswith("the KV cache was up to 97% full")
    assert missed == "1 of 4 scrapes had no answer"
    assert "these are the figures of one server of several" in partial


@pytest.mark.parametrize(
    ("api", "choices", "more", "severity"),
    [("chat", None, 0, None), ("chat", None, 1, None), ("chat", None, 5, "suspect"), ("chat", None, 50, "invalid"),
     ("chat", 3, SENT, None), ("embeddings", None, 50, "none")],
)  # fmt: skip
def test_other_traffic_is_doubted(api: str, choices: int | None, more: int, severity: str | None) -> None:
    found = summary(scraped(vllm(-0.1, 40), vllm(99.0, 40 + SENT + more)), api=api, choices=choices)
    doubts = {one.what: one for one in examine(found)}
    if severity == "none":
        assert "other traffic" not in doubts
        return
    doubt = doubts["other traffic"]
    assert (doubt.severity, doubt.limit) == (severity, "1%")
    assert doubt.measured == f"the server counts {SENT + more} requests, we sent {SENT * (choices or 1)}"


@pytest.mark.parametrize("changes", [{"ended": None}, {"ended": "worker"}, {"lost": ["a machine"]}])
def test_where_records_are_missing_nobody_else_is_blamed(changes: dict[str, Any]) -> None:
    found = summary(scraped(vllm(-0.1, 40), vllm(99.0, 90 + SENT)))
    assert "other traffic" in {one.what for one in examine(found)}
    found = msgspec.structs.replace(found, run=run_info(msgspec.to_builtins(found.run) | changes))
    assert "other traffic" not in {one.what for one in examine(found)}


def test_without_a_count_of_requests_tokens_tell() -> None:
    page = [(at, {key("llamacpp:tokens_predicted_total"): float(n)}) for at, n in ((-1.0, 0), (99.0, 10**6))]
    found = summary(scraped(*page))
    assert found.server is not None
    assert [tally.name for tally in found.server.tallies] == ["generation_tokens"]
    assert "other traffic" not in {one.what for one in examine(found)}  # some failed: what was spent on them is unknown
    sure = msgspec.structs.replace(found.server, tallies=[ClientServerCount("generation_tokens", 100.0, 100.0, 1e6)])
    assert "other traffic" in {one.what for one in examine(msgspec.structs.replace(found, server=sure)) if one.severity}


def test_ratios_are_of_what_was_counted_in_the_window() -> None:
    def page(at: float, queries: int, drafted: int) -> tuple[float, dict[SeriesKey, float]]:
        return vllm(at, 0, prefix_cache_queries_total=queries, prefix_cache_hits_total=queries // 4,
                    spec_decode_num_draft_tokens_total=drafted, spec_decode_num_accepted_tokens_total=50)  # fmt: skip

    found = summary(scraped(page(-0.1, 1000, 50), page(99.0, 2000, 50))).server
    assert found is not None
    rates = found.sources[0].whole.rates
    assert (rates["prefix_hit_rate"], rates["acceptance"]) == (0.25, None)


def test_names_of_somebodys_own_are_shown_as_they_are() -> None:
    found = summary(
        scraped(*(vllm(at, 0, queue_depth=7, queue_depth_total=at + 1) for at in (-1.0, 5.0, 99.0))),
        scrape_name="queue_depth",
    )
    assert found.server is not None
    whole = found.server.sources[0].whole
    assert whole.metrics["vllm:queue_depth"].mean == 7
    assert 99 < whole.counts["vllm:queue_depth_total"] < 100  # without what fell to the warm-up
    (table, *_) = server_tables.tables(found.server)
    assert ["vllm:queue_depth", "7.0", "7.0", "7.0", "7.0"] in table.rows


def test_two_servers_stand_apart_and_are_counted_together() -> None:
    one = scraped(vllm(-0.1, 0), vllm(99.0, 60), source="http://a/metrics")
    two = scraped(vllm(-0.1, 0), vllm(99.0, SENT - 60), source="http://b/metrics")
    found = summary(one, two)
    assert found.server is not None
    counts = [source.whole.counts["finished"] for source in found.server.sources]
    assert counts[0] / counts[1] == pytest.approx(60 / (SENT - 60))
    assert found.server.tallies[0].server == SENT
    titles = [table.title for table in server_tables.tables(found.server)]
    assert titles == [
        "Server http://a/metrics",
        "Server http://b/metrics",
        "Client and server",
        "Counts of client and server",
    ]
    assert "\nserver=http://a/metrics,running,requests,1,8.0," not in summary_csv.render(found)
    assert "server=http://b/metrics,finished" in summary_csv.render(found)


def test_series_for_charts_are_on_the_runs_axis() -> None:
    found = chart_series([scraped(vllm(0.0, 0), vllm(2.0, 10), vllm(4.0, 10))])
    assert found["running"] == ([0.0, 2.0, 4.0], [0.0, 8.0, 8.0])
    assert found["finished"] == ([2.0, 4.0], [5.0, 0.0])
    assert found["ttft"] == ([2.0], [pytest.approx(0.1)])
    assert "ttft (http://a)" in chart_series([scraped(vllm(0.0, 0), vllm(2.0, 10), source="http://a")] * 2)


def test_lines_break_where_looks_had_no_answer() -> None:
    """Once in each stretch, and not at the ends: nobody knows what a dead server did."""
    looks = [(-1.0, None), vllm(0.0, 0), vllm(2.0, 10), (3.0, None), (4.0, None), vllm(5.0, 10), (6.0, None)]
    found = chart_series([scraped(*looks)])
    assert str(found["running"]) == str(([0.0, 2.0, 3.0, 5.0], [0.0, 8.0, math.nan, 8.0]))
    assert thin_series(found)["running"] == ([0.0, 2.0, 3.0, 5.0], [0.0, 8.0, None, 8.0])
    assert str(found["finished"]) == str(([2.0, 3.0, 5.0], [5.0, math.nan, 0.0]))
    many = {"running": ([*map(float, range(2000))], [math.nan if at == 777 else 1.0 for at in range(2000)])}
    times, values = thin_series(many)["running"]
    assert len(times) <= 301
    assert times[values.index(None)] == 777.0


def test_a_run_that_was_not_scraped_has_no_servers_side() -> None:
    assert measure(example_run.records(), example_run.run()).server is None
    assert list(server_tables.tables(None)) == []
    silent = summary(scraped((0.0, None), (99.0, None))).server
    assert silent is not None
    assert (silent.beside, silent.tallies, silent.remarks) == ([], [], ["2 of 2 scrapes had no answer"])
    (table,) = server_tables.tables(silent)
    assert table.rows == [["2 of 2 scrapes had no answer"]]


def test_the_tables_say_what_a_histogram_can_tell() -> None:
    found = summary(scraped(vllm(-0.1, 0), vllm(99.0, SENT)))
    server, beside, counted = server_tables.tables(found.server)
    assert server.note == "vLLM at http://a/metrics, read 2 times"
    assert beside.rows[0][-1] == "99.80 (80 to 100)"
    assert counted.rows == [["requests with output", f"{SENT - 3} ({SENT} sent)", f"{SENT}"]]


@pytest.mark.parametrize("last", [1.2, -1.0], ids=["in mid-run", "before the first request"])
def test_a_scraper_that_is_lost_is_named_and_explains_nothing(last: float) -> None:
    looks = [vllm(-2.0, 0), vllm(last, 20)]
    found = summary(scraped(*looks), scrape_every=0.5)
    assert found.server is not None
    (source,) = found.server.sources
    assert source.ended == last
    end = max(record.end for record in example_run.records()) / 1e9
    begin = min(record.sent for record in example_run.records() if record.sent is not None) / 1e9
    assert source.missed == 1 + int((end - max(last, begin)) / 0.5)
    assert source.scrapes == 2 + source.missed
    assert source.whole.end <= max(last, source.whole.start)
    assert (found.server.beside, found.server.tallies) == ([], [])
    assert not any("restart" in remark or "several" in remark for remark in found.server.remarks)
    assert found.verdict is not None
    (doubt,) = [doubt for doubt in found.verdict.doubts if doubt.what == "scraper lost"]
    assert doubt.measured == f"nothing was scraped after {max(0.0, last):.1f} s"


def test_a_server_that_stops_answering_has_not_lost_its_scraper() -> None:
    found = summary(scraped(vllm(-1.0, 0), vllm(1.0, 20), (2.0, None), (99.0, None)))
    assert found.server is not None
    assert [source.ended for source in found.server.sources] == [None]
