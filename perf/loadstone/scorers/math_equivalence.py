r"""Compare mathematical answers: as text, by value, and part by part for lists, intervals and matrices.

`0.5` equals `\frac12`, `\{2, 1\}` equals `1, 2`, `3 \pm 1` equals `2, 4`, `x = 5` equals `5`, and `x(x+1)` equals
`x^2 + x`, but `(1, 2)` does not equal `(2, 1)`. `math_normalize` brings formulas into one notation, `math_expression`
evaluates them.
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

# Longest answer, in characters, that is read as a formula. Longer ones are compared as text, to stay fast.
MAX_LENGTH = 1500
# Most parts of a set that are matched in any order; larger sets must have the same order.
MAX_SET_SIZE = 40
# Deepest nesting of sets, intervals and matrices that is compared.
MAX_DEPTH = 4
# How many different numbers are put in for the variables of two formulas to compare them.
POINTS = 3
# A relation between two sides: `=`, `<`, `\le`.
RELATION = r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|<|>|="
# The relation that is the same with its sides exchanged.
FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
# What can be left of `=`: `x`, `\theta`, `x_1`, `f'(x)`, `ABC`.
NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\([A-Za-z](?:,[A-Za-z])*\))?|[A-Z]{2,3}")
# The same, or several in brackets: `(x, y)`.
NAMES = re.compile(rf"(?:{NAME.pattern})|\((?:{NAME.pattern})(?:,(?:{NAME.pattern}))*\)")
# A matrix with its rows: `\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`.
MATRIX = re.compile(r"\\begin\{[pbvB]?(?:small)?(?:matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\w+\}", re.DOTALL)
# A number with its base: `1A_{16}`.
BASED = re.compile(r"([0-9A-Fa-f.]+)(?:_\{?(\d+)\}?)?")
# The letter of a choice: `B`, `(B)`.
LETTER = re.compile(r"\(?([A-Za-z])\)?")
# A word of text that is no function: `monday`, but not `sqrt` and not `\frac`.
WORD = re.compile(r"(?<![\\A-Za-z])(?!(?:sqrt|sin|cos|tan|log|ln|exp|pi|arc\w{3})(?![A-Za-z]))[A-Za-z]{3,}")


class Shape(Struct, frozen=True):
    """An answer split into its parts.

    kind: `one` for a single part, `set` for parts in any order, `union`, a pair of brackets such as `[)`, or `matrix`
    with its numbers of rows and cells. Answers of different kinds are different, except a set of one part.
    parts: the parts as formulas.
    """

    kind: str
    parts: list[str]


def score_math(extracted: str, sample: Sample) -> dict[str, float]:
    """Return `exact_match`: 1 if the answer is equivalent to a correct one."""
    return {"exact_match": float(any(equivalent(extracted, correct) for correct in correct_answers(sample)))}


def equivalent(answer: str, correct: str) -> bool:
    """Return True if an answer means the same as the correct one. Fast for any answer."""
    if max(len(answer), len(correct)) > MAX_LENGTH:
        return answer.split() == correct.split()
    formula, correct_formula = normalize_formula(answer), normalize_formula(correct)
    if not formula or not correct_formula:
        return answer.strip() == correct.strip()
    # `x = 5` is 5, unless the correct answer has an equation itself.
    sides = split_top_level(formula, "=")
    if "=" not in correct_formula and len(sides) == 2 and NAMES.fullmatch(strip_spaces(sides[0])):
        formula = sides[1]
    return same(formula, correct_formula) or same(
        strip_thousands_commas(formula), strip_thousands_commas(correct_formula)
    )


def same(formula: str, correct: str, depth: int = 0) -> bool:
    """Return True if two normalized answers are equal, part by part."""
    if strip_spaces(formula) == strip_spaces(correct):
        return True
    ours, theirs = shape(formula), shape(correct)
    if depth > MAX_DEPTH or len(ours.parts) != len(theirs.parts):
        return False
    if ours.kind == theirs.kind == "one":
        return _same_relation(ours.parts[0], theirs.parts[0])
    if ours.kind != theirs.kind and {ours.kind, theirs.kind} != {"one", "set"}:
        return False

    def same_part(part: str, correct_part: str) -> bool:
        return same(part, correct_part, depth + 1)

    if ours.kind in ("set", "union"):
        return _same_in_any_order(ours.parts, theirs.parts, same_part)
    return all(map(same_part, ours.parts, theirs.parts))


def _same_in_any_order(parts: Sequence[str], correct: Sequence[str], is_same: Callable[[str, str], bool]) -> bool:
    """Return True if each part has a counterpart of its own in `correct`."""
    left = list(correct)
    if len(left) > MAX_SET_SIZE:
        return list(parts) == left
    for part in parts:
        index = next((index for index, other in enumerate(left) if is_same(part, other)), None)
        if index is None:
            return False
        del left[index]
    return True


def shape(formula: str) -> Shape:
    r"""Return the kind and the parts of a normalized answer. `a \pm b` is the set of both values."""
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
    is_bracketed = formula[:1] in ("(", "[") and formula[-1:] in (")", "]")
    if is_bracketed and len(parts := split_top_level(formula[1:-1], ",")) > 1:
        return Shape(formula[0] + formula[-1], parts)
    plus_minus = r"\\pm(?![A-Za-z])"
    if re.search(plus_minus, formula):
        right_side = formula.rsplit("=", 1)[-1]
        return Shape("set", [re.sub(plus_minus, sign, right_side) for sign in "+-"])
    return Shape("one", [formula])


def _same_relation(formula: str, correct: str) -> bool:
    """Return True if two formulas, equations or inequalities are equal. `1 < x` equals `x > 1`."""
    sides, correct_sides = split_top_level(formula, RELATION), split_top_level(correct, RELATION)
    if len(sides) == len(correct_sides) == 1:
        return _same_formula(formula, correct)
    relations = [relation.strip() for relation in re.findall(RELATION, formula)]
    correct_relations = [relation.strip() for relation in re.findall(RELATION, correct)]
    if {*relations, *correct_relations} == {"="}:
        return _same_equation(sides, correct_sides)
    if relations == correct_relations:
        return all(map(_same_formula, sides, correct_sides))
    flipped = [FLIPPED.get(relation, relation) for relation in reversed(relations)]
    return flipped == correct_relations and all(map(_same_formula, reversed(sides), correct_sides))


def _same_equation(sides: list[str], correct: list[str]) -> bool:
    """Return True for `x = 5` and `5`, `2 + 3 = 5` and `5`, or `y = 2x` and `2x - y = 0`, given as lists of sides."""
    if len(correct) == 1:
        return _same_formula(sides[-1], correct[0])
    if len(sides) == 1:
        return bool(NAME.fullmatch(strip_spaces(correct[0]))) and _same_formula(sides[0], correct[-1])
    if strip_spaces(sides[0]) == strip_spaces(correct[0]):
        return _same_formula(sides[-1], correct[-1])
    # Two equations have the same solutions if their differences, left minus right, are proportional.
    difference, correct_difference = f"({sides[0]})-({sides[-1]})", f"({correct[0]})-({correct[-1]})"
    try:
        ratios = [evaluate(difference, point) / evaluate(correct_difference, point) for point in range(POINTS)]
    except (FormulaError, ArithmeticError):
        return False
    return ratios[0] != 0 and all(is_close(ratio, ratios[0]) for ratio in ratios)


def _same_formula(formula: str, correct: str) -> bool:
    """Return True if two formulas without relations are equal as text, words, letters, numerals or by value."""
    if strip_spaces(formula) == strip_spaces(correct):
        return True
    if WORD.search(formula) or WORD.search(correct):
        return _words(formula) == _words(correct)
    letter, correct_letter = LETTER.fullmatch(formula), LETTER.fullmatch(correct)
    if letter and correct_letter:
        return letter[1].lower() == correct_letter[1].lower()
    if "_" in correct and (correct_numeral := BASED.fullmatch(strip_spaces(correct))):
        numeral = BASED.fullmatch(strip_spaces(formula))
        return numeral is not None and numeral[1] == correct_numeral[1] and numeral[2] in (None, correct_numeral[2])
    return _same_value(formula, correct)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _same_value(formula: str, correct: str) -> bool:
    """Return True if two formulas have the same value, or none, at every point, and a value at two or more."""
    points_with_value = 0
    for point in range(POINTS):
        ours, theirs = _value(formula, point), _value(correct, point)
        if (ours is None) != (theirs is None):
            return False
        if ours is not None and theirs is not None:
            if not is_close(ours, theirs):
                return False
            points_with_value += 1
    return points_with_value > 1


def _value(formula: str, point: int) -> Value | None:
    try:
        return evaluate(formula, point)
    except FormulaError:
        return None
