"""Lengths and pauses as distributions, and the random generators to draw them.

Each purpose draws from a stream of its own, so that one option does not change what another draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loadstone.config import distributions
from loadstone.dataset.source import Options
from loadstone.errors import ConfigError

# Streams of the seed, one for each purpose. prompts.py (0, 1, 4 to 8) and text.py (2, 3) have further ones.
SONNET, INPUT, OUTPUT, THINK = 20, 21, 22, 23


def parse_distribution(
    flag: str, value: str | float, number: Callable[[str], float] = float
) -> distributions.Distribution:
    """Parse the value of a flag as a distribution. `number` parses its numbers. Raises ConfigError."""
    try:
        return distributions.parse(value, number)
    except ValueError as exc:
        field = flag.removeprefix("--").replace("-", "_")
        raise ConfigError(f"{flag} takes {distributions.FORMS}, not {value!r}", field=field) from exc


def parse_length(flag: str, value: str | float) -> distributions.Distribution:
    """Parse a distribution of tokens or words; a constant must be at least 1. Raises ConfigError."""
    distribution = parse_distribution(flag, value)
    if distribution.constant is not None and distribution.constant < 1:
        field = flag.removeprefix("--").replace("-", "_")
        raise ConfigError(f"{flag} must be at least 1, not {distribution.constant:g}", field=field)
    return distribution


def generator(options: Options, stream: int, *key: int) -> np.random.Generator:
    """Return the random generator of a stream, or of one row in it if its number is given as `key`."""
    if options.seed < 0:
        raise ConfigError(f"--seed must be at least 0, not {options.seed}", field="seed")
    return np.random.default_rng([options.seed, stream, *key])
