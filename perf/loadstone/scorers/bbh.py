"""What a chain of thought concludes, in the form its question asks for: an option's letter, one of a few words, a
number, words in an order, closing brackets. It is sought in the sentence `the answer is ...`, in a box, at the end.
"""

from __future__ import annotations

import re

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor
from loadstone.scorers.boxed import boxed, skip_thinking
from loadstone.scorers.letter_phrases import DENIED
from loadstone.scorers.match import exact_match, first_line, first_of, last_line, regex, the_answer_is
from loadstone.scorers.number import last_number
from loadstone.scorers.number import parse_number as value

# In brackets, or alone; `A dog` and `I think` begin with words.
LETTER = re.compile(r"\(([A-Za-z])\)|(?<![A-Za-z'])(?![AI]\s(?!is\b)[a-z])([A-Z])(?![A-Za-z'(])")
OPTION = re.compile(r"^\(([A-Z])\)\s*(.*?)\s*$", re.MULTILINE)
WORD = re.compile(r"[^\W\d_][\w'&-]*|\d+")
# Not those around words.
BRACKETS = re.compile(r"(?<!\w)[\[\](){}<>](?:[\s\[\](){}<>]*[\[\](){}<>])?(?!\w)")
NOT = re.compile(r"(?:\bnot|n['’]t)\s+(?:\w+ly\s+)?[*_`\"'“]*\Z", re.IGNORECASE)

# lm-eval's filter `get-answer` of BIG-Bench Hard: all but the last sign of the line.
bbh_strict = regex(r"(?<=the answer is )(.*)(?=.)")
# lm-eval's metric of BIG-Bench Hard without examples.
score_bbh = exact_match(ignore_case=True, regexes_to_ignore=(r"\.$", ",", r"\\", "\n", '"'))
stated = skip_thinking(first_of(the_answer_is, boxed))
ending = skip_thinking(last_line)
said = first_of(stated, ending)


def option(text: str, sample: Sample) -> str | None:
    """`(B)`: by its letter in the conclusion, or by the words of the one option that the conclusion has; otherwise by
    the last letter in brackets anywhere."""
    options = dict(OPTION.findall(str(sample.doc.get("input", sample.ask.query))))
    concluded = said(text, sample) or ""
    letters = [(bracketed or alone).upper() for bracketed, alone in LETTER.findall(DENIED.sub(" ", concluded))]
    named = [letter for letter, words in options.items() if words and words.lower() in concluded.lower()]
    anywhere = re.findall(r"\(([A-Z])\)", DENIED.sub(" ", text))[-1:]
    for found in (letters[:1], named if len(named) == 1 else [], anywhere):
        if found and (not options or found[0] in options):
            return f"({found[0]})"
    return None


def one_of(*words: str) -> Extractor:
    """The first of these words in the conclusion, or the last anywhere; of two the other where it is denied."""
    pattern = re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)
    begins = re.compile(rf"\W*({'|'.join(words)})\b\W*(?:[.,:;!*]|$)", re.IGNORECASE)
    written = {word.lower(): word for word in words}

    def meant(text: str, found: re.Match[str]) -> str:
        word = written[found[1].lower()]
        others = [other for other in words if other != word]
        return others[0] if len(others) == 1 and NOT.search(text, 0, found.start()) else word

    def extract(text: str, sample: Sample) -> str | None:
        places = [part for read in (stated, alone, opening, ending) if (part := read(text, sample))]
        concluded = next(((part, found) for part in places if (found := pattern.search(part))), None)
        if concluded:
            return meant(*concluded)
        anywhere = list(pattern.finditer(text))
        return meant(text, anywhere[-1]) if anywhere else None

    def alone(text: str, sample: Sample) -> str | None:
        line = ending(text, sample) or ""
        return line if pattern.fullmatch(line.strip(" *_`.!\"'$")) else None

    def opening(text: str, sample: Sample) -> str | None:
        line = skip_thinking(first_line)(text, sample) or ""
        found = begins.match(line)
        return found[1] if found else None

    return extract


def last_integer(text: str, sample: Sample) -> str | None:
    """The last number of the conclusion, or of the text, in digits: `eight` and `8.0` are 8."""
    found = last_number(said(text, sample) or "", sample) or last_number(text, sample)
    worth = value(found) if found else None
    return str(worth) if worth is not None and worth.denominator == 1 else found


def ordered_words(text: str, sample: Sample) -> str | None:
    """The words that the question lists, in the order of the conclusion, or of the end of the text; each once."""
    listed = set(WORD.findall(str(sample.doc["input"]).rsplit("List:", 1)[-1].lower()))
    for part in (said(text, sample) or "", text):
        found = [word for word in WORD.findall(part.lower()) if word in listed]
        last = list(dict.fromkeys(reversed(found)))[::-1]
        if len(last) == len(listed):
            return " ".join(last)
    return None


def brackets(text: str, sample: Sample) -> str | None:
    """The last run of brackets in the conclusion, with one space between, without those of the question."""
    found = BRACKETS.findall(said(text, sample) or "") or BRACKETS.findall(text)
    asked = "".join(str(sample.doc.get("input", "")).rpartition("Input:")[2].split())
    return " ".join("".join(found[-1].split()).removeprefix(asked)) if found else None
