"""What runs were told and found themselves in, side by side: what differs is what a difference may be due to.

Pure: from the summaries of all sides. Differences of figures are compare.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from loadstone.compare.verdicts import Health, Setting
from loadstone.summary import Summary

Runs = Sequence[Summary]
# Where results are and limits that were not reached make no difference.
SILENT = ("config.output", "config.label", "host.local_ports", "host.open_files")
PLACES = ("config", "models", "clock", "servers", "host", "versions")


def differing_settings(sides: Sequence[Runs]) -> list[Setting]:
    """All that is not the same in all runs of all sides, `config.seed` or `host.cores`."""
    flat = [[dict(_flat(summary.run)) for summary in runs] for runs in sides]
    names = list(dict.fromkeys(name for runs in flat for run in runs for name in run))
    found = {name: [_values(runs, name) for runs in flat] for name in names if name not in SILENT}
    return [Setting(name, values) for name, values in found.items() if len({tuple(value) for value in values}) > 1
            or any(len(value) > 1 for value in values)]  # fmt: skip


def same_digest(sides: Sequence[Runs], what: str) -> bool | None:
    """Whether all sides have sent the same, by the digests of `bodies` or of the `schedule`: run by run where they have
    as many, in all where they have not. None where a run has no digest."""
    found = [[(summary.run.get("digest") or {}).get(what) for summary in runs] for runs in sides]
    if any(None in digests for digests in found):
        return None
    alike = len({len(digests) for digests in found}) == 1
    return len({tuple(sorted(map(str, digests if alike else set(digests)))) for digests in found}) == 1


def health(name: str, summary: Summary) -> Health:
    verdict, client = summary.verdict, summary.client
    return Health(
        run=name,
        status=verdict.status if verdict else "-",
        doubts=[f"{doubt.what}: {doubt.measured} (limit {doubt.limit})" for doubt in verdict.doubts] if verdict else [],
        succeeded=summary.counts.succeeded,
        failed=summary.counts.failed,
        cpu_share=client.get("cpu_share"),
        loop_lag_p99=client.get("loop_lag_p99"),
        send_lag_p99=client.get("send_lag_p99"),
    )


def _flat(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names with dots, and values as text."""
    for place in PLACES:
        yield from _leaves(place, run.get(place))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, 1):
            yield from _leaves(name if len(value) == 1 else f"{name}.{number}", item)
    elif value not in (None, {}, []):
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _values(runs: Sequence[Mapping[str, str]], name: str) -> list[str]:
    """The values that the runs of a side have, each once."""
    return list(dict.fromkeys(run.get(name, "-") for run in runs))
