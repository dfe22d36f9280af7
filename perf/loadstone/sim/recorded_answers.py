"""Recorded questions and answers, and the kind of each answer (right, wrong, truncated, ...): `--answers`. Pure.

The fractions are exact: of N different questions, a seeded draw chooses N times the fraction, rounded half up. The
kinds are known before the first request. answer_lookup.py decides what is sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random

import msgspec
from msgspec import Struct

from loadstone.errors import ConfigError, DataError

# Kinds of a row other than `right`, in the order in which they are assigned.
KINDS = ("wrong", "truncated", "unparsable", "empty", "failing")
# A text without a number and without a single letter, so that no answer can be found in it.
UNPARSABLE_TEXT = "This cannot be told from what is given."
TRUNCATED_TEXT = "Let us think about this step by step,"
# Characters by which a question is looked up in a prompt.
ANCHOR_LENGTH = 24
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LETTER = re.compile(r"(?<![A-Za-z0-9])[A-J](?![A-Za-z0-9])")


class RecordedAnswer(Struct, kw_only=True):
    """A question and its answers.

    answers: used in turn, one per request.
    wrong: the answer of the kind `wrong`, None to derive one.
    kind: `right` or one of KINDS.
    """

    id: str
    question: str
    answers: list[str]
    wrong: str | None = None
    kind: str = "right"

    def text(self, turn: int) -> tuple[str, str]:
        """Return the answer to request `turn` of this row, from 0, and its finish reason."""
        answer = self.answers[turn % len(self.answers)]
        if self.kind == "truncated":
            return truncate_answer(answer), "length"
        texts = {"wrong": self.wrong_answer(answer), "unparsable": UNPARSABLE_TEXT, "empty": ""}
        return texts.get(self.kind, answer), "stop"

    def wrong_answer(self, answer: str) -> str:
        """Return the row's own wrong answer, or one derived from the right one."""
        return self.wrong if self.wrong is not None else make_wrong(answer)


def make_wrong(answer: str) -> str:
    """Return a wrong answer of the same form.

    A single letter at the end is replaced by another, else the last number by the next one.
    """
    letters, numbers = list(_LETTER.finditer(answer)), list(_NUMBER.finditer(answer))
    if letters and not re.search(r"[A-Za-z0-9]", answer[letters[-1].end() :]):
        final = letters[-1]
        other = "B" if final[0] == "A" else "A"
    elif numbers:
        # The next number: `1,234` becomes `1,235`, `2.50` becomes `3.50`.
        final = numbers[-1]
        whole, point, rest = final[0].replace(",", "").partition(".")
        value = int(whole) + 1
        other = (f"{value:,}" if "," in final[0] else str(value)) + point + rest
    else:
        return "something else"
    return answer[: final.start()] + other + answer[final.end() :]


def truncate_answer(answer: str) -> str:
    """Return the text before the first mention of the final answer, or the first half if there is none."""
    finals = list(_NUMBER.finditer(answer)) or list(_LETTER.finditer(answer))
    # A mention may come long before the end, so that the cut is at the first one.
    if finals:
        first = re.search(rf"(?<![\w.]){re.escape(finals[-1][0])}(?![\w])", answer)
        cut = first.start() if first else finals[-1].start()
    else:
        cut = len(answer) // 2
    return answer[:cut].rstrip() or TRUNCATED_TEXT


class RecordedAnswers:
    """The rows by question. Rows with the same question count as one, since the server cannot distinguish them.

    by_id: the row that is used for each id.
    """

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
        """Return the rows, one per question."""
        return list(self._rows.values())

    def find(self, prompt: str) -> RecordedAnswer | None:
        """Find the row whose question ends last in the prompt, after all worked examples; of several the longest."""
        found, end = "", -1
        for begin in range(len(prompt) - self._size, -1, -1):
            if begin + self._longest < end:
                break
            for question in self._anchors.get(prompt[begin : begin + self._size], ()):
                if (begin + len(question), len(question)) > (end, len(found)) and prompt.startswith(question, begin):
                    found, end = question, begin + len(question)
        return self._rows.get(found)

    def assign_kinds(self, fractions: Mapping[str, float], seed: int) -> None:
        """Draw the rows of each kind. Raises UsageError.

        fractions: from 0 to 1; a whole number above 1 is a number of rows.
        """
        rows, at = self.rows, 0
        Random(f"{seed}/answers").shuffle(rows)
        for kind in KINDS:
            fraction = fractions.get(kind, 0.0)
            if fraction > 1 and fraction == int(fraction):
                count = int(fraction)
            elif 0 <= fraction <= 1:
                count = math.floor(fraction * len(rows) + 0.5)
            else:
                bounds = "a share from 0 to 1, or a whole number of rows"
                raise ConfigError(f"--answer-{kind} takes {bounds}, not {fraction:g}", field=f"answer_{kind}")
            for row in rows[at : at + count]:
                row.kind = kind
            at += count
        if at > len(rows):
            raise ConfigError(f"the shares of --answer-... come to {at} rows of {len(rows)}: give less of them")

    def kinds_jsonl(self) -> Iterator[bytes]:
        """Yield the kind of each row of the file, as JSON lines."""
        for name, row in self.by_id.items():
            yield msgspec.json.encode({"id": name, "kind": row.kind}) + b"\n"


def parse(lines: Iterable[bytes], name: str) -> RecordedAnswers:
    """Parse the rows of a JSONL file. Raises UsageError.

    A row has `prompt`, `messages` or `question`, then `answer` (a text or a list), and optionally `wrong` and `id`.
    """
    return RecordedAnswers([_row(line, number, name) for number, line in enumerate(lines, 1) if line.strip()])


def _row(line: bytes, number: int, name: str) -> RecordedAnswer:
    """Parse a row. Raises UsageError."""
    try:
        fields = msgspec.json.decode(line)
        answers = fields["answer"]
        texts = [str(answer) for answer in (answers if isinstance(answers, list) else [answers])]
        wrong = fields.get("wrong")
        if "messages" in fields:
            # The question is the user's last message.
            contents = [message["content"] for message in fields["messages"] if message.get("role") == "user"]
            question = str(contents[-1]).strip() if contents else ""
        else:
            question = str(fields["prompt"] if "prompt" in fields else fields["question"]).strip()
        if not texts or not question:
            raise KeyError("answer" if question else "question")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        form = '{"question": ..., "answer": ...}, where prompt or messages may stand for the question'
        raise DataError(f"{name}, line {number} is no recorded answer: write {form}", file=name, line=number) from exc
    own = fields.get("id")
    return RecordedAnswer(
        id=str(number - 1 if own is None else own),
        question=question,
        answers=texts,
        wrong=None if wrong is None else str(wrong),
    )
