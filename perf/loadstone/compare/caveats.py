"""What makes two sides hard to compare, besides their figures: the prefix cache, the load, doubts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadstone.checks.finding import one_line
from loadstone.compare.verdicts import Setting, Side, SideComparison

# Difference of the fractions of input tokens that the prefix cache held, from which it explains the figures.
CACHE_MARGIN = 0.1
# Settings that are the load.
LOAD = ("concurrency", "rate", "stages", "arrivals", "burstiness", "speed", "think_time", "rpm", "tpm")


def add(
    compared: SideComparison, base: Side, new: Side, differing: Sequence[Setting], same_prompts: bool | None
) -> SideComparison:
    """Return the comparison of a side with its caveats; `incomparable` if the prefix cache explains the figures."""
    texts = []
    verdict = compared.verdict
    shares = [_cached_share(side) for side in (base, new)]
    if None not in shares and abs((shares[0] or 0.0) - (shares[1] or 0.0)) > CACHE_MARGIN:
        verdict = "incomparable"
        held = " and ".join(
            f"{share:.1%} of {one_line(side.name)}" for share, side in zip(shares, (base, new), strict=True)
        )
        why = "equal requests met a warm cache: repeat one side with another --seed, or empty the server's cache"
        other = "the prompts share more on one side, or had been sent before: use prompts that are new to both servers"
        texts.append(
            f"Of the input tokens, the prefix cache held {held}: TTFT, latency and throughput show the cache and not"
            f" the server ({why if same_prompts else other})."
        )

    loads = [setting for setting in differing if setting.name.removeprefix("config.") in LOAD]
    if loads:
        names = ", ".join(
            f"{setting.name.removeprefix('config.')} {' against '.join('/'.join(value) for value in setting.values)}"
            for setting in loads
        )
        texts.append(f"The loads differ ({one_line(names, 200)}), and a change may be that of the load.")

    for side in (base, new):
        doubtful = next((run for run in side.runs if run.status in ("suspect", "invalid")), None)
        if doubtful is not None:
            reason = f": {one_line(doubtful.doubts[0], 120)}" if doubtful.doubts else ""
            texts.append(f"{one_line(side.name)} is {doubtful.status}{reason}.")
    return msgspec.structs.replace(compared, verdict=verdict, caveats=texts)


def _cached_share(side: Side) -> float | None:
    """Return the mean fraction of input tokens that the prefix cache held, over the runs of a side."""
    shares = [run.cached_share for run in side.runs]
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known and len(known) == len(shares) else None
