"""Check the load: whether the server kept up with it, whether it was as planned, and whether it was steady.

Pure. A server that falls behind comes first: its queue explains whatever else looks unsteady, so the rules that would
call such a run too short are silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks.finding import Finding, Rule, Severity, format_percent, grade
from loadstone.summary import EndReason, Summary

# Relative change over the steady window from which a drift matters.
DRIFT = 0.1
# Relative change of a mean by the warm-up from which it matters.
WARMUP = 0.02
# Fraction of what the server carried that a lower rate is advised at.
ROOM = 0.9
_FIGURES = {"ttft": "TTFT", "latency": "latency", "tpot": "TPOT"}
_DRIFTS = _FIGURES | {"qps": "QPS"}


def saturated(summary: Summary) -> Iterator[Finding]:
    """Check that the server kept up with an open loop: its backlog would grow for as long as the load lasts."""
    sent, carried = (summary.checks.get(f"saturated_{name}") for name in ("sent", "carried"))
    if sent is None or carried is None:
        return
    config = summary.run.config
    verb, limited = "were sent", ""
    if _is_capped(summary):
        verb, limited = "were due", f" with {config.concurrency} in flight (-c)"
    measured = f"{sent:.3g}/s {verb}, the server carried {carried:.3g}/s{limited}"
    advice = "requests waited ever longer, so times depend on how long the run lasts: "
    yield Finding("saturated", "suspect", measured, f"{sent:.3g}/s", advice + _offer_less(summary, sent, carried))


def _offer_less(summary: Summary, sent: float, carried: float) -> str:
    """Return what to type for a load that the server carries."""
    config, most = summary.run.config, ROOM * carried
    more = "raise -c if the server can take more, or " if _is_capped(summary) else ""
    if config.rate and most > 0:
        step = 10 ** (math.floor(math.log10(most)) - 1)
        return f"{more}lower the --rate to {math.floor(most / step) * step:.3g}, or give -c without it"
    if config.arrivals == "replay":
        return f"{more}give a lower --speed, such as {(config.speed or 1.0) * most / sent:.2g}"
    return f"{more}offer less than {carried:.3g}/s" + (" in --stages" if config.stages else "")


def is_saturated(summary: Summary) -> bool:
    """Return True if the server fell behind an open loop."""
    return summary.checks.get("saturated_sent") is not None or summary.run.ended is EndReason.SATURATED


def cut_off(summary: Summary) -> Iterator[Finding]:
    """Check for requests that the end of the run cut off."""
    counts = summary.counts
    total = counts.completed + counts.stopped
    severity = grade(counts.stopped, 0.01 * total, math.inf)
    advice = "the slowest requests are missing from the latencies; "
    advice += "they are the backlog" if is_saturated(summary) else "give a longer --grace or --duration"
    yield Finding("cut off at the end", severity, f"{counts.stopped} of {total} requests", "1%", advice)


def _rate(summary: Summary) -> Iterator[Finding]:
    """Check that an open loop sent at the planned rate, where limits per minute do not decide how much is sent."""
    config = summary.run.config
    rate = config.rate
    ratio = summary.checks.get("rate_ratio")
    if (
        not is_open_loop(summary)
        or ratio is None
        or config.rpm
        or config.tpm
        or (is_saturated(summary) and _is_capped(summary))
    ):
        return
    severity = grade(-ratio, -0.95, math.inf)
    advice = "fewer requests left than planned: raise -c if it caps the rate, or use another client"
    measured, limit = (
        (f"{rate * ratio:.4g}/s while sending", f"{rate:.4g}/s asked") if rate else (f"{ratio:.0%} of it", "95%")
    )
    yield Finding("request rate", severity, measured, limit, advice)


def _concurrency(summary: Summary) -> Iterator[Finding]:
    """Check that a closed loop held the concurrency."""
    config = summary.run.config
    concurrency = config.concurrency
    steady = summary.steady
    if not concurrency or steady is None or is_open_loop(summary):
        return
    # Users who think are not in flight, and limits per minute decide how much is sent.
    if "turn" in summary.groups or config.rpm or config.tpm:
        return
    in_flight = steady.rates.get("concurrency")
    if in_flight is not None:
        advice = "the load never held: ask for more requests (-n) than slots, or look at connect times and errors"
        severity = grade(-in_flight, -0.9 * concurrency, math.inf)
        yield Finding(
            "concurrency", severity, f"{in_flight:.4g} in flight while steady", f"{concurrency} asked", advice
        )


def _little(summary: Summary) -> Iterator[Finding]:
    """Check Little's law: rate times latency is the concurrency of a steady run."""
    ratio = summary.checks.get("little")
    if ratio is not None and summary.counts.succeeded >= 100 and not is_saturated(summary):
        severity: Severity | None = None if 0.8 <= ratio <= 1.25 else "suspect"
        advice = "rate x time in flight does not give the number in flight: the run was not steady; run longer"
        yield Finding("Little's law", severity, f"ratio {ratio:.2f}", "0.8 to 1.25", advice)


def _warmup(summary: Summary) -> Iterator[Finding]:
    """Check for a transient at the beginning, where the load was meant to be steady.

    The cut is that of the figure which takes longest to settle.
    """
    if _unsteady(summary):
        return
    checks = summary.checks
    cuts = {name: cut for name in _FIGURES if (cut := checks.get(f"warmup_{name}")) is not None}
    shifts = {name: checks.get(f"warmup_{name}_shift") or 0.0 for name in cuts}
    large = {name: cuts[name] for name, shift in shifts.items() if abs(shift) > WARMUP}
    if not large:
        if any(checks.get(f"drift_{name}") is not None for name in _FIGURES):
            yield Finding("warm-up", None, "no transient at the beginning", format_percent(WARMUP), "")
        return
    worst = max(large, key=lambda name: abs(shifts[name]))
    cut = round(max(large.values()))
    measured = f"mean {_FIGURES[worst]} {shifts[worst]:+.0%} by the first {cut} requests"
    # Rounded up to two digits.
    warmup = cut + summary.counts.warmup
    step = int(10 ** max(0, len(str(warmup)) - 2))
    advice = f"the run had not settled when it was measured: --warmup {-(-warmup // step) * step}"
    yield Finding("warm-up", "suspect", measured, format_percent(WARMUP), advice)


def _drift(summary: Summary) -> Iterator[Finding]:
    """Check for a change over the steady window, where the load was meant to be steady.

    A change counts by the end of its interval that is nearer to 0. What a warm-up explains has been left out.
    """
    if _unsteady(summary):
        return
    checks = summary.checks
    changes = {}
    for name in _DRIFTS:
        change = checks.get(f"drift_{name}")
        margin = checks.get(f"drift_{name}_margin")
        if change is not None and margin is not None and not (name == "qps" and is_open_loop(summary)):
            changes[name] = (max(0.0, abs(change) - margin), change, margin)
    if not changes:
        return
    name = max(changes, key=lambda name: (changes[name][0], abs(changes[name][1])))
    certain, change, margin = changes[name]
    measured = f"{_DRIFTS[name]} {change:+.0%} ± {format_percent(margin)} in the steady window"
    advice = "the figures depend on how long the run lasts: "
    if is_open_loop(summary) and change > 0:
        advice += "the server may be falling behind; lower the --rate, or run longer to see whether it settles"
    else:
        advice += "give a longer --warmup, and run longer"
    yield Finding("drift", grade(certain, DRIFT, math.inf), measured, format_percent(DRIFT), advice)


RULES: tuple[Rule, ...] = (_rate, _concurrency, _little, _warmup, _drift)


def is_open_loop(summary: Summary) -> bool:
    """Return True if requests leave at planned times, whatever the server does."""
    return bool(summary.run.config.rate) or summary.run.schedule.loop == "open"


def _unsteady(summary: Summary) -> bool:
    """Return True if it was not to be steady: later turns of conversations are longer, for example, or it cannot be."""
    replayed = summary.run.config.arrivals == "replay"
    return bool(summary.run.stages) or replayed or "turn" in summary.groups or is_saturated(summary)


def _is_capped(summary: Summary) -> bool:
    """Return True if the requests of an open loop waited for one of the slots that -c allows."""
    cap, peak = summary.run.config.concurrency, summary.rates.get("peak_concurrency")
    return cap is not None and peak is not None and peak >= cap
