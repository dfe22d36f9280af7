"""What servers say of themselves at /metrics, by our names: which figures there are, and what each server calls them.

Pure tables. A new server is a row of SERVERS; what is done with the values is in scraped.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

Labels = tuple[tuple[str, str], ...]
# A series as the server has it: its name, and its labels in order of their names.
SeriesKey = tuple[str, Labels]
SUFFIXES = ("_bucket", "_sum", "_count")


class ServerMetric(Struct, frozen=True):
    """`combine`: what several label sets (engines, GPUs) come to."""

    label: str
    kind: Literal["gauge", "counter", "times"]
    unit: str
    combine: Literal["sum", "mean", "max"] = "sum"


# In the order of reports. `times` are histograms; gauges of a share are 0 to 1.
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


# What follows from two counters: a part, and the whole.
RATIOS = {"prefix_hit_rate": ("prefix_hits", "prefix_queries"), "acceptance": ("accepted", "drafted")}


def server_metric(name: str) -> ServerMetric:
    """Of ours, or of a series that is shown as the server has it."""
    counts = name.endswith(("_total", "_sum", "_count"))
    return SERVER_METRICS.get(name) or ServerMetric(name, "counter" if counts else "gauge", "")


class SeriesName(Struct, frozen=True):
    """A server's name for a figure; `labels` must be among the series', `scale` brings it to our unit."""

    name: str
    labels: Labels = ()
    scale: float = 1.0


def _names(prefix: str, *names: str) -> tuple[SeriesName, ...]:
    return tuple(SeriesName(prefix + name) for name in names)


def _of(prefix: str, **names: str) -> dict[str, tuple[SeriesName, ...]]:
    return {figure: _names(prefix, *alternatives.split()) for figure, alternatives in names.items()}


_MIB = 1024.0 * 1024.0
# By the server's name, for each figure its names, of which the first that is there counts.
SERVERS: dict[str, dict[str, tuple[SeriesName, ...]]] = {
    # vllm/v1/metrics/loggers.py; behind it what versions before 0.9 said
    "vLLM": _of(
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
    "SGLang": _of(
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
    "TGI": _of(
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
    "llama.cpp": _of(
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
    "TensorRT-LLM": _of(
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
    """All names of series that are known, those of histograms with their suffixes."""
    found = {
        name.name + suffix
        for names in SERVERS.values()
        for figure, alternatives in names.items()
        for name in alternatives
        for suffix in (SUFFIXES if SERVER_METRICS[figure].kind == "times" else ("",))
    }
    return sorted(found)


def series_pattern(everything: bool = False, also: str | None = None) -> str:
    """What names of series to keep match whole; `also` is a pattern of somebody's own, found anywhere in a name."""
    if everything:
        return ".*"
    known = "|".join(map(re.escape, known_series()))
    return f"(?:{known})|.*(?:{also}).*" if also else known


def detect_servers(names: Iterable[str]) -> list[str]:
    """Whose names are among these; several where one page tells of several."""
    there = set(names)
    return [server for server, table in SERVERS.items() if any(_there(name, there) for name in _all(table))]


def _all(table: Mapping[str, tuple[SeriesName, ...]]) -> set[str]:
    return {name.name for alternatives in table.values() for name in alternatives}


def _there(name: str, names: set[str]) -> bool:
    return name in names or f"{name}_count" in names


def match_series(names: Iterable[str], also: str | None = None) -> dict[str, SeriesName]:
    """Our figures that series of these names give, and the name that each is under; those that `also` finds have no
    other name than the server's."""
    there, found = set(names), dict[str, SeriesName]()
    for server in detect_servers(there):
        for ours, alternatives in SERVERS[server].items():
            name = next((one for one in alternatives if _there(one.name, there)), None)
            if name is not None:
                found.setdefault(ours, name)
    others = there.difference(known_series()) if also else set()
    plain = sorted(
        name for name in others if re.search(also or "", name) and not name.endswith(("_bucket", "_created"))
    )
    return {ours: found[ours] for ours in SERVER_METRICS if ours in found} | {name: SeriesName(name) for name in plain}
