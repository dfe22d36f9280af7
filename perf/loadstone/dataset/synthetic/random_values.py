"""Lengths and pauses as the operator typed them, as laws; and the random numbers they are drawn with.

Each purpose draws from a stream of its own, so that one option does not change what another gives. Reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loadstone.config import distributions
from loadstone.dataset.source import Options
from loadstone.errors import UsageError

SONNET, INPUT, OUTPUT, THINK = 20, 21, 22, 23


def parse_distribution(
    flag: str, value: str | float, number: Callable[[str], float] = float
) -> distributions.Distribution:
    """The law behind the value of a flag. Raises UsageError."""
    try:
        return distributions.parse(value, number)
    except ValueError as exc:
        raise UsageError(f"{flag} takes {distributions.FORMS}, not {value!r}") from exc


def parse_length(flag: str, value: str | float) -> distributions.Distribution:
    """A law of tokens or words, of which there is at least one. Raises UsageError."""
    found = parse_distribution(flag, value)
    if found.constant is not None and found.constant < 1:
        raise UsageError(f"{flag} must be at least 1, not {found.constant:g}")
    return found


def generator(options: Options, stream: int, *key: int) -> np.random.Generator:
    """Random numbers of one purpose, or of one row of it."""
    if options.seed < 0:
        raise UsageError(f"--seed must be at least 0, not {options.seed}")
    return np.random.default_rng([options.seed, stream, *key])
