"""Convert a chart to the traces and layout of plotly.js: plain data that becomes JSON.

Colours are names of CSS variables (`--good`), which the page looks up in its light or dark scheme. Texts are escaped
here for the small HTML that the library reads in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from loadstone.report.escape import label
from loadstone.report.page import Axis, Band, Chart, Mark, Series

Trace = dict[str, Any]
PALETTE = 8
# Significant digits of the numbers in a chart: more than a screen can show.
DIGITS = 6
_MODES = {"line": "lines", "step": "lines", "area": "lines", "points": "markers", "linepoints": "lines+markers"}
_BARS_AROUND = ("points", "linepoints", "bars")
# The top has room for the legend and the buttons.
_MARGIN = {"l": 56, "r": 16, "t": 28, "b": 48}
# Decades below which an axis has room for labels between them.
_FINE = 2.2
# Up to this many names each have a label, upright if the chart is narrow.
_NAMES = 24
# A band narrower than this fraction of the width has no label: it would reach into the next one.
_NARROW = 0.15
# Margins of charts in a group, so that their x axes are aligned.
_WIDE = {"l": 76, "r": 64}


def figure(chart: Chart) -> dict[str, Any]:
    """Return `data` and `layout`. Further `plain` series take the next colours of the palette."""
    plain = 0
    traces: list[Trace] = []
    for series in chart.series:
        colour = f"--{series.role}"
        if series.role == "plain":
            colour, plain = f"--c{plain % PALETTE}", plain + 1
        trace = _trace(series, colour, chart)
        if series.low is not None and series.high is not None:
            # The interval of each y: error bars at points, a band below a line.
            if series.kind in _BARS_AROUND:
                trace["error_y"] = _errors(series, colour)
            else:
                traces.append(_band(series, colour, trace))
        traces.append(trace)

    # Texts that several series share, the same list, are written once: later series have the index of the first trace.
    with_text = [trace for trace in traces if "text" in trace]
    first: dict[int, int] = {}
    for series, trace in zip([series for series in chart.series if series.texts is not None], with_text, strict=True):
        if id(series.texts) in first:
            trace["text"] = first[id(series.texts)]
        first.setdefault(id(series.texts), traces.index(trace))
    return {"data": traces, "layout": _layout(chart)}


def _trace(series: Series, colour: str, chart: Chart) -> Trace:
    name = label(series.name)
    y = chart.y2 if series.right and chart.y2 else chart.y
    trace: Trace = {
        "name": name,
        "legendgroup": name,
        "x": _values(series.x),
        "y": _values(series.y),
        "hovertemplate": _hover(chart.x, y, series),
    }
    if series.texts is not None:
        trace["text"] = ["<br>".join(map(label, text.split("\n"))) for text in series.texts]
    if series.right and chart.y2:
        trace["yaxis"] = "y2"

    # How it is drawn: spans, bars, or lines and points.
    if series.kind == "spans":
        ends = series.ends or ()
        wide = [end - begin for begin, end in zip(map(float, series.x), ends, strict=True)]
        return trace | {"type": "bar", "orientation": "h", "base": _values(series.x), "x": _values(wide),
                        "textposition": "none", "marker": {"color": colour}}  # fmt: skip
    if series.kind == "bars":
        return trace | {"type": "bar", "textposition": "none", "marker": {"color": colour}}
    line: Trace = {"color": colour, "width": 2, "shape": "hv" if series.kind == "step" else "linear"}
    if series.dashed:
        line["dash"] = "dash"
    style: Trace = {"type": "scatter", "mode": _MODES[series.kind], "line": line, "connectgaps": False}
    if "markers" in style["mode"]:
        shape = "x" if series.role == "bad" else "circle"
        style["marker"] = {"color": colour, "size": 5 if len(series.x) > 200 else 7, "symbol": shape, "opacity": 0.75}
    if series.kind == "area":
        style |= {"fill": "tozeroy", "fillcolor": f"{colour}-soft"}
    return trace | style


def _errors(series: Series, colour: str) -> Trace:
    """Return the error bars: lengths up and down from the points."""
    assert series.low is not None
    assert series.high is not None
    middle = [None if y is None else float(y) for y in series.y]
    up = [_minus(high, y) for high, y in zip(series.high, middle, strict=True)]
    down = [_minus(y, low) for y, low in zip(middle, series.low, strict=True)]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": colour, "thickness": 1.25}


def _minus(high: float | None, low: float | None) -> float | None:
    """Return the length of a bar; None for no bar, as one of length 0 would look like an exact value."""
    return None if high is None or low is None else max(0.0, high - low)


def _band(series: Series, colour: str, trace: Trace) -> Trace:
    """Return a closed shape around each range of x in which both bounds are known."""
    xs: list[Any] = []
    ys: list[float | None] = []
    for points in _ranges(series):
        there, low, high = (list(column) for column in zip(*points, strict=True))
        xs += [*there, *reversed(there), None]
        ys += [*high, *reversed(low), None]
    keys = ("name", "legendgroup", "yaxis")
    return {key: trace[key] for key in keys if key in trace} | {
        "type": "scatter", "mode": "lines", "x": _values(xs), "y": _values(ys), "fill": "toself", "hoverinfo": "skip",
        "fillcolor": f"{colour}-soft", "line": {"width": 0}, "showlegend": False,
    }  # fmt: skip


def _ranges(series: Series) -> Iterator[list[tuple[float | str, float, float]]]:
    run: list[tuple[float | str, float, float]] = []
    for x, low, high in zip(series.x, series.low or (), series.high or (), strict=True):
        if low is not None and high is not None:
            run.append((x, low, high))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _hover(x: Axis, y: Axis, series: Series) -> str:
    name = "<extra>%{fullData.name}</extra>"
    if series.texts is not None:
        return "%{text}" + name
    units = [label(axis.unit).replace("%{", "% {") for axis in (x, y)]
    if series.kind == "spans":
        return f"%{{base:,.5~g}} + %{{x:,.5~g}} {units[0]}{name}"
    words = any(isinstance(value, str) for value in series.x)
    return f"{'%{x}' if words else f'%{{x:,.5~g}} {units[0]}'}<br>%{{y:,.5~g}} {units[1]}{name}"


def _layout(chart: Chart) -> dict[str, Any]:
    legend = len({series.name for series in chart.series}) > 1
    layout: dict[str, Any] = {
        "height": chart.height,
        "margin": _MARGIN | (_WIDE if chart.group and not chart.half else {}),
        "xaxis": _axis(chart.x, [value for series in chart.series for value in series.x]),
        "yaxis": _axis(chart.y, [value for series in chart.series if not series.right for value in series.y]),
        "shapes": [
            *_shades(chart.bands, chart.x),
            *(_line(mark, place) for place, mark in enumerate(chart.marks)),
        ],
        "showlegend": legend,
        "hovermode": "closest",
    }
    if chart.y2:
        right = [value for series in chart.series if series.right for value in series.y]
        layout["yaxis2"] = _axis(chart.y2, right) | {
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "tickmode": "auto",
        }
    if any(series.kind == "spans" for series in chart.series):
        layout |= {"barmode": "overlay", "bargap": 0.25}
    return layout


def _axis(axis: Axis, values: Sequence[float | str | None]) -> dict[str, Any]:
    """Return an axis.

    Its type is explicit: a name that looks like a date stays a name. Its ends are not a `range`, which the library
    forgets with the next change if one end is open.
    """
    title = label(f"{axis.title} ({axis.unit})" if axis.unit and axis.title else axis.title or axis.unit)
    words = any(isinstance(value, str) for value in values)
    drawn: dict[str, Any] = {"title": {"text": title}, "type": "category" if words else "log" if axis.log else "linear"}
    if not axis.log:
        ends = {"minallowed": axis.low, "maxallowed": axis.high}
        drawn["autorangeoptions"] = {key: value for key, value in ends.items() if value is not None}
    if words and len(set(values)) <= _NAMES:
        drawn["dtick"] = 1
    if not axis.log:
        return drawn

    # The ends of a logarithmic axis are clipped and included: for `minallowed` the library compares logarithms with
    # values, and ignores ends below 1.
    clips = {"clipmin": axis.low, "clipmax": axis.high}
    inside: dict[str, Any] = {key: value for key, value in clips.items() if value is not None and value > 0}
    drawn["autorangeoptions"] = inside | ({"include": [*inside.values()]} if inside else {})
    # Its ticks: labels at 1, 2, 5 of each decade, or at decades if there are many.
    known = [float(value) for value in values if value is not None and not isinstance(value, str) and value > 0]
    low, high = axis.low or min(known, default=1.0), axis.high or max(known, default=1.0)
    decades = 1.1 * math.log10(high / low) if 0 < low < high else 0.0
    return drawn | {"nticks": max(2, round(2 * decades) if decades < _FINE else math.ceil(decades))}


def _shades(bands: Sequence[Band], x: Axis) -> Iterator[dict[str, Any]]:
    """Yield the shaded bands. The longest is lighter than its neighbours."""
    longest = max((band.end - band.start for band in bands), default=0.0)
    for place, band in enumerate(bands):
        colour = "--shade" if band.end - band.start == longest else "--shade-more"
        # Labels of neighbours are on different sides.
        side = "right" if place % 2 else "left"
        wide = x.low is None or x.high is None or band.end - band.start >= _NARROW * (x.high - x.low)
        yield {
            "type": "rect", "xref": "x", "yref": "paper", "x0": _short(band.start), "x1": _short(band.end), "y0": 0,
            "y1": 1, "layer": "below", "line": {"width": 0}, "fillcolor": colour,
            "label": {"text": label(band.label) if wide else "", "textposition": f"top {side}",
                      "font": {"size": 11, "color": "--muted"}},
        }  # fmt: skip


def _line(mark: Mark, place: int) -> dict[str, Any]:
    """Return a line. Labels of neighbours along x are at different heights; that of a y below 0 is below its line."""
    across = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": _short(mark.at), "y1": _short(mark.at)}
    up = {"xref": "x", "x0": _short(mark.at), "x1": _short(mark.at), "yref": "paper", "y0": 0, "y1": 1 - place % 4 / 10}
    return (up if mark.axis == "x" else across) | {
        "type": "line", "line": {"color": "--muted", "width": 1, "dash": "dot"},
        "label": {"text": label(mark.label), "textposition": "end" if mark.axis == "x" else "start", "textangle": 0,
                  "xanchor": "left", "yanchor": "top" if mark.axis == "x" or mark.at < 0 else "bottom",
                  "font": {"size": 11, "color": "--text"}},
    }  # fmt: skip


def _values(values: Sequence[float | str | None]) -> list[float | str | None]:
    return [label(value) if isinstance(value, str) else None if value is None else _short(value) for value in values]


def _short(value: float) -> float | None:
    """Round a number. None, a gap, for what JSON has no number for."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
