"""RACE: questions on articles, from English examinations of middle and high schools.

`race_middle` and `race_high` ask every question by itself; those on one article are a cluster. `race` is lm-eval's: of
each article of the high schools the last question, after the others with their answers.
"""

from __future__ import annotations

import ast

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Group, Likelihood, Task

BLANK = "  _  ."
STOP = ("\n\nArticle:",)
SOURCE = "https://arxiv.org/abs/1704.04683"


def questions(doc: Doc) -> list[Doc]:
    """From an original file, an article with all of its questions, to a row for each, in the schema of the hub."""
    if "question" in doc:
        return [doc]
    parts = zip(doc["answers"], doc["questions"], doc["options"], strict=True)
    shared = {"example_id": doc["id"], "article": doc["article"]}
    return [{**shared, "answer": answer, "question": asked, "options": options} for answer, asked, options in parts]


def packed(doc: Doc) -> Doc:
    """From an original file to the schema of EleutherAI/race, where the questions are a Python literal."""
    if "problems" in doc:
        return doc
    problems = [{name: row[name] for name in ("question", "answer", "options")} for row in questions(doc)]
    return {"article": doc["article"], "problems": str(problems)}


def gold(doc: Doc) -> int:
    return "ABCD".index(doc["answer"])


def asked(doc: Doc) -> str:
    return f"Article: {doc['article']}\n\nQuestion: {doc['question']}"


def school(name: str) -> Task:
    return Task(
        name=f"race_{name}",
        title=f"RACE, {name} school",
        version=1.0,
        source=SOURCE,
        data=Data(
            path="ehovy/race",
            config=name,
            shots_split="train",
            files=(f"test/{name}/*.txt",),
            shots_files=(f"train/{name}/*.txt",),
            expand_row=questions,
        ),
        query=lambda doc: f"{asked(doc)}\nAnswer:",
        target=lambda doc: doc["options"][gold(doc)],
        choices=lambda doc: list(doc["options"]),
        gold=lambda doc: [gold(doc)],
        cluster=lambda doc: doc["example_id"],
        draw="random",
        generation=lettered_generation(f"race_{name}", asked, lambda doc: doc["options"], gold, STOP),
        likelihood=Likelihood(template=f"loadstone race_{name}", metrics=("acc", "acc_norm")),
        default="loglikelihood",
    )


def problems(doc: Doc) -> list[Doc]:
    """The questions of an article; raises ValueError where they are no Python literal."""
    return list(ast.literal_eval(doc["problems"]))


def last(doc: Doc) -> Doc:
    return problems(doc)[-1]


def before(doc: Doc) -> str:
    """The article, and its other questions with their answers; a sentence with a blank at its end is filled in.

    Source: tasks/race/preprocess_race.py of lm-eval.
    """
    text = f"Article: {doc['article']}\n\n"
    for problem in problems(doc)[:-1]:
        answer = problem["options"][gold(problem)]
        sentence = problem["question"]
        filled = (
            f"{sentence[:-5]}{answer}\n" if sentence.endswith(BLANK) else f"Question: {sentence}\nAnswer: {answer}\n"
        )
        text += filled
    return text


PACKED = Task(
    name="race",
    title="RACE, high school, the last question of each article",
    version=3.0,
    source=SOURCE,
    data=Data(path="EleutherAI/race", config="high", files=("test/high/*.txt",), convert_row=packed),
    query=lambda doc: before(doc) + last(doc)["question"],
    target=lambda doc: last(doc)["options"][gold(last(doc))],
    choices=lambda doc: list(last(doc)["options"][:4]),
    gold=lambda doc: [gold(last(doc))],
    max_shots=0,
    generation=lettered_generation(
        "race",
        lambda doc: f"{before(doc)}Question: {last(doc)['question']}",
        lambda doc: last(doc)["options"],
        lambda doc: gold(last(doc)),
        STOP,
    ),
    likelihood=Likelihood(template="lm-eval race", metrics=("acc",)),
    default="loglikelihood",
)
SCHOOLS = ("middle", "high")
BENCHMARK = Benchmark(
    name="race",
    tasks=(*map(school, SCHOOLS), PACKED),
    groups=(Group(name="race_all", title="RACE", tasks=tuple(f"race_{name}" for name in SCHOOLS)),),
    licence="for research, see the authors' page",
)
