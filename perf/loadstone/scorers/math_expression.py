r"""Evaluate a formula in LaTeX or plain notation: `\frac{3}{4}`, `2\sqrt{3}`, `3\pi/4`, `x^2 - 1`, `2^{10}`.

Rational arithmetic is exact, everything else is complex floating point. No code is executed. Length, depth and size are
bounded, so a hostile formula is as cheap as any other.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from zlib import crc32

# Bounds of a formula, far above what answers have: its tokens, its nesting, and the bits of an exact number.
MAX_TOKENS = 400
MAX_DEPTH = 40
MAX_BITS = 20_000
# Largest argument of a factorial or binomial.
MAX_FACTORIAL = 1000
Value = Fraction | complex
# A number, a command or function, a letter or a sign: `3.5`, `\frac`, `sin`, `x`, `^`.
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+|(?:sqrt|arc(?:sin|cos|tan)|sin|cos|tan|log|ln|exp|pi)"
    r"(?![A-Za-z]))|(?P<letter>[A-Za-z])|(?P<sign>[-+*/^_!|(){}\[\]]))"
)
# Functions of one argument, in radians; `log` is decimal.
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
# The bracket that closes another.
CLOSING = {"(": ")", "{": "}", "[": "]", "|": "|"}


class FormulaError(ValueError):
    """Raised for text that is no formula, or exceeds the bounds."""


def evaluate(formula: str, point: int = 0) -> Value:
    """Return the value of a formula with a fixed number for each of its variables.

    point: 0, 1, 2 ...; each stands for other numbers. Raises FormulaError.
    """
    try:
        return _Evaluator(_tokenize(formula), point).evaluate()
    except (ArithmeticError, ValueError, RecursionError) as exc:
        raise FormulaError(str(exc)) from exc


def is_close(value: Value, other: Value) -> bool:
    """Return True if two values are equal: exactly if both are rational, otherwise to nine digits."""
    if isinstance(value, Fraction) and isinstance(other, Fraction):
        return value == other
    return cmath.isclose(complex(value), complex(other), rel_tol=1e-9, abs_tol=1e-12)


def _tokenize(formula: str) -> list[str]:
    tokens: list[str] = []
    at, end = 0, len(formula.rstrip())
    while at < end:
        match = TOKEN.match(formula, at)
        if not match or len(tokens) == MAX_TOKENS:
            raise FormulaError(formula[:50])
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


class _Evaluator:
    """A recursive descent parser that computes the value as it parses.

    Each method reads one level of the grammar from the token at `at` on, and returns its value.
    """

    def __init__(self, tokens: list[str], point: int) -> None:
        self.tokens = [*tokens, ""]  # the empty token marks the end
        self.point = point
        self.at = 0
        self.depth = 0

    def evaluate(self) -> Value:
        """Return the value of all tokens."""
        value = self.sum()
        if self.next:
            raise FormulaError(self.next)
        return value

    @property
    def next(self) -> str:
        return self.tokens[self.at]

    def take(self, *expected: str) -> str | None:
        """Take the next token and return it, if it is one of these; otherwise return None."""
        if self.next and self.next in expected:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def need(self, expected: str) -> None:
        """Take the next token. Raise FormulaError if it is another one."""
        if not self.take(expected):
            raise FormulaError(f"{expected} is missing")

    def sum(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FormulaError("nested too deeply")
        total = self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            total = _bounded(total + term if sign == "+" else total - term)
        self.depth -= 1
        return total

    def product(self) -> Value:
        negative = self.take_signs()
        total = self.power()
        while True:
            if self.take("*"):
                total = _bounded(total * self.signed())
            elif self.take("/"):
                total = _bounded(total / self.signed())
            elif self.is_implicit_factor():
                total = _bounded(total * self.power())
            else:
                return -total if negative else total

    def take_signs(self) -> bool:
        """Take all signs that follow. Return True if they make the number negative."""
        negative = False
        while sign := self.take("+", "-"):
            negative ^= sign == "-"
        return negative

    def signed(self) -> Value:
        return -self.power() if self.take_signs() else self.power()

    def is_implicit_factor(self) -> bool:
        """Return True if a factor without a sign follows: `2x`, `3\\pi`, `2(x+1)`, but never two numbers."""
        token = self.next
        if token[:1].isdigit() or token[:1] == ".":
            return not self.tokens[self.at - 1][-1:].isdigit()
        return bool(token) and (token in "({[" or token[0].isalpha() or (token[0] == "\\" and len(token) > 1))

    def power(self) -> Value:
        base = self.atom()
        while self.take("!"):
            base = _factorial(base)
        return _power(base, self.script()) if self.take("^") else base

    def script(self) -> Value:
        """Return an exponent or an argument: `{10}`, or a single token, of the digits `12` only the 1, as in LaTeX."""
        if self.next in ("{", "(", "[") or self.next.startswith("\\"):
            return self.atom()
        if self.take("-"):
            return -self.script()
        return self.digit() if self.next[:1].isdigit() else self.atom()

    def digit(self) -> Value:
        """Take one digit off the next token."""
        token = self.next
        if len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        self.at += 1
        return Fraction(token[0])

    def atom(self) -> Value:
        """Return a number, a group in brackets, or a command, function or variable."""
        token = self.next
        self.at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return self.mixed(Fraction(token))
        if token in CLOSING and token:
            inner = self.sum()
            self.need(CLOSING[token])
            if token != "|":
                return inner
            return abs(inner) if isinstance(inner, Fraction) else complex(abs(inner))
        if token[:1].isalpha() or (token[:1] == "\\" and len(token) > 1):
            return self.named_value(token.removeprefix("\\"))
        raise FormulaError(token)

    def mixed(self, number: Fraction) -> Value:
        """Return `3\\frac{1}{2}` as three and a half, if all three are plain integers; otherwise the number."""
        after = "".join(self.tokens[self.at : self.at + 7])
        match = re.match(r"\\frac\{(\d+)\}\{(\d+)\}", after)
        if not match or number.denominator != 1 or not 0 < int(match[1]) < int(match[2]):
            return number
        self.at += 7  # \frac, twice a brace, an integer and a brace
        return number + Fraction(int(match[1]), int(match[2]))

    def named_value(self, name: str) -> Value:
        """Return the value of a command, function, constant or variable whose name was read."""
        if name == "frac":
            numerator = self.script()
            return _bounded(numerator / self.script())
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return _binomial(self.script(), self.script())
        if name in FUNCTIONS:
            return self.function(name)
        constants: dict[str, complex] = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
        return constants[name] if name in constants and self.next != "_" else self.variable(name)

    def variable(self, name: str) -> Value:
        """Return a fixed number for a variable with its subscript; at every third point it is negative.

        Roots and logarithms differ there from what they are elsewhere.
        """
        if self.take("_"):
            start = self.at
            self.script()
            name += "_" + "".join(token for token in self.tokens[start : self.at] if token not in "{}")
        size = 0.3 + (crc32(f"{name}.{self.point}".encode()) % 99_991) / 40_000
        return complex(-size if self.point % 3 == 2 else size)

    def root(self) -> Value:
        degree: Value = Fraction(2)
        if self.take("["):
            degree = self.sum()
            self.need("]")
        inside = self.script()
        if degree == 3 and isinstance(inside, Fraction) and inside < 0:
            return -_power(-inside, Fraction(1, 3))  # the real root
        return _power(inside, 1 / degree)

    def function(self, name: str) -> Value:
        base = self.script() if self.take("_") else None
        power = self.script() if self.take("^") else Fraction(1)
        bracketed = self.next in ("(", "[", "{")
        argument = self.power()
        while not bracketed and self.is_implicit_factor() and self.next.removeprefix("\\") not in FUNCTIONS:
            argument = _bounded(argument * self.power())
        result: Value = FUNCTIONS[name](complex(argument))
        if base is not None:
            result = cmath.log(complex(argument)) / cmath.log(complex(base))
        return _power(result, power)


def _bounded(number: Value) -> Value:
    """Return a number, exact only as long as it is small. Raises FormulaError for one that is not finite."""
    if isinstance(number, Fraction):
        if number.numerator.bit_length() + number.denominator.bit_length() <= MAX_BITS:
            return number
        return complex(float(number))
    if cmath.isfinite(number):
        return number
    raise FormulaError("too large")


def _power(base: Value, power: Value) -> Value:
    """Return base ^ power: exact for small results of integer powers and for rational square roots."""
    if isinstance(base, Fraction) and isinstance(power, Fraction):
        size = base.numerator.bit_length() + base.denominator.bit_length()
        if power.denominator == 1 and abs(power) * size <= MAX_BITS:
            return base ** int(power)
        if power == Fraction(1, 2) and base >= 0:
            numerator, denominator = math.isqrt(base.numerator), math.isqrt(base.denominator)
            if numerator**2 == base.numerator and denominator**2 == base.denominator:
                return Fraction(numerator, denominator)
    return _bounded(complex(base) ** complex(power))


def _factorial(number: Value) -> Value:
    if isinstance(number, Fraction) and number.denominator == 1 and 0 <= number <= MAX_FACTORIAL:
        return Fraction(math.factorial(int(number)))
    raise FormulaError("factorial")


def _binomial(number: Value, chosen: Value) -> Value:
    for part in (number, chosen):
        if not isinstance(part, Fraction) or part.denominator != 1 or not 0 <= part <= MAX_FACTORIAL:
            raise FormulaError("binomial")
    return Fraction(math.comb(int(number.real), int(chosen.real)))
