"""TriviaQA: trivia questions with all names of the answer, without the documents.

Joshi et al. 2017, https://arxiv.org/abs/1705.03551. The prompt and the stop texts are lm-eval's, which cut a response
at its first full stop or comma.
"""

from __future__ import annotations

from loadstone.scorers.match import aliases, strip_whitespace
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task


def query(doc: Doc) -> str:
    return f"Question: {doc['question']}?\nAnswer:"


def value(doc: Doc) -> str:
    return str(doc["answer"]["value"])


def names(doc: Doc) -> list[str]:
    return list(doc["answer"]["aliases"]) or [value(doc)]


def example(doc: Doc) -> tuple[str, str]:
    return query(doc), names(doc)[0]


def convert_row(doc: Doc) -> Doc:
    """Convert a row of the original files, whose fields are capitalized, to the schema of the hub."""
    if "Question" not in doc:
        return doc
    original = doc["Answer"]
    answer = {
        "value": original["Value"],
        "aliases": original["Aliases"],
        "normalized_aliases": original["NormalizedAliases"],
    }
    return {"question": doc["Question"], "question_id": doc.get("QuestionId"), "answer": answer}


BENCHMARK = Benchmark(
    name="trivia_qa",
    licence="Apache-2.0",
    tasks=(
        Task(
            name="trivia_qa",
            title="TriviaQA without documents",
            version=3.0,
            source="https://arxiv.org/abs/1705.03551",
            data=Data(
                path="mandarjoshi/trivia_qa",
                config="rc.nocontext",
                split="validation",
                shots_split="train",
                files=("validation.jsonl", "wikipedia-dev.json", "web-dev.json", "qa/wikipedia-dev.json"),
                shots_files=("train.jsonl", "wikipedia-train.json", "web-train.json", "qa/wikipedia-train.json"),
                convert_row=convert_row,
                rows_field="Data",
            ),
            query=query,
            target=value,
            answers=names,
            shot=example,
            draw="spare",
            generation=Generation(
                template="lm-eval triviaqa",
                filters=(Filter("remove_whitespace", strip_whitespace, aliases),),
                stop=("\n", ".", ","),
                settings={"temperature": 0.0},
            ),
        ),
    ),
)
