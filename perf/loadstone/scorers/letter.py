"""Which choice a written answer means: the letter that it states, wherever it stands, or the text of a choice.

A chain, strongest first: what the answer states, the last of it (`Answer: B`, `\\boxed{B}`, `答案是 B`, `B is right`),
a line that is marked with a letter, bold letters, the choice's own words, letters in brackets, and at last a letter
that stands alone. Refusals, hedges (`A or B`) and letters that no choice has are None: the text does not say.
How a text is made plain, and what a statement looks like, is statements.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor
from loadstone.scorers.letter_phrases import (
    NEGATION,
    REFUSAL,
    choices_named,
    clean_answer,
    letters_at,
    normalize_words,
    stated_letters,
    strip_markup,
    strip_negated,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Options = Callable[[Sample], Sequence[str]]
FIELDS = ("choices", "options", "endings")
SPREAD = (("A", "B", "C", "D"), ("choice1", "choice2", "choice3", "choice4"))


def letter_among(options: Options) -> Extractor:
    """An extractor of the letter among `options`, the texts that stood behind A, B, C ... in the question."""

    def extract(text: str, sample: Sample) -> str | None:
        return read_letter(text, options(sample))

    return extract


def letters_among(options: Options) -> Extractor:
    """An extractor of all letters that are stated, in order, such as `AC`, for questions that ask for all that is
    true."""

    def extract(text: str, sample: Sample) -> str | None:
        return read_letters(text, options(sample))

    return extract


def shown_options(sample: Sample) -> Sequence[str]:
    """The texts that were lettered, as far as the sample tells: its choices, or where those are letters, what stands
    in the fields in which MMLU, RACE, C-Eval, HellaSwag, ARC and GPQA keep them."""
    if sample.choices and not all(len(choice.strip("() ")) == 1 for choice in sample.choices):
        return sample.choices
    held = [value for name in FIELDS if (value := sample.doc.get(name))]
    held += [[sample.doc[name] for name in names] for names in SPREAD if all(name in sample.doc for name in names)]
    texts = held[0] if held else sample.choices or list(LETTERS)
    return [str(text) for text in (texts.get("text", []) if isinstance(texts, dict) else texts)]


extract_letter: Extractor = letter_among(shown_options)
extract_letters: Extractor = letters_among(shown_options)


def read_letter(text: str, options: Sequence[str]) -> str | None:
    """The letter, upper case, or None where the text states none, or several, or one beyond `options`."""
    marked = clean_answer(text)
    if marked is None:
        return None
    marked = _unlisted(marked, options)
    simple = strip_markup(marked)
    if statements := stated_letters(simple, options):
        return _one(statements[-1], options)
    rest = strip_negated(simple)
    if marks := _marked_lines(rest):
        return _one(marks, options)
    if REFUSAL.search(simple):
        return None
    weaker = (_bold(marked), _worded(simple, options), _bracketed(rest), _alone(rest))
    return next((_one(found, options) for found in weaker if found), None)


def read_letters(text: str, options: Sequence[str]) -> str | None:
    """All letters of the last statement, or of the only line that is nothing but letters, in order, without repeats."""
    marked = clean_answer(text)
    if marked is None:
        return None
    simple = GLUED.sub(lambda match: _parted(match[0], options), strip_markup(marked))
    lines = [
        found
        for line in simple.splitlines()
        if (found := letters_at(line.strip(" \t-•"), 0, options)) and _only(line, found)
    ]
    whole = len(lines) == sum(1 for line in simple.splitlines() if line.strip())
    statements = [said for said in stated_letters(simple, options) if said] or (
        ["".join(lines)] if whole else lines[-1:]
    )
    found = "".join(sorted(set(statements[-1]))) if statements else ""
    return found if found and all(_within(one, options) for one in found) else None


GLUED = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2,}(?![A-Za-z0-9])|^[ \t]*[A-Z](?:[ \t]+[A-Z])+[ \t]*$", re.MULTILINE)


def _parted(word: str, options: Sequence[str]) -> str:
    """`ACD` and `A C D` as `A,C,D`; another word as it is."""
    word = "".join(word.split())
    rising = all(before < after for before, after in pairwise(word))
    return ",".join(word) if rising and all(_within(one, options) for one in word) else word


def _one(found: str, options: Sequence[str]) -> str | None:
    """The letter, if it is only one and a choice has it."""
    return found[0] if len(set(found)) == 1 and _within(found[0], options) else None


def _within(one: str, options: Sequence[str]) -> bool:
    return one in LETTERS[: len(options)]


def _only(line: str, found: str) -> bool:
    """Whether a line has no other letters than those, words between them aside."""
    return len(re.sub(r"\b(?:and|or|both)\b|[^A-Za-z]", "", line)) == len(found)


OPTION_LINE = re.compile(r"^[\s>*-]*\(?([A-Z])[).:]\s*(.+?)[\s*]*$", re.MULTILINE)


def _unlisted(text: str, options: Sequence[str]) -> str:
    """Without the choices, where the answer repeats them before it chooses."""

    def listing(match: re.Match[str]) -> bool:
        return _within(match[1], options) and normalize_words(match[2]) == normalize_words(
            options[LETTERS.index(match[1])]
        )

    repeated = [match for match in OPTION_LINE.finditer(text) if listing(match)]
    if len({match[1] for match in repeated}) < 2:
        return text
    return OPTION_LINE.sub(lambda match: "" if listing(match) else match[0], text)


MARKED = re.compile(r"^[\s>-]*(?:(?:option|choice|选项)\s*)?(?:[(\[]\s*([A-Z])\s*[)\]]|([A-Z])\s*[).:、](?!\w))", re.I)


def _marked_lines(text: str) -> str:
    """The letters of the last line if it is nothing else, of the first alike, or of the mark that the first line begins
    with (`B. Paris`, `(b)`). Where the lines go through the choices from A on, all of them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in (*lines[-1:], *lines[:1]):
        if (found := letters_at(line, 0, ())) and _only(line, found):
            return found
    marked = [match for line in lines if (match := MARKED.match(line))]
    marks = [(match[1] or match[2]).upper() for match in marked]
    if not marks or marked[0].string != lines[0]:
        return ""
    return "".join(marks) if marks[:2] == ["A", "B"] else marks[0] + letters_at(lines[0], marked[0].end(), ())


BOLD = re.compile(r"(\*\*|__)\s*(?:option\s+|choice\s+)?[(\[]?([A-Z])[)\]]?\s*(?:[.:)].{0,200}?)?\1", re.I)


def _bold(text: str) -> str:
    return "".join(match[2].upper() for match in BOLD.finditer(text))


# Characters of an answer that is not likely to name a choice but to choose it.
SHORT = 200


def _worded(text: str, options: Sequence[str]) -> str:
    """The letter of the choice that the answer, its first line or its last is, or that it names if it is short."""
    lines = [line for line in text.splitlines() if line.strip()]
    whole = (choices_named(part, options, whole=True) for part in (text, *lines[:1], *lines[-1:]))
    inside = (
        choices_named(text, options) if len(lines) == 1 and len(text) <= SHORT and not NEGATION.search(text) else ""
    )
    return next((found for found in whole if found), inside)


BRACKETED = re.compile(r"\(\s*([A-Za-z])\s*\)|\[\s*([A-Z])\s*\]")


def _bracketed(text: str) -> str:
    return "".join((match[1] or match[2]).upper() for match in BRACKETED.finditer(text))


ALONE = re.compile(
    r"(?:^|[^\w\s'’)\]]|\b(?:so|hence|thus|therefore|towards?|with|be|is|only|leaves|option|choice|answer|pick|say|likely"
    r"|probably|definitely)\b|[\u4e00-\u9fff])\s*(?=[A-Z](?![A-Za-z0-9'’]))",
    re.IGNORECASE,
)


def _alone(text: str) -> str:
    """Capital letters that are no words, in the last line, where a clause begins or a word leads up to them: not the
    name of a thing, such as vitamin C."""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    places = [match.end() for match in ALONE.finditer(last) if last[match.end()].isupper()]
    return "".join(letters_at(last, place, ()) for place in places)


def score_letter(extracted: str, sample: Sample) -> dict[str, float]:
    """`exact_match`: whether it is the letter of the target, or where that is no letter, of a gold choice."""
    target = sample.target.strip(" ().").upper()
    golds = [target] if len(target) == 1 and target in LETTERS else [LETTERS[number] for number in sample.gold]
    return {"exact_match": float(extracted in golds)}


def score_letters(extracted: str, sample: Sample) -> dict[str, float]:
    """`exact_match`: whether they are all letters of the target and no others; `f1` of the two sets."""
    said, true = set(extracted), set(sample.target)
    return {"exact_match": float(said == true), "f1": 2 * len(said & true) / (len(said) + len(true))}
