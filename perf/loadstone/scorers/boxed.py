r"""Extractors of the answer of a worked solution.

A solution states it in a `\boxed{}`, in Minerva's closing sentence, after `the answer is`, or between dollar signs.
Boxes are matched in one pass with a stack, so any text takes linear time, however deep its braces nest.
"""

from __future__ import annotations

import re
from collections import deque

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor
from loadstone.scorers.letter_phrases import after_thinking
from loadstone.scorers.match import first_of, last_line, the_answer_is
from loadstone.scorers.number import after_hashes, last_number

# A box that opens, an escaped character, or a brace: `\boxed{`, `\}`, `{`.
BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
# A box without braces: `\boxed 5`, `\boxed\frac12`, `\boxed x`.
BARE = re.compile(r"\\(?:boxed|fbox)[ \t]*(?=[\d\\(.+-])([^\s$]+)|\\(?:boxed|fbox)[ \t]+([A-Za-z])(?![A-Za-z])")
# One or more dollar signs, not escaped: `$`, `$$`.
DOLLAR = re.compile(r"(?<!\\)\$+")
# A box with at most one level of braces in it: `\boxed{\frac{1}{2}}`.
BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
# Two or more boxes joined by a conjunction: `\boxed{1}$ and $\boxed{-2}`.
BOXES = re.compile(rf"{BOX.pattern}(?:[\s$]*(?:,|,?\s?\b(?:and|or)\b|和|或)[\s$]*{BOX.pattern})+")
# A line in bold: `**42**`, `**42.**`.
BOLD = re.compile(r"\*\*([^*]+?)[.:]?\*\*[.!]?")
# A word, but no command of LaTeX: `apples`, not `\frac`.
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
# Longest line, in characters, that is taken as an answer without any marking.
SHORT = 40
# The text before and after the answer in Minerva's closing sentence.
MINERVA_START = "Final Answer: The final answer is"
MINERVA_END = " I hope it is correct"


def boxed(text: str, _: Sample) -> str | None:
    """Return what `last_box` returns, as an extractor."""
    return last_box(text)


def last_box(text: str) -> str | None:
    r"""Return the content of the last `\boxed{}` or `\fbox{}` that is closed, or None.

    Of nested boxes the inner one counts. `\boxed 5`, without braces, counts if it comes last.
    """
    # Of all closed boxes take the one that opens last. -1 stands for a brace that belongs to no box.
    open_braces: list[int] = []
    start, end = -1, 0
    for brace in BRACE.finditer(text):
        mark = brace.group()
        if mark[-1] == "{" and mark != "\\{":
            open_braces.append(brace.end() if len(mark) > 1 else -1)
        elif mark == "}" and open_braces:
            opened_at = open_braces.pop()
            if opened_at < brace.start():  # an empty box is no answer
                start, end = max((start, end), (opened_at, brace.start()))
    bare = deque(BARE.finditer(text, max(start, 0)), maxlen=1)
    if bare:
        return (bare[0][1] or bare[0][2]).strip(".,;:")
    return text[start:end].strip() or None if start >= 0 else None


def minerva(text: str, _: Sample) -> str | None:
    """Return X of the first `Final Answer: The final answer is X. I hope it is correct.`, as lm-eval's minerva_math."""
    for line in text.split("\n"):
        start, end = line.find(MINERVA_START), line.find(MINERVA_END)
        if 0 <= start < end:
            return line[start + len(MINERVA_START) : end - 1].strip()
    return None


def last_formula(text: str, _: Sample) -> str | None:
    r"""Return the content of the last `$...$`, `$$...$$`, `\(...\)` or `\[...\]`, or None."""
    spans: list[tuple[int, int]] = []
    dollars = list(DOLLAR.finditer(text))
    if len(dollars) > 1:
        spans.append((dollars[-2].end(), dollars[-1].start()))
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        end = text.rfind(closing)
        start = text.rfind(opening, 0, end) if end > 0 else -1
        if start >= 0:
            spans.append((start + len(opening), end))
    if not spans:
        return None
    start, end = max(spans)
    return text[start:end].strip() or None


def skip_thinking(extract: Extractor) -> Extractor:
    """Return the extractor, applied to the text after the model's thinking; None if the thinking never ends."""

    def extract_after_thinking(text: str, sample: Sample) -> str | None:
        answer = after_thinking(text)
        return None if answer is None else extract(answer, sample)

    return extract_after_thinking


def adjacent_boxes(text: str, _: Sample) -> str | None:
    r"""Return the contents of the last boxes as a list, if only conjunctions are between them.

    `\boxed{1}` and `\boxed{-2}` give `1, -2`. None if there are not at least two, or another box follows.
    """
    runs = list(BOXES.finditer(text))
    if not runs or "boxed" in text[runs[-1].end() :]:
        return None
    return ", ".join(dict.fromkeys(content.strip() for content in BOX.findall(runs[-1].group())))


def bare_answer(text: str, sample: Sample) -> str | None:
    """Return a text that is one short line without a sentence, or its last line if that is bold, else None."""
    line = last_line(text, sample) or ""
    if bold := BOLD.fullmatch(line):
        return bold[1]
    is_only_line = line == text.strip()
    return line if is_only_line and 0 < len(line) <= SHORT and len(WORD.findall(line)) < 3 else None


# The answer of a solution, wherever it is: in a box, else in a closing sentence, else as the last formula.
math_answer = skip_thinking(first_of(adjacent_boxes, boxed, minerva, the_answer_is, last_formula, bare_answer))
# The same for answers that are numbers.
boxed_number = skip_thinking(first_of(boxed, after_hashes, the_answer_is, last_number))
