"""Asks lm-eval for the prompts of the benchmarks that are answered in words, for the rows of tests/prompts/words.json.

By hand, with a Python that has lm-eval 0.4.13, and no network: `python tests/bench/word_prompts.py [FOLDER]`. It writes
what lm-eval would send beside the rows; tests/test_word_tasks.py holds our prompts against it, byte for byte. FOLDER:
with bbh/TASK.json; of the prompts of its first questions, which are not ours to keep, the sha256 is written.
It also judges the answers of tests/scorers as lm-eval does, and fails where a label is another.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
VERSION = importlib.metadata.version
importlib.metadata.version = lambda name: "4.11" if name.startswith("antlr4") else VERSION(name)
for absent in ("antlr4", "sympy", "sympy.parsing", "sympy.parsing.latex", "math_verify"):
    sys.modules.setdefault(absent, ModuleType(absent))
vars(sys.modules["sympy.parsing.latex"]).setdefault("parse_latex", None)
for name in ("parse", "verify"):
    vars(sys.modules["math_verify"]).setdefault(name, None)

import lm_eval  # noqa: E402
import yaml  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

TESTS = Path(__file__).parents[1]
PROMPTS = TESTS / "prompts" / "words.json"
TASKS = Path(lm_eval.__file__).parent / "tasks"
PLACES = {
    "gsm8k": "gsm8k/gsm8k.yaml",
    "gsm8k_cot": "gsm8k/gsm8k-cot.yaml",
    "math_algebra": "minerva_math/minerva_math_algebra.yaml",
    "math_num_theory": "minerva_math/minerva_math_num_theory.yaml",
    "trivia_qa": "triviaqa/default.yaml",
    "bbh_cot_fewshot_navigate": "bbh/cot_fewshot/navigate.yaml",
}
FIXED = {"bbh_cot_fewshot_navigate": 3, "gsm8k_cot": 8, "math_algebra": 4, "math_num_theory": 4}
# (task, which of its filters) that the cases of a file of tests/scorers are judged by.
HELD = {
    "gsm8k": ("gsm8k", 0),
    "gsm8k_flexible": ("gsm8k", 1),
    "gsm8k_cot": ("gsm8k_cot", 0),
    "bbh_strict": ("bbh_cot_fewshot_navigate", 0),
    "aliases": ("trivia_qa", 0),
}


def expected(rows: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for task, place in PLACES.items():
        docs, shots = rows[task]["docs"], rows[task]["shots"]
        most = FIXED.get(task, 5)
        for count in sorted({0, 1, most}):
            yield from asked(task, loaded(place, docs, shots), count)


def asked(name: str, task: Any, count: int) -> Iterator[dict[str, Any]]:
    task.set_config("num_fewshot", count)
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    for instance in task.instances:
        context, settings = instance.args
        told = {"task": name, "shots": count, "doc_id": instance.doc_id, "context": context}
        yield {**told, "stop": settings["until"], "target": task.doc_to_target(instance.doc)}


def loaded(place: str, docs: list[Any], shots: list[Any]) -> Any:
    """lm-eval's own task on our rows: its file, but for where the data are."""
    official = load(TASKS / place)
    asked_split = official.get("test_split") or official["validation_split"]
    with tempfile.TemporaryDirectory() as folder:
        others = [official.get(key) for key in ("fewshot_split", "training_split")]
        files = {split: f"{folder}/{split}.json" for split in (asked_split, *others) if split}
        for split, file in files.items():
            Path(file).write_text(json.dumps(docs if split == asked_split or not shots else shots))
        changed = {"include": str(TASKS / place), "task": "local", "dataset_path": "json", "dataset_name": None}
        changed |= {"dataset_kwargs": {"data_files": files}}
        if "bbh" in place and shots:
            changed["fewshot_config"] = {"sampler": "first_n", "samples": shots}
        Path(folder, "local.yaml").write_text(yaml.safe_dump(changed))
        return TaskManager(include_path=folder, include_defaults=False).load(["local"])["tasks"]["local"]


def load(file: Path) -> dict[str, Any]:
    """A task's file with those that it includes, functions left out."""
    yaml.SafeLoader.add_constructor("!function", lambda *_: None)
    own: dict[str, Any] = yaml.safe_load(file.read_text())
    return {**load(file.parent / own["include"]), **own} if "include" in own else own


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Of the first question of each task of BIG-Bench Hard, with lm-eval's own examples."""
    for file in sorted(folder.glob("bbh/*.json")):
        docs = json.loads(file.read_text("utf-8"))["examples"][:1]
        task = loaded(f"bbh/cot_fewshot/{file.stem}.yaml", docs, [])
        (only,) = asked(file.stem, task, 3)
        yield file.stem, hashlib.sha256(only["context"].encode()).hexdigest()


def descriptions() -> dict[str, str]:
    found = map(load, sorted((TASKS / "bbh" / "cot_fewshot").glob("[a-z]*.yaml")))
    return {each["task"]: each["description"] for each in found}


def judged() -> int:
    """How many labelled answers lm-eval judges as they are labelled."""
    rows, count = json.loads(PROMPTS.read_text("utf-8"))["rows"], 0
    for name, (owner, number) in HELD.items():
        task = loaded(PLACES[owner], rows[owner]["docs"], rows[owner]["shots"])
        chosen = task._filters[number]
        for line in (TESTS / "scorers" / f"{name}.jsonl").read_text("utf-8").splitlines():
            case = json.loads(line)
            doc = {**rows[owner]["docs"][0], **right(owner, case)}
            found = [case["answer"]]
            for step in chosen.filters:
                found = next(iter(step().apply([found], [doc]))) if isinstance(found, list) else found
            got = bool(task.process_results(doc, [found])["exact_match"])
            assert got == case["right"], (name, case, found, got)
            count += 1
    return count


def right(owner: str, case: dict[str, Any]) -> dict[str, Any]:
    """The field of a row that says what is right."""
    if owner == "trivia_qa":
        return {"answer": {"aliases": case["answers"], "value": case["target"]}}
    return {"target" if owner.startswith("bbh") else "answer": case["target"]}


if __name__ == "__main__":
    kept = json.loads(PROMPTS.read_text("utf-8"))
    kept["expected"] = list(expected(kept["rows"]))
    kept["descriptions"] = descriptions()
    if sys.argv[1:]:
        kept["sha256"] = dict(digests(Path(sys.argv[1])))
    PROMPTS.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(f"{len(kept['expected'])} prompts of lm-eval {lm_eval.__version__}, {judged()} answers judged alike")
