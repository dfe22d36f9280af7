"""Questions of one's own: `qa:FILE`, answered in words, and `mcq:FILE`, answered by choosing, from JSONL or CSV.

Says what a row means; evals/library.py reads the file. Worked examples are the rows whose `split` is `dev`, or those of
FILE_dev beside it.
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

QUESTIONS = ("question", "prompt", "query")
ANSWERS = ("answers", "answer", "target")
CHOICES = ("choices", "options")
CATEGORIES = ("category", "subject", "topic")
LINE = re.compile(r"[^\w.-]+")
Made = Callable[[str, str, Data], Task]


def file_benchmark(kind: str, file: str, categories: Callable[[Data], list[str]] | None = None) -> Benchmark:
    """The file as a task, or where it has several categories, as a group with a task for each."""
    path = os.path.abspath(os.path.expanduser(file))
    name = f"{kind}_{LINE.sub('_', _stem(path))}"
    data = _data(file, path, ROWS[kind])
    whole = KINDS[kind](name, f"{_stem(path)}, {TITLES[kind]}", data)
    found = categories(data) if categories is not None else []
    if len(found) < 2:
        return Benchmark(name=name, tasks=(whole,))
    tasks = tuple(_part(whole, category) for category in found)
    group = Group(name=name, title=whole.title, tasks=tuple(task.name for task in tasks))
    return Benchmark(name=name, tasks=tasks, groups=(group,))


def category(doc: Doc) -> str | None:
    """What a row says that it belongs to."""
    return next((str(doc[name]) for name in CATEGORIES if doc.get(name) not in (None, "")), None)


def _part(whole: Task, wanted: str) -> Task:
    return msgspec.structs.replace(
        whole,
        name=f"{whole.name}_{LINE.sub('_', wanted)}",
        title=f"{whole.title}, {wanted}",
        keep=lambda doc: (category(doc) or NO_CATEGORY) == wanted,
    )


# Category of the rows that name none, where others do.
NO_CATEGORY = "other"


def _data(file: str, path: str, row: Callable[[Doc], Doc]) -> Data:
    name = Path(path)
    first, dot, endings = name.name.partition(".")
    dev = str(name.with_name(f"{first}_dev{dot}{endings}"))
    return Data(
        path=file, files=(path,), shots_split="dev", shots_files=(dev, path), split_column="split", convert_row=row
    )


def _stem(path: str) -> str:
    return Path(path).name.partition(".")[0] or Path(path).name


def question_row(doc: Doc) -> Doc:
    """`question` and `answers`, a list of texts. Raises KeyError or ValueError for a row that has not both."""
    found = _listed(doc[_field(doc, ANSWERS, "answer")])
    if not found or any(isinstance(each, dict | list) or each is None for each in found):
        raise ValueError("its answer is neither a text nor a list of texts")
    return {**doc, "question": _question(doc), "answers": [_text(each) for each in found]}


def choice_row(doc: Doc) -> Doc:
    """`question`, `choices` and `answer`, the number of the right one from 0. Raises KeyError or ValueError.

    An answer is a letter, the text of a choice, or a number: from 0, unless as a text it is one of the choices.
    """
    choices = _choices(doc)
    if not 2 <= len(choices) <= len(LETTERS):
        raise ValueError(f"there are {len(choices)} choices, not 2 to {len(LETTERS)}")
    return {**doc, "question": _question(doc), "choices": choices, "answer": _number(doc, choices)}


def _question(doc: Doc) -> str:
    text = _text(doc[_field(doc, QUESTIONS, "question")]).strip()
    if not text:
        raise ValueError("the question is empty")
    system = doc.get("system")
    return f"{system}\n\n{text}" if system else text


def _field(doc: Doc, names: tuple[str, ...], wanted: str) -> str:
    """The first of the names that the row has. Raises KeyError with the usual one."""
    found = [name for name in names if doc.get(name) not in (None, "")]
    if not found:
        raise KeyError(wanted)
    return found[0]


def _choices(doc: Doc) -> list[str]:
    for name in CHOICES:
        if doc.get(name):
            return [_text(each) for each in _listed(doc[name])]
    columns = []
    for letter in LETTERS:
        if doc.get(letter) in (None, ""):
            break
        columns.append(_text(doc[letter]))
    if not columns:
        raise KeyError("choices")
    return columns


def _number(doc: Doc, choices: list[str]) -> int:
    answer = doc[_field(doc, ("answer", "target", "label"), "answer")]
    if isinstance(answer, int) and not isinstance(answer, bool):
        return _within(answer, choices)
    text = _text(answer).strip()
    letter = text.strip("(). ").upper()
    lettered = [LETTERS.index(letter)] if len(letter) == 1 and letter in LETTERS[: len(choices)] else []
    worded = [number for number, choice in enumerate(choices) if choice.strip() == text]
    if lettered and worded and lettered != worded:
        raise ValueError(f"its answer {text} is a letter and the text of another choice: give the number, from 0")
    if found := lettered or worded:
        return found[0]
    return _within(int(text) if text.isdecimal() else len(choices), choices)


def _within(number: int, choices: list[str]) -> int:
    if not 0 <= number < len(choices):
        raise ValueError(
            f"its answer is none of the {len(choices)} choices: give a letter, a number from 0 or the text"
        )
    return number


def _listed(value: object) -> list[object]:
    """A list as it is, or as JSON in a cell of a CSV file; anything else is one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return [value]
    return list(value) if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _lettered(doc: Doc) -> str:
    return f"{doc['question']}\n{list_options(doc['choices'])}\nAnswer:"


def _words_task(name: str, title: str, data: Data) -> Task:
    spoken = skip_thinking(first_of(the_answer_is, strip_whitespace))
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
            filters=(Filter("flexible", spoken, squad), Filter("strict", strip_whitespace, squad)),
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
        query=_lettered,
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


KINDS: Mapping[str, Made] = {"qa": _words_task, "mcq": _choice_task}
TITLES = {"qa": "own questions", "mcq": "own questions with choices"}
ROWS = {"qa": question_row, "mcq": choice_row}
