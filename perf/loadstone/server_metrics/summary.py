"""The server's side of a run: its own figures over the windows of the client, and beside the client's. Pure.

What a server calls its figures is gauges.py's to know, how they grow scraped.py's; views/serving.py shows this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add

import numpy as np

from loadstone.metrics import windows
from loadstone.metrics.columns import Columns
from loadstone.server_metrics.histograms import PERCENTILES, HistogramGrowth
from loadstone.server_metrics.names import RATIOS, SERVER_METRICS, detect_servers
from loadstone.server_metrics.series import ScrapedSource, SourceMetrics, Span, count_resets
from loadstone.summary import ClientServerCount, ClientServerMetric, Metric, ServerSide, ServerWindow, Source, Summary
from loadstone.units import S_PER_NS, Array, Mask

# Share of the KV cache in use at which there is no room for a burst.
KV_CACHE_FULL = 0.95
# Seconds, and share of a mean, by which two means may differ that are as good as the same.
AGREEMENT = (0.00005, 0.005)
# The client's metrics for the server's times, of which the first that is known stands beside it.
_CLIENT = {"ttft": ("ttft",), "itl": ("itl", "gap"), "tpot": ("tpot",), "latency": ("latency",)}
_MORE = {
    "ttft": "network, HTTP parsing, templating and tokenising that the server's own clock does not count",
    "itl": "outputs that wait on the way: detokenising, HTTP writing, the network",
    "tpot": "outputs that wait on the way: detokenising, HTTP writing, the network",
    "latency": "network, HTTP parsing and writing, tokenising and detokenising beside the server's own clock",
}
_LESS = "the server's figures have requests that the client's have not (failed ones, warm-up, other traffic), or it \
counts outputs in another way"
_RATES = {"prompt_throughput": "prompt_tokens", "generation_throughput": "generation_tokens"}


def summarize(scraped: Sequence[ScrapedSource], columns: Columns, summary: Summary) -> ServerSide | None:
    """Of a run that was measured; None where no server has said anything, or nothing was sent."""
    load, found = _load(columns), [one for one in scraped if len(one.times) or len(one.missed_times)]
    if load is None or not found:
        return None
    also = (summary.run.get("config") or {}).get("scrape_name")
    figures = [SourceMetrics(one, load, also) for one in found]
    whole, steady = _windows(columns, summary, load)
    sources = [_source(one, whole, steady) for one in figures]
    times = _pooled([one.histograms(whole) for one in figures])
    tallies = list(_tallies(columns, [one.counts(load) for one in figures], _choices(summary)))
    beside = list(_beside(times, summary.metrics))
    return ServerSide(sources, beside, tallies, [*_remarks(found, sources), *_partial(columns, tallies)])


def _load(columns: Columns) -> Span | None:
    r = columns.requests
    sent = ~np.isnan(r.sent)
    return (float(r.sent[sent].min()) * S_PER_NS, float(r.end[sent].max()) * S_PER_NS) if sent.any() else None


def _windows(columns: Columns, summary: Summary, load: Span) -> tuple[Span, Span | None]:
    """The client's, whole and steady."""
    span, steady = windows.whole(columns.requests), summary.steady
    whole = (span[0] * S_PER_NS, span[1] * S_PER_NS) if span else load
    return whole, (steady.start, steady.end) if steady else None


def _source(figures: SourceMetrics, whole: Span, steady: Span | None) -> Source:
    scraped = figures.scraped
    return Source(
        url=scraped.source,
        kinds=detect_servers(scraped.names),
        scrapes=len(scraped.times) + len(scraped.missed_times),
        missed=len(scraped.missed_times),
        whole=_stretch(figures, whole),
        steady=_stretch(figures, steady) if steady else None,
    )


def _stretch(figures: SourceMetrics, span: Span) -> ServerWindow:
    counts, times = figures.counts(span), figures.histograms(span)
    metrics = {name: figures.gauge(name, span) for name in figures.gauges}
    metrics |= {name: timed.metric() for name, timed in times.items()}
    ordered = {name: metrics[name] for name in [*SERVER_METRICS, *metrics] if name in metrics}
    return ServerWindow(*span, ordered, counts, _rates(counts, span[1] - span[0]))


def _rates(counts: Mapping[str, float], seconds: float) -> dict[str, float | None]:
    rates: dict[str, float | None] = {
        name: counts[counter] / seconds for name, counter in _RATES.items() if counter in counts and seconds > 0
    }
    for name, (part, whole) in RATIOS.items():
        if part in counts and whole in counts:
            rates[name] = counts[part] / counts[whole] if counts[whole] > 0 else None
    return rates


def _pooled(sources: Sequence[Mapping[str, HistogramGrowth]]) -> dict[str, HistogramGrowth]:
    """Of all servers together."""
    names = [name for name in SERVER_METRICS if any(name in times for times in sources)]
    return {name: reduce(add, [times[name] for times in sources if name in times]) for name in names}


def _beside(times: Mapping[str, HistogramGrowth], metrics: Mapping[str, Metric]) -> Iterator[ClientServerMetric]:
    for name, names in _CLIENT.items():
        ours = next((metrics[one] for one in names if one in metrics and metrics[one].mean is not None), None)
        if ours is None or name not in times or times[name].mean is None:
            continue
        theirs = times[name].metric()
        points = {point: (getattr(ours, point), getattr(theirs, point)) for point in ("mean", *PERCENTILES)}
        bounds = {point: str(place) for point, place in times[name].percentiles().items()}
        difference = (ours.mean or 0.0) - (theirs.mean or 0.0)
        yield ClientServerMetric(name, points, bounds, difference, _explained(name, difference, theirs.mean or 0.0))


def _explained(name: str, difference: float, mean: float) -> str:
    shown = f"{abs(difference) * 1e3:.2f} ms"
    if abs(difference) <= max(AGREEMENT[0], AGREEMENT[1] * mean):
        return f"both agree to {'less than 0.01 ms' if shown == '0.00 ms' else shown} on average"
    if difference > 0:
        return f"the client sees {shown} more: {_MORE[name]}"
    return f"the client sees {shown} less: {_LESS}"


def _tallies(columns: Columns, counts: Sequence[Mapping[str, float]], choices: int) -> Iterator[ClientServerCount]:
    """A request that failed without output may have been refused, or the server may have worked on it."""
    r = columns.requests
    sent = ~np.isnan(r.sent)
    begun = sent & (r.ok | ~np.isnan(r.first))
    ours = {
        "finished": (float(begun.sum()) * choices, float(sent.sum()) * choices),
        "prompt_tokens": _known(r.input_tokens[begun], r.ok, sent),
        "generation_tokens": _known(r.output_tokens[begun], r.ok, sent),
    }
    for name, (least, most) in ours.items():
        if theirs := [one[name] for one in counts if name in one]:
            yield ClientServerCount(name, least, most, sum(theirs))


def _known(tokens: Array, ok: Mask, sent: Mask) -> tuple[float | None, float | None]:
    """None where some were not counted; what was spent on failures the client never knows."""
    total = None if np.isnan(tokens).any() else float(tokens.sum())
    return total, total if ok[sent].all() else None


def _choices(summary: Summary) -> int:
    """Answers to a request, each of which a server counts."""
    config = summary.run.get("config") or {}
    asked = config.get("choices") or (config.get("extra_body") or {}).get("n")
    return asked if isinstance(asked, int) and asked > 0 else 1


def _remarks(found: Sequence[ScrapedSource], sources: Sequence[Source]) -> Iterator[str]:
    for scraped, source in zip(found, sources, strict=True):
        who = f"{source.url}: " if len(found) > 1 else ""
        if times := round(source.whole.counts.get("preemptions", 0.0)):
            work = "the KV cache was too small for the load, and their work was done again"
            yield f"{who}{times:,} preemptions: {work}"
        full = source.whole.metrics.get("kv_use")
        if full is not None and full.max is not None and full.max > KV_CACHE_FULL:
            yield f"{who}the KV cache was {full.max:.0%} full at its fullest: more load waits, or preempts"
        if again := count_resets(scraped):
            often = f" {again} times" if again > 1 else ""
            yield f"{who}its counters began anew{often}: was the server restarted during the run?"
        if source.missed:
            yield f"{who}{source.missed} of {source.scrapes} looks had no answer"


def _partial(columns: Columns, tallies: Sequence[ClientServerCount]) -> Iterator[str]:
    finished = next((tally.server for tally in tallies if tally.name == "finished"), None)
    succeeded = int(columns.requests.ok.sum())
    if finished is not None and round(finished) < 0.99 * succeeded:
        why = "these are the figures of one server of several, or of one that was restarted"
        yield f"the server finished {finished:,.0f} requests, of {succeeded:,} that the client has answers to: {why}"
