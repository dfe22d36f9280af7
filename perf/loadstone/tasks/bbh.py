"""BIG-Bench Hard: 27 tasks that need several steps. Suzgun et al. 2022, https://arxiv.org/abs/2210.09261.

Prompts are those of lm-eval's `bbh_cot_fewshot`. The three worked examples of a task come from the benchmark's
`cot-prompts`, from a file next to the data: `TASK.cot.txt` or `cot-prompts/TASK.txt`.
"""

from __future__ import annotations

import re

from loadstone.scorers.base import Extractor
from loadstone.scorers.bbh import bbh_strict, brackets, last_integer, one_of, option, ordered_words, score_bbh
from loadstone.scorers.match import strict_match
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Task

# What follows a question: it makes the model reason step by step.
THINK = "\nA: Let's think step by step.\n"
# A worked example in a file of `cot-prompts`, up to the blank line before the next one.
EXAMPLE = re.compile(r"^Q: (.*?)\nA: Let's think step by step\.\s*(.*?)(?=\n\s*\nQ: |\Z)", re.DOTALL | re.MULTILINE)
# Descriptions that several tasks share, or that are long.
DEDUCE = "A logical deduction task which requires deducing the order of a sequence of objects."
TRACK = (
    "A task requiring determining the final positions of a set of objects given their initial positions and a"
    " description of a sequence of swaps."
)
SNARK = (
    "Determine which of two sentences is sarcastic.\n\nAccording to Cambridge University Dictionary, sarcasm is "
    "\"the use of remarks that clearly mean the opposite of what they say, made in order to hurt someone's feelings or "
    'to criticize something in a humorous way." Sarcastic sentences often contain satirical or ironic utterances, '
    "hyperboles, ambivalent or witty remarks."
)
YES_NO = one_of("Yes", "No")
# By task: the benchmark's description, and the extractor for the form of its answers.
TASKS: dict[str, tuple[str, Extractor]] = {
    "boolean_expressions": ("Evaluate the result of a random Boolean expression.", one_of("True", "False")),
    "causal_judgement": ("Answer questions about causal attribution.", YES_NO),
    "date_understanding": ("Infer the date from context.", option),
    "disambiguation_qa": ("Clarify the meaning of sentences with ambiguous pronouns.", option),
    "dyck_languages": ("Correctly close a Dyck-n word.", brackets),
    "formal_fallacies": (
        "Distinguish deductively valid arguments from formal fallacies.",
        one_of("valid", "invalid"),
    ),
    "geometric_shapes": ("Name geometric shapes from their SVG paths.", option),
    "hyperbaton": ("Order adjectives correctly in English sentences.", option),
    "logical_deduction_five_objects": (DEDUCE, option),
    "logical_deduction_seven_objects": (DEDUCE, option),
    "logical_deduction_three_objects": (DEDUCE, option),
    "movie_recommendation": ("Recommend movies similar to the given list of movies.", option),
    "multistep_arithmetic_two": ("Solve multi-step arithmetic problems.", last_integer),
    "navigate": (
        "Given a series of navigation instructions, determine whether one would end up back at the starting point.",
        YES_NO,
    ),
    "object_counting": (
        "Questions that involve enumerating objects and asking the model to count them.",
        last_integer,
    ),
    "penguins_in_a_table": ("Answer questions about a table of penguins and their attributes.", option),
    "reasoning_about_colored_objects": (
        "Answer extremely simple questions about the colors of objects on a surface.",
        option,
    ),
    "ruin_names": ("Select the humorous edit that 'ruins' the input movie or musical artist name.", option),
    "salient_translation_error_detection": (
        "Detect the type of error in an English translation of a German source sentence.",
        option,
    ),
    "snarks": (SNARK, option),
    "sports_understanding": (
        "Determine whether an artificially constructed sentence relating to sports is plausible or not.",
        one_of("yes", "no"),
    ),
    "temporal_sequences": (
        "Task description: Answer questions about which times certain events could have occurred.",
        option,
    ),
    "tracking_shuffled_objects_five_objects": (TRACK, option),
    "tracking_shuffled_objects_seven_objects": (TRACK, option),
    "tracking_shuffled_objects_three_objects": (TRACK, option),
    "web_of_lies": ("Evaluate a random boolean function expressed as a word problem.", YES_NO),
    "word_sorting": ("Sort a list of words.", ordered_words),
}


def query(doc: Doc) -> str:
    return f"Q: {doc['input']}{THINK}"


def target(doc: Doc) -> str:
    return str(doc["target"])


def examples(text: str) -> list[Doc]:
    """Return the worked examples in a file of `cot-prompts` as rows. Raises ValueError if there are none."""
    rows = [{"input": question, "target": solution.strip()} for question, solution in EXAMPLE.findall(text)]
    if not rows:
        raise ValueError("no example that begins with `Q: ` and thinks step by step")
    return rows


def _build_task(name: str, description: str, flexible: Extractor) -> Task:
    return Task(
        name=f"bbh_cot_fewshot_{name}",
        title=f"BBH, {name.replace('_', ' ')}",
        version=4.0,
        source="https://arxiv.org/abs/2210.09261",
        data=Data(
            path="SaylorTwift/bbh",
            config=name,
            files=(f"{name}.json", f"bbh/{name}.json", f"{name}.jsonl"),
            shots_files=(f"{name}.cot.txt", f"cot-prompts/{name}.txt"),
            rows_field="examples",
            parse_shots=examples,
        ),
        query=query,
        target=target,
        description=f"{description}\n\n",
        target_delimiter="",
        shots=3,
        max_shots=3,
        generation=Generation(
            template="lm-eval bbh_cot_fewshot",
            filters=(Filter("get-answer", bbh_strict, strict_match), Filter("flexible-extract", flexible, score_bbh)),
            stop=("</s>", "Q", "\n\n"),
            max_tokens=1024,
            settings={"temperature": 0.0},
        ),
    )


BENCHMARK = Benchmark(
    name="bbh",
    licence="MIT",
    tasks=tuple(_build_task(name, *rest) for name, rest in TASKS.items()),
    groups=(Group(name="bbh", title="BIG-Bench Hard", tasks=tuple(f"bbh_cot_fewshot_{name}" for name in TASKS)),),
)
