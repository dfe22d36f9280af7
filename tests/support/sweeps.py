"""Sweeps made by hand, for tests of capacity planning, and the settings of sweeps."""

from __future__ import annotations

import dataclasses
from typing import Any

from loadstone.capacity.curves import Curve, build_curves
from loadstone.config import slo
from loadstone.config.schema import Config
from loadstone.summary import Counts, Doubt, Metric, Status, Summary, Verdict
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep
from loadstone.sweep.settings import SweepConfig
from support.records import run_info

SLO = slo.with_errors(slo.parse("ttft.p95<100ms", slo.SLO))


def run(
    ttft: float,
    *,
    half: float | None = 0.001,
    latency: float = 1.0,
    tokens: tuple[float, float] = (100.0, 50.0),
    errors: float = 0.0,
    status: Status = "valid",
    doubt: str | None = None,
    qps: float = 9.0,
    checks: dict[str, float | None] | None = None,
    ended: str = "done",
    **config: Any,
) -> Summary:
    """A run with this p95 of TTFT (s), known to within `half`, and this mean latency."""
    ends = None if half is None else (ttft - half, ttft + half)
    doubts = [Doubt(doubt, "invalid" if status == "invalid" else "suspect", "9", "1", "do")] if doubt else []
    return Summary(
        run=run_info({"config": {"arrivals": "poisson" if config.get("rate") else None, **config}, "ended": ended}),
        counts=Counts(1000, 1000, 1000, 0, 0, 0, 0, {}),
        duration=100.0,
        metrics={
            "ttft": Metric("s", 1000, mean=ttft / 2, p50=ttft / 2, p95=ttft, p99=2 * ttft, ci95={"p95": ends}),
            "latency": Metric("s", 1000, mean=latency, p50=latency, ci95={"mean": (latency - 0.1, latency + 0.1)}),
            "input_tokens": Metric("tokens", 1000, mean=tokens[0]),
            "output_tokens": Metric("tokens", 1000, mean=tokens[1]),
        },
        rates={"qps": qps, "concurrency": 5.0, "error_rate": errors},
        sources={},
        steady=None,
        client={},
        checks=checks or {},
        verdict=Verdict(status, doubts),
    )


def sweep(*points: MeasuredPoint, **grid: Any) -> Sweep:
    return Sweep(Grid(config={}, varied=["rate"], places=[], **grid), list(points))


def at(rate: float, ttft: float, **given: Any) -> MeasuredPoint:
    return MeasuredPoint(f"rate-{rate:g}", {"rate": rate}, [run(ttft, rate=rate, **given)])


def busy(clients: int, qps: float, ttft: float) -> MeasuredPoint:
    return MeasuredPoint(f"c-{clients}", {"concurrency": clients}, [run(ttft, concurrency=clients, qps=qps)])


def curve(*points: MeasuredPoint) -> Curve:
    (found,) = build_curves(sweep(*points), "s", SLO)
    return found


def sweep_config(config: Config, **given: Any) -> SweepConfig:
    """Return the checked settings of a sweep over a configuration."""
    made = SweepConfig(**{each.name: getattr(config, each.name) for each in dataclasses.fields(config)}, **given)
    made.check()
    return made
