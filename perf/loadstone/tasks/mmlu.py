"""MMLU: 57 subjects with four choices, in the four groups of the leaderboards.

Scored by the likelihoods of the letters as lm-eval's `mmlu`, and by generated answers as its `mmlu_generative`, with a
further filter that reads the letter in any form of answer.
"""

from __future__ import annotations

import re
from functools import partial

from loadstone.samples import Sample
from loadstone.scorers.letter import LETTERS
from loadstone.scorers.match import loose_match
from loadstone.tasks.multiple_choice import letter_filter, list_options
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Likelihood, Task

# Subjects by group.
SUBJECTS = {
    "stem": "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science"
    " college_mathematics college_physics computer_security conceptual_physics electrical_engineering"
    " elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science"
    " high_school_mathematics high_school_physics high_school_statistics machine_learning",
    "other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing"
    " medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology",
    "social_sciences": "econometrics high_school_geography high_school_government_and_politics"
    " high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality"
    " professional_psychology public_relations security_studies sociology us_foreign_policy",
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history"
    " international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory"
    " professional_law world_religions",
}
# Column of each group on the leaderboards.
COLUMNS = {"stem": "STEM", "other": "Other", "social_sciences": "SocialScience", "humanities": "Humanities"}
# Columns of the original CSV files, which have no header.
CSV_COLUMNS = ("question", "A", "B", "C", "D", "answer")
# The first line of a text.
FIRST_LINE = re.compile(r"^(.*?)(?=\n|$)")


def convert_row(subject: str, doc: Doc) -> Doc:
    """Convert a line of the original files to the schema of the hub."""
    if "choices" in doc:
        return doc
    choices = [str(doc[letter]) for letter in "ABCD"]
    answer = "ABCD".index(str(doc["answer"]).strip())
    return {"question": doc["question"], "subject": subject, "choices": choices, "answer": answer}


def query(doc: Doc) -> str:
    return f"{doc['question'].strip()}\n{list_options(doc['choices'])}\nAnswer:"


def target(doc: Doc) -> str:
    return LETTERS[int(doc["answer"])]


def first_line(text: str, _: Sample) -> str | None:
    """Return the first line without whitespace around it: lm-eval's filter `get_response`."""
    match = FIRST_LINE.search(text)
    return match[0].strip() if match else None


GENERATION = Generation(
    template="lm-eval mmlu_generative (3)",
    filters=(letter_filter(lambda doc: doc["choices"]), Filter("get_response", first_line, loose_match)),
    stop=("</s>", "\n"),
)


def build_task(subject: str) -> Task:
    words = subject.replace("_", " ")
    return Task(
        name=f"mmlu_{subject}",
        title=f"MMLU, {words}",
        version=1.0,
        source="https://arxiv.org/abs/2009.03300",
        data=Data(
            path="cais/mmlu",
            config=subject,
            shots_split="dev",
            files=(f"data/test/{subject}_test.csv", f"test/{subject}_test.csv"),
            shots_files=(f"data/dev/{subject}_dev.csv", f"dev/{subject}_dev.csv"),
            columns=CSV_COLUMNS,
            convert_row=partial(convert_row, subject),
        ),
        query=query,
        target=target,
        choices=lambda _: list("ABCD"),
        gold=lambda doc: [int(doc["answer"])],
        description=f"The following are multiple choice questions (with answers) about {words}.\n\n",
        shots=5,
        max_shots=5,
        generation=GENERATION,
        likelihood=Likelihood(template="lm-eval mmlu", metrics=("acc",), letters=True),
        default="loglikelihood",
    )


def build_group(name: str) -> Group:
    tasks = tuple(f"mmlu_{subject}" for subject in SUBJECTS[name].split())
    return Group(name=f"mmlu_{name}", title=f"MMLU, {name.replace('_', ' ')}", tasks=tasks, column=COLUMNS[name])


BENCHMARK = Benchmark(
    name="mmlu",
    tasks=tuple(build_task(subject) for subjects in SUBJECTS.values() for subject in subjects.split()),
    groups=(
        Group(name="mmlu", title="MMLU", tasks=tuple(f"mmlu_{name}" for name in SUBJECTS)),
        *map(build_group, SUBJECTS),
    ),
    licence="MIT",
)
