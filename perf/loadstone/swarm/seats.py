"""Locust's users on one machine as slots of its engine processes. Pure."""

from __future__ import annotations


def levels(seats: int, engines: int) -> list[int]:
    """Slots of each process, as even as can be; what is left over goes to the first."""
    each, rest = divmod(seats, engines)
    return [each + (number < rest) for number in range(engines)]
