r"""Formulas that mean the same, written alike: spacing, `\dfrac`, `\left`, units, degrees, Unicode signs, text.

The rules are those of the MATH benchmark's `is_equiv` and of Minerva's appendix D, and more of the same kind.
What a formula is worth is expression.py's, which of its parts are a list or an interval mathematics.py's.
"""

from __future__ import annotations

import re

UNICODE = str.maketrans({
    **dict.fromkeys("−–—﹣‑", "-"), **dict.fromkeys("×⋅·∙∗", "*"), **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("\u00a0\u202f\u2009~", " "), "²": "^2", "³": "^3", "⁴": "^4", "°": "", "％": "%",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "√": r"\sqrt ", "∞": r"\infty ", "±": r"\pm ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∈": r"\in ",
    "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
})  # fmt: skip
SHORT_UNITS = "m|g|s|h|l|in"
UNITS = (
    "cm|mm|km|dm|kg|mg|ml|lbs?|oz|ft|yd|mi|sec|min|hrs?|mph|kph|"
    "(?:centi|milli|kilo|deci)?(?:meters?|metres?|grams?|liters?|litres?)|"
    "(?:square|cubic|sq\\.?|cu\\.?)|inch(?:es)?|foot|feet|yards?|miles?|pounds?|ounces?|"
    "seconds?|minutes?|hours?|days?|weeks?|months?|years?|dollars?|cents?|euros?|degrees?|deg|radians?|percent|"
    "units?|points?|ways?|students?|people|pieces?|integers?|digits?|numbers?"
)
POWER = r"(?:\s*\^\s*\{?\s*[23]\s*\}?)?"
UNIT = rf"(?:(?<=\s)(?:{SHORT_UNITS})|\b(?:{UNITS})|(?<=[\d}})])(?:{UNITS})){POWER}\.?"
BEHIND = re.compile(rf"(?<=[\d}})a-z])\s*{UNIT}(?:\s*(?:/|per)?\s*{UNIT})*$", re.IGNORECASE)
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
TEXT_BEHIND = re.compile(rf"(?<=[^\s=,(+*/-])\s*\\text\s*\{{[^{{}}]*\}}{POWER}\s*$")
RULES = [
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\(?:left|right)\s*\.|\\(?:boxed|fbox)\s*(?=\{)", ""),
        (r"\\(?:displaystyle|textstyle|limits|[Bb]igg?[lrm]?|left|right)(?![A-Za-z])", ""),
        (r"(?<=\d)(?:\\[,!;: ]|\{,\}|,\s?\\!\s?)+(?=\d{3}(?!\d))", ""),
        (r"\\[()!$\[\]]|\$", ""),
        (r"\\[,;: ]|\\q?quad(?![A-Za-z])", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\[lr]vert(?![A-Za-z])", "|"),
        (r"\\(le|ge|ne)q?(?:slant)?(?![A-Za-z])", r"\\\1 "),
        (r"\\(?:cdot|times|ast)(?![A-Za-z])", "*"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\(?:bf|rm|it|sf|tt)(?![A-Za-z])", ""),
        (r"(?<=[\d})])\s*[\u4e00-\u9fff]{1,4}$", ""),
        (r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])", ""),
        (r"\s*\\?%", ""),
        (r"\\(?:mathrm|mathbf|mathit|mathsf|mathbb|boldsymbol|operatorname)\s*(?=\{)", r"\\text"),
        (r"\\(?:textbf|textit|textrm|mbox|emph)\s*(?=\{)", r"\\text"),
        (r"\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b", ","),
        (r",(?:\s*,)+", ","),
        (r"(?<![\d.}\w])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}"),
        (r"\*\*(?=\S)", "^"),
    )
]
# Between the rows of a matrix in plain form, for `\\`, which elsewhere is a backslash escaped once too often.
ROW = " ¦ "
NEW_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?")
THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)")
BETWEEN = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])")


REPEATING = re.compile(r"(?<![\d.])(\d{0,9})\.(\d{0,9})\\overline\s*\{(\d{1,9})\}")


def _repeating(number: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    whole, before, again = number.groups()
    below = (10 ** len(again) - 1) * 10 ** len(before)
    return rf"\frac{{{int(whole + before + again) - int(whole + before or '0')}}}{{{below}}}"


def normalize_formula(formula: str) -> str:
    """The formula as others would write it, without units, text behind it and what only looks."""
    formula = " ".join(re.sub(r"^\*+|\*+$", "", formula.strip()).translate(UNICODE).split())
    formula = NEW_ROW.sub(ROW, formula) if r"\begin" in formula else formula.replace("\\\\", "\\")
    for pattern, into in RULES:
        formula = pattern.sub(into, formula)
    formula = REPEATING.sub(_repeating, formula)
    formula = TEXT.sub(r" \1 ", TEXT_BEHIND.sub("", formula.strip().rstrip(".,;: ")))
    return BEHIND.sub("", " ".join(formula.split())).strip().rstrip(".,;: ")


def strip_thousands_commas(formula: str) -> str:
    """Without the commas that group thousands; they may as well be those of a list."""
    return THOUSANDS.sub(lambda match: match.group().replace(",", ""), formula)


def strip_spaces(formula: str) -> str:
    """Without space, but for that between words or numbers; braces around a single sign do not count."""
    return re.sub(r"(?<=[_^])\{(\w)\}", r"\1", BETWEEN.sub("", formula.strip()))


def split_top_level(formula: str, marks: str) -> list[str]:
    """Split at `marks`, a pattern, where no bracket is open. A bracket of any kind closes any other: `[2, 5)`."""
    found, depth, start = [], 0, 0
    for token in re.finditer(rf"(?P<mark>{marks})|\\[A-Za-z]+|\\?.", formula, re.DOTALL):
        sign = token.group()[-1]
        if token["mark"] and not depth:
            found.append(formula[start : token.start()].strip())
            start = token.end()
        elif len(token.group().lstrip("\\")) == 1:
            depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
    return [*found, formula[start:].strip()]
