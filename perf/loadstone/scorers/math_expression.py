r"""The value of a formula in LaTeX or plain notation: `\frac{3}{4}`, `2\sqrt{3}`, `3\pi/4`, `x^2 - 1`, `2^{10}`.

Rational arithmetic is exact, the rest complex floating point. Nothing is executed; length, depth and size are bounded,
so that hostile formulas cost as little as others. What is no formula raises Unreadable.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from zlib import crc32

# Bounds of a formula: its tokens, its nesting, the size of its exact numbers.
TOKENS, DEPTH, BITS = 400, 40, 20_000
Value = Fraction | complex
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+|(?:sqrt|arc(?:sin|cos|tan)|sin|cos|tan|log|ln|exp|pi)"
    r"(?![A-Za-z]))|(?P<letter>[A-Za-z])|(?P<sign>[-+*/^_!|(){}\[\]]))"
)
FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "ln": cmath.log,
    "log": cmath.log10,
    "exp": cmath.exp,
}
CLOSING = {"(": ")", "{": "}", "[": "]", "|": "|"}


class FormulaError(ValueError):
    """No formula, or none within the bounds."""


def evaluate(formula: str, point: int = 0) -> Value:
    """Of a formula, with a fixed number for each of its variables; another for each `point`. Raises Unreadable."""
    try:
        return _Reader(_tokens(formula), point).whole()
    except (ArithmeticError, ValueError, RecursionError) as exc:
        raise FormulaError(str(exc)) from exc


def is_close(one: Value, other: Value) -> bool:
    """Equal: exactly where both are rational, else to nine digits."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    return cmath.isclose(complex(one), complex(other), rel_tol=1e-9, abs_tol=1e-12)


def _tokens(formula: str) -> list[str]:
    found: list[str] = []
    at, end = 0, len(formula.rstrip())
    while at < end:
        match = TOKEN.match(formula, at)
        if not match or len(found) == TOKENS:
            raise FormulaError(formula[:50])
        found.append(match.group().strip())
        at = match.end()
    return found


def _variable(name: str, point: int) -> complex:
    """A number that stands for a variable; negative at the third point, where roots and logarithms differ."""
    size = 0.3 + (crc32(f"{name}.{point}".encode()) % 99_991) / 40_000
    return complex(-size if point % 3 == 2 else size)


class _Reader:
    """Recursive descent, which computes as it reads."""

    def __init__(self, tokens: list[str], point: int) -> None:
        self.tokens, self.point = [*tokens, ""], point
        self.at = self.depth = 0

    def whole(self) -> Value:
        found = self.sum()
        if self.next:
            raise FormulaError(self.next)
        return found

    @property
    def next(self) -> str:
        return self.tokens[self.at]

    def take(self, *expected: str) -> str | None:
        """The next token, if it is one of these."""
        if self.next and self.next in expected:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def need(self, expected: str) -> None:
        if not self.take(expected):
            raise FormulaError(f"{expected} is missing")

    def sum(self) -> Value:
        self.depth += 1
        if self.depth > DEPTH:
            raise FormulaError("nested too deeply")
        total = self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            total = _bounded(total + term if sign == "+" else total - term)
        self.depth -= 1
        return total

    def product(self) -> Value:
        negative = self.signs()
        total = self.power()
        while True:
            if self.take("*"):
                total = _bounded(total * self.signed())
            elif self.take("/"):
                total = _bounded(total / self.signed())
            elif self.begins():
                total = _bounded(total * self.power())
            else:
                return -total if negative else total

    def signs(self) -> bool:
        negative = False
        while sign := self.take("+", "-"):
            negative ^= sign == "-"
        return negative

    def signed(self) -> Value:
        return -self.power() if self.signs() else self.power()

    def begins(self) -> bool:
        """Whether what follows is multiplied, with no sign between: `2x`, `3\\pi`, `2(x+1)`; never two numbers."""
        token = self.next
        if token[:1].isdigit() or token[:1] == ".":
            return not self.tokens[self.at - 1][-1:].isdigit()
        return bool(token) and (token in "({[" or token[0].isalpha() or (token[0] == "\\" and len(token) > 1))

    def power(self) -> Value:
        base = self.atom()
        while self.take("!"):
            base = _factorial(base)
        return _raised(base, self.script()) if self.take("^") else base

    def script(self) -> Value:
        """An exponent or an argument: `{10}`, or a single sign; of the digits `12` without braces only the 1."""
        if self.next in ("{", "(", "[") or self.next.startswith("\\"):
            return self.atom()
        if self.take("-"):
            return -self.script()
        return self.digit() if self.next[:1].isdigit() else self.atom()

    def digit(self) -> Value:
        token = self.next
        if len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        self.at += 1
        return Fraction(token[0])

    def atom(self) -> Value:
        token = self.next
        self.at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return self.mixed(Fraction(token))
        if token in CLOSING and token:
            inner = self.sum()
            self.need(CLOSING[token])
            return _magnitude(inner) if token == "|" else inner
        if token[:1].isalpha() or (token[:1] == "\\" and len(token) > 1):
            return self.named(token.removeprefix("\\"))
        raise FormulaError(token)

    def mixed(self, number: Fraction) -> Value:
        """`3\\frac{1}{2}` is three and a half, where all of it are plain integers."""
        after = "".join(self.tokens[self.at : self.at + 7])
        found = re.match(r"\\frac\{(\d+)\}\{(\d+)\}", after)
        if not found or number.denominator != 1 or not 0 < int(found[1]) < int(found[2]):
            return number
        self.at += 7
        return number + Fraction(int(found[1]), int(found[2]))

    def named(self, name: str) -> Value:
        if name == "frac":
            above = self.script()
            return _bounded(above / self.script())
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return _binomial(self.script(), self.script())
        if name in FUNCTIONS:
            return self.function(name)
        constants: dict[str, complex] = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
        return constants[name] if name in constants and self.next != "_" else self.variable(name)

    def variable(self, name: str) -> Value:
        if self.take("_"):
            start = self.at
            self.script()
            name += "_" + "".join(token for token in self.tokens[start : self.at] if token not in "{}")
        return _variable(name, self.point)

    def root(self) -> Value:
        degree: Value = Fraction(2)
        if self.take("["):
            degree = self.sum()
            self.need("]")
        inside = self.script()
        if degree == 3 and isinstance(inside, Fraction) and inside < 0:
            return -_raised(-inside, Fraction(1, 3))
        return _raised(inside, 1 / degree)

    def function(self, name: str) -> Value:
        base = self.script() if self.take("_") else None
        power = self.script() if self.take("^") else Fraction(1)
        bracketed = self.next in ("(", "[", "{")
        argument = self.power()
        while not bracketed and self.begins() and self.next.removeprefix("\\") not in FUNCTIONS:
            argument = _bounded(argument * self.power())
        result: Value = FUNCTIONS[name](complex(argument))
        if base is not None:
            result = cmath.log(complex(argument)) / cmath.log(complex(base))
        return _raised(result, power)


def _bounded(number: Value) -> Value:
    """Exact as long as it is small."""
    if isinstance(number, Fraction):
        if number.numerator.bit_length() + number.denominator.bit_length() <= BITS:
            return number
        return complex(float(number))
    if cmath.isfinite(number):
        return number
    raise FormulaError("too large")


def _raised(base: Value, power: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(power, Fraction):
        size = base.numerator.bit_length() + base.denominator.bit_length()
        if power.denominator == 1 and abs(power) * size <= BITS:
            return base ** int(power)
        root = _exact_root(base, power)
        if root is not None:
            return root
    return _bounded(complex(base) ** complex(power))


def _exact_root(base: Fraction, power: Fraction) -> Fraction | None:
    """A square root that is rational."""
    if power != Fraction(1, 2) or base < 0:
        return None
    above, below = math.isqrt(base.numerator), math.isqrt(base.denominator)
    return Fraction(above, below) if above**2 == base.numerator and below**2 == base.denominator else None


def _factorial(number: Value) -> Value:
    if isinstance(number, Fraction) and number.denominator == 1 and 0 <= number <= 1000:
        return Fraction(math.factorial(int(number)))
    raise FormulaError("factorial")


def _binomial(number: Value, of: Value) -> Value:
    for part in (number, of):
        if not isinstance(part, Fraction) or part.denominator != 1 or not 0 <= part <= 1000:
            raise FormulaError("binomial")
    return Fraction(math.comb(int(number.real), int(of.real)))


def _magnitude(number: Value) -> Value:
    return abs(number) if isinstance(number, Fraction) else complex(abs(number))
