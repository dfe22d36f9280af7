"""The circumstances of the runs side by side: settings, servers, host and versions, and the health of the clients.

Pure. What differs here may be the cause of a difference between the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from loadstone.compare.verdicts import Health, Setting
from loadstone.summary import Summary

Runs = Sequence[Summary]
# Not shown: where results are written, and limits of the host that were not reached.
SILENT = ("config.output", "config.label", "host.local_ports", "host.open_files")
# Keys of run.json that are compared.
SECTIONS = ("config", "models", "clock", "servers", "host", "versions")


def differing_settings(sides: Sequence[Runs]) -> list[Setting]:
    """Return everything that is not the same in all runs of all sides, such as `config.seed` or `host.cores`."""
    flat = [
        [
            dict(leaf for section in SECTIONS for leaf in _leaves(section, content.get(section)))
            for content in (msgspec.to_builtins(summary.run) for summary in runs)
        ]
        for runs in sides
    ]
    names = list(dict.fromkeys(name for runs in flat for run in runs for name in run))
    differing = []
    for name in names:
        # The values of each side, each once.
        values = [list(dict.fromkeys(run.get(name, "-") for run in runs)) for runs in flat]
        mixed = any(len(value) > 1 for value in values)
        if name not in SILENT and (mixed or len({tuple(value) for value in values}) > 1):
            differing.append(Setting(name, values))
    return differing


def same_digest(sides: Sequence[Runs], what: str) -> bool | None:
    """Return True if all sides sent the same `bodies` or had the same `schedule`, None where a run has no digest.

    Sides with equally many runs are compared run by run, other sides as sets.
    """
    digests = [[getattr(summary.run.digest, what) for summary in runs] for runs in sides]
    if any(None in side for side in digests):
        return None
    equal_sizes = len({len(side) for side in digests}) == 1
    return len({tuple(sorted(map(str, side if equal_sizes else set(side)))) for side in digests}) == 1


def health(name: str, summary: Summary) -> Health:
    """Return whether a run can be believed, and how its client did."""
    verdict, client = summary.verdict, summary.client
    return Health(
        run=name,
        status=verdict.status if verdict else "-",
        doubts=[f"{doubt.what}: {doubt.measured} (limit {doubt.limit})" for doubt in verdict.doubts] if verdict else [],
        cached_share=summary.cached_share,
        succeeded=summary.counts.succeeded,
        failed=summary.counts.failed,
        cpu_share=client.get("cpu_share"),
        loop_lag_p99=client.get("loop_lag_p99"),
        send_lag_p99=client.get("send_lag_p99"),
    )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the values below a key of run.json as text, with dotted names."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, 1):
            yield from _leaves(name if len(value) == 1 else f"{name}.{number}", item)
    elif value not in (None, {}, []):
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()
