"""GPQA Diamond: 198 questions by experts that a web search does not answer.

Scored by likelihoods as lm-eval's `gpqa_diamond_zeroshot`, and by generated answers as its `gpqa_diamond_cot_zeroshot`.
lm-eval shuffles the choices anew in every run; here the order depends on the question only and is in the row.
"""

from __future__ import annotations

import re
from unicodedata import category

from loadstone.samples import Sample
from loadstone.scorers.match import loose_match, regex
from loadstone.tasks.multiple_choice import letter_filter, shuffled_order
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Likelihood, Task

# Fields of the original rows with the choices; the right one is the last.
NAMES = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Correct Answer")
# A letter in brackets: `(B)`.
LETTERED = re.compile(r"\([A-Z]\)")
# A letter after a colon: `Answer: B`.
AFTER_COLON = re.compile(r":\s*([ABCD])")


def clean(text: str | None) -> str:
    """Return a choice without the traces of its source. Source: lm-eval, tasks/gpqa/zeroshot/utils.py."""
    return " " if text is None else text.strip().replace(" [title]", ". ").replace("  ", " ")


def convert_row(doc: Doc) -> Doc:
    """Add the fields that lm-eval adds (`choice1` to `choice4`, `choices`, `answer`), and `order`.

    `order` has for each position the index in NAMES of the choice shown there.
    """
    if "order" in doc:
        return doc
    answers = [clean(doc[name]) for name in NAMES]
    order = shuffled_order(doc["Question"], len(NAMES))
    choices = [answers[number] for number in order]
    numbered = {f"choice{number}": text for number, text in enumerate(choices, 1)}
    answer = f"({'ABCD'[choices.index(answers[-1])]})"
    return {**doc, **numbered, "choices": choices, "answer": answer, "order": order}


def question(doc: Doc) -> str:
    options = "\n".join(f"({letter}) {text}" for letter, text in zip("ABCD", doc["choices"], strict=True))
    return f"What is the correct answer to this question:{doc['Question']}\nChoices:\n{options}"


def normalize(text: str) -> str:
    """Return the text in lower case without punctuation."""
    return "".join(character for character in text.lower() if category(character)[0] != "P")


def flexible(text: str, sample: Sample) -> str | None:
    """Return the last `(B)`, else the last words of a choice, else the last letter after a colon, or None.

    This is lm-eval's filter `multi_choice_regex` with the options of this task.
    """
    lettered: list[str] = LETTERED.findall(text)
    if lettered:
        return lettered[-1]
    letters = {
        normalize(choice.strip()): f"({letter})" for letter, choice in zip("ABCD", sample.doc["choices"], strict=True)
    }
    words: list[str] = re.findall(
        "|".join(re.escape(choice) for choice in sorted(letters, key=len, reverse=True)), normalize(text)
    )
    if words and words[-1]:
        return letters.get(words[-1].strip(), words[-1].strip())
    letters_after_colon = AFTER_COLON.findall(text)
    return f"({letters_after_colon[-1]})" if letters_after_colon else None


GENERATION = Generation(
    template="lm-eval gpqa_diamond_cot_zeroshot",
    filters=(
        letter_filter(lambda doc: doc["choices"]),
        Filter("strict-match", regex(r"(?<=The answer is )(.*)(?=.)"), loose_match),
        Filter("flexible-extract", flexible, loose_match),
    ),
    stop=("</s>",),
    max_tokens=4096,
    settings={"temperature": 0.0},
    query=lambda doc: f"{question(doc)}\nLet's think step by step: ",
)
TASK = Task(
    name="gpqa_diamond",
    title="GPQA Diamond",
    version=2.2,
    source="https://arxiv.org/abs/2311.12022",
    data=Data(
        path="Idavidrein/gpqa",
        config="gpqa_diamond",
        split="train",
        files=("gpqa_diamond.csv", "dataset/gpqa_diamond.csv"),
        convert_row=convert_row,
    ),
    query=lambda doc: f"{question(doc)}\nAnswer:",
    target=lambda doc: doc["answer"],
    choices=lambda _: [f"({letter})" for letter in "ABCD"],
    gold=lambda doc: ["ABCD".index(doc["answer"].strip("()"))],
    max_shots=0,
    generation=GENERATION,
    likelihood=Likelihood(template="lm-eval gpqa_diamond_zeroshot", metrics=("acc", "acc_norm")),
)
BENCHMARK = Benchmark(name="gpqa_diamond", tasks=(TASK,), licence="CC-BY-4.0; do not publish the questions")
