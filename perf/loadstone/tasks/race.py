"""RACE: questions about articles, from English examinations of middle and high schools.

`race_middle` and `race_high` ask each question on its own; the questions about one article are a cluster. `race` is
lm-eval's task: of each high-school article it asks the last question, after the others with their answers.
"""

from __future__ import annotations

import ast

from loadstone.tasks.multiple_choice import lettered_generation
from loadstone.tasks.spec import Benchmark, Data, Doc, Group, Likelihood, Task

# The end of a question that is a sentence to complete.
BLANK = "  _  ."
STOP = ("\n\nArticle:",)
SOURCE = "https://arxiv.org/abs/1704.04683"


def questions(doc: Doc) -> list[Doc]:
    """Return a row for each question of an original file, which has an article with all of its questions.

    The rows have the schema of the hub. A row that has that schema already is returned alone.
    """
    if "question" in doc:
        return [doc]
    items = zip(doc["answers"], doc["questions"], doc["options"], strict=True)
    common = {"example_id": doc["id"], "article": doc["article"]}
    return [{**common, "answer": answer, "question": text, "options": options} for answer, text, options in items]


def pack_questions(doc: Doc) -> Doc:
    """Convert an original file to the schema of EleutherAI/race, where the questions are a Python literal."""
    if "problems" in doc:
        return doc
    problems = [{name: row[name] for name in ("question", "answer", "options")} for row in questions(doc)]
    return {"article": doc["article"], "problems": str(problems)}


def gold(doc: Doc) -> int:
    return "ABCD".index(doc["answer"])


def question(doc: Doc) -> str:
    return f"Article: {doc['article']}\n\nQuestion: {doc['question']}"


def build_task(name: str) -> Task:
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
        query=lambda doc: f"{question(doc)}\nAnswer:",
        target=lambda doc: doc["options"][gold(doc)],
        choices=lambda doc: list(doc["options"]),
        gold=lambda doc: [gold(doc)],
        cluster=lambda doc: doc["example_id"],
        draw="random",
        generation=lettered_generation(f"race_{name}", question, lambda doc: doc["options"], gold, STOP),
        likelihood=Likelihood(template=f"loadstone race_{name}", metrics=("acc", "acc_norm")),
        default="loglikelihood",
    )


def problems(doc: Doc) -> list[Doc]:
    """Return the questions of a row of EleutherAI/race. Raises ValueError if they are no Python literal."""
    return list(ast.literal_eval(doc["problems"]))


def last_problem(doc: Doc) -> Doc:
    return problems(doc)[-1]


def context(doc: Doc) -> str:
    """Return the article and all questions but the last with their answers. A sentence with a blank is completed.

    Source: lm-eval, tasks/race/preprocess_race.py.
    """
    text = f"Article: {doc['article']}\n\n"
    for problem in problems(doc)[:-1]:
        answer = problem["options"][gold(problem)]
        sentence = problem["question"]
        if sentence.endswith(BLANK):
            text += f"{sentence[:-5]}{answer}\n"  # lm-eval keeps the first space of the blank
        else:
            text += f"Question: {sentence}\nAnswer: {answer}\n"
    return text


LAST_QUESTION = Task(
    name="race",
    title="RACE, high school, the last question of each article",
    version=3.0,
    source=SOURCE,
    data=Data(path="EleutherAI/race", config="high", files=("test/high/*.txt",), convert_row=pack_questions),
    query=lambda doc: context(doc) + last_problem(doc)["question"],
    target=lambda doc: last_problem(doc)["options"][gold(last_problem(doc))],
    choices=lambda doc: list(last_problem(doc)["options"][:4]),
    gold=lambda doc: [gold(last_problem(doc))],
    max_shots=0,
    generation=lettered_generation(
        "race",
        lambda doc: f"{context(doc)}Question: {last_problem(doc)['question']}",
        lambda doc: last_problem(doc)["options"],
        lambda doc: gold(last_problem(doc)),
        STOP,
    ),
    likelihood=Likelihood(template="lm-eval race", metrics=("acc",)),
    default="loglikelihood",
)
SCHOOLS = ("middle", "high")
BENCHMARK = Benchmark(
    name="race",
    tasks=(*map(build_task, SCHOOLS), LAST_QUESTION),
    groups=(Group(name="race_all", title="RACE", tasks=tuple(f"race_{name}" for name in SCHOOLS)),),
    licence="for research, see the authors' page",
)
