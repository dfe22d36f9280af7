"""What multiple-choice benchmarks share: choices shown with letters, as a chat model is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from loadstone.scorers.letter import LETTERS, letter_among, score_letter
from loadstone.tasks.spec import Doc, Filter, Generation

# From a row to the texts of its choices, in the order in which they are shown.
Choices = Callable[[Doc], Sequence[str]]
# Text before the question that asks a chat model for the form of its answer.
INSTRUCTION = "The following are multiple choice questions. Answer each with the letter of the right choice.\n\n"
# Most tokens of a response: enough for a model that reasons before it chooses.
MAX_TOKENS = 1024


def list_options(options: Sequence[str]) -> str:
    """Return the options with letters, one on each line: `A. Paris`."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def letter_filter(options: Choices, name: str = "letter") -> Filter:
    """Return a filter that reads the letter of one of the options out of a response in any form."""
    return Filter(name, letter_among(lambda sample: options(sample.doc)), score_letter)


def lettered_generation(
    task: str,
    stem: Callable[[Doc], str],
    options: Choices,
    gold: Callable[[Doc], int],
    stop: Sequence[str] = ("\n\nQuestion:",),
) -> Generation:
    """Return how to ask a model in words what lm-eval measures by the likelihoods of the choices.

    This is another test than lm-eval's, as the name of the template says.

    stem: the question of a row, without its choices.
    gold: index of the right one of the row's options.
    """
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
    """Return an order of `count` choices that depends only on `text`, the question.

    It is the same on every machine and in every run. Over many questions each order is equally likely.
    """
    return sorted(range(count), key=lambda number: sha256(f"{number}\n{text}".encode()).digest())
