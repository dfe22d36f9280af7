"""Lists of settings as they are typed, and the points that they make: every combination, or one after the other. Pure.

`1,2,4`, `1..64x2`, `10..50+10`; commas in brackets or quotes belong to a value, as in `uniform(1,2),64`, and where a
`;` is given it separates the values instead.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadstone.config.kinds import Kind
from loadstone.config.schema import flag
from loadstone.errors import ConfigError
from loadstone.sweep.points import SweepPoint

# Points of a sweep at most: a typing error such as 1..1e9+1 makes no sweep.
MAX_POINTS = 10_000
RANGE_FORM = "LOW..HIGH+STEP or LOW..HIGHxFACTOR, such as 10..50+10 or 1..64x2"
_RANGE = re.compile(r"(?P<low>[^()]+?)\.\.(?P<high>[^()]+?)(?:(?P<how>[+x*])(?P<step>[^()+x*]+))?")
_OPEN, _CLOSE = "([{", ")]}"
# Characters of a point's name.
_LONGEST = 80


class ValueList(tuple[Any, ...]):
    """Several values of a setting that takes one: a sweep runs with each of them."""


def parse_list(text: str, kind: Kind) -> Any:
    """Return the value that a text is, or a `ValueList`. Raises ValueError with what to type."""
    values = parse_values(text, kind)
    return values[0] if len(values) == 1 else ValueList(values)


def parse_values(text: str, kind: Kind) -> list[Any]:
    """Return the values of a list, each once, in their order. Raises ValueError with what to type."""
    values = [value for part in split(text) for value in _parse_part(part, kind)]
    return [value for index, value in enumerate(values) if value not in values[:index]]


def split(text: str) -> list[str]:
    """Split a list at the semicolons outside brackets and quotes or, if there is none, at the commas."""
    parts = _split_at(text, ";")
    parts = parts if len(parts) > 1 else _split_at(text, ",")
    if not all(parts):
        raise ValueError(f"a value is missing in {text!r}")
    return parts


def _split_at(text: str, mark: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for char in text:
        quoted ^= char == '"'
        depth += 0 if quoted else (char in _OPEN) - (char in _CLOSE)
        if char == mark and not quoted and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _parse_value(text: str, kind: Kind) -> Any:
    try:
        return kind.parse(text)
    except ValueError as exc:
        raise ValueError(f"takes {kind.takes}, not {text!r}") from exc


def _parse_part(text: str, kind: Kind) -> Iterator[Any]:
    """Yield the value that a part of a list is, or the values of a range, up to its end if a step leads there."""
    match = _RANGE.fullmatch(text)
    if not match or "/" in text:  # a path may go up: ../prompts.jsonl
        yield _parse_value(text, kind)
        return
    if match["step"] is None:
        raise ValueError(f"{text!r} does not say in which steps: {RANGE_FORM}")
    adds = match["how"] == "+"
    low, high = _parse_value(match["low"], kind), _parse_value(match["high"], kind)
    step = _parse_value(match["step"], kind) if adds else float(match["step"])
    if not all(isinstance(number, int | float) for number in (low, high, step)):
        raise ValueError(f"{text!r} is not a range of numbers: {RANGE_FORM}")
    forward = step > 0 if adds else step > 1 and low > 0
    if not forward or high < low:
        raise ValueError(f"{text!r} leads nowhere: {RANGE_FORM}")
    for number in range(MAX_POINTS + 1):
        value = low + number * step if adds else low * step**number
        if value > high * (1 + 1e-9):
            return
        # Integers stay integers, also with a factor.
        yield round(value) if isinstance(low, int) else float(f"{value:.12g}")
    raise ValueError(f"{text!r} is more than {MAX_POINTS:,} values")


def product(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values; the list given first changes slowest. Raise ConfigError."""
    total = 1
    for values in lists.values():
        total *= len(values)
    if total > MAX_POINTS:
        raise ConfigError(f"these lists make {total:,} points, above {MAX_POINTS:,}: give fewer values, or --zip")
    return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]


def paired(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the first values of all lists, then the second ones. Raise ConfigError for different lengths."""
    sizes = {name: len(values) for name, values in lists.items()}
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"--{flag(name)} has {size}" for name, size in sizes.items())
        raise ConfigError(f"--zip takes lists of one length: {lengths}", field="zip")
    return [dict(zip(lists, chosen, strict=True)) for chosen in zip(*lists.values(), strict=True)]


def name_points(points: Sequence[dict[str, Any]]) -> list[SweepPoint]:
    """Give each point a name of its own, fit for a folder, also on a file system where `a` and `A` are the same."""
    named: dict[str, SweepPoint] = {}
    for settings in points:
        plain = name(settings)
        names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        chosen = next(other for other in names if other.lower() not in named)
        named[chosen.lower()] = SweepPoint(chosen, settings)
    return list(named.values())


def name(settings: Mapping[str, Any]) -> str:
    """Return a name such as `concurrency-8_input-len-128`; a sweep of one point without a list is called `point`."""
    parts = []
    for field, value in settings.items():
        word = re.sub(r"[^A-Za-z0-9.+=]+", "-", format_value(value)).strip("-")
        parts.append(f"{flag(field)}-{word}")
    return "_".join(parts)[:_LONGEST].strip("-_.") or "point"


def describe(settings: Mapping[str, Any]) -> str:
    """Return settings for people: `concurrency 8, input-len 128`."""
    return ", ".join(f"{flag(field)} {format_value(value)}" for field, value in settings.items()) or "as given"


def format_value(value: Any) -> str:
    """Return a value as text, a float with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
