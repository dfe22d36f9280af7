r"""Extractors and the scorer of BIG-Bench Hard: one extractor for each form of answer.

The forms are an option's letter, one of a few words, a number, a list of words in order, and closing brackets. Each
extractor looks for the conclusion of a chain of thought: the sentence `the answer is ...`, then a `\boxed{}`, then the
last line.
"""

from __future__ import annotations

import re

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor
from loadstone.scorers.boxed import boxed, skip_thinking
from loadstone.scorers.letter_phrases import NEGATED_LETTER
from loadstone.scorers.match import exact_match, first_line, first_of, last_line, regex, the_answer_is
from loadstone.scorers.number import last_number, parse_number

# A letter in brackets or alone: `(b)`, `B`. Not the words `A` of `A dog` and `I` of `I think`.
LETTER = re.compile(r"\(([A-Za-z])\)|(?<![A-Za-z'])(?![AI]\s(?!is\b)[a-z])([A-Z])(?![A-Za-z'(])")
# A line of the question that lists an option: `(A) Monday`.
OPTION = re.compile(r"^\(([A-Z])\)\s*(.*?)\s*$", re.MULTILINE)
# A word or a number: `don't`, `R&D`, `42`.
WORD = re.compile(r"[^\W\d_][\w'&-]*|\d+")
# A run of brackets: `] ) }`. Not the brackets around a word: `(left)`.
BRACKETS = re.compile(r"(?<!\w)[\[\](){}<>](?:[\s\[\](){}<>]*[\[\](){}<>])?(?!\w)")
# A negation directly before an answer: `not `, `isn't really "`.
NOT = re.compile(r"(?:\bnot|n['’]t)\s+(?:\w+ly\s+)?[*_`\"'“]*\Z", re.IGNORECASE)

# lm-eval's filter `get-answer` of BIG-Bench Hard: all but the last character of the line.
bbh_strict = regex(r"(?<=the answer is )(.*)(?=.)")
# lm-eval's metric of BIG-Bench Hard without worked examples.
score_bbh = exact_match(ignore_case=True, regexes_to_ignore=(r"\.$", ",", r"\\", "\n", '"'))
# Where a response states its conclusion, in order of reliability.
stated_answer = skip_thinking(first_of(the_answer_is, boxed))
closing_line = skip_thinking(last_line)
conclusion = first_of(stated_answer, closing_line)


def option(text: str, sample: Sample) -> str | None:
    """Return the option of the answer as `(B)`, or None.

    It is the first letter of the conclusion, else the one option whose words the conclusion contains, else the last
    letter in brackets anywhere in the text.
    """
    options = dict(OPTION.findall(str(sample.doc.get("input", sample.ask.query))))
    concluded = conclusion(text, sample) or ""
    letters = [(bracketed or alone).upper() for bracketed, alone in LETTER.findall(NEGATED_LETTER.sub(" ", concluded))]
    quoted = [letter for letter, words in options.items() if words and words.lower() in concluded.lower()]
    anywhere = re.findall(r"\(([A-Z])\)", NEGATED_LETTER.sub(" ", text))[-1:]
    for candidates in (letters[:1], quoted if len(quoted) == 1 else [], anywhere):
        if candidates and (not options or candidates[0] in options):
            return f"({candidates[0]})"
    return None


def one_of(*words: str) -> Extractor:
    """Return an extractor of one of these words, compared without case and returned as given.

    It takes the first of them in the conclusion, else the last in the text. Of two words it takes the other one if the
    word is negated (`not valid` is `invalid`).
    """
    pattern = re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)
    # A word that is a whole opening clause: `Yes, because ...`.
    opening_word = re.compile(rf"\W*({'|'.join(words)})\b\W*(?:[.,:;!*]|$)", re.IGNORECASE)
    spelling = {word.lower(): word for word in words}

    def meaning(text: str, match: re.Match[str]) -> str:
        """Return the word that a match means, with regard to a negation before it."""
        word = spelling[match[1].lower()]
        others = [other for other in words if other != word]
        return others[0] if len(others) == 1 and NOT.search(text, 0, match.start()) else word

    def only_word_of_last_line(text: str, sample: Sample) -> str | None:
        line = closing_line(text, sample) or ""
        return line if pattern.fullmatch(line.strip(" *_`.!\"'$")) else None

    def opening_word_of_first_line(text: str, sample: Sample) -> str | None:
        match = opening_word.match(skip_thinking(first_line)(text, sample) or "")
        return match[1] if match else None

    def extract(text: str, sample: Sample) -> str | None:
        for read in (stated_answer, only_word_of_last_line, opening_word_of_first_line, closing_line):
            candidate = read(text, sample)
            if candidate and (match := pattern.search(candidate)):
                return meaning(candidate, match)
        anywhere = list(pattern.finditer(text))
        return meaning(text, anywhere[-1]) if anywhere else None

    return extract


def last_integer(text: str, sample: Sample) -> str | None:
    """Return the last number of the conclusion, or of the text; an integer in digits (`eight` and `8.0` are `8`)."""
    text_of_number = last_number(conclusion(text, sample) or "", sample) or last_number(text, sample)
    value = parse_number(text_of_number) if text_of_number else None
    return str(value) if value is not None and value.denominator == 1 else text_of_number


def ordered_words(text: str, sample: Sample) -> str | None:
    """Return the words that the question lists, each once, in the order of the conclusion, else of the end of the text.

    None if one of them is missing in both.
    """
    listed = set(WORD.findall(str(sample.doc["input"]).rsplit("List:", 1)[-1].lower()))
    for candidate in (conclusion(text, sample) or "", text):
        matches = [word for word in WORD.findall(candidate.lower()) if word in listed]
        last_of_each = list(dict.fromkeys(reversed(matches)))[::-1]
        if len(last_of_each) == len(listed):
            return " ".join(last_of_each)
    return None


def brackets(text: str, sample: Sample) -> str | None:
    """Return the last run of brackets in the conclusion, or in the text, separated by spaces.

    If the answer repeats the brackets of the question first, these are cut off.
    """
    runs = BRACKETS.findall(conclusion(text, sample) or "") or BRACKETS.findall(text)
    if not runs:
        return None
    question = "".join(str(sample.doc.get("input", "")).rpartition("Input:")[2].split())
    return " ".join("".join(runs[-1].split()).removeprefix(question))
