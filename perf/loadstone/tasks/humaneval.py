"""HumanEval: write the body of a Python function from its signature and docstring; the tests of the item decide.

Two tasks have the same 164 rows: `humaneval` continues the prompt, for base models, and `humaneval_instruct` asks in a
chat. `evals/scoring/sandbox.py` runs the programs.
"""

from __future__ import annotations

from loadstone.scorers import code
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task

DATA = Data(
    path="openai/openai_humaneval",
    config="openai_humaneval",
    files=("HumanEval.jsonl.gz", "HumanEval.jsonl"),
)
# The prompt of lm-eval's humaneval_instruct.
CHAT_PROMPT = (
    "Write a solution to the following problem and make sure that it passes the tests:\n```python\n{prompt}\n```\n"
)


def query(doc: Doc) -> str:
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    return f"{doc['test']}\ncheck({doc['entry_point']})"


def chat_query(doc: Doc) -> str:
    return CHAT_PROMPT.format(prompt=doc["prompt"])


def _build_task(name: str, title: str, version: float, generation: Generation) -> Task:
    return Task(
        name=name,
        title=title,
        version=version,
        source="https://arxiv.org/abs/2107.03374",
        data=DATA,
        query=generation.query or query,
        target=target,
        max_shots=0,
        generation=generation,
    )


COMPLETED = Generation(
    template="lm-eval 0.4.13 humaneval",
    filters=(Filter("create_test", code.complete_prompt, code.score_by_execution),),
    headline="pass@1",
    stop=code.STOPS,
    max_tokens=1024,
    settings={"temperature": 0.0},
    code=True,
)
CHATTED = Generation(
    template="lm-eval 0.4.13 humaneval_instruct, without its gen_prefix",
    filters=(Filter("create_test", code.extract_program, code.score_by_execution),),
    headline="pass@1",
    max_tokens=1024,
    settings={"temperature": 0.0},
    query=chat_query,
    code=True,
)
BENCHMARK = Benchmark(
    name="humaneval",
    tasks=(
        _build_task("humaneval", "HumanEval", 1.0, COMPLETED),
        _build_task("humaneval_instruct", "HumanEval, asked in a chat", 4.0, CHATTED),
    ),
    licence="MIT",
)
