"""Tasks from the user's own questions: `qa:FILE`, answered with text, and `mcq:FILE`, multiple choice.

The files are JSONL or CSV. This module defines what a row means; `evals/data/rows.py` reads the file. Worked examples
are the rows whose `split` is `dev`, or those of the file FILE_dev in the same folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from loadstone.scorers.boxed import skip_thinking
from loadstone.scorers.letter import LETTERS
from loadstone.scorers.match import first_of, squad, strip_whitespace, the_answer_is
from loadstone.tasks.multiple_choice import INSTRUCTION, MAX_TOKENS, letter_filter, list_options
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Likelihood, Task

# Names of the fields of a row; the first that a row has is used.
QUESTIONS = ("question", "prompt", "query")
ANSWERS = ("answers", "answer", "target")
CHOICE_ANSWERS = ("answer", "target", "label")
CHOICES = ("choices", "options")
CATEGORIES = ("category", "subject", "topic")
# Category of the rows without one, in a file with categories.
NO_CATEGORY = "other"
# Characters that the name of a task cannot have: the space of `my questions`.
UNSAFE = re.compile(r"[^\w.-]+")
# (name, title, data) -> task.
TaskBuilder = Callable[[str, str, Data], Task]


def file_benchmark(kind: str, file: str, categories: Callable[[Data], list[str]] | None = None) -> Benchmark:
    """Return a file as a benchmark of one task, or with two or more categories, of a group with a task for each.

    kind: a key of KINDS.
    categories: returns the categories in the file, in order; None to ignore them.
    """
    path = Path(os.path.abspath(os.path.expanduser(file)))
    first, dot, endings = path.name.partition(".")
    stem = first or path.name
    name = f"{kind}_{UNSAFE.sub('_', stem)}"
    examples_file = str(path.with_name(f"{first}_dev{dot}{endings}"))
    data = Data(
        path=file,
        files=(str(path),),
        shots_split="dev",
        shots_files=(examples_file, str(path)),
        split_column="split",
        convert_row=ROWS[kind],
    )
    whole = KINDS[kind](name, f"{stem}, {TITLES[kind]}", data)
    names = categories(data) if categories is not None else []
    if len(names) < 2:
        return Benchmark(name=name, tasks=(whole,))
    tasks = tuple(_category_task(whole, category_name) for category_name in names)
    group = Group(name=name, title=whole.title, tasks=tuple(task.name for task in tasks))
    return Benchmark(name=name, tasks=tasks, groups=(group,))


def _category_task(whole: Task, name: str) -> Task:
    return msgspec.structs.replace(
        whole,
        name=f"{whole.name}_{UNSAFE.sub('_', name)}",
        title=f"{whole.title}, {name}",
        keep=lambda doc: (category(doc) or NO_CATEGORY) == name,
    )


def category(doc: Doc) -> str | None:
    """Return the category of a row, or None."""
    return next((str(doc[name]) for name in CATEGORIES if doc.get(name) not in (None, "")), None)


def question_row(doc: Doc) -> Doc:
    """Return a row of a `qa` file with `question`, and `answers` as a list of texts.

    Raises KeyError or ValueError for a row without one of them.
    """
    answers = _as_list(doc[_first_field(doc, ANSWERS, "answer")])
    if not answers or any(isinstance(answer, dict | list) or answer is None for answer in answers):
        raise ValueError("its answer is neither a text nor a list of texts")
    return {**doc, "question": _question(doc), "answers": [_text(answer) for answer in answers]}


def choice_row(doc: Doc) -> Doc:
    """Return a row of an `mcq` file with `question`, `choices` and `answer`, the index of the right choice from 0.

    The answer in the file is a letter, the text of a choice, or an index from 0. A number as text is an index only if
    no choice has this text. Raises KeyError or ValueError for a row without these fields, or with a wrong answer.
    """
    choices = _choices(doc)
    if not 2 <= len(choices) <= len(LETTERS):
        raise ValueError(f"there are {len(choices)} choices, not 2 to {len(LETTERS)}")
    return {**doc, "question": _question(doc), "choices": choices, "answer": _answer_index(doc, choices)}


def _question(doc: Doc) -> str:
    """Return the question, after the system message of the row if it has one."""
    text = _text(doc[_first_field(doc, QUESTIONS, "question")]).strip()
    if not text:
        raise ValueError("the question is empty")
    system = doc.get("system")
    return f"{system}\n\n{text}" if system else text


def _first_field(doc: Doc, names: tuple[str, ...], usual: str) -> str:
    """Return the first of the names that the row has. Raises KeyError with the usual name."""
    for name in names:
        if doc.get(name) not in (None, ""):
            return name
    raise KeyError(usual)


def _choices(doc: Doc) -> list[str]:
    """Return the choices: a list in one field, or the columns A, B, C ... up to the first empty one."""
    for name in CHOICES:
        if doc.get(name):
            return [_text(choice) for choice in _as_list(doc[name])]
    columns = []
    for letter in LETTERS:
        if doc.get(letter) in (None, ""):
            break
        columns.append(_text(doc[letter]))
    if not columns:
        raise KeyError("choices")
    return columns


def _answer_index(doc: Doc, choices: list[str]) -> int:
    """Return the index of the right choice, see `choice_row`."""
    answer = doc[_first_field(doc, CHOICE_ANSWERS, "answer")]
    if isinstance(answer, int) and not isinstance(answer, bool):
        return _checked_index(answer, choices)
    text = _text(answer).strip()
    letter = text.strip("(). ").upper()
    by_letter = [LETTERS.index(letter)] if len(letter) == 1 and letter in LETTERS[: len(choices)] else []
    by_text = [index for index, choice in enumerate(choices) if choice.strip() == text]
    if by_letter and by_text and by_letter != by_text:
        raise ValueError(f"its answer {text} is a letter and the text of another choice: give the number, from 0")
    if by_letter or by_text:
        return (by_letter or by_text)[0]
    return _checked_index(int(text) if text.isdecimal() else len(choices), choices)


def _checked_index(index: int, choices: list[str]) -> int:
    if not 0 <= index < len(choices):
        raise ValueError(
            f"its answer is none of the {len(choices)} choices: give a letter, a number from 0 or the text"
        )
    return index


def _as_list(value: object) -> list[object]:
    """Return a list as it is, a JSON list in a cell of a CSV file decoded, and any other value as a list of one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return [value]
    return list(value) if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _question_task(name: str, title: str, data: Data) -> Task:
    stated_answer = skip_thinking(first_of(the_answer_is, strip_whitespace))
    return Task(
        name=name,
        title=title,
        version=1.0,
        source="own data",
        data=data,
        query=lambda doc: str(doc["question"]),
        target=lambda doc: str(doc["answers"][0]),
        answers=lambda doc: list(doc["answers"]),
        target_delimiter="\n",
        generation=Generation(
            template="loadstone qa",
            filters=(Filter("flexible", stated_answer, squad), Filter("strict", strip_whitespace, squad)),
            max_tokens=512,
            settings={"temperature": 0.0},
        ),
    )


def _choice_task(name: str, title: str, data: Data) -> Task:
    return Task(
        name=name,
        title=title,
        version=1.0,
        source="own data",
        data=data,
        query=lambda doc: f"{doc['question']}\n{list_options(doc['choices'])}\nAnswer:",
        target=lambda doc: LETTERS[doc["answer"]],
        choices=lambda doc: list(LETTERS[: len(doc["choices"])]),
        gold=lambda doc: [doc["answer"]],
        description="The following are multiple choice questions (with answers).\n\n",
        generation=Generation(
            template="loadstone mcq",
            filters=(letter_filter(lambda doc: doc["choices"]),),
            max_tokens=MAX_TOKENS,
            settings={"temperature": 0.0},
            description=INSTRUCTION,
        ),
        likelihood=Likelihood(template="loadstone mcq (the form of lm-eval mmlu)", metrics=("acc",), letters=True),
    )


# By the kind before the file in `--tasks qa:FILE`: what builds its task, its title, and what converts a row.
KINDS: Mapping[str, TaskBuilder] = {"qa": _question_task, "mcq": _choice_task}
TITLES = {"qa": "own questions", "mcq": "own questions with choices"}
ROWS = {"qa": question_row, "mcq": choice_row}
