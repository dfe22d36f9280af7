"""The example of docs/adding-a-task.md: its prompts, its labelled cases, and its commands on a simulated server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loadstone import plugins
from loadstone.evals.data import rows
from loadstone.evals.data.samples import Which, samples
from loadstone.evals.requests import build
from loadstone.samples import Sample
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Task
from support import servers as servers
from support.paths import ROOT

DOCUMENT = (ROOT / "docs" / "adding-a-task.md").read_text("utf-8")
ROWS, CASES = (
    list(map(json.loads, block.splitlines())) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "years.py").write_text(code, "utf-8")
    (tmp_path / "years").mkdir()
    for name, row in zip(("train", "test"), ROWS, strict=True):
        (tmp_path / "years" / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples_of(of: Task, root: str) -> list[Sample]:
    docs, shots = (rows.rows(of.data, root, shots=shots).docs for shots in (False, True))
    return samples(of, "generation", docs, shots, Which())


@pytest.mark.usefixtures("folder")
def test_its_prompt() -> None:
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = samples_of(of, ".")
    question = "In which year was {}? End with `Year: `.\n\nAnswer:"
    before = question.format("the fall of the Berlin Wall") + " Year: 1989\n\n"
    assert build.text(sample.ask) == before + question.format("the first moon landing")
    assert (sample.target, sample.cluster) == ("1969", "science")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_its_cases_score_as_labelled(case: dict[str, Any]) -> None:
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = samples_of(of, ".")
    assert of.generation is not None
    strict, flexible = of.generation.filters
    item = Sample(task="years", doc_id=0, doc={}, target=case["target"], ask=sample.ask)
    extracted = strict.extract(case["answer"], item)
    right = extracted is not None and strict.score(extracted, item)["exact_match"] == 1.0
    assert (extracted, right) == (case["extracted"], case["right"])
    assert flexible.extract("In 1989.", item) == "1989"


@pytest.mark.usefixtures("folder")
def test_its_scorer_by_file_name() -> None:
    near = plugins.find("loadstone.scorers", "years.py:near", {}, "--scorer")
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = samples_of(of, ".")
    assert near("1972", sample) == {"exact_match": 0.0, "nearness": pytest.approx(0.7)}
    assert near("never", sample) == {"exact_match": 0.0, "nearness": 0.0}


def test_its_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line[2:].split()[1:] for line in DOCUMENT.splitlines() if line.startswith("$ loadstone")]
    answers = folder / "answers.jsonl"
    answers.write_text(json.dumps({"question": ROWS[1]["event"], "answer": "Year: 1969"}) + "\n", "utf-8")
    with servers.Sim(answers=str(answers), ttft="0ms", itl="0ms") as sim:
        for words in commands:
            result = servers.loadstone(capsys, *[sim.url if word.startswith("http") else word for word in words])
            assert result.status == 0, result.err
    (results,) = (folder / "years-1").glob("results_*.json")
    metrics = json.loads(results.read_text("utf-8"))["results"]["years"]
    assert {name: metrics[name] for name in ("exact_match,strict", "nearness,strict", "exact_match,flexible")} == {
        "exact_match,strict": 1.0,
        "nearness,strict": 1.0,
        "exact_match,flexible": 1.0,
    }
