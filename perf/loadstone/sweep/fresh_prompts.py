"""Prompts that no run of a sweep has used before, so that a prefix cache cannot make a later point look fast.

Pure. A dataset file continues where the run before stopped; a generator makes new prompts from a seed of its own.
"""

from __future__ import annotations

from typing import Any

from loadstone.config.parse import REPLAY
from loadstone.config.schema import Config


class FreshPrompts:
    """The prompts used so far.

    seed: the first seed to use
    varied: fields that the sweep varies itself, which are left alone
    """

    def __init__(self, seed: int, varied: frozenset[str] = frozenset()) -> None:
        self._seed = seed
        self._varied = varied
        self._used: dict[str, int] = {}
        self._replayed: set[str] = set()

    def add(self, config: Config, sent: int) -> None:
        """Add a run that has sent `sent` requests, with its configuration as in run.json."""
        self._used[config.dataset] = max(self._used.get(config.dataset, 0), config.skip + sent)
        self._seed = max(self._seed, config.seed + 1)
        if config.arrivals == REPLAY:
            self._replayed.add(config.dataset)

    def settings_for(self, dataset: str, generated: bool) -> dict[str, Any]:
        """Return the settings of the next run; none for recorded times, which belong to their prompts."""
        name, value = ("seed", self._seed) if generated else ("skip", self._used.get(dataset, 0))
        return {} if name in self._varied or dataset in self._replayed else {name: value}
