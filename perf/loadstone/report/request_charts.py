"""Charts of single requests: all over time, and the slowest with their phases."""

from __future__ import annotations

from loadstone.checks.finding import one_line
from loadstone.metrics.chart_data import ChartData, RequestPoint
from loadstone.metrics.columns import NOT_COMPLETED
from loadstone.report.page import Axis, Chart, Role, Series
from loadstone.report.run_charts import MS, TIME, seconds, windows
from loadstone.report.run_tables import number
from loadstone.summary import Summary

_STEPS: dict[str, Role] = {"wait": "doubt", "connect": "bad", "to first token": "new", "decode": "base"}


def requests(summary: Summary, traces: ChartData) -> Chart:
    """Draw TTFT and latency by the time of sending; failures by how long they lasted."""
    answered, texts = traces.succeeded, [*map(describe, traces.succeeded)]
    at = [shot.at for shot in answered]
    series = [
        Series("latency", at, [_ms(shot.duration) for shot in answered], kind="points", role="base", texts=texts),
        Series("TTFT", at, [_ms(shot.ttft) for shot in answered], kind="points", role="new", texts=texts),
    ]
    failures: tuple[tuple[str, Role, list[RequestPoint]], ...] = (
        ("failed", "bad", [shot for shot in traces.failed if shot.error not in NOT_COMPLETED]),
        ("cut off or cancelled", "doubt", [shot for shot in traces.failed if shot.error in NOT_COMPLETED]),
    )
    for name, role, shots in failures:
        lasted = [_ms(shot.duration) for shot in shots]
        texts = [*map(describe, shots)]
        series.append(Series(name, [shot.at for shot in shots], lasted, kind="points", role=role, texts=texts))
    return Chart(
        title="Each request",
        x=seconds(traces, "sent, "),
        y=Axis("TTFT and latency", "ms", log=True),
        series=[part for part in series if any(y is not None for y in part.y)],
        bands=windows(summary, traces),
        group=TIME,
        height=420,
        note=_shown(traces),
    )


def _shown(traces: ChartData) -> str:
    """Return a note on how many requests are shown, and which."""
    parts = []
    for word, shots, count in (
        ("answered", traces.succeeded, traces.succeeded_count),
        ("failed", traces.failed, traces.failed_count),
    ):
        left = "" if len(shots) == count else ": the extremes of every slice of time, and others evenly spaced"
        if count:
            parts.append(f"{len(shots):,} of {count:,} {word} requests are shown{left}.")
    return " ".join(parts) + (" The value of a failure is the time until it failed." if traces.failed_count else "")


def describe(shot: RequestPoint) -> str:
    """Describe one request in a few lines."""
    prompt = f", prompt {one_line(shot.prompt, 40)}" if shot.prompt else ""
    phase = {"measure": "", "warmup": ", warm-up", "cooldown": ", cool-down"}[shot.phase]
    times = [f"TTFT {number(shot.ttft, 's')} ms"] if shot.ttft is not None else []
    times.append(f"{'failed after' if shot.error else 'latency'} {number(shot.duration, 's')} ms")
    counts = ["-" if tokens is None else f"{tokens:,}" for tokens in (shot.input_tokens, shot.output_tokens)]
    tokens = f"{counts[0]} tokens in, {counts[1]} out"
    end = f"{shot.error}, HTTP {shot.status}" if shot.error and shot.status else shot.error or tokens
    return f"request {shot.index}{prompt}{phase}\nsent at {shot.at:.3f} s\n{', '.join(times)}\n{end}"


def _ms(seconds: float | None) -> float | None:
    """Convert seconds to ms; None for values that a logarithmic axis cannot show."""
    return None if seconds is None or seconds <= 0 else seconds * MS


def waterfall(traces: ChartData) -> Chart:
    """Draw the slowest requests, slowest on top, each from the time it was scheduled."""
    shots = traces.slowest[::-1]
    steps = {name: [_steps(shot)[name] for shot in shots] for name in _STEPS}
    names = [f"request {shot.index}" for shot in shots]
    series = []
    for name, spans in steps.items():
        there = [(row, shot, span) for row, shot, span in zip(names, shots, spans, strict=True) if span[1] > span[0]]
        starts, ends = [span[0] for _, _, span in there], [span[1] for _, _, span in there]
        rows = [row for row, _, _ in there]
        texts = [f"{name}: {number((span[1] - span[0]) / MS, 's')} ms\n{describe(shot)}" for _, shot, span in there]
        series.append(Series(name, starts, rows, "spans", _STEPS[name], texts=texts, ends=ends))
    return Chart(
        title=f"The {len(shots)} slowest requests",
        x=Axis("time since it was scheduled", "ms", low=0.0),
        y=Axis(""),
        series=[part for part in series if part.x],
        height=90 + 17 * len(shots),
        note="Successful, measured requests with the highest latency. Wait: from the scheduled time until it was sent.",
    )


def _steps(shot: RequestPoint) -> dict[str, tuple[float, float]]:
    """Return the phases of a request, ms since it was scheduled. An unstreamed response is all `to first token`."""
    wait, connect = (shot.wait or 0.0) * MS, (shot.connect or 0.0) * MS
    connected = max(0.0, wait - connect)
    end = wait + shot.duration * MS
    first = end if shot.ttft is None else wait + shot.ttft * MS
    ends = (connected, wait, first, end)
    return dict(zip(_STEPS, zip((0.0, *ends[:-1]), ends, strict=True), strict=True))
