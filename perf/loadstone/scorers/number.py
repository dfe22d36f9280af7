"""Answers that are a number: where it stands in a text, and when two are the same.

`1,000`, `1000.0`, `$1,000.` and `1000 dollars` are one number. lm-eval's own reading of gsm8k is kept beside ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from loadstone.samples import Sample
from loadstone.scorers.match import correct_answers, exact_match, regex

# Characters of a number that is read: a longer one is no answer.
LONGEST = 300
SIGNS = str.maketrans({"−": "-", "–": "-", "—": "-", "﹣": "-", "-": "-", "‑": "-", "\u00a0": " ", "\u202f": " "})
MARKUP = re.compile(r"\\(?:[()\[\],;!: ]|left|right|boxed|text\w*|mathrm|mathbf|displaystyle|quad)|\$(?=\D|$)|[*_`{}]")
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
GROUPED = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
NUMBER = re.compile(
    r"(?P<minus>(?<![\w)\]%])(?<![\d)\]%] )-)?[$€£¥]?(?P<behind>(?<=[$€£¥])-)?"
    rf"(?P<decimal>{GROUPED}(?:\.\d+)?|\.\d+)(?P<power>[eE][+-]?\d{{1,2}}(?!\w))?"
    rf"(?:(?: (?P<above>\d+))?\s?/\s?(?P<below>{GROUPED})(?!\d|/\d|\.\d))?(?P<percent>\s?\\?%)?"
)
POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z}])\s?\^\s?\{?[23]\}?|[²³]")
MARKED = re.compile(r"####\s*([^\n]*)")
HASHED = re.compile(r"^#{4}[ \t]*([$€£]?-?[$€£]?[\d.,]*\d%?)\.?[ \t]*$", re.MULTILINE)
ASIDE = re.compile(r"\((?!\s*or\b)[^()]*[A-Za-z][^()]*\)")
APART = re.compile(r"(?<=\d)['’\u00a0\u202f\u2009](?=\d{3}(?!\d))")
EUROPEAN = re.compile(
    r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?!\d)|(?<![\d.,])(\d+),(\d\d)(?=\s?(?:€|[Ee]uros?\b|EUR\b))"
)
UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
WORDS = {
    **{word: number for number, word in enumerate([*UNITS.split(), "seventeen", "eighteen", "nineteen"])},
    **{word: 10 * parse_number for parse_number, word in enumerate(TENS.split(), 2)},
}
SPELT = re.compile(rf"\b({'|'.join(TENS.split())})[\s-]({'|'.join(UNITS.split()[1:10])})\b|\b({'|'.join(WORDS)})\b")

gsm8k_strict = regex(r"#### (\-?[0-9\.\,]+)")
gsm8k_cot_strict = regex(r"The answer is (\-?[0-9\.\,]+).")
gsm8k_flexible = regex(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
# The filters and the metric of lm-eval's gsm8k 3.0 as they are; `gsm8k_flexible` takes `...` for a number, too. The
# anchor changes nothing but that a long text takes no longer than it is.
score_gsm8k = exact_match(ignore_case=True, regexes_to_ignore=(",", r"\$", r"(?s)\A.*#### ", r"\.$"))


def last_number(text: str, _: Sample) -> str | None:
    """The last number in a text, as it is written there; one spelt out up to ninety-nine where there are no digits."""
    found = list(_numbers(text))
    if found:
        return found[-1].group().strip()
    spelt = [match.group() for match in SPELT.finditer(text.lower())]
    return spelt[-1] if spelt else None


def after_hashes(text: str, _: Sample) -> str | None:
    """The number that stands alone behind the last `####`, which else begins a heading."""
    return next(reversed(HASHED.findall(text)), None)


def parse_number(text: str) -> Fraction | None:
    """The one number that a text is, with its currency and unit: after `####` or `=` where these stand in it, words in
    brackets aside. A percent sign is a unit. None where there is none, or more than one."""
    marked = MARKED.findall(text)
    tail = (marked[-1] if marked else text).rsplit("=", 1)[-1]
    found = list(_numbers(tail))
    if len(found) > 1:
        found = list(_numbers(ASIDE.sub(" ", tail))) or found
    if found:
        return _value(found[0]) if len(found) == 1 else None
    spelt = list(SPELT.finditer(tail.lower()))
    return Fraction(_spelt(spelt[0])) if len(spelt) == 1 else None


def same_number(said: str, right: str) -> bool:
    """Whether two texts are the same number; 50 % is 50 and also one half."""
    ours, theirs = parse_number(said), parse_number(right)
    if ours is None or theirs is None:
        return False
    percent = ("%" in said) - ("%" in right)
    return ours == theirs or (bool(percent) and ours * Fraction(100) ** -percent == theirs)


def score_number(extracted: str, sample: Sample) -> dict[str, float]:
    """`exact_match` by value: whether the answer is the number that the target ends with."""
    return {"exact_match": float(any(same_number(extracted, right) for right in correct_answers(sample)))}


def plain_numbers(text: str) -> str:
    """Numbers as plain text: ASCII minus, no LaTeX spacing or markup, fractions with a slash, `{,}` a comma."""
    text = EUROPEAN.sub(_english, APART.sub(",", text))
    text = text.translate(SIGNS).replace("{,}", ",").replace(",\\!", ",").replace("\\$", "$").replace("\\%", "%")
    text = POWER_OF_UNIT.sub("", text)
    text = FRACTION.sub(lambda match: " {}/{} ".format(*(group for group in match.groups() if group)), text)
    return MARKUP.sub("", re.sub(r"(?<=\d)\\[, ](?=\d{3})", ",", text))


def _english(number: re.Match[str]) -> str:
    """`1.234,56` as `1234.56`."""
    grouped, cents, whole, euros = number.groups()
    return f"{(grouped or whole).replace('.', '')}.{cents or euros}"


def _numbers(text: str) -> Iterator[re.Match[str]]:
    return (match for match in NUMBER.finditer(plain_numbers(text)) if len(match.group()) <= LONGEST)


def _value(found: re.Match[str]) -> Fraction | None:
    """Of a match: `3 1/2` is three and a half."""
    part = found.groupdict()
    value = Fraction(part["decimal"].replace(",", "") + (part["power"] or ""))
    below = int((part["below"] or "1").replace(",", ""))
    if not below:
        return None
    value = value + Fraction(int(part["above"]), below) if part["above"] else value / below
    return -value if part["minus"] or part["behind"] else value


def _spelt(found: re.Match[str]) -> int:
    tens, unit, single = found.groups()
    return WORDS[single] if single else WORDS[tens] + WORDS[unit]
