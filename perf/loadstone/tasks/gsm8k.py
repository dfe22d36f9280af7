"""GSM8K: grade-school word problems whose answer is a number. Cobbe et al. 2021, https://arxiv.org/abs/2110.14168.

`gsm8k` and `gsm8k_cot` are lm-eval's tasks with its two filters. `gsm8k_chat` asks a chat model without examples.
"""

from __future__ import annotations

from loadstone.scorers.boxed import boxed, boxed_number
from loadstone.scorers.number import gsm8k_cot_strict, gsm8k_flexible, gsm8k_strict, score_gsm8k, score_number
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Task

SOURCE = "https://arxiv.org/abs/2110.14168"
DATA = Data(
    path="openai/gsm8k",
    config="main",
    shots_split="train",
    files=("test.jsonl",),
    shots_files=("train.jsonl", "train-first-200.jsonl"),
)
# Texts that end a turn in common chat templates.
ENDS = ("</s>", "<|im_end|>")
# lm-eval's second filter: the last number of the response.
FLEXIBLE = Filter("flexible-extract", gsm8k_flexible, score_gsm8k)
# The worked examples of Wei et al. 2022, https://arxiv.org/abs/2201.11903.
WORKED_EXAMPLES = (
    (
        "There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, "
        "there will be 21 trees. How many trees did the grove workers plant today?",
        "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have "
        "been 21 - 15 = 6. The answer is 6.",
    ),
    (
        "If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?",
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5.",
    ),
    (
        "Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?",
        "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating "
        "35, they had 74 - 35 = 39. The answer is 39.",
    ),
    (
        "Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did "
        "Jason give to Denny?",
        "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = "
        "8. The answer is 8.",
    ),
    (
        "Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he "
        "have now?",
        "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = "
        "9. The answer is 9.",
    ),
    (
        "There were nine computers in the server room. Five more computers were installed each day, from monday "
        "to thursday. How many computers are now in the server room?",
        "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 "
        "computers were added. 9 + 20 is 29. The answer is 29.",
    ),
    (
        "Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many "
        "golf balls did he have at the end of wednesday?",
        "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 "
        "more, he had 35 - 2 = 33 golf balls. The answer is 33.",
    ),
    (
        "Olivia has $23. She bought five bagels for $3 each. How much money does she have left?",
        "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 "
        "dollars left. 23 - 15 is 8. The answer is 8.",
    ),
)


def query(doc: Doc) -> str:
    return f"Question: {doc['question']}\nAnswer:"


def query_cot(doc: Doc) -> str:
    return f"Q: {doc['question']}\nA:"


def query_chat(doc: Doc) -> str:
    return f"{doc['question']}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."


def solution(doc: Doc) -> str:
    return str(doc["answer"])


def result(doc: Doc) -> str:
    """Return the number alone, which follows `####`."""
    return solution(doc).split("####")[-1].strip()


BENCHMARK = Benchmark(
    name="gsm8k",
    licence="MIT",
    tasks=(
        Task(
            name="gsm8k",
            title="GSM8K",
            version=3.0,
            source=SOURCE,
            data=DATA,
            query=query,
            target=solution,
            shots=5,
            draw="random",
            generation=Generation(
                template="lm-eval gsm8k",
                filters=(Filter("strict-match", gsm8k_strict, score_gsm8k), FLEXIBLE),
                stop=("Question:", *ENDS),
                settings={"temperature": 0.0},
            ),
        ),
        Task(
            name="gsm8k_cot",
            title="GSM8K with chain of thought, fixed examples",
            version=3.0,
            source=SOURCE,
            data=DATA,
            query=query_cot,
            target=result,
            shots=8,
            max_shots=8,
            draw="fixed",
            fixed_shots=tuple((query_cot({"question": question}), answer) for question, answer in WORKED_EXAMPLES),
            generation=Generation(
                template="lm-eval gsm8k_cot",
                filters=(Filter("strict-match", gsm8k_cot_strict, score_gsm8k), FLEXIBLE),
                stop=("Q:", *ENDS),
                settings={"temperature": 0.0},
            ),
        ),
        Task(
            name="gsm8k_chat",
            title="GSM8K for chat models, answer in a box",
            version=1.0,
            source=SOURCE,
            data=DATA,
            query=query_chat,
            target=result,
            max_shots=0,
            generation=Generation(
                template="loadstone gsm8k_chat",
                filters=(Filter("flexible-extract", boxed_number, score_number), Filter("boxed", boxed, score_number)),
                max_tokens=4096,
                settings={"temperature": 0.0},
            ),
        ),
    ),
)
