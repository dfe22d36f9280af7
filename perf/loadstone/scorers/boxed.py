"""Where a worked solution says its answer: in a box, in Minerva's closing sentence, after `the answer is`, in dollars.

Boxes are found in one pass with a stack, so that no text, however deeply nested, takes long.
"""

from __future__ import annotations

import re
from collections import deque

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor
from loadstone.scorers.letter_phrases import after_thinking
from loadstone.scorers.match import first_of, last_line, the_answer_is
from loadstone.scorers.number import after_hashes, last_number

BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
BARE = re.compile(r"\\(?:boxed|fbox)[ \t]*(?=[\d\\(.+-])([^\s$]+)|\\(?:boxed|fbox)[ \t]+([A-Za-z])(?![A-Za-z])")
DOLLAR = re.compile(r"(?<!\\)\$+")
BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
BOXES = re.compile(rf"{BOX.pattern}(?:[\s$]*(?:,|,?\s?\b(?:and|or)\b|和|或)[\s$]*{BOX.pattern})+")
BOLD = re.compile(r"\*\*([^*]+?)[.:]?\*\*[.!]?")
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
# Characters of a line that can be an answer by itself.
SHORT = 40
FINAL, HOPE = "Final Answer: The final answer is", " I hope it is correct"


def boxed(text: str, _: Sample) -> str | None:
    """`last_box`, as an extractor."""
    return last_box(text)


def last_box(text: str) -> str | None:
    r"""What is in the last `\boxed{}` or `\fbox{}` that is closed, of nested ones in the inner; also `\boxed 5`."""
    found, at = _braced(text)
    bare = deque(BARE.finditer(text, at), maxlen=1)
    return (bare[0][1] or bare[0][2]).strip(".,;:") if bare else found


def _braced(text: str) -> tuple[str | None, int]:
    """Of the last complete box: what is in it, and where that begins."""
    opened: list[int] = []
    best = (-1, 0)
    for mark in BRACE.finditer(text):
        if mark.group()[-1] == "{" and mark.group() != "\\{":
            opened.append(mark.end() if len(mark.group()) > 1 else -1)
        elif mark.group() == "}" and opened:
            begin = opened.pop()
            best = max(best, (begin, mark.start())) if begin < mark.start() else best
    return (text[best[0] : best[1]].strip() or None, best[0]) if best[0] >= 0 else (None, 0)


def minerva(text: str, _: Sample) -> str | None:
    """lm-eval's minerva_math: X of the first `Final Answer: The final answer is X. I hope it is correct.`"""
    for line in text.split("\n"):
        said, hope = line.find(FINAL), line.find(HOPE)
        if 0 <= said < hope:
            return line[said + len(FINAL) : hope - 1].strip()
    return None


def last_formula(text: str, _: Sample) -> str | None:
    r"""What is in the last `$...$`, `\(...\)`, `$$...$$` or `\[...\]`."""
    spans = [span for span in (_dollars(text), _between(text, "\\(", "\\)"), _between(text, "\\[", "\\]")) if span]
    if not spans:
        return None
    start, end = max(spans)
    return text[start:end].strip() or None


def _dollars(text: str) -> tuple[int, int] | None:
    marks = list(DOLLAR.finditer(text))
    return (marks[-2].end(), marks[-1].start()) if len(marks) > 1 else None


def _between(text: str, opening: str, closing: str) -> tuple[int, int] | None:
    end = text.rfind(closing)
    start = text.rfind(opening, 0, end) if end > 0 else -1
    return (start + len(opening), end) if start >= 0 else None


def skip_thinking(extract: Extractor) -> Extractor:
    """The same of what stands after the thinking, where a box is no answer yet; None if that never ended."""

    def extract_spoken(text: str, sample: Sample) -> str | None:
        said = after_thinking(text)
        return None if said is None else extract(said, sample)

    return extract_spoken


def adjacent_boxes(text: str, _: Sample) -> str | None:
    r"""`\boxed{1}` and `\boxed{-2}`: all of the last boxes, where only a conjunction stands between them."""
    runs = list(BOXES.finditer(text))
    if not runs or "boxed" in text[runs[-1].end() :]:
        return None
    found = dict.fromkeys(part.strip() for part in BOX.findall(runs[-1].group()))
    return ", ".join(found)


def bare_answer(text: str, sample: Sample) -> str | None:
    """A text that is nothing but an answer, in one short line, or whose last line is nothing but bold."""
    line = last_line(text, sample) or ""
    bold = BOLD.fullmatch(line)
    alone = line == text.strip() and 0 < len(line) <= SHORT and len(WORD.findall(line)) < 3
    return bold[1] if bold else line if alone else None


# Wherever a solution says it: in a box, else in a closing sentence, else as its last formula.
math_answer = skip_thinking(first_of(adjacent_boxes, boxed, minerva, the_answer_is, last_formula, bare_answer))
boxed_number = skip_thinking(first_of(boxed, after_hashes, the_answer_is, last_number))
