"""Counters, histograms and GET /metrics: Prometheus text with vLLM's names, help texts and bounds. Pure.

Names and bounds are those of vLLM 0.32 (v1/metrics/loggers.py, v1/spec_decode/metrics.py). The exact server has no
engine and leaves out the engine's metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from loadstone.sim.bodies import Page
from loadstone.sim.engine.scheduler import Engine
from loadstone.units import NS_PER_S

Bounds = tuple[float, ...]
TTFT: Bounds = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
TTFT += (160, 640, 2560)
TOKEN: Bounds = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
REQUEST: Bounds = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
FINISHES = ("stop", "length", "abort", "error", "repetition")


class Counters:
    """The counters of a server: tokens as they are sent, requests as they end."""

    __slots__ = ("finished", "generated", "prompt", "running")

    def __init__(self) -> None:
        self.running = 0
        self.prompt = 0
        self.generated = 0
        self.finished = dict.fromkeys(FINISHES, 0)


class Histogram:
    """A histogram of seconds. Each bound includes its own value."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, ns: int) -> None:
        """Add a duration, ns."""
        seconds = ns / NS_PER_S
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Yield each bound with the number of values up to it."""
        count = 0
        for bound, more in zip((*(str(float(one)) for one in self.bounds), "+Inf"), self.counts, strict=True):
            count += more
            yield bound, count


class EngineTimes:
    """The times that the engine's sequences took."""

    def __init__(self) -> None:
        self.ttft = Histogram(TTFT)
        self.itl = Histogram(TOKEN)
        self.tpot = Histogram(TOKEN)
        self.latency = Histogram(REQUEST)
        self.queued = Histogram(REQUEST)
        self.finished = dict.fromkeys(FINISHES, 0)


class MetricsText:
    """The lines of a page. All samples have the labels engine and model_name."""

    def __init__(self, model: str) -> None:
        self._name = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        self._lines: list[str] = []

    def family(self, name: str, kind: str, about: str, value: float | None = None) -> None:
        """Add the head of a metric, and its only sample if there is one."""
        self._lines.append(f"# HELP vllm:{name} {about}\n# TYPE vllm:{name} {kind}\n")
        if value is not None:
            self.sample(name, value)

    def sample(self, name: str, value: float, **labels: str) -> None:
        """Add a sample."""
        pairs = sorted({"engine": "0", "model_name": self._name, **labels}.items())
        label_text = ",".join(f'{label}="{text}"' for label, text in pairs)
        self._lines.append(f"vllm:{name}{{{label_text}}} {float(value)}\n")

    def labelled(self, name: str, kind: str, about: str, label: str, values: dict[str, int]) -> None:
        """Add a metric with a sample for each value of a label."""
        self.family(name, kind, about)
        for value, count in values.items():
            self.sample(name, count, **{label: value})

    def histogram(self, name: str, about: str, values: Histogram) -> None:
        """Add a histogram."""
        self.family(name, "histogram", f"Histogram of {about}")
        for bound, count in values.cumulative():
            self.sample(f"{name}_bucket", count, le=bound)
        self.sample(f"{name}_count", sum(values.counts))
        self.sample(f"{name}_sum", values.sum)

    def page(self) -> Page:
        """Return the page."""
        return Page(200, "".join(self._lines).encode(), b"text/plain; version=1.0.0; charset=utf-8")


def exact_page(counters: Counters, model: str) -> Page:
    """Return the metrics of a server without an engine."""
    text = MetricsText(model)
    _requests(text, counters.running, 0)
    _totals(text, counters.prompt, counters.generated, counters.finished)
    return text.page()


def engine_page(one: Engine, times: EngineTimes, model: str, running: int, usage: float) -> Page:
    """Return the metrics of a server with an engine. `running` and `usage`: of its current step."""
    text, counters = MetricsText(model), one.counters
    _requests(text, running, len(one.waiting))
    text.family("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", usage)
    about = "Prefix cache queries, in terms of number of queried tokens."
    text.family("prefix_cache_queries_total", "counter", about, counters.queries)
    about = "Prefix cache hits, in terms of number of cached tokens."
    text.family("prefix_cache_hits_total", "counter", about, counters.hits)
    about = "Cumulative number of preemption from the engine."
    text.family("num_preemptions_total", "counter", about, counters.preemptions)
    _totals(text, counters.prompt, counters.generated, times.finished)

    # Latencies.
    for name, about, values in (
        ("time_to_first_token_seconds", "time to first token in seconds.", times.ttft),
        ("inter_token_latency_seconds", "inter-token latency in seconds.", times.itl),
        ("request_time_per_output_token_seconds", "time_per_output_token_seconds per request.", times.tpot),
        ("e2e_request_latency_seconds", "e2e request latency in seconds.", times.latency),
        ("request_queue_time_seconds", "time spent in WAITING phase for request.", times.queued),
    ):
        text.histogram(name, about, values)

    # Speculative decoding.
    if one.limits.num_speculative_tokens:
        for name, about, value in (
            ("num_drafts", "Number of spec decoding drafts.", counters.drafts),
            ("num_draft_tokens", "Number of draft tokens.", counters.draft_tokens),
            ("num_accepted_tokens", "Number of accepted tokens.", sum(counters.accepted)),
        ):
            text.family(f"spec_decode_{name}_total", "counter", about, value)
        positions = {str(position): count for position, count in enumerate(counters.accepted)}
        name, about = "spec_decode_num_accepted_tokens_per_pos_total", "Accepted tokens per draft position."
        text.labelled(name, "counter", about, "position", positions)

    # The configuration, as the labels of a constant.
    text.family("cache_config_info", "gauge", "Information of the LLMEngine CacheConfig")
    labels = {name: str(getattr(one.limits, name)) for name in ("block_size", "num_gpu_blocks")}
    text.sample("cache_config_info", 1, enable_prefix_caching=str(one.limits.prefix_caching), **labels)
    return text.page()


def _requests(text: MetricsText, running: int, waiting: int) -> None:
    """Add the gauges of current requests."""
    text.family("num_requests_running", "gauge", "Number of requests in model execution batches.", running)
    text.family("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting)


def _totals(text: MetricsText, prompt: int, generated: int, finished: dict[str, int]) -> None:
    """Add the counters of tokens and of finished requests."""
    text.family("prompt_tokens_total", "counter", "Number of prefill tokens processed.", prompt)
    text.family("generation_tokens_total", "counter", "Number of generation tokens processed.", generated)
    about = "Count of successfully processed requests."
    text.labelled("request_success_total", "counter", about, "finished_reason", finished)
