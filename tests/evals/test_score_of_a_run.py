"""Answers of an ordinary run scored as those of a task, and programs that are only run if that is allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import lm_eval_samples, results
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.rescore import rescore as rescoring
from loadstone.evals.rescore.options import RescoreOptions
from loadstone.evals.rescore.rescore import RescoreResult
from loadstone.evals.scoring import sandbox
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.records import Failure, FailureCause, Record
from loadstone.samples import ItemResponses
from loadstone.tasks import catalogue
from support.eval_items import SUMS

TIME = "2026-11-20T15-22-49.651747"


def ran(folder: Path, answers: Iterable[tuple[str, str | None]]) -> Path:
    """A run that asked these rows and was answered so."""
    folder.mkdir()
    (folder / run_folder.RUN).write_text("{}")
    records = [
        Record(index=index, prompt=prompt, scheduled=0, sent=0, end=9, status=200, text=text, finish="stop",
               error=None if text is not None else Failure(FailureCause.TIMEOUT, "30 s"))
        for index, (prompt, text) in enumerate(answers)
    ]  # fmt: skip
    run_folder.RunFolder(folder, new=False).append(folder / run_folder.RECORDS, records)
    return folder


def rescore(path: Path, **wish: object) -> RescoreResult:
    return rescoring.rescore([path], RescoreOptions(**{"data": "bundled", **wish}), None, 0.0, TIME)  # type: ignore[arg-type]


def test_a_run_is_judged_by_the_rows_it_replayed(tmp_path: Path) -> None:
    """By their place in the file, several answers to one row as passes."""
    path = ran(tmp_path / "run", [("test:1", "#### 42"), ("test:2", "#### 0"), ("test:1", "#### 41"), ("test:3", None)])
    (task,) = rescore(path, task="gsm8k").evaluation.tasks
    strict = next(figure for figure in task.figures if figure.filter == "strict-match")
    assert strict.outcomes == {"right": 1, "wrong": 2, "unparsed": 0, "truncated": 0, "failed": 1}
    assert (task.items, task.passes, strict.all.value) == (3, 2, pytest.approx(0.5 / 3))
    (task,) = rescore(path, task="gsm8k", only="1").evaluation.tasks
    assert task.items == 1


def test_a_run_needs_the_name_of_its_task(tmp_path: Path) -> None:
    path = ran(tmp_path / "run", [("test:99999", "x")])
    with pytest.raises(UsageError, match="is a run, which does not say what is right: name its task with --task"):
        rescore(path)
    with pytest.raises(UsageError, match="record 0 asked 'test:99999', which is no row of gsm8k: give with --data-dir"):
        rescore(path, task="gsm8k")
    untold = ran(tmp_path / "untold", [])
    record = Record(index=0, prompt="test:1", scheduled=0, sent=0, end=9, status=200, finish="stop")
    run_folder.RunFolder(untold, new=False).append(untold / run_folder.RECORDS, [record])
    with pytest.raises(UsageError, match="kept no texts to score: run with --save-text"):
        rescore(untold, task="gsm8k")
    with pytest.raises(UsageError, match="a run is scored by itself"):
        rescoring.rescore([path, untold], RescoreOptions(task="gsm8k", data="bundled"), None, 0.0, TIME)


def test_a_run_of_an_evaluation_is_that_evaluation(tmp_path: Path) -> None:
    setup, doc = TaskSetup(task=SUMS, mode="generation"), {"question": "2 + 2?", "answer": "4"}
    one = ItemResponses(task="sums", doc_id=0, doc=doc, target="4", arguments=[("?", {})], responses=[["4"]])
    results.write_results(
        run_folder.RunFolder(tmp_path), EvalMetadata(model="m", began=0, took=0), [(setup, [one])], [], TIME
    )
    (tmp_path / "runs").mkdir()
    assert rescore(ran(tmp_path / "runs" / "1", [])).evaluation.tasks[0].items == 1


def test_programs_are_run_only_where_that_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = catalogue.find(["humaneval"]).tasks
    doc = {"task_id": "x/0", "prompt": "def one():\n", "test": "def check(f):\n    assert f() == 1\n",
           "entry_point": "one", "canonical_solution": "    return 1\n"}  # fmt: skip
    line = {"doc_id": 0, "doc": doc, "target": "", "filter": "none", "metrics": [], "resps": [["    return 1\n"]],
            "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {}}}}  # fmt: skip
    path = tmp_path / f"samples_{task.name}_{TIME}.jsonl"
    path.write_text(json.dumps(line) + "\n")
    assert lm_eval_samples.task_of(path.name) == task.name
    with pytest.raises(UsageError, match=r"humaneval is scored by running .*say --allow-code-execution"):
        rescore(path)
    asked: list[str] = []

    class Pretended:
        def __call__(self, program: str, _: object) -> dict[str, float]:
            asked.append(program)
            return {"pass@1": 1.0}

    monkeypatch.setattr(sandbox, "ProgramRunner", Pretended)
    (found,) = rescore(path, allow_code=True).evaluation.tasks
    assert found.figures[0].all.value == 1.0
    assert "return 1" in asked[0]
