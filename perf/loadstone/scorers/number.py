"""Read numbers from text and compare them by value.

`1,000`, `1000.0`, `$1,000.` and `1000 dollars` are the same number. lm-eval's own filters and metric of GSM8K are here
too, unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from loadstone.samples import Sample
from loadstone.scorers.match import correct_answers, exact_match, regex

# Longest number, in characters, that is read; a longer one is no answer and would be slow to convert.
LONGEST = 300
# Minus signs and spaces of Unicode, and the plain ones.
SIGNS = str.maketrans({"−": "-", "–": "-", "—": "-", "﹣": "-", "-": "-", "‑": "-", "\u00a0": " ", "\u202f": " "})
# LaTeX and Markdown around a number: `\,`, `\left`, `\text`, `$`, `**`.
MARKUP = re.compile(r"\\(?:[()\[\],;!: ]|left|right|boxed|text\w*|mathrm|mathbf|displaystyle|quad)|\$(?=\D|$)|[*_`{}]")
# A fraction of integers in LaTeX: `\frac{3}{4}`, `\dfrac34`.
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
# Digits with or without commas between thousands: `1,000`, `1000`.
GROUPED = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
# A number: `-5`, `$1,000.50`, `$-3`, `.5`, `1e6`, `3/4`, `3 1/2`, `50%`. The minus of `7-5` and `x -5` is no sign.
NUMBER = re.compile(
    r"(?P<minus>(?<![\w)\]%])(?<![\d)\]%] )-)?[$€£¥]?(?P<inner_minus>(?<=[$€£¥])-)?"
    rf"(?P<decimal>{GROUPED}(?:\.\d+)?|\.\d+)(?P<power>[eE][+-]?\d{{1,2}}(?!\w))?"
    rf"(?:(?: (?P<numerator>\d+))?\s?/\s?(?P<denominator>{GROUPED})(?!\d|/\d|\.\d))?(?P<percent>\s?\\?%)?"
)
# The power of a unit, which is no number: `^2` of `cm^2`, `²`.
POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z}])\s?\^\s?\{?[23]\}?|[²³]")
# The rest of a line after GSM8K's mark: `#### 42`.
AFTER_MARK = re.compile(r"####\s*([^\n]*)")
# A line that is the mark and a number: `#### $42.`. Not a heading: `#### Step 2`.
MARK_AND_NUMBER = re.compile(r"^#{4}[ \t]*([$€£]?-?[$€£]?[\d.,]*\d%?)\.?[ \t]*$", re.MULTILINE)
# Words in brackets, not an alternative: `(12 per box)`, but not `(or 12)`.
ASIDE = re.compile(r"\((?!\s*or\b)[^()]*[A-Za-z][^()]*\)")
# An apostrophe or a narrow space between thousands: `1'000`.
THOUSANDS_MARK = re.compile(r"(?<=\d)['’\u00a0\u202f\u2009](?=\d{3}(?!\d))")
# A comma as decimal point: `1.234,56`, `12,50 €`.
EUROPEAN = re.compile(
    r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?!\d)|(?<![\d.,])(\d+),(\d\d)(?=\s?(?:€|[Ee]uros?\b|EUR\b))"
)
# English number words by value.
UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
WORDS = {
    **{word: number for number, word in enumerate([*UNITS.split(), "seventeen", "eighteen", "nineteen"])},
    **{word: 10 * number for number, word in enumerate(TENS.split(), 2)},
}
# A number in words up to ninety-nine: `twenty-one`, `twenty one`, `seven`.
IN_WORDS = re.compile(rf"\b({'|'.join(TENS.split())})[\s-]({'|'.join(UNITS.split()[1:10])})\b|\b({'|'.join(WORDS)})\b")

# The filters and the metric of lm-eval's gsm8k 3.0, unchanged; `gsm8k_flexible` takes `...` for a number, too. The
# anchor `\A` in the metric changes no result, but keeps long texts fast.
gsm8k_strict = regex(r"#### (\-?[0-9\.\,]+)")
gsm8k_cot_strict = regex(r"The answer is (\-?[0-9\.\,]+).")
gsm8k_flexible = regex(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
score_gsm8k = exact_match(ignore_case=True, regexes_to_ignore=(",", r"\$", r"(?s)\A.*#### ", r"\.$"))


def last_number(text: str, _: Sample) -> str | None:
    """Return the last number in a text as it is written, or None.

    Without digits it is the last one in words up to ninety-nine.
    """
    matches = list(_numbers(text)) or list(IN_WORDS.finditer(text.lower()))
    return matches[-1].group().strip() if matches else None


def after_hashes(text: str, _: Sample) -> str | None:
    """Return the number that is alone after the last `####`, or None. Otherwise `####` begins a heading."""
    return next(reversed(MARK_AND_NUMBER.findall(text)), None)


def parse_number(text: str) -> Fraction | None:
    """Return the value of the one number in a text, or None if there is none or more than one.

    With `####` or `=` in the text, only what follows the last one counts. The number can have a currency or unit, `%`
    included. Numbers among words in brackets are ignored if there are others.
    """
    marked = AFTER_MARK.findall(text)
    tail = (marked[-1] if marked else text).rsplit("=", 1)[-1]
    matches = list(_numbers(tail))
    if len(matches) > 1:
        matches = list(_numbers(ASIDE.sub(" ", tail))) or matches
    if matches:
        return _value(matches[0]) if len(matches) == 1 else None
    in_words = list(IN_WORDS.finditer(tail.lower()))
    if len(in_words) != 1:
        return None
    tens, unit, single = in_words[0].groups()
    return Fraction(WORDS[single] if single else WORDS[tens] + WORDS[unit])


def same_number(answer: str, correct: str) -> bool:
    """Return True if two texts are the same number. 50 % equals 50 and also one half."""
    value, correct_value = parse_number(answer), parse_number(correct)
    if value is None or correct_value is None:
        return False
    percent = ("%" in answer) - ("%" in correct)
    return value == correct_value or (bool(percent) and value * Fraction(100) ** -percent == correct_value)


def score_number(extracted: str, sample: Sample) -> dict[str, float]:
    """Return `exact_match` by value: 1 if the answer is the number that a correct answer ends with."""
    return {"exact_match": float(any(same_number(extracted, correct) for correct in correct_answers(sample)))}


def plain_numbers(text: str) -> str:
    """Return the text with its numbers in plain form.

    That is an ASCII minus, a decimal point, commas between thousands, fractions with a slash, and no LaTeX or markup.
    """
    text = EUROPEAN.sub(_with_decimal_point, THOUSANDS_MARK.sub(",", text))
    text = text.translate(SIGNS).replace("{,}", ",").replace(",\\!", ",").replace("\\$", "$").replace("\\%", "%")
    text = POWER_OF_UNIT.sub("", text)
    text = FRACTION.sub(lambda match: " {}/{} ".format(*(group for group in match.groups() if group)), text)
    return MARKUP.sub("", re.sub(r"(?<=\d)\\[, ](?=\d{3})", ",", text))


def _with_decimal_point(number: re.Match[str]) -> str:
    """Return `1.234,56` as `1234.56`."""
    grouped, cents, whole, euro_cents = number.groups()
    return f"{(grouped or whole).replace('.', '')}.{cents or euro_cents}"


def _numbers(text: str) -> Iterator[re.Match[str]]:
    return (match for match in NUMBER.finditer(plain_numbers(text)) if len(match.group()) <= LONGEST)


def _value(number: re.Match[str]) -> Fraction | None:
    """Return the value of a match of NUMBER, `3 1/2` as three and a half; None for a division by zero."""
    value = Fraction(number["decimal"].replace(",", "") + (number["power"] or ""))
    denominator = int((number["denominator"] or "1").replace(",", ""))
    if not denominator:
        return None
    if number["numerator"]:
        value += Fraction(int(number["numerator"]), denominator)
    else:
        value /= denominator
    return -value if number["minus"] or number["inner_minus"] else value
