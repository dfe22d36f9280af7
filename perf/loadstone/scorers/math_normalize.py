r"""Bring formulas into one notation: spaces, `\dfrac`, `\left`, units, degrees, Unicode signs and text.

The rules are those of `is_equiv` of the MATH benchmark and of appendix D of Minerva (arXiv:2206.14858), with more
of the same kind.
"""

from __future__ import annotations

import re

# Characters of Unicode in LaTeX or ASCII.
UNICODE = str.maketrans({
    **dict.fromkeys("−–—﹣‑", "-"), **dict.fromkeys("×⋅·∙∗", "*"), **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("\u00a0\u202f\u2009~", " "), "²": "^2", "³": "^3", "⁴": "^4", "°": "", "％": "%",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "√": r"\sqrt ", "∞": r"\infty ", "±": r"\pm ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∈": r"\in ",
    "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
})  # fmt: skip
# Units so short that they must be after a space: `5 m`, while `5m` is a product.
SHORT_UNITS = "m|g|s|h|l|in"
# Units that can also be directly after a number: `5cm`, `5 square miles`.
UNITS = (
    "cm|mm|km|dm|kg|mg|ml|lbs?|oz|ft|yd|mi|sec|min|hrs?|mph|kph|"
    "(?:centi|milli|kilo|deci)?(?:meters?|metres?|grams?|liters?|litres?)|"
    "(?:square|cubic|sq\\.?|cu\\.?)|inch(?:es)?|foot|feet|yards?|miles?|pounds?|ounces?|"
    "seconds?|minutes?|hours?|days?|weeks?|months?|years?|dollars?|cents?|euros?|degrees?|deg|radians?|percent|"
    "units?|points?|ways?|students?|people|pieces?|integers?|digits?|numbers?"
)
# The power of a unit: `^2`, `^{3}`.
POWER = r"(?:\s*\^\s*\{?\s*[23]\s*\}?)?"
# One unit with its power: `cm^2`, `hrs.`.
UNIT = rf"(?:(?<=\s)(?:{SHORT_UNITS})|\b(?:{UNITS})|(?<=[\d}})])(?:{UNITS})){POWER}\.?"
# Units at the end of a formula: ` miles per hour`, `cm^2`.
UNITS_AT_END = re.compile(rf"(?<=[\d}})a-z])\s*{UNIT}(?:\s*(?:/|per)?\s*{UNIT})*$", re.IGNORECASE)
# Text in a formula, and text after it, which is a unit or a remark: `5\text{ cm}^2`.
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
TEXT_AT_END = re.compile(rf"(?<=[^\s=,(+*/-])\s*\\text\s*\{{[^{{}}]*\}}{POWER}\s*$")
# (pattern, replacement), applied in this order.
RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right)\s*\.|\\(?:boxed|fbox)\s*(?=\{)", ""),  # an invisible bracket `\left.`, a box
        (r"\\(?:displaystyle|textstyle|limits|[Bb]igg?[lrm]?|left|right)(?![A-Za-z])", ""),
        (r"(?<=\d)(?:\\[,!;: ]|\{,\}|,\s?\\!\s?)+(?=\d{3}(?!\d))", ""),
        (r"\\[()!$\[\]]|\$", ""),  # dollar signs and formula brackets
        (r"\\[,;: ]|\\q?quad(?![A-Za-z])", " "),  # spaces: `\,`, `\quad`
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),  # `\dfrac`, `\tfrac`
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),  # `\frac12`
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\[lr]vert(?![A-Za-z])", "|"),  # `\lvert x\rvert`
        (r"\\(le|ge|ne)q?(?:slant)?(?![A-Za-z])", r"\\\1 "),  # `\leq`, `\geqslant`, `\neq`
        (r"\\(?:cdot|times|ast)(?![A-Za-z])", "*"),  # `\cdot`, `\times`
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\(?:bf|rm|it|sf|tt)(?![A-Za-z])", ""),  # fonts: `\bf`
        (r"(?<=[\d})])\s*[\u4e00-\u9fff]{1,4}$", ""),  # a Chinese unit: `5 米`
        (r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])", ""),  # degrees: `90^\circ`
        (r"\s*\\?%", ""),  # percent: `50\%`
        (r"\\(?:mathrm|mathbf|mathit|mathsf|mathbb|boldsymbol|operatorname)\s*(?=\{)", r"\\text"),  # `\mathrm{cm}`
        (r"\\(?:textbf|textit|textrm|mbox|emph)\s*(?=\{)", r"\\text"),  # `\textbf{no}`, `\mbox{cm}`
        (r"\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b", ","),  # `1 and 2`
        (r",(?:\s*,)+", ","),  # `1, , 2`
        (r"(?<![\d.}\w])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}"),  # a mixed number: `1 1/2`
        (r"\*\*(?=\S)", "^"),  # Python's power: `x**2`
    )
]
# What separates the rows of a matrix after normalization. `\\` cannot stay: elsewhere it is a backslash that was
# escaped once too often.
ROW = " ¦ "
# The end of a row: `\\`, `\\[2pt]`.
NEW_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?")
# A number with commas between thousands: `1,000,000`.
THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)")
# Spaces that do not separate two words or numbers: those of `x + 1`, but not of `2 3`.
LOOSE_SPACES = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])")
# A repeating decimal: `0.1\overline{6}`.
REPEATING = re.compile(r"(?<![\d.])(\d{0,9})\.(\d{0,9})\\overline\s*\{(\d{1,9})\}")


def _repeating_to_fraction(number: re.Match[str]) -> str:
    r"""Return `0.1\overline{6}` as a fraction in LaTeX."""
    whole, before, repeated = number.groups()
    numerator = int(whole + before + repeated) - int(whole + before or "0")
    denominator = (10 ** len(repeated) - 1) * 10 ** len(before)
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def normalize_formula(formula: str) -> str:
    """Return the formula in a common notation, without units, text after it and commands of layout."""
    formula = " ".join(re.sub(r"^\*+|\*+$", "", formula.strip()).translate(UNICODE).split())
    formula = NEW_ROW.sub(ROW, formula) if r"\begin" in formula else formula.replace("\\\\", "\\")
    for pattern, replacement in RULES:
        formula = pattern.sub(replacement, formula)
    formula = REPEATING.sub(_repeating_to_fraction, formula)
    formula = TEXT.sub(r" \1 ", TEXT_AT_END.sub("", formula.strip().rstrip(".,;: ")))
    return UNITS_AT_END.sub("", " ".join(formula.split())).strip().rstrip(".,;: ")


def strip_thousands_commas(formula: str) -> str:
    """Return the formula without commas between thousands. The same commas could separate a list: `1,000`."""
    return THOUSANDS.sub(lambda match: match.group().replace(",", ""), formula)


def strip_spaces(formula: str) -> str:
    """Return the formula without spaces, except between words or numbers, and without braces around a single sign."""
    return re.sub(r"(?<=[_^])\{(\w)\}", r"\1", LOOSE_SPACES.sub("", formula.strip()))


def split_top_level(formula: str, separator: str) -> list[str]:
    """Split a formula at a separator, a regular expression, outside of all brackets.

    A bracket of any kind closes any other, because half-open intervals mix them: `[2, 5)`.
    """
    parts: list[str] = []
    start = 0
    depth = 0
    for token in re.finditer(rf"(?P<separator>{separator})|\\[A-Za-z]+|\\?.", formula, re.DOTALL):
        character = token.group()[-1]
        if token["separator"] and not depth:
            parts.append(formula[start : token.start()].strip())
            start = token.end()
        elif len(token.group().lstrip("\\")) == 1:
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
    return [*parts, formula[start:].strip()]
