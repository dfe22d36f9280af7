"""Lists of settings as they are typed, and the points that they make: every combination, or one after the other. Pure.

`1,2,4`, `1..64x2`, `10..50+10`; commas in brackets or quotes belong to a value, as in `uniform(1,2),64`, and where a
`;` is given it parts the values instead.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from loadstone.config.schema import flag
from loadstone.errors import UsageError
from loadstone.sweep.points import SweepPoint

# Reads one value; raises ValueError, or whatever the flag's own reader raises.
ValueParser = Callable[[str], Any]
# Points of a sweep: a slip of the hand such as 1..1e9+1 is not one.
MAX_POINTS = 10_000
RANGE_FORM = "LOW..HIGH+STEP or LOW..HIGHxFACTOR, such as 10..50+10 or 1..64x2"
_RANGE = re.compile(r"(?P<low>[^()]+?)\.\.(?P<high>[^()]+?)(?:(?P<how>[+x*])(?P<step>[^()+x*]+))?")
_OPEN, _CLOSE = "([{", ")]}"
_LONGEST = 80


def parse_values(text: str, parse_value: ValueParser) -> list[Any]:
    """All values of a list, each once, in their order. Raises ValueError with what is wrong, and what `parse_value` raises."""
    found = [value for part in split(text) for value in _part(part, parse_value)]
    return [value for place, value in enumerate(found) if value not in found[:place]]


def split(text: str) -> list[str]:
    """At the semicolons outside brackets and quotes or, where there is none, at the commas."""
    parts = _cut(text, ";")
    parts = parts if len(parts) > 1 else _cut(text, ",")
    if not all(parts):
        raise ValueError(f"a value is missing in {text!r}")
    return parts


def _cut(text: str, mark: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for char in text:
        quoted ^= char == '"'
        depth += 0 if quoted else (char in _OPEN) - (char in _CLOSE)
        if char == mark and not quoted and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _part(text: str, kind: ValueParser) -> Iterator[Any]:
    match = _RANGE.fullmatch(text)
    if not match or "/" in text:  # a path may go up: ../prompts.jsonl
        yield kind(text)
        return
    if match["step"] is None:
        raise ValueError(f"{text!r} does not say in which steps: {RANGE_FORM}")
    low, high = kind(match["low"]), kind(match["high"])
    step = kind(match["step"]) if match["how"] == "+" else float(match["step"])
    if not all(isinstance(number, int | float) for number in (low, high, step)):
        raise ValueError(f"{text!r} is not a range of numbers: {RANGE_FORM}")
    yield from _range(text, low, high, match["how"], step)


def _range(text: str, low: float, high: float, how: str, step: float) -> Iterator[float]:
    """Up to `high`, which is among them where a step leads there. A factor of whole numbers gives whole numbers."""
    forward = step > 0 if how == "+" else step > 1 and low > 0
    if not forward or high < low:
        raise ValueError(f"{text!r} leads nowhere: {RANGE_FORM}")
    for number in range(MAX_POINTS + 1):
        value = low + number * step if how == "+" else low * step**number
        if value > high * (1 + 1e-9):
            return
        yield round(value) if isinstance(low, int) else float(f"{value:.12g}")
    raise ValueError(f"{text!r} is more than {MAX_POINTS:,} values")


def product(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination; the list given first changes slowest."""
    total = 1
    for found in lists.values():
        total *= len(found)
    if total > MAX_POINTS:
        raise UsageError(f"these lists make {total:,} points, above {MAX_POINTS:,}: give fewer values, or --zip")
    return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]


def paired(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The first values of all, then the second ones. Raises UsageError where one list is longer than another."""
    sizes = {name: len(found) for name, found in lists.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"--{flag(name)} has {size}" for name, size in sizes.items())
        raise UsageError(f"--zip takes lists of one length: {told}")
    return [dict(zip(lists, chosen, strict=True)) for chosen in zip(*lists.values(), strict=True)]


def name_points(points: Sequence[dict[str, Any]]) -> list[SweepPoint]:
    """Each with a name of its own, fit for a folder, also where a and A are the same."""
    found: dict[str, SweepPoint] = {}
    for settings in points:
        plain = name(settings)
        names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        chosen = next(other for other in names if other.lower() not in found)
        found[chosen.lower()] = SweepPoint(chosen, settings)
    return list(found.values())


def name(settings: Mapping[str, Any]) -> str:
    """`concurrency-8_input-len-128`; a sweep of one point without a list is called `point`."""
    parts = [f"{flag(field)}-{_word(value)}" for field, value in settings.items()]
    return "_".join(parts)[:_LONGEST].strip("-_.") or "point"


def _word(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9.+=]+", "-", text).strip("-")


def describe(settings: Mapping[str, Any]) -> str:
    """For people: `concurrency 8, input-len 128`."""
    return ", ".join(f"{flag(field)} {format_value(value)}" for field, value in settings.items()) or "as given"


def format_value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
