"""What must be said before any figure: prefix caches that were not alike, loads that differ, runs with doubts.

Pure. A server that has seen the prompts before answers sooner, and one under less load too: neither is a better server.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.metrics.cache_shares import UNEXPLAINED, cache_share
from loadstone.summary import Summary

# Settings of the load, and of the requests themselves, by their names in run.json.
LOAD = ("concurrency", "rate", "stages", "arrivals", "burstiness", "speed", "rpm", "tpm", "cancel_share")
REQUESTS = ("dataset", "input_len", "output_len", "prefix_len", "api", "stream")
# Characters of a value that is shown.
_LONGEST = 40


class CachedInput(Struct, frozen=True):
    """The cached fraction of the input of a side.

    low, high: lowest and highest of its runs.
    warm: some run found prompts in the cache that it had not put there; None: unknown.
    """

    low: float
    high: float
    warm: bool | None

    def __str__(self) -> str:
        return f"{self.low:.1%}" if self.high - self.low < 0.001 else f"{self.low:.1%} to {self.high:.1%}"


class CacheDifference(Struct, frozen=True):
    """Cached fractions that differ clearly.

    measured: both of them in words.
    comparable: the runs themselves explain them, so that the cache is part of what is compared.
    new_warm: the new side found prompts in the cache that it had not put there, or may have.
    """

    measured: str
    comparable: bool
    new_warm: bool


def cached_input(runs: Sequence[Summary]) -> CachedInput | None:
    """Return the cached fraction of the input of a side; None where a run does not know it."""
    shares = [cache_share(run) for run in runs]
    known = [share for share in shares if share is not None]
    if not known or len(known) < len(shares):
        return None
    warm = [share.is_warm for share in known]
    whole = True if True in warm else None if None in warm else False
    return CachedInput(min(share.cached for share in known), max(share.cached for share in known), whole)


def cache_difference(base: CachedInput | None, new: CachedInput | None) -> CacheDifference | None:
    """Return how the cached fractions of two sides differ, or those of the runs of a side; None if they do not."""
    if base is None or new is None:
        return None
    if max(base.high, new.high) - min(base.low, new.low) <= UNEXPLAINED:
        return None
    new_warm = new.warm is True or (new.warm is None and new.high > base.low + UNEXPLAINED)
    return CacheDifference(f"cached input {base} against {new}", base.warm is False and new.warm is False, new_warm)


def different_load(base: Sequence[Summary], new: Sequence[Summary]) -> list[str]:
    """Return what differs in the load and in the requests, such as `concurrency 4 against 16`."""
    texts = []
    for name in (*LOAD, *REQUESTS):
        values = [
            list(dict.fromkeys(_value(getattr(run.run.config, name, None)) for run in runs)) for runs in (base, new)
        ]
        if values[0] != values[1]:
            texts.append(f"{name.replace('_', '-')} {' and '.join(values[0])} against {' and '.join(values[1])}")
    return texts


def _value(value: object) -> str:
    return "none" if value is None else one_line(f"{value:g}" if isinstance(value, float) else str(value), _LONGEST)


def first_doubts(runs: Sequence[Summary]) -> list[str]:
    """Return status and first doubt of each run that is not valid."""
    texts = []
    for run in runs:
        if run.verdict is not None and run.verdict.doubts:
            worst = next((doubt for doubt in run.verdict.doubts if doubt.severity == run.verdict.status), None)
            doubt = worst or run.verdict.doubts[0]
            texts.append(f"{run.verdict.status} ({doubt.what}: {one_line(doubt.measured, 120)})")
    return texts
