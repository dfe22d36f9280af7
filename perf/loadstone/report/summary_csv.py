"""summary.csv: a row for each metric and window, plain numbers in base units, empty where unknown.

Windows are `whole`, `steady`, groups as KIND=NAME such as `turn=later`, and those of the server.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.report.run_tables import figures as run_figures
from loadstone.stats.describe import PERCENTILES
from loadstone.summary import Summary
from loadstone.text import write_rows

_RATE_UNITS = {"qps": "1/s", "request_rate": "1/s", "goodput": "1/s"}


def render(summary: Summary) -> str:
    """Return the view `csv`."""
    # Percentiles that --percentiles added come after those of every run.
    more = [name for name in run_figures(summary)[1:-1] if name not in PERCENTILES]
    figures = ["mean", "std", "min", *PERCENTILES, *more, "max"]
    head = ["window", "metric", "unit", "n", *figures, "mean_low", "mean_high"]
    return write_rows(head, _rows(summary, figures))


def _rows(summary: Summary, names: list[str]) -> Iterator[list[object]]:
    windows = [("whole", summary.metrics, summary.rates)]
    if summary.steady is not None:
        windows.append(("steady", summary.steady.metrics, summary.steady.rates))
    for kind, groups in summary.groups.items():
        windows += [(f"{kind}={group.name}", group.metrics, group.rates) for group in groups]
    # Windows of the server, with addresses if there are several servers.
    sources = summary.server.sources if summary.server else []
    for source in sources:
        suffix = "" if len(sources) == 1 else f"={source.url}"
        for name, span in (("server", source.whole), ("server_steady", source.steady)):
            if span is not None:
                windows.append((name + suffix, span.metrics, {**span.rates, **span.counts}))
    for window, metrics, rates in windows:
        for name, metric in metrics.items():
            figures = [metric.at(figure) for figure in names]
            yield [window, name, metric.unit, metric.n, *figures, *(metric.ci95.get("mean") or (None, None))]
        for name, rate in rates.items():
            unit = _RATE_UNITS.get(name, "tokens/s" if "throughput" in name else "1")
            yield [window, name, unit, None, rate, *[None] * (len(names) + 1)]
