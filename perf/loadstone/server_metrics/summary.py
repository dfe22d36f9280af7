"""The server's side of a run: its metrics over the windows of the client, and beside the client's own.

names.py knows what servers call their metrics, series.py how they grow; report/server_tables.py shows the result.
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
from loadstone.units import S_PER_NS

# Fraction of the KV cache in use above which there is no room for a burst.
KV_CACHE_FULL = 0.95
# Two means that differ by no more than this (seconds, or fraction of the mean) agree.
AGREEMENT = (0.00005, 0.005)
# Fraction of the client's successes that a server has finished at least, unless it is one of several.
MIN_FINISHED = 0.99
# For each of the server's times, the client's metrics to compare it with; the first one that is known counts.
_CLIENT_METRICS = {"ttft": ("ttft",), "itl": ("itl", "gap"), "tpot": ("tpot",), "latency": ("latency",)}
# Why the client's times may be longer than the server's.
_CLIENT_LONGER = {
    "ttft": "network, HTTP parsing, templating and tokenising that the server's own clock does not count",
    "itl": "outputs that wait on the way: detokenising, HTTP writing, the network",
    "tpot": "outputs that wait on the way: detokenising, HTTP writing, the network",
    "latency": "network, HTTP parsing and writing, tokenising and detokenising beside the server's own clock",
}
# Why the client's times may be shorter than the server's.
_CLIENT_SHORTER = (
    "the server's figures have requests that the client's have not (failed ones, warm-up, other traffic), or it counts "
    "outputs in another way"
)
# Rates, and the counters that they come from.
_RATES = {"prompt_throughput": "prompt_tokens", "generation_throughput": "generation_tokens"}


def summarize(sources: Sequence[ScrapedSource], columns: Columns, summary: Summary) -> ServerSide | None:
    """Return what the servers reported about a measured run; None if they reported nothing or nothing was sent."""
    requests = columns.requests
    sent = ~np.isnan(requests.sent)
    scraped = [source for source in sources if len(source.times) or len(source.missed_times)]
    if not sent.any() or not scraped:
        return None
    load = (float(requests.sent[sent].min()) * S_PER_NS, float(requests.end[sent].max()) * S_PER_NS)
    pattern = summary.run.config.scrape_name
    metrics = [SourceMetrics(source, load, pattern) for source in scraped]

    # Each source, over the client's windows.
    span = windows.whole(requests)
    whole = (span[0] * S_PER_NS, span[1] * S_PER_NS) if span else load
    steady = (summary.steady.start, summary.steady.end) if summary.steady else None
    pages = [_source(one, load, whole, steady, summary.run.config.scrape_every) for one in metrics]

    # All servers together, beside the client.
    histograms = [one.histograms(whole) for one in metrics]
    names = [name for name in SERVER_METRICS if any(name in one for one in histograms)]
    times = {name: reduce(add, [one[name] for one in histograms if name in one]) for name in names}
    # What was scraped in part only is not compared with the whole.
    complete = all(page.ended is None for page in pages)
    beside = list(_compare_times(times, summary.metrics)) if complete else []
    tallies = list(_compare_counts(columns, [one.counts(load) for one in metrics], summary)) if complete else []
    return ServerSide(pages, beside, tallies, list(_remarks(scraped, pages, columns, tallies)))


def _source(metrics: SourceMetrics, load: Span, whole: Span, steady: Span | None, interval: float) -> Source:
    """Return what a source reported. The scraper scrapes once more after the load, unless it ended before.

    load: from the first request sent to the end of the last.
    interval: seconds between two scrapes.
    """
    source = metrics.source
    scrapes, missed = len(source.times) + len(source.missed_times), len(source.missed_times)
    last = float(max(np.max(source.times, initial=-np.inf), np.max(source.missed_times, initial=-np.inf)))
    ended = last if last < load[1] else None
    if ended is not None:
        # Those that were due until the load ended, and the one after it.
        lost = 1 + int((load[1] - max(ended, load[0])) / interval)
        scrapes, missed = scrapes + lost, missed + lost
        whole = (whole[0], max(whole[0], min(whole[1], ended)))
        steady = (steady[0], min(steady[1], ended)) if steady and steady[0] < ended else None
    return Source(
        url=source.source,
        kinds=detect_servers(source.names),
        scrapes=scrapes,
        missed=missed,
        whole=_window(metrics, whole),
        steady=_window(metrics, steady) if steady else None,
        ended=ended,
    )


def _window(metrics: SourceMetrics, span: Span) -> ServerWindow:
    """Return what a source reported in a window."""
    counts = metrics.counts(span)
    values = {name: metrics.gauge(name, span) for name in metrics.gauges}
    values |= {name: histogram.metric() for name, histogram in metrics.histograms(span).items()}
    ordered = {name: values[name] for name in [*SERVER_METRICS, *values] if name in values}
    seconds = span[1] - span[0]
    rates: dict[str, float | None] = {
        name: counts[counter] / seconds for name, counter in _RATES.items() if counter in counts and seconds > 0
    }
    for name, (part, total) in RATIOS.items():
        if part in counts and total in counts:
            rates[name] = counts[part] / counts[total] if counts[total] > 0 else None
    return ServerWindow(*span, ordered, counts, rates)


def _compare_times(times: Mapping[str, HistogramGrowth], metrics: Mapping[str, Metric]) -> Iterator[ClientServerMetric]:
    """Yield each of the servers' times beside the client's."""
    for name, client_names in _CLIENT_METRICS.items():
        known = (metrics[other] for other in client_names if other in metrics and metrics[other].mean is not None)
        client = next(known, None)
        if client is None or name not in times or times[name].mean is None:
            continue
        server = times[name].metric()
        points = {point: (getattr(client, point), getattr(server, point)) for point in ("mean", *PERCENTILES)}
        bounds = {point: str(percentile) for point, percentile in times[name].percentiles().items()}
        difference = (client.mean or 0.0) - (server.mean or 0.0)
        text = f"{abs(difference) * 1e3:.2f} ms"
        if abs(difference) <= max(AGREEMENT[0], AGREEMENT[1] * (server.mean or 0.0)):
            explanation = f"both agree to {'less than 0.01 ms' if text == '0.00 ms' else text} on average"
        elif difference > 0:
            explanation = f"the client sees {text} more: {_CLIENT_LONGER[name]}"
        else:
            explanation = f"the client sees {text} less: {_CLIENT_SHORTER}"
        yield ClientServerMetric(name, points, bounds, difference, explanation)


def _compare_counts(
    columns: Columns, counts: Sequence[Mapping[str, float]], summary: Summary
) -> Iterator[ClientServerCount]:
    """Yield each of the servers' counts beside the client's.

    A request that failed without output may have been refused, or the server may have worked on it. So the client's
    count is a range. The tokens of failures are unknown.
    """
    # Choices of a request, each of which a server counts.
    config = summary.run.config
    requested = config.choices or config.extra_body.get("n")
    choices = requested if isinstance(requested, int) and requested > 0 else 1

    requests = columns.requests
    sent = ~np.isnan(requests.sent)
    has_output = sent & (requests.ok | ~np.isnan(requests.first))
    all_succeeded = requests.ok[sent].all()
    ranges: dict[str, tuple[float | None, float | None]] = {
        "finished": (float(has_output.sum()) * choices, float(sent.sum()) * choices)
    }
    tokens = {"prompt_tokens": requests.input_tokens, "generation_tokens": requests.output_tokens}
    for name, values in tokens.items():
        total = None if np.isnan(values[has_output]).any() else float(values[has_output].sum())
        ranges[name] = (total, total if all_succeeded else None)
    for name, (least, most) in ranges.items():
        if server := [one[name] for one in counts if name in one]:
            yield ClientServerCount(name, least, most, sum(server))


def _remarks(
    scraped: Sequence[ScrapedSource], pages: Sequence[Source], columns: Columns, tallies: Sequence[ClientServerCount]
) -> Iterator[str]:
    """Yield sentences about what is unusual."""
    for source, page in zip(scraped, pages, strict=True):
        prefix = f"{page.url}: " if len(scraped) > 1 else ""
        if preemptions := round(page.whole.counts.get("preemptions", 0.0)):
            cause = "the KV cache was too small for the load, and their work was repeated"
            yield f"{prefix}{preemptions:,} preemptions: {cause}"
        kv_use = page.whole.metrics.get("kv_use")
        if kv_use is not None and kv_use.max is not None and kv_use.max > KV_CACHE_FULL:
            yield f"{prefix}the KV cache was up to {kv_use.max:.0%} full: more load waits, or preempts"
        if resets := count_resets(source):
            times = f" {resets} times" if resets > 1 else ""
            yield f"{prefix}its counters were reset{times}: was the server restarted during the run?"
        if page.ended is not None:
            until = f"{max(0.0, page.ended):.1f} s"
            yield f"{prefix}nothing was scraped after {until}: the server's figures are those until then"
        elif page.missed:
            yield f"{prefix}{page.missed} of {page.scrapes} scrapes had no answer"
    finished = next((tally.server for tally in tallies if tally.name == "finished"), None)
    succeeded = int(columns.requests.ok.sum())
    if finished is not None and round(finished) < MIN_FINISHED * succeeded:
        cause = "these are the figures of one server of several, or of one that was restarted"
        yield f"the server finished {finished:,.0f} of the {succeeded:,} requests that succeeded: {cause}"
