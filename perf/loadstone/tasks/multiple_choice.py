"""Questions whose choices stand behind letters, as a chat model is asked them: what benchmarks of choices share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from loadstone.scorers.letter import LETTERS, letter_among, score_letter
from loadstone.tasks.spec import Doc, Filter, Generation

Texts = Callable[[Doc], Sequence[str]]
INSTRUCTION = "The following are multiple choice questions. Answer each with the letter of the right choice.\n\n"
# Room for a model that argues before it chooses.
MAX_TOKENS = 1024


def list_options(options: Sequence[str]) -> str:
    """`A. ...` to the last, a line each."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def letter_filter(options: Texts, name: str = "letter") -> Filter:
    """Reads the letter out of whatever stands around it; `options` gives the texts in the order they were shown."""
    return Filter(name, letter_among(lambda sample: options(sample.doc)), score_letter)


def lettered_generation(
    task: str,
    stem: Callable[[Doc], str],
    options: Texts,
    gold: Callable[[Doc], int],
    stop: Sequence[str] = ("\n\nQuestion:",),
) -> Generation:
    """A task whose choices lm-eval weighs by likelihood, asked as a question with letters: another test than that,
    which the template's name says. `gold`: number of the right one of `options`."""
    return Generation(
        template=f"loadstone {task} lettered, another test",
        filters=(letter_filter(options),),
        stop=tuple(stop),
        max_tokens=MAX_TOKENS,
        settings={"temperature": 0.0},
        query=lambda doc: f"{stem(doc)}\n{list_options(options(doc))}\nAnswer:",
        target=lambda doc: LETTERS[gold(doc)],
        description=INSTRUCTION,
    )


def shuffled_order(text: str, count: int) -> list[int]:
    """An order of `count` choices that only `text`, the question, decides: the same on every machine and in every run,
    and over many questions each as often."""
    return sorted(range(count), key=lambda number: sha256(f"{number}\n{text}".encode()).digest())
