"""All 164 reference answers of HumanEval through the sandbox, as a completion and as a chat would write them.

By hand: `python tests/bench/humaneval.py [HumanEval.jsonl.gz]`. Exit status 1 where one does not pass, or where an
answer that does nothing does.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import time
from pathlib import Path

from loadstone.evals.scoring import sandbox
from loadstone.samples import Question, Sample
from loadstone.scorers import code
from loadstone.tasks import humaneval

FILE = Path(__file__).resolve().parents[3] / "shared/data/humaneval/HumanEval.jsonl.gz"
FORMS = {
    "body": lambda doc: doc["canonical_solution"],
    "body in a fence": lambda doc: f"Here you go:\n```python\n{doc['canonical_solution']}```\nDone.",
    "whole in a fence": lambda doc: f"Sure.\n```python\n{doc['prompt']}{doc['canonical_solution']}```\nIt works.",
    "whole, no fence": lambda doc: doc["prompt"] + doc["canonical_solution"],
    "nothing done": lambda doc: "```python\n    pass\n```",
}


def main() -> int:
    path = Path(sys.argv[1]) if sys.argv[1:] else FILE
    docs = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    items = [
        Sample(task="humaneval", doc_id=n, doc=doc, target=humaneval.target(doc), ask=Question(query=doc["prompt"]))
        for n, doc in enumerate(docs)
    ]
    print(f"{len(items)} items; {sandbox.containment()}")
    completed = [code.complete_prompt(item.doc["canonical_solution"], item) for item in items]
    good = report("canonical, completed", completed) == len(items)
    for name, form in FORMS.items():
        found = [code.extract_program(form(item.doc), item) for item in items]
        passed = report(f"chat: {name}", [program for program in found if program])
        good &= passed == (0 if name == "nothing done" else len(items))
    return 0 if good else 1


def report(name: str, programs: list[str]) -> int:
    began = time.monotonic()
    verdicts = list(sandbox.run_all(programs))
    took, each = time.monotonic() - began, [verdict.seconds for verdict in verdicts]
    passed = sum(verdict.passed for verdict in verdicts)
    print(f"{name:24} {passed}/{len(programs)} passed in {took:.1f} s; median {statistics.median(each) * 1e3:.0f} ms")
    for number, verdict in enumerate(verdicts):
        if not verdict.passed and "nothing" not in name and number < 10:
            print("   ", number, verdict)
    return passed


if __name__ == "__main__":
    sys.exit(main())
