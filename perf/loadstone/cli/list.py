"""What there is to choose from: built-in parts, those of installed distributions, bundled datasets."""

from __future__ import annotations

from collections.abc import Iterable

from loadstone.apis import APIS
from loadstone.report.exports import EXPORTS
from loadstone.plugins import installed
from loadstone.dataset import READERS
from loadstone.dataset.resolve import bundled
from loadstone.tasks import BENCHMARKS
from loadstone.report import VIEWS


def parts() -> dict[str, list[str]]:
    """Names by kind."""
    return {
        "apis": _with_plugins("loadstone.apis", APIS),
        "readers": _with_plugins("loadstone.readers", READERS),
        "views": _with_plugins("loadstone.views", {"text": "", **VIEWS, **EXPORTS}),
        "datasets": sorted(bundled()),
        "tasks": _with_plugins("loadstone.tasks", BENCHMARKS),
    }


def _with_plugins(group: str, built_in: Iterable[str]) -> list[str]:
    return sorted({*built_in, *installed(group)})
