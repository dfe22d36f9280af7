"""The metrics that servers report at /metrics: Loadstone's names for them, and the name that each server uses.

Only tables. A new server is a row of SERVERS; series.py computes with the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

Labels = tuple[tuple[str, str], ...]
# A series: its name and its labels, sorted by name, as the server has them.
SeriesKey = tuple[str, Labels]
SUFFIXES = ("_bucket", "_sum", "_count")


class ServerMetric(Struct, frozen=True):
    """A metric that servers report.

    label: its name in reports.
    kind: what it is; `times` is a histogram.
    unit: its unit.
    combine: how the values of several label sets (engines, GPUs) are combined.
    """

    label: str
    kind: Literal["gauge", "counter", "times"]
    unit: str
    combine: Literal["sum", "mean", "max"] = "sum"


# In the order of reports. Gauges with the unit `share` are 0 to 1.
SERVER_METRICS = {
    "running": ServerMetric("running", "gauge", "requests"),
    "waiting": ServerMetric("waiting", "gauge", "requests"),
    "kv_use": ServerMetric("KV cache in use", "gauge", "share", "mean"),
    "hit_rate": ServerMetric("prefix hits, by its gauge", "gauge", "share", "mean"),
    "accept_rate": ServerMetric("drafts accepted, by its gauge", "gauge", "share", "mean"),
    "gpu_use": ServerMetric("GPU busy", "gauge", "share", "mean"),
    "gpu_memory": ServerMetric("GPU memory in use", "gauge", "bytes"),
    "gpu_power": ServerMetric("GPU power", "gauge", "W"),
    "gpu_clock": ServerMetric("GPU clock", "gauge", "MHz", "mean"),
    "gpu_temperature": ServerMetric("GPU temperature", "gauge", "C", "max"),
    "finished": ServerMetric("requests finished", "counter", "requests"),
    "preemptions": ServerMetric("preemptions", "counter", "times"),
    "prompt_tokens": ServerMetric("prompt tokens", "counter", "tokens"),
    "generation_tokens": ServerMetric("generated tokens", "counter", "tokens"),
    "prefix_queries": ServerMetric("tokens looked up in the prefix cache", "counter", "tokens"),
    "prefix_hits": ServerMetric("tokens found in the prefix cache", "counter", "tokens"),
    "drafted": ServerMetric("tokens drafted", "counter", "tokens"),
    "accepted": ServerMetric("drafted tokens accepted", "counter", "tokens"),
    "ttft": ServerMetric("TTFT", "times", "s"),
    "itl": ServerMetric("ITL", "times", "s"),
    "tpot": ServerMetric("TPOT", "times", "s"),
    "latency": ServerMetric("latency", "times", "s"),
    "queue": ServerMetric("time in the queue", "times", "s"),
}


# Ratios of two counters: a part, and the whole.
RATIOS = {"prefix_hit_rate": ("prefix_hits", "prefix_queries"), "acceptance": ("accepted", "drafted")}


def server_metric(name: str) -> ServerMetric:
    """Return the metric of this name, or one for a series that is shown under the server's name."""
    is_counter = name.endswith(("_total", "_sum", "_count"))
    return SERVER_METRICS.get(name) or ServerMetric(name, "counter" if is_counter else "gauge", "")


class SeriesName(Struct, frozen=True):
    """A server's name for a metric.

    name: name of the series.
    labels: labels that the series must have.
    scale: factor to Loadstone's unit.
    """

    name: str
    labels: Labels = ()
    scale: float = 1.0


def _prefixed(prefix: str, **names: str) -> dict[str, tuple[SeriesName, ...]]:
    """Return the server's names by metric. `names`: alternatives without the prefix, separated by blanks."""
    return {
        metric: tuple(SeriesName(prefix + name) for name in alternatives.split())
        for metric, alternatives in names.items()
    }


_MIB = 1024.0 * 1024.0
# By server, for each metric the server's names for it; the first one on the page counts.
SERVERS: dict[str, dict[str, tuple[SeriesName, ...]]] = {
    # vllm/v1/metrics/loggers.py; second names: versions before 0.9
    "vLLM": _prefixed(
        "vllm:",
        running="num_requests_running",
        waiting="num_requests_waiting",
        kv_use="kv_cache_usage_perc gpu_cache_usage_perc",
        finished="request_success_total",
        preemptions="num_preemptions_total",
        prompt_tokens="prompt_tokens_total",
        generation_tokens="generation_tokens_total",
        prefix_queries="prefix_cache_queries_total gpu_prefix_cache_queries_total",
        prefix_hits="prefix_cache_hits_total gpu_prefix_cache_hits_total",
        drafted="spec_decode_num_draft_tokens_total",
        accepted="spec_decode_num_accepted_tokens_total",
        ttft="time_to_first_token_seconds",
        itl="inter_token_latency_seconds time_per_output_token_seconds",
        tpot="request_time_per_output_token_seconds",
        latency="e2e_request_latency_seconds",
        queue="request_queue_time_seconds",
    ),
    # docs.sglang.io/references/production_metrics
    "SGLang": _prefixed(
        "sglang:",
        running="num_running_reqs",
        waiting="num_queue_reqs",
        kv_use="token_usage",
        hit_rate="cache_hit_rate",
        accept_rate="spec_accept_rate",
        finished="num_requests_total",
        prompt_tokens="prompt_tokens_total",
        generation_tokens="generation_tokens_total",
        prefix_queries="prompt_tokens_total",
        prefix_hits="cached_tokens_total",
        ttft="time_to_first_token_seconds",
        itl="inter_token_latency_seconds time_per_output_token_seconds",
        latency="e2e_request_latency_seconds",
        queue="queue_time_seconds",
    ),
    # huggingface.co/docs/text-generation-inference/reference/metrics
    "TGI": _prefixed(
        "tgi_",
        running="batch_current_size",
        waiting="queue_size",
        finished="request_success",
        prompt_tokens="request_input_length_sum",
        generation_tokens="request_generated_tokens_sum",
        tpot="request_mean_time_per_token_duration",
        latency="request_duration",
        queue="request_queue_duration",
    ),
    # llama.cpp, tools/server/README.md
    "llama.cpp": _prefixed(
        "llamacpp:",
        running="requests_processing",
        waiting="requests_deferred",
        kv_use="kv_cache_usage_ratio",
        prompt_tokens="prompt_tokens_total",
        generation_tokens="tokens_predicted_total",
    ),
    # Triton's TensorRT-LLM backend, and trtllm-serve (/prometheus/metrics)
    "Triton": {
        "running": (SeriesName("nv_trt_llm_request_metrics", (("request_type", "scheduled"),)),),
        "waiting": (SeriesName("nv_trt_llm_request_metrics", (("request_type", "waiting"),)),),
        "kv_use": (SeriesName("nv_trt_llm_kv_cache_block_metrics", (("kv_cache_block_type", "fraction"),)),),
    },
    "TensorRT-LLM": _prefixed(
        "trtllm_",
        kv_use="kv_cache_utilization",
        hit_rate="kv_cache_hit_rate",
        finished="request_success_total",
        ttft="time_to_first_token_seconds",
        tpot="time_per_output_token_seconds",
        latency="e2e_request_latency_seconds",
        queue="request_queue_time_seconds",
    ),
    # github.com/NVIDIA/dcgm-exporter, etc/default-counters.csv
    "DCGM": {
        "gpu_use": (SeriesName("DCGM_FI_DEV_GPU_UTIL", scale=0.01),),
        "gpu_memory": (SeriesName("DCGM_FI_DEV_FB_USED", scale=_MIB),),
        "gpu_power": (SeriesName("DCGM_FI_DEV_POWER_USAGE"),),
        "gpu_clock": (SeriesName("DCGM_FI_DEV_SM_CLOCK"),),
        "gpu_temperature": (SeriesName("DCGM_FI_DEV_GPU_TEMP"),),
    },
}


def known_series() -> list[str]:
    """Return all names of series that are known, those of histograms with their suffixes."""
    known = set()
    for names in SERVERS.values():
        for metric, alternatives in names.items():
            suffixes = SUFFIXES if SERVER_METRICS[metric].kind == "times" else ("",)
            known |= {name.name + suffix for name in alternatives for suffix in suffixes}
    return sorted(known)


def series_pattern(everything: bool = False, extra: str | None = None) -> str:
    """Return the pattern that matches the whole names of the series to keep.

    everything: whether to keep all series.
    extra: pattern of further series, which may match anywhere in a name.
    """
    if everything:
        return ".*"
    known = "|".join(map(re.escape, known_series()))
    return f"(?:{known})|.*(?:{extra}).*" if extra else known


def detect_servers(names: Iterable[str]) -> list[str]:
    """Return the servers whose names are among these; several if one page has metrics of several."""
    present = set(names)
    present |= {name.removesuffix("_count") for name in present}  # a histogram goes by its own name
    servers = []
    for server, table in SERVERS.items():
        known = {name.name for alternatives in table.values() for name in alternatives}
        if not present.isdisjoint(known):
            servers.append(server)
    return servers


def match_series(names: Iterable[str], extra: str | None = None) -> dict[str, SeriesName]:
    """Return the metrics that series of these names give, and the name of each.

    extra: pattern of further series, which are shown under the server's name.
    """
    reported = set(names)
    present = reported | {name.removesuffix("_count") for name in reported}  # a histogram goes by its own name
    matches: dict[str, SeriesName] = {}
    for server in detect_servers(reported):
        for metric, alternatives in SERVERS[server].items():
            name = next((name for name in alternatives if name.name in present), None)
            if name is not None:
                matches.setdefault(metric, name)
    result = {metric: matches[metric] for metric in SERVER_METRICS if metric in matches}
    if extra:
        for other in sorted(reported.difference(known_series())):
            if re.search(extra, other) and not other.endswith(("_bucket", "_created")):
                result[other] = SeriesName(other)
    return result
