"""The report of an evaluation: what it says first, what it warns of, its forms, and the verbs that show it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadstone.cli.main import main
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import csv as accuracy_csv
from loadstone.evals.output import page as accuracy
from loadstone.evals.output import report, results
from loadstone.evals.output.items_csv import Timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.report import html, markdown
from loadstone.report.page import Page, Prose, Table
from loadstone.samples import ItemResponses
from loadstone.tasks.spec import Group, Task
from support.eval_items import SUMS, said
from support.paths import ROOT

TIME = "2026-11-20T15-22-49.651747"
EXAMPLE = ROOT / "reports/example"
GROUPS = [
    Group(name="both", title="Both", tasks=("hard", "soft")),
    Group(name="hard", title="Hard", tasks=("a",), column="STEM"),
    Group(name="soft", title="Soft", tasks=("b",), column="Humanities"),
]


def task(name: str) -> Task:
    return msgspec.structs.replace(SUMS, name=name, title=name.upper())


def planted(right: int, wrong: int = 0, failed: int = 0, cut: int = 0, unparsed: int = 0) -> Iterator[ItemResponses]:
    texts: list[tuple[str | None, str]] = [
        *[("4", "stop")] * right, *[("5", "stop")] * wrong, *[(None, "stop")] * failed, *[("5", "length")] * cut,
        *[("well", "stop")] * unparsed]  # fmt: skip
    for number, (text, finish) in enumerate(texts):
        yield said(text, doc_id=number, finish=finish, records=[("1", number)])


def evaluated(folder: Path, *answers: Iterator[ItemResponses], names: str = "ab", **more: object) -> Path:
    parts = [(TaskSetup(task=task(name), mode="generation", shots=5, sha256={"test.jsonl": "ab" * 32}), each)
             for name, each in zip(names, answers, strict=False)]  # fmt: skip
    about = EvalMetadata(model="org/m", began=0.0, took=1.0)
    results.write_results(run_folder.RunFolder(folder), about, parts, GROUPS, TIME, target={"both": 0.5}, **more)  # type: ignore[arg-type]
    return folder


def paragraphs(page: Page) -> str:
    return "\n".join(f"[{block.tone}] {block.text}" for block in page.blocks if isinstance(block, Prose))


def table(page: Page, title: str) -> Table:
    return next(block for block in page.blocks if isinstance(block, Table) and block.title == title)


def test_it_says_what_it_comes_to_and_how_sure_that_is(tmp_path: Path) -> None:
    page = report.page(evaluated(tmp_path, planted(70, 30), planted(20, 80)))
    assert page.lead.tone == "good"
    assert page.lead.text == "Both: 45.00% of 200 items by generation, 95 % interval 38.26 to 51.92."
    row = dict(zip(table(page, "Tasks").columns, table(page, "Tasks").rows[0], strict=True))
    assert row["task"] == "a"
    assert (row["accuracy"], row["95 % interval"], row["std. error"]) == ("70.00%", "60.42 to 78.11", "4.61")
    assert (row["mode"], row["template"], row["shots"]) == ("generation", "sums v1", "5")


def test_what_is_no_fault_of_the_model_is_told_loudly(tmp_path: Path) -> None:
    page = report.page(evaluated(tmp_path, planted(60, 20, failed=5, cut=12, unparsed=3), names="z"))
    assert page.lead.tone == "bad"
    first, failed, cut, unparsed = page.lead.text.split("\n")
    assert first.startswith("Z: 60.00% of 100 items")
    assert failed.startswith("5 of 100 answers (5.00%) failed: no answer arrived, which says nothing about the model.")
    assert cut.startswith("12 of 100 answers (12.00%) were cut at their length limit")
    assert unparsed.startswith("3 of 100 answers (3.00%) ended without anything that could be read")
    row = dict(zip(table(page, "Tasks").columns, table(page, "Tasks").rows[0], strict=True))
    assert [row[name] for name in accuracy.OUTCOMES] == ["60.00%", "20.00%", "3.00%", "12.00%", "5.00%"]
    assert row["over answered"] == "72.29%"


def test_one_in_a_hundred_is_no_alarm(tmp_path: Path) -> None:
    assert report.page(evaluated(tmp_path, planted(98, 1, failed=1))).lead.tone == "good"


def test_a_task_that_is_mostly_cut_is_named_among_others(tmp_path: Path) -> None:
    page = report.page(evaluated(tmp_path, planted(100), planted(5, cut=5)))
    assert "[bad] B: 50.00% truncated." in paragraphs(page)


def test_groups_and_the_leaderboard_row(tmp_path: Path) -> None:
    evaluation, _ = report.read(evaluated(tmp_path, planted(3, 1), planted(1, 1)))
    page = accuracy.leaderboard(evaluation)
    (row,) = table(page, "Leaderboard").rows
    assert row == ["org/m", "both", "50.00%", "75.00%", "66.67%", "62.50%", "50.00%", "+16.67 points",
                   "generation"]  # fmt: skip
    assert table(page, "Leaderboard").columns[2:4] == ["Humanities", "STEM"]
    groups = table(accuracy.page(evaluation), "Groups")
    assert groups.rows[0][:4] == ["both", "2", "6", "66.67%"]
    assert groups.rows[0][5] == "62.50%"
    alone, _ = report.read(evaluated(tmp_path / "alone", planted(1), names="z"))
    assert accuracy.leaderboard(alone).lead.tone == "doubt"


def test_several_passes_have_a_table(tmp_path: Path) -> None:
    answered = (said("4", "5" if number % 2 else "4", doc_id=number) for number in range(10))
    page = report.page(evaluated(tmp_path, answered))
    assert [row[1:3] for row in table(page, "Several passes").rows] == [
        ["avg@2", "75.00%"], ["pass@2", "100.00%"], ["maj@2", "100.00%"]]  # fmt: skip


def test_predictions_alone_are_no_figures(tmp_path: Path) -> None:
    setup = TaskSetup(task=SUMS, mode="generation", scored=False)
    results.write_results(
        run_folder.RunFolder(tmp_path), EvalMetadata(model="m", began=0, took=0), [(setup, planted(3))], [], TIME
    )
    page = report.page(tmp_path)
    assert page.lead.text == "3 items were answered and saved; none was scored."
    assert table(page, "Tasks").rows[0][1] == "-"


def served(folder: Path) -> Path:
    timings = {("1", number): Timing(start=0.0, end=0.1 + number / 100, ttft=0.1, input_tokens=5, output_tokens=2,
                                     attempts=1) for number in range(100)}  # fmt: skip
    evaluated(folder, planted(60, 30, cut=10), timings=timings)
    shutil.copytree(EXAMPLE, folder / "runs/1")
    (folder / "eval.json").write_text('{"spent": {"input_tokens": 1234, "output_tokens": 56, "cost": 0.0125}}')
    return folder


def test_how_the_server_did_stands_beside_it(tmp_path: Path) -> None:
    page = report.page(served(tmp_path))
    assert "[doubt] Run 1: timings are suspect" in paragraphs(page)
    serving = table(page, "Serving")
    assert dict(zip(serving.columns, serving.rows[0], strict=True))["check"] == "suspect"
    told = msgspec.json.decode((EXAMPLE / "summary.json").read_bytes())["failures"]
    assert {tuple(row) for row in table(page, "Failures").rows} == {
        ("1", kind, str(count), message) for kind, message, count in told if kind != "empty"}  # fmt: skip
    assert [row[:3] for row in table(page, "By latency").rows] == [
        ["0.1 to 0.34 s", "25", "100.00%"], ["0.35 to 0.59 s", "25", "100.00%"],
        ["0.6 to 0.84 s", "25", "40.00%"], ["0.85 to 1.09 s", "25", "0.00%"]]  # fmt: skip
    assert [row[:3] for row in table(page, "By finish reason").rows] == [
        ["length", "10", "0.00%"], ["stop", "90", "66.67%"]]  # fmt: skip
    assert ["cost", "0.0125"] in table(page, "Tokens").rows


def test_the_report_is_written_as_markdown_and_as_a_page(tmp_path: Path) -> None:
    report.write(run_folder.RunFolder(served(tmp_path), new=False))
    page = report.page(tmp_path)
    assert (tmp_path / "report.md").read_text() == markdown.draw(page)
    assert (tmp_path / "report.html").read_text() == html.draw(page)
    assert "## Evaluation of org/m" in markdown.draw(page)


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    evil = msgspec.structs.replace(task("<script>"), title="<script>alert(1)</script>")
    setup = TaskSetup(task=evil, mode="generation")
    about = EvalMetadata(model="<img src=x>\x1b[31m", began=0, took=0)
    results.write_results(run_folder.RunFolder(tmp_path), about, [(setup, planted(1))], [], TIME)
    drawn = html.draw(report.page(tmp_path))
    assert "<script>alert" not in drawn
    assert "<img" not in drawn
    assert "\x1b" not in markdown.draw(report.page(tmp_path))


def test_as_csv(tmp_path: Path) -> None:
    evaluation, _ = report.read(evaluated(tmp_path, planted(3, 1), planted(1, 1)))
    rows = list(csv.DictReader(accuracy_csv.render(evaluation).splitlines()))
    first = rows[0]
    assert (first["name"], first["metric"], first["filter"], first["value"]) == ("a", "exact_match", "strict", "0.75")
    assert (first["right"], first["failed"], first["interval"]) == ("3", "0", "Wilson")
    assert [row["metric"] for row in rows if row["name"] == "both"] == ["micro", "macro"]


def test_what_is_no_evaluation_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no results_\*.json: give the folder of an evaluation"):
        report.read(tmp_path)


def test_report_and_score_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = evaluated(tmp_path / "e", planted(3, 1), planted(1, 1))
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("Both: 66.67% of 6 items by generation")
    assert main(["report", str(folder), "--as", "leaderboard"]) == 0
    assert "WeightedAvg" in capsys.readouterr().out
    assert main(["report", str(folder), "--as", "vllm"]) == 2
    assert "--as takes text, md, html, json, csv, leaderboard for an evaluation" in capsys.readouterr().err
    assert main(["report", str(folder), "--as", "json", "-o", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["leaderboard"][0]["name"] == "both"
    capsys.readouterr()
    assert main(["score", str(folder), "-o", str(tmp_path / "again"), "--only", "0-1"]) == 0
    told = capsys.readouterr()
    assert "All 4 items have the same scores as in the files." in told.out
    assert (tmp_path / "again/report.html").is_file()
    assert main(["score", str(folder), "-o", str(tmp_path / "again")]) == 2
    assert "again" in capsys.readouterr().err
    assert main(["score", str(folder), "--extractor", "regex:(5)", "--as", "md"]) == 0
    assert main(["score", str(folder), "--task", "nonsense"]) == 2
    assert "no task 'nonsense'" in capsys.readouterr().err


def test_what_changes_is_told_with_its_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = evaluated(tmp_path, planted(3, 1))
    file = next(folder.glob("samples_a_*"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["exact_match"] = 1.0 if line["doc_id"] else 0.0
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["score", str(folder), "--as", "md"]) == 0
    assert "**a, exact_match through strict: 2 of 4 items change, 1 up and 1 down: doc_id 0, 3**" in (
        capsys.readouterr().out
    )
