"""Recorded questions and answers, and which of them are answered wrongly, cut short, not at all: `--answers`. Pure.

The shares are exact: of N different questions, seeded and in no order of asking, so many rows are chosen as the share
comes to, rounded half up; what was planted is known before the first request. What is sent is `recall`'s business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.errors import UsageError

# What may become of a row instead of `right`, in the order in which they are dealt out.
KINDS = ("wrong", "truncated", "unparsable", "empty", "failing")
# Neither a number in it nor a letter by itself.
UNPARSABLE_TEXT = "This cannot be told from what is given."
TRUNCATED_TEXT = "Let us think about this step by step,"
# Characters by which a question is looked up in a prompt.
ANCHOR_LENGTH = 24
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LETTER = re.compile(r"(?<![A-Za-z0-9])[A-J](?![A-Za-z0-9])")


class RecordedAnswer(Struct, kw_only=True):
    """A question with what is answered: `answers` in turn, one a request. `kind`: as planted."""

    id: str
    question: str
    answers: list[str]
    wrong: str | None = None
    kind: str = "right"

    def text(self, turn: int) -> tuple[str, str]:
        """The answer to request `turn` of this row, from 0, and its finish reason."""
        answer = self.answers[turn % len(self.answers)]
        if self.kind == "truncated":
            return truncate_answer(answer), "length"
        texts = {"wrong": self.wrong_answer(answer), "unparsable": UNPARSABLE_TEXT, "empty": ""}
        return texts.get(self.kind, answer), "stop"

    def wrong_answer(self, answer: str) -> str:
        """The row's own wrong answer, else one made of the right one."""
        return self.wrong if self.wrong is not None else make_wrong(answer)


def make_wrong(answer: str) -> str:
    """Another answer of the same form: the next letter where it is or ends with a letter by itself, the number and 1
    where it has one."""
    letters, numbers = list(_LETTER.finditer(answer)), list(_NUMBER.finditer(answer))
    if letters and not re.search(r"[A-Za-z0-9]", answer[letters[-1].end() :]):
        place, other = letters[-1], "B" if letters[-1][0] == "A" else "A"
    elif numbers:
        place, other = numbers[-1], _next(numbers[-1][0])
    else:
        return "something else"
    return answer[: place.start()] + other + answer[place.end() :]


def _next(number: str) -> str:
    """`1,234` becomes `1,235`, `2.50` becomes `3.50`."""
    whole, point, rest = number.replace(",", "").partition(".")
    value = int(whole) + 1
    return (f"{value:,}" if "," in number else str(value)) + point + rest


def truncate_answer(answer: str) -> str:
    """What stands before the final answer's first mention, so that it cannot be found in it; of text without any, the
    first half."""
    finals = list(_NUMBER.finditer(answer)) or list(_LETTER.finditer(answer))
    if finals:
        first = re.search(rf"(?<![\w.]){re.escape(finals[-1][0])}(?![\w])", answer)
        cut = first.start() if first else finals[-1].start()
    else:
        cut = len(answer) // 2
    return answer[:cut].rstrip() or TRUNCATED_TEXT


class RecordedAnswers:
    """The rows by what they ask. Rows that ask the same are one: the server could not tell them apart. `by_id`: of each
    row's id, the row that stands for it."""

    def __init__(self, rows: Iterable[RecordedAnswer]) -> None:
        self._rows: dict[str, RecordedAnswer] = {}
        self.by_id: dict[str, RecordedAnswer] = {}
        for row in rows:
            self.by_id[row.id] = self._rows.setdefault(row.question, row)
        self._size = min(ANCHOR_LENGTH, min(map(len, self._rows), default=1))
        self._longest = max(map(len, self._rows), default=0)
        self._anchors: dict[str, list[str]] = {}
        for question in self._rows:
            self._anchors.setdefault(question[: self._size], []).append(question)

    @property
    def rows(self) -> list[RecordedAnswer]:
        """Those with questions of their own."""
        return list(self._rows.values())

    def find(self, prompt: str) -> RecordedAnswer | None:
        """The row whose question ends last in the prompt, and of several the longest: worked examples stand before."""
        found, end = "", -1
        for begin in range(len(prompt) - self._size, -1, -1):
            if begin + self._longest < end:
                break
            for question in self._anchors.get(prompt[begin : begin + self._size], ()):
                if (begin + len(question), len(question)) > (end, len(found)) and prompt.startswith(question, begin):
                    found, end = question, begin + len(question)
        return self._rows.get(found)

    def assign_kinds(self, fractions: Mapping[str, float], seed: int) -> None:
        """Choose the rows of each kind. A share is 0 to 1; a whole number above 1 is that many rows. Raises
        UsageError."""
        rows, at = self.rows, 0
        Random(f"{seed}/answers").shuffle(rows)
        for kind in KINDS:
            count = _count(kind, fractions.get(kind, 0.0), len(rows))
            for row in rows[at : at + count]:
                row.kind = kind
            at += count
        if at > len(rows):
            raise UsageError(f"the shares of --answer-... come to {at} rows of {len(rows)}: give less of them")

    def kinds_jsonl(self) -> Iterator[bytes]:
        """The truth, a JSON line for each row of the file."""
        for name, row in self.by_id.items():
            yield msgspec.json.encode({"id": name, "kind": row.kind}) + b"\n"


def _count(kind: str, share: float, rows: int) -> int:
    if share > 1 and share == int(share):
        return int(share)
    if not 0 <= share <= 1:
        raise UsageError(f"--answer-{kind} takes a share from 0 to 1, or a whole number of rows, not {share:g}")
    return math.floor(share * rows + 0.5)


def parse(lines: Iterable[bytes], name: str) -> RecordedAnswers:
    """The rows of a JSONL file: `prompt`, `messages` or `question`; `answer`, a text or a list; if wanted `wrong`
    and `id`. Raises UsageError."""
    return RecordedAnswers([_row(line, number, name) for number, line in enumerate(lines, 1) if line.strip()])


def _row(line: bytes, number: int, name: str) -> RecordedAnswer:
    try:
        fields = msgspec.json.decode(line)
        answers = fields["answer"]
        texts = [str(answer) for answer in (answers if isinstance(answers, list) else [answers])]
        question, wrong = _question(fields), fields.get("wrong")
        if not texts or not question:
            raise KeyError("answer" if question else "question")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as exc:
        form = '{"question": ..., "answer": ...}, where prompt or messages may stand for the question'
        raise UsageError(f"{name}, line {number} is no recorded answer: write {form}") from exc
    own = fields.get("id")
    return RecordedAnswer(
        id=str(number - 1 if own is None else own),
        question=question,
        answers=texts,
        wrong=None if wrong is None else str(wrong),
    )


def _question(fields: Mapping[str, Any]) -> str:
    """What is looked for in prompts: of messages, the user's last."""
    if "messages" in fields:
        said = [message["content"] for message in fields["messages"] if message.get("role") == "user"]
        return str(said[-1]).strip() if said else ""
    return str(fields["prompt"] if "prompt" in fields else fields["question"]).strip()
