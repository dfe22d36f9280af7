"""Check a run while it goes on: the rules of checks/rules.py, on what is known so far.

Pure. Rules stay silent where nothing is known yet. Warm-up counts here, and percentiles come from bins of 2 %; the
verdict of the report is computed from the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec

from loadstone.checks.finding import Finding
from loadstone.checks.rules import examine
from loadstone.engine.progress_digest import LogHistogram, Progress
from loadstone.host import ceiling, client_health
from loadstone.metrics.measure import count_lacking, most_common
from loadstone.records import Failure
from loadstone.stats.describe import enough
from loadstone.summary import Counts, EndReason, Metric, RunInfo, Summary
from loadstone.units import S_PER_NS

# Seconds without doubts at the begin: connections are opened, and means cover a moment only.
SETTLED = 3.0
# Seconds between two checks.
CHECK_EVERY = 1.0
# Doubts that every run has at first.
EARLY = ("sample size",)
# Different failure messages that are counted.
MAX_MESSAGES = 100


class ClientFigures:
    """The health of one process, accumulated from its progress messages."""

    def __init__(self) -> None:
        self._at, self._cpu, self._waited = 0, 0.0, 0.0
        self._waits_known = True
        self._lags, self._sends = LogHistogram(), LogHistogram()

    def add(self, pulse: Progress) -> None:
        passed, self._at = (pulse.at - self._at) * S_PER_NS, pulse.at
        self._cpu += (pulse.cpu or 0.0) * passed
        self._waited += (pulse.core_wait or 0.0) * passed
        self._waits_known = self._waits_known and pulse.core_wait is not None
        self._lags.add(pulse.loop_lags)
        self._sends.add(pulse.send_lags)

    def figures(self) -> dict[str, float | None]:
        """Return the figures of the client by their names in run.json."""
        passed = max(self._at * S_PER_NS, 1e-9)
        return {
            "cpu_share": self._cpu / passed,
            "run_queue_share": self._waited / passed if self._waits_known else None,
            **_tail("loop_lag", self._lags),
            **_tail("send_lag", self._sends),
        }


class RunningChecks:
    """The checks of a run that goes on. Takes progress messages; `doubts` returns the current findings.

    run: the RunInfo when the run began.
    """

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._clients: dict[int, ClientFigures] = {}
        self._times = {name: LogHistogram() for name in ("ttft", "ttft_scheduled", "gap", "latency")}
        self._failures: Counter[Failure] = Counter()
        self._checked_at, self._doubts = 0.0, list[Finding]()

    def add(self, pulse: Progress, scheduled: dict[int, int]) -> None:
        """Add a progress message. `scheduled`: TTFTs from the scheduled time, by bin."""
        self._clients.setdefault(pulse.worker, ClientFigures()).add(pulse)
        for name, bins in (("ttft", pulse.ttft), ("gap", pulse.gap), ("latency", pulse.latency)):
            self._times[name].add(bins)
        self._times["ttft_scheduled"].add(scheduled)
        for failure, count in pulse.failures:
            if failure in self._failures or len(self._failures) < MAX_MESSAGES:
                self._failures[failure] += count

    def quantile(self, name: str, share: float) -> float | None:
        return self._times[name].quantile(share)

    def doubts(self, last: Collection[Progress], behind: float) -> list[Finding]:
        """Return the doubts. `last`: the latest message of each process; `behind`: seconds behind the schedule."""
        seconds = max((pulse.at for pulse in last), default=0) * S_PER_NS
        if seconds < SETTLED or seconds - self._checked_at < CHECK_EVERY:
            return self._doubts
        self._checked_at = seconds
        found = examine(self._summary(seconds, last, behind))
        ended = any(pulse.finished for pulse in last)
        early = EARLY if ended else (*EARLY, "no success")
        self._doubts = [doubt for doubt in found if doubt.severity is not None and doubt.what not in early]
        return self._doubts

    def _summary(self, seconds: float, last: Collection[Progress], behind: float) -> Summary:
        finished, failed = sum(pulse.finished for pulse in last), sum(pulse.failed for pulse in last)
        started = finished + sum(pulse.in_flight for pulse in last)
        clients = [client.figures() for client in self._clients.values()]
        summary = Summary(
            run=msgspec.structs.replace(
                self._run, ended=EndReason.DURATION, workers=clients if len(clients) > 1 else []
            ),
            counts=Counts(
                expected=None,
                completed=finished,
                succeeded=finished - failed,
                failed=failed,
                empty=0,
                stopped=0,
                warmup=0,
                by_error={},
                lacking=count_lacking(self._failures),
            ),
            duration=seconds,
            metrics={name: _metric(times) for name, times in self._times.items()},
            rates={
                "output_throughput": sum(pulse.tokens for pulse in last) / seconds,
                "request_rate": started / seconds,
            },
            sources={},
            steady=None,
            client=client_health.worst_client(clients),
            checks={"rate_ratio": max(0.0, 1 - behind / seconds)},
            failures=most_common(self._failures),
        )
        return ceiling.add_share(summary)


def _metric(times: LogHistogram) -> Metric:
    count = len(times)
    p50, p99, p999 = (times.quantile(p) if enough(count, p) else None for p in (0.5, 0.99, 0.999))
    return Metric("s", count, times.mean(), p50=p50, p99=p99, p999=p999)


def _tail(name: str, times: LogHistogram) -> dict[str, float | None]:
    points = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {f"{name}_mean": times.mean()} | {f"{name}_{what}": times.quantile(p) for what, p in points.items()}
