"""GPQA Diamond: 198 questions that experts wrote so that a search does not answer them.

Likelihood as lm-eval's `gpqa_diamond_zeroshot`, answers in words as its `gpqa_diamond_cot_zeroshot`; but there the
order of the choices is another one in every run, here the question decides it, and the doc says which it is.
"""

from __future__ import annotations

import re
from unicodedata import category

from loadstone.samples import Sample
from loadstone.scorers.match import loose_match, regex
from loadstone.tasks.multiple_choice import letter_filter, shuffled_order
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Likelihood, Task

NAMES = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Correct Answer")
LETTERED = re.compile(r"\([A-Z]\)")
AFTER_COLON = re.compile(r":\s*([ABCD])")


def cleaned(text: str | None) -> str:
    """Source: tasks/gpqa/zeroshot/utils.py of lm-eval."""
    return " " if text is None else text.strip().replace(" [title]", ". ").replace("  ", " ")


def row(doc: Doc) -> Doc:
    """With the fields that lm-eval adds (`choice1` to `choice4`, `choices`, `answer`), and `order`: which of the three
    wrong ones and the right one, 0 to 3, stands at each place."""
    if "order" in doc:
        return doc
    answers = [cleaned(doc[name]) for name in NAMES]
    order = shuffled_order(doc["Question"], len(NAMES))
    choices = [answers[number] for number in order]
    numbered = {f"choice{place}": text for place, text in enumerate(choices, 1)}
    answer = f"({'ABCD'[choices.index(answers[-1])]})"
    return {**doc, **numbered, "choices": choices, "answer": answer, "order": order}


def asked(doc: Doc) -> str:
    listed = "\n".join(f"({letter}) {text}" for letter, text in zip("ABCD", doc["choices"], strict=True))
    return f"What is the correct answer to this question:{doc['Question']}\nChoices:\n{listed}"


def simple(text: str) -> str:
    return "".join(sign for sign in text.lower() if category(sign)[0] != "P")


def flexible(text: str, sample: Sample) -> str | None:
    """lm-eval's filter `multi_choice_regex` as this task has it: the last `(B)`, else the last words of a choice, else
    the last letter after a colon."""
    found: list[str] = LETTERED.findall(text)
    if found:
        return found[-1]
    letters = {
        simple(choice.strip()): f"({letter})" for letter, choice in zip("ABCD", sample.doc["choices"], strict=True)
    }
    words: list[str] = re.findall(
        "|".join(re.escape(choice) for choice in sorted(letters, key=len, reverse=True)), simple(text)
    )
    if words and words[-1]:
        return letters.get(words[-1].strip(), words[-1].strip())
    after = AFTER_COLON.findall(text)
    return f"({after[-1]})" if after else None


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
    query=lambda doc: f"{asked(doc)}\nLet's think step by step: ",
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
        convert_row=row,
    ),
    query=lambda doc: f"{asked(doc)}\nAnswer:",
    target=lambda doc: doc["answer"],
    choices=lambda _: [f"({letter})" for letter in "ABCD"],
    gold=lambda doc: ["ABCD".index(doc["answer"].strip("()"))],
    max_shots=0,
    generation=GENERATION,
    likelihood=Likelihood(template="lm-eval gpqa_diamond_zeroshot", metrics=("acc", "acc_norm")),
)
BENCHMARK = Benchmark(name="gpqa_diamond", tasks=(TASK,), licence="CC-BY-4.0; do not publish the questions")
