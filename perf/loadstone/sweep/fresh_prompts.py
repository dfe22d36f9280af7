"""Prompts that no run of a sweep has used before, so that a prefix cache cannot make a later point look fast.

Pure. A file goes on where the run before it stopped; a generator makes others, from a seed of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadstone.config.parse import REPLAY


class FreshPrompts:
    """What has been used so far. `taken` fields are the sweep's own to vary."""

    def __init__(self, seed: int, taken: frozenset[str] = frozenset()) -> None:
        self._seed = seed
        self._taken = taken
        self._used: dict[str, int] = {}
        self._fixed: set[str] = set()

    def add(self, config: Mapping[str, Any], sent: int) -> None:
        """A run with this configuration, as run.json has it, that has sent so many requests."""
        dataset = str(config.get("dataset"))
        self._used[dataset] = max(self._used.get(dataset, 0), int(config.get("skip") or 0) + sent)
        self._seed = max(self._seed, int(config.get("seed") or 0) + 1)
        if config.get("arrivals") == REPLAY:
            self._fixed.add(dataset)

    def settings_for(self, dataset: str, made_up: bool) -> dict[str, Any]:
        """Settings of the next run; none for recorded times, which belong to their prompts."""
        name, value = ("seed", self._seed) if made_up else ("skip", self._used.get(dataset, 0))
        return {} if name in self._taken or dataset in self._fixed else {name: value}
