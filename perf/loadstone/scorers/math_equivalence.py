r"""Whether two mathematical answers are the same: as text, as value, and part by part of lists, intervals, matrices.

`0.5` is `\frac12`, `\{2, 1\}` is `1, 2`, `3 \pm 1` is `2, 4`, `x = 5` is `5`, `x(x+1)` is `x^2 + x`; `(1, 2)` is not
`(2, 1)`. How formulas are written is latex.py's, what they are worth expression.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from loadstone.samples import Sample
from loadstone.scorers.match import correct_answers
from loadstone.scorers.math_expression import FormulaError, Value, evaluate, is_close
from loadstone.scorers.math_normalize import (
    ROW,
    normalize_formula,
    split_top_level,
    strip_spaces,
    strip_thousands_commas,
)

# Characters of an answer that is understood, and parts that are matched in any order; beyond, only texts are held
# against each other.
LONGEST, MOST = 1500, 40
POINTS = 3
RELATION = r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|<|>|="
FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\([A-Za-z](?:,[A-Za-z])*\))?|[A-Z]{2,3}")
NAMES = re.compile(rf"(?:{NAME.pattern})|\((?:{NAME.pattern})(?:,(?:{NAME.pattern}))*\)")
MATRIX = re.compile(r"\\begin\{[pbvB]?(?:small)?(?:matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\w+\}", re.DOTALL)
BASED = re.compile(r"([0-9A-Fa-f.]+)(?:_\{?(\d+)\}?)?")
LETTER = re.compile(r"\(?([A-Za-z])\)?")
WORD = re.compile(r"(?<![\\A-Za-z])(?!(?:sqrt|sin|cos|tan|log|ln|exp|pi|arc\w{3})(?![A-Za-z]))[A-Za-z]{3,}")


class Shape(Struct, frozen=True):
    """An answer and its parts. `kind`: `one`, `set` (in any order), `union`, a pair of brackets, `matrix` with its rows
    and cells."""

    kind: str
    parts: list[str]


def score_math(extracted: str, sample: Sample) -> dict[str, float]:
    """`exact_match`: whether the answer is equivalent to one that is right."""
    return {"exact_match": float(any(equivalent(extracted, right) for right in correct_answers(sample)))}


def equivalent(said: str, right: str) -> bool:
    """Whether an answer means what the right one does. Always quick, whatever was said."""
    if max(len(said), len(right)) > LONGEST:
        return said.split() == right.split()
    ours, theirs = normalize_formula(said), normalize_formula(right)
    if not ours or not theirs:
        return said.strip() == right.strip()
    ours = ours if "=" in theirs else _unnamed(ours)
    return same(ours, theirs) or same(strip_thousands_commas(ours), strip_thousands_commas(theirs))


def _unnamed(formula: str) -> str:
    """What stands behind `x =` or `(x, y) =`."""
    parts = split_top_level(formula, "=")
    return parts[1] if len(parts) == 2 and NAMES.fullmatch(strip_spaces(parts[0])) else formula


def same(said: str, right: str, depth: int = 0) -> bool:
    """Of answers in plain form, part by part."""
    if strip_spaces(said) == strip_spaces(right):
        return True
    ours, theirs = shape(said), shape(right)
    if depth > 4 or len(ours.parts) != len(theirs.parts):
        return False
    if ours.kind == theirs.kind == "one":
        return _one(ours.parts[0], theirs.parts[0])
    if ours.kind != theirs.kind and {ours.kind, theirs.kind} != {"one", "set"}:
        return False
    inner: Callable[[str, str], bool] = lambda one, other: same(one, other, depth + 1)  # noqa: E731
    if ours.kind in ("set", "union"):
        return _in_any_order(ours.parts, theirs.parts, inner)
    return all(map(inner, ours.parts, theirs.parts))


def _in_any_order(ours: Sequence[str], theirs: Sequence[str], alike: Callable[[str, str], bool]) -> bool:
    """Every part has one of its own on the other side."""
    left = list(theirs)
    if len(left) > MOST:
        return list(ours) == left
    for part in ours:
        found = next((index for index, other in enumerate(left) if alike(part, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def shape(formula: str) -> Shape:
    """What an answer in plain form consists of."""
    formula = re.sub(r"^\\?[A-Za-z]\s*\\in(?![A-Za-z])", "", formula).strip()
    if matrix := MATRIX.fullmatch(formula):
        rows = [row.split("&") for row in matrix[1].split(ROW.strip()) if row.strip()]
        cells = [cell.strip() for row in rows for cell in row]
        return Shape(f"matrix {len(rows)} x {len(cells)}", cells)
    if len(parts := split_top_level(formula, r"\\cup(?![A-Za-z])")) > 1:
        return Shape("union", parts)
    if formula.startswith("\\{") and formula.endswith("\\}"):
        return Shape("set", split_top_level(formula[2:-2], ","))
    if len(parts := split_top_level(formula, ",")) > 1:
        return Shape("set", parts)
    if (
        formula[:1] in ("(", "[")
        and formula[-1:] in (")", "]")
        and len(parts := split_top_level(formula[1:-1], ",")) > 1
    ):
        return Shape(formula[0] + formula[-1], parts)
    return _signs(formula)


def _signs(formula: str) -> Shape:
    r"""Both values of `a \pm b`."""
    if not re.search(r"\\pm(?![A-Za-z])", formula):
        return Shape("one", [formula])
    tail = formula.rsplit("=", 1)[-1]
    return Shape("set", [re.sub(r"\\pm(?![A-Za-z])", sign, tail) for sign in "+-"])


def _one(said: str, right: str) -> bool:
    ours, theirs = split_top_level(said, RELATION), split_top_level(right, RELATION)
    if len(ours) == len(theirs) == 1:
        return _formula(said, right)
    relations = [[found.strip() for found in re.findall(RELATION, text)] for text in (said, right)]
    if {*relations[0], *relations[1]} == {"="}:
        return _equation(ours, theirs)
    if relations[0] == relations[1]:
        return all(map(_formula, ours, theirs))
    flipped = [FLIPPED.get(relation, relation) for relation in reversed(relations[0])]
    return flipped == relations[1] and all(map(_formula, reversed(ours), theirs))


def _equation(ours: list[str], theirs: list[str]) -> bool:
    """`x = 5` and `5`; `2 + 3 = 5` and `5`; `y = 2x` and `2x - y = 0`."""
    if len(theirs) == 1:
        return _formula(ours[-1], theirs[0])
    if len(ours) == 1:
        return bool(NAME.fullmatch(strip_spaces(theirs[0]))) and _formula(ours[0], theirs[-1])
    if strip_spaces(ours[0]) == strip_spaces(theirs[0]):
        return _formula(ours[-1], theirs[-1])
    return _proportional(*(f"({left})-({right})" for left, right in ((ours[0], ours[-1]), (theirs[0], theirs[-1]))))


def _proportional(one: str, other: str) -> bool:
    """Whether two formulas are zero together."""
    try:
        ratios = [evaluate(one, point) / evaluate(other, point) for point in range(POINTS)]
    except (FormulaError, ArithmeticError):
        return False
    return ratios[0] != 0 and all(is_close(ratio, ratios[0]) for ratio in ratios)


def _formula(said: str, right: str) -> bool:
    if strip_spaces(said) == strip_spaces(right):
        return True
    if WORD.search(said) or WORD.search(right):
        return _words(said) == _words(right)
    ours, theirs = LETTER.fullmatch(said), LETTER.fullmatch(right)
    if ours and theirs:
        return ours[1].lower() == theirs[1].lower()
    if "_" in right and (based := BASED.fullmatch(strip_spaces(right))):
        digits = BASED.fullmatch(strip_spaces(said))
        return digits is not None and digits[1] == based[1] and digits[2] in (None, based[2])
    return _worth_the_same(said, right)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _worth_the_same(said: str, right: str) -> bool:
    defined = 0
    for point in range(POINTS):
        ours, theirs = _value(said, point), _value(right, point)
        if (ours is None) != (theirs is None) or (
            ours is not None and theirs is not None and not is_close(ours, theirs)
        ):
            return False
        defined += ours is not None
    return defined > 1


def _value(formula: str, point: int) -> Value | None:
    try:
        return evaluate(formula, point)
    except FormulaError:
        return None
