"""Asks lm-eval for the prompts of the benchmarks of choices, for the made-up rows of tests/prompts/choices.json.

By hand, with a Python that has lm-eval 0.4.13, and no network: `python tests/bench/choice_prompts.py`. It writes what
lm-eval would send beside the rows; tests/test_choice_tasks.py holds our prompts against it, byte for byte.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

PROMPTS = Path(__file__).parents[1] / "prompts" / "choices.json"
TASKS = Path(lm_eval.__file__).parent / "tasks"
MMLU = ("mmlu_anatomy", "mmlu_high_school_us_history")
OTHERS = {
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "race": "race/race.yaml",
    **{name: f"truthfulqa/{name}.yaml" for name in ("truthfulqa_mc1", "truthfulqa_mc2", "truthfulqa_gen")},
    **{name: f"ceval/{name}.yaml" for name in ("ceval-valid_accountant", "ceval-valid_high_school_physics")},
    "gpqa_diamond": "gpqa/zeroshot/gpqa_diamond_zeroshot.yaml",
}
# (our task, our mode, lm-eval's file).
PLACES = [
    *((name, "loglikelihood", f"mmlu/default/{name}.yaml") for name in MMLU),
    *((name, "generation", f"mmlu/generative/{name}.yaml") for name in MMLU),
    *((name, "generation" if name.endswith("_gen") else "loglikelihood", place) for name, place in OTHERS.items()),
    ("gpqa_diamond", "generation", "gpqa/cot_zeroshot/gpqa_diamond_cot_zeroshot.yaml"),
]
EXTRA = {"choice1", "choice2", "choice3", "choice4", "choices", "answer", "order"}


def expected(rows: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, mode, place in PLACES:
        docs, shots = rows[name]["docs"], rows[name]["shots"]
        for count in sorted({0, min(len(shots), 3), min(len(shots), 5)}):
            with patch("random.shuffle", known_order(docs) if name == "gpqa_diamond" else random.shuffle):
                task = loaded(name, place, docs, shots)
            task.set_config("num_fewshot", count)
            task.set_fewshot_seed(1234)
            task.build_all_requests()
            for doc_id in range(len(docs)):
                asked = [instance for instance in task.instances if instance.doc_id == doc_id]
                yield told(name, mode, count, doc_id, asked)


def told(name: str, mode: str, count: int, doc_id: int, asked: list[Any]) -> dict[str, Any]:
    contexts = {instance.args[0] for instance in asked}
    assert len(contexts) == 1
    after = [instance.args[1] for instance in asked]
    more = {"stop": after[0]["until"]} if mode == "generation" else {"continuations": after}
    return {"task": name, "mode": mode, "shots": count, "doc_id": doc_id, "context": contexts.pop(), **more}


def loaded(name: str, place: str, docs: list[Any], shots: list[Any]) -> Any:
    """lm-eval's own task on our rows: its file, but for where the data are."""
    asked, *others = splits(load(TASKS / place))
    with tempfile.TemporaryDirectory() as folder:
        files = {split: f"{folder}/{split}.json" for split in (asked, *others)}
        for split, file in files.items():
            rows = docs if split == asked or not shots else shots
            Path(file).write_text(json.dumps([bare(name, row) for row in rows]))
        changed = {"include": str(TASKS / place), "task": f"{name}_local", "dataset_path": "json", "dataset_name": None}
        changed["dataset_kwargs"] = {"data_files": files}
        Path(folder, "local.yaml").write_text(yaml.safe_dump(changed))
        found = TaskManager(include_path=folder, include_defaults=False).load([f"{name}_local"])
        return found["tasks"][f"{name}_local"]


def load(file: Path) -> dict[str, Any]:
    """A task's file with those that it includes, functions left out."""
    yaml.SafeLoader.add_constructor("!function", lambda *_: None)
    own: dict[str, Any] = yaml.safe_load(file.read_text())
    return {**load(file.parent / own["include"]), **own} if "include" in own else own


def splits(official: dict[str, Any]) -> list[str]:
    """That of the questions, and those that the task would have beside it."""
    keys = ("test_split", "validation_split", "fewshot_split", "training_split")
    return list(dict.fromkeys(official[key] for key in keys if official.get(key)))


def bare(name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if name != "gpqa_diamond" or key not in EXTRA}


def known_order(docs: list[Any]) -> Any:
    """A shuffle that gives the order that our rows have."""
    orders = {frozenset(doc["choices"]): doc["choices"] for doc in docs}

    def shuffle(choices: list[str]) -> None:
        choices[:] = orders[frozenset(choices)]

    return shuffle


def descriptions() -> dict[str, str]:
    """What each subject's questions begin with."""
    files = [*(TASKS / "mmlu" / "default").glob("mmlu_*.yaml"), *(TASKS / "ceval").glob("ceval-valid_*.yaml")]
    generative = {file.stem: load(file)["description"] for file in (TASKS / "mmlu" / "generative").glob("mmlu_*.yaml")}
    found = {load(file)["task"]: load(file)["description"] for file in sorted(files)}
    assert generative.items() <= found.items()
    return found


if __name__ == "__main__":
    kept = json.loads(PROMPTS.read_text("utf-8"))
    kept["expected"] = list(expected(kept["rows"]))
    kept["descriptions"] = descriptions()
    PROMPTS.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(
        len(kept["expected"]), "prompts and", len(kept["descriptions"]), "descriptions of lm-eval", lm_eval.__version__
    )
