"""Read the choice that a response in words means: the letter it states, or the text of a choice.

The readings are tried from the strongest to the weakest. First statements, of which the last counts (`Answer: B`,
`\\boxed{B}`, `答案是 B`, `B is right`); then a line marked with a letter, bold letters, the words of a choice,
letters in brackets, and a letter alone. Refusals, hedges (`A or B`) and letters of no choice give None.

`letter_phrases` cleans the text and finds the statements.
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
# The texts that the question showed behind A, B, C ..., in order.
Options = Callable[[Sample], Sequence[str]]
# Fields of a row in which benchmarks keep the choices: one field with all, or one field for each.
LIST_FIELDS = ("choices", "options", "endings")
SINGLE_FIELDS = (("A", "B", "C", "D"), ("choice1", "choice2", "choice3", "choice4"))
# Letters without commas: `ACD`, or a line `A C D`.
LETTER_SEQUENCE = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2,}(?![A-Za-z0-9])|^[ \t]*[A-Z](?:[ \t]+[A-Z])+[ \t]*$", re.MULTILINE
)
# A line that repeats a choice: `B) Paris`, `- **B.** Paris`.
OPTION_LINE = re.compile(r"^[\s>*-]*\(?([A-Z])[).:]\s*(.+?)[\s*]*$", re.MULTILINE)
# The mark at the start of a line: `B. Paris`, `(b)`, `Option C:`, `选项 A、`.
MARKED = re.compile(r"^[\s>-]*(?:(?:option|choice|选项)\s*)?(?:[(\[]\s*([A-Z])\s*[)\]]|([A-Z])\s*[).:、](?!\w))", re.I)
# A letter in bold, with or without words behind it: `**B**`, `**B. Paris**`, `__(b)__`.
BOLD = re.compile(r"(\*\*|__)\s*(?:option\s+|choice\s+)?[(\[]?([A-Z])[)\]]?\s*(?:[.:)].{0,200}?)?\1", re.I)
# A letter in brackets: `(b)`, `[B]`.
BRACKETED = re.compile(r"\(\s*([A-Za-z])\s*\)|\[\s*([A-Z])\s*\]")
# The place before a letter where a clause begins or a word leads up to it: `so C`, `- C`. Not `vitamin C`.
ALONE = re.compile(
    r"(?:^|[^\w\s'’)\]]|\b(?:so|hence|thus|therefore|towards?|with|be|is|only|leaves|option|choice|answer|pick|say|likely"
    r"|probably|definitely)\b|[\u4e00-\u9fff])\s*(?=[A-Z](?![A-Za-z0-9'’]))",
    re.IGNORECASE,
)
# Longest answer, in characters, in which the words of a choice are taken as choosing it rather than discussing it.
SHORT = 200


def letter_among(options: Options) -> Extractor:
    """Return an extractor of the letter of one of `options`."""

    def extract(text: str, sample: Sample) -> str | None:
        return read_letter(text, options(sample))

    return extract


def letters_among(options: Options) -> Extractor:
    """Return an extractor of all letters stated, in order, such as `AC`, for questions with several right choices."""

    def extract(text: str, sample: Sample) -> str | None:
        return read_letters(text, options(sample))

    return extract


def shown_options(sample: Sample) -> Sequence[str]:
    """Return the texts that the question showed with letters, as far as the sample has them.

    These are its choices. If the choices are letters themselves, they are what the row has in the fields of MMLU, RACE,
    C-Eval, HellaSwag, ARC or GPQA.
    """
    if sample.choices and not all(len(choice.strip("() ")) == 1 for choice in sample.choices):
        return sample.choices
    held = [value for name in LIST_FIELDS if (value := sample.doc.get(name))]
    for names in SINGLE_FIELDS:
        if all(name in sample.doc for name in names):
            held.append([sample.doc[name] for name in names])
    texts = held[0] if held else sample.choices or list(LETTERS)
    if isinstance(texts, dict):  # ARC: {"text": [...], "label": [...]}
        texts = texts.get("text", [])
    return [str(text) for text in texts]


extract_letter: Extractor = letter_among(shown_options)
extract_letters: Extractor = letters_among(shown_options)


def read_letter(text: str, options: Sequence[str]) -> str | None:
    """Return the letter in upper case; None if the text states none, several, or one beyond `options`."""
    answer = clean_answer(text)
    if answer is None:
        return None
    answer = _strip_option_lines(answer, options)
    plain = strip_markup(answer)
    if statements := stated_letters(plain, options):
        return _single(statements[-1], options)
    affirmed = strip_negated(plain)
    if marks := _marked_lines(affirmed):
        return _single(marks, options)
    if REFUSAL.search(plain):
        return None
    bold = "".join(match[2].upper() for match in BOLD.finditer(answer))
    bracketed = "".join((match[1] or match[2]).upper() for match in BRACKETED.finditer(affirmed))
    for letters in (bold, _choice_in_words(plain, options), bracketed, _letters_alone(affirmed)):
        if letters:
            return _single(letters, options)
    return None


def read_letters(text: str, options: Sequence[str]) -> str | None:
    """Return all letters of the last statement, sorted and each once, or None.

    Without a statement they are those of the last line that has only letters; of all lines, if all are such lines.
    """
    answer = clean_answer(text)
    if answer is None:
        return None
    plain = LETTER_SEQUENCE.sub(lambda match: _insert_commas(match[0], options), strip_markup(answer))
    statements = [letters for letters in stated_letters(plain, options) if letters]
    if not statements:
        lines = [line for line in plain.splitlines() if line.strip()]
        runs = [(line, letters_at(line.strip(" \t-•"), 0, options)) for line in lines]
        letter_lines = [letters for line, letters in runs if letters and _has_only(line, letters)]
        statements = ["".join(letter_lines)] if len(letter_lines) == len(lines) else letter_lines[-1:]
    letters = "".join(sorted(set(statements[-1]))) if statements else ""
    return letters if letters and all(_is_option(letter, options) for letter in letters) else None


def _insert_commas(word: str, options: Sequence[str]) -> str:
    """Return `ACD` and `A C D` as `A,C,D`, and any other word without its spaces."""
    word = "".join(word.split())
    is_rising = all(before < after for before, after in pairwise(word))
    return ",".join(word) if is_rising and all(_is_option(letter, options) for letter in word) else word


def _single(letters: str, options: Sequence[str]) -> str | None:
    """Return the letter if all are the same and a choice has it, else None."""
    return letters[0] if len(set(letters)) == 1 and _is_option(letters[0], options) else None


def _is_option(letter: str, options: Sequence[str]) -> bool:
    return letter in LETTERS[: len(options)]


def _has_only(line: str, letters: str) -> bool:
    """Return True if a line has no other letters than these, apart from `and`, `or` and `both`."""
    return len(re.sub(r"\b(?:and|or|both)\b|[^A-Za-z]", "", line)) == len(letters)


def _strip_option_lines(text: str, options: Sequence[str]) -> str:
    """Return the text without the list of choices, if the response repeats two or more of them."""

    def repeats_option(match: re.Match[str]) -> bool:
        if not _is_option(match[1], options):
            return False
        return normalize_words(match[2]) == normalize_words(options[LETTERS.index(match[1])])

    repeated = {match[1] for match in OPTION_LINE.finditer(text) if repeats_option(match)}
    if len(repeated) < 2:
        return text
    return OPTION_LINE.sub(lambda match: "" if repeats_option(match) else match[0], text)


def _marked_lines(text: str) -> str:
    """Return the letters of the last or first line if it has nothing else, or of the marks at the start of lines.

    Of the marks the one of the first line counts (`B. Paris`). All count if the lines go through the choices from A.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in (*lines[-1:], *lines[:1]):
        if (letters := letters_at(line, 0, ())) and _has_only(line, letters):
            return letters
    matches = [match for line in lines if (match := MARKED.match(line))]
    if not matches or matches[0].string != lines[0]:
        return ""
    marks = [(match[1] or match[2]).upper() for match in matches]
    return "".join(marks) if marks[:2] == ["A", "B"] else marks[0] + letters_at(lines[0], matches[0].end(), ())


def _choice_in_words(text: str, options: Sequence[str]) -> str:
    """Return the letter of the choice that the text, its first or its last line is, or that a short text names."""
    lines = [line for line in text.splitlines() if line.strip()]
    for candidate in (text, *lines[:1], *lines[-1:]):
        if letters := choices_named(candidate, options, whole=True):
            return letters
    is_short = len(lines) == 1 and len(text) <= SHORT
    return choices_named(text, options) if is_short and not NEGATION.search(text) else ""


def _letters_alone(text: str) -> str:
    """Return the capital letters in the last line that are no words and no part of a name, such as vitamin C."""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    starts = [match.end() for match in ALONE.finditer(last) if last[match.end()].isupper()]
    return "".join(letters_at(last, start, ()) for start in starts)


def score_letter(extracted: str, sample: Sample) -> dict[str, float]:
    """Return `exact_match`: 1 for the letter of the target, or of a gold choice if the target is no letter."""
    target = sample.target.strip(" ().").upper()
    is_letter = len(target) == 1 and target in LETTERS
    gold = [target] if is_letter else [LETTERS[number] for number in sample.gold]
    return {"exact_match": float(extracted in gold)}


def score_letters(extracted: str, sample: Sample) -> dict[str, float]:
    """Return `exact_match`, 1 for the same set of letters as the target's, and `f1` of the two sets."""
    answer, target = set(extracted), set(sample.target)
    return {"exact_match": float(answer == target), "f1": 2 * len(answer & target) / (len(answer) + len(target))}
