"""summary.csv: a row for each metric and window, plain numbers in base units, empty where unknown.

Windows are `whole`, `steady`, groups as KIND=NAME such as `turn=later`, and those of the server.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.stats.describe import PERCENTILES
from loadstone.summary import Metric, Summary
from loadstone.text import write_rows

_FIGURES = ["mean", "std", "min", *PERCENTILES, "max"]
_HEAD = ["window", "metric", "unit", "n", *_FIGURES, "mean_low", "mean_high"]
_RATE_UNITS = {"qps": "1/s", "request_rate": "1/s", "goodput": "1/s"}


def render(summary: Summary) -> str:
    """Return the view `csv`."""
    return write_rows(_HEAD, _rows(summary))


def _rows(summary: Summary) -> Iterator[list[object]]:
    windows = [("whole", summary.metrics, summary.rates)]
    if summary.steady is not None:
        windows.append(("steady", summary.steady.metrics, summary.steady.rates))
    for kind, groups in summary.groups.items():
        windows += [(f"{kind}={group.name}", group.metrics, group.rates) for group in groups]
    windows += _server(summary)
    for window, metrics, rates in windows:
        for name, metric in metrics.items():
            figures = [getattr(metric, figure.replace(".", "")) for figure in _FIGURES]
            yield [window, name, metric.unit, metric.n, *figures, *(metric.ci95.get("mean") or (None, None))]
        for name, rate in rates.items():
            unit = _RATE_UNITS.get(name, "tokens/s" if "throughput" in name else "1")
            yield [window, name, unit, None, rate, *[None] * (len(_HEAD) - 5)]


def _server(summary: Summary) -> Iterator[tuple[str, dict[str, Metric], dict[str, float | None]]]:
    """Yield the windows `server` and `server_steady`, with addresses if there are several servers."""
    sources = summary.server.sources if summary.server else []
    for source in sources:
        suffix = "" if len(sources) == 1 else f"={source.url}"
        for name, span in (("server", source.whole), ("server_steady", source.steady)):
            if span is not None:
                yield name + suffix, span.metrics, {**span.rates, **span.counts}
