"""Two evaluations of the same items: exact tests against hand counts, coverage by enumeration, missing items."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from loadstone.cli.main import main
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.compare import load, page, paired_test
from loadstone.evals.compare.load import TaskComparison, adjust_p_values
from loadstone.evals.compare.paired_test import Difference
from loadstone.evals.output import results
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.report.page import Prose
from loadstone.samples import Estimate
from loadstone.tasks.spec import Group
from support.eval_items import SUMS, said

TIME = "2026-11-20T15-22-49.651747"


def counted(both: int, gained: int, lost: int, neither: int) -> Difference:
    base = [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither
    new = [1.0] * both + [1.0] * gained + [0.0] * lost + [0.0] * neither
    found = paired_test.difference(base, new)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 5, 1 / 32), (1, 5, 2 * 7 / 64 - 6 / 64), (3, 3, 1.0), (0, 0, 1.0)]
)
def test_mcnemars_mid_p_by_hand(gained: int, lost: int, p: float) -> None:
    assert paired_test.mcnemar_p(gained, lost) == pytest.approx(p)
    assert paired_test.mcnemar_p(lost, gained) == pytest.approx(p)


def test_many_flips_are_no_matter() -> None:
    z = (5200 - 4800) / math.sqrt(10000)
    assert paired_test.mcnemar_p(5200, 4800) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_it_counts_flips_both_ways() -> None:
    found = counted(50, 12, 3, 35)
    assert (found.gained, found.lost, found.base, found.new) == (12, 3, 0.53, 0.62)
    assert found.difference.value == pytest.approx(0.09)
    low, high = found.difference.interval or (0, 0)
    assert 0.0 < low < 0.09 < high < 0.17
    assert found.verdict() == "better"
    assert counted(50, 3, 12, 35).verdict() == "worse"
    assert counted(50, 5, 4, 41).verdict() == "inconclusive"
    assert counted(5000, 5, 4, 4000).verdict() == "same"


def test_the_interval_is_mirrored_with_the_sides() -> None:
    one, other = counted(50, 12, 3, 35).difference.interval, counted(50, 3, 12, 35).difference.interval
    assert one is not None
    assert other == pytest.approx((-one[1], -one[0]))


def test_the_interval_covers_what_it_says() -> None:
    """Of all tables of 24 items, weighted by their chance where 60 % are right twice, 15 and 5 % flip: near 95 %."""
    n, shares, true, covered = 24, (0.60, 0.15, 0.05, 0.20), 0.10, 0.0
    for both in range(n + 1):
        for gained in range(n - both + 1):
            for lost in range(n - both - gained + 1):
                cells = both, gained, lost, n - both - gained - lost
                ways = math.factorial(n) / math.prod(map(math.factorial, cells))
                low, high = counted(*cells).difference.interval or (0, 0)
                chance = ways * math.prod(share**cell for share, cell in zip(shares, cells, strict=True))
                covered += chance * (low <= true <= high)
    assert 0.93 < covered < 0.98


def test_parts_and_clusters_have_students_interval() -> None:
    found = paired_test.difference([0.5, 0.5, 0.0, 1.0], [1.0, 0.5, 0.5, 1.0])
    assert found is not None
    assert found.difference.value == pytest.approx(0.25)
    error = math.sqrt(4 * 0.0625 / 3) / 2
    assert found.difference.stderr == pytest.approx(error)
    assert (found.difference.interval or (0, 0))[1] == pytest.approx(0.25 + 3.182446 * error, abs=1e-6)
    clustered = paired_test.difference([0.0] * 6, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], ["a", "a", "b", "b", "c", "c"])
    assert clustered is not None
    assert clustered.difference.method == "t over clusters"
    alike = paired_test.difference([0.5] * 8, [0.5] * 8)
    assert alike is not None
    assert alike.difference.interval == pytest.approx((-0.3244, 0.3244), abs=1e-4)
    assert paired_test.difference([], []) is None


def evaluated(folder: Path, answers: dict[int, str | None], model: str = "m", *more: str) -> Path:
    """Write an evaluation of `sums`. more: further tasks with the same answers, in a group `maths` with it."""
    tasks = []
    for name in (SUMS.name, *more):
        parts = [replace(said(text, doc_id=number, answer=4), task=name) for number, text in answers.items()]
        tasks.append((TaskSetup(task=replace(SUMS, name=name), mode="generation"), parts))
    groups = [Group(name="maths", title="Maths", tasks=(SUMS.name, *more))] if more else []
    metadata = EvalMetadata(model=model, began=0, took=0)
    results.write_results(run_folder.RunFolder(folder), metadata, tasks, groups, TIME)
    return folder


def test_items_are_held_against_each_other_by_what_they_are(tmp_path: Path) -> None:
    base = evaluated(tmp_path / "a", {0: "4", 1: "4", 2: "5", 3: None, 7: "4"})
    new = evaluated(tmp_path / "b", {2: "4", 1: "4", 0: "so 5", 3: "4", 8: "4"})
    (found,) = load.compare(load.read(base), load.read(new))
    assert found.difference is not None
    assert (found.difference.gained, found.difference.lost, found.difference.difference.n) == (1, 1, 3)
    assert (found.alone, found.failed, found.metric) == (2, 1, "exact_match")
    assert found.same == pytest.approx(1 / 3)


def test_compare_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = evaluated(tmp_path / "a", dict.fromkeys(range(40), "5"), "old")
    new = evaluated(tmp_path / "b", {number: "4" if number < 20 else "5" for number in range(40)}, "new")
    assert main(["compare", str(base), str(new)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("sums: better, +50.00 points (95 % interval +32.8")
    assert "base: old; new: new." in told
    assert main(["compare", str(base), str(new), "--as", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == {"sums": "better"}
    (tmp_path / "run").mkdir()
    assert main(["compare", str(base), str(tmp_path / "run")]) == 2
    assert "give two evaluations, or runs" in capsys.readouterr().err
    assert main(["compare", str(base), str(new), "--window", "steady"]) == 2
    assert "--window is for runs, not for evaluations" in capsys.readouterr().err


def test_other_prompts_and_metrics_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = (evaluated(tmp_path / name, dict.fromkeys(range(4), "4")) for name in "ab")
    assert main(["compare", str(base), str(new)]) == 0
    assert "The prompts differ" not in capsys.readouterr().out
    (file,) = new.glob("samples_*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[::2]:
        line["arguments"]["gen_args_0"]["arg_0"] = f"Be brief. {line['doc_id']}"
    file.write_text("\n".join(map(json.dumps, [line for line in lines if line["filter"] == "whole"])))
    assert main(["compare", str(base), str(new)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Scored by different metrics: sums by strict, exact_match and by whole, exact_match" in told
    for line in lines:
        line["arguments"]["gen_args_0"]["arg_0"] = f"Be brief. {line['doc_id']}"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert main(["compare", str(base), str(new)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "may cause the difference: sums (4 items)." in told
    assert "Scored by different metrics" not in told


def test_evaluations_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    base = load.read(evaluated(tmp_path / "a", {0: "4"}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"samples_other_{TIME}.jsonl").write_text("")
    with pytest.raises(UsageError, match="have no task in common: sums against other"):
        load.compare(base, load.read(tmp_path / "b"))


def test_p_values_allow_for_how_many_tasks_there_are() -> None:
    """Holm: three alike tasks of p 0.03, 0.04 and 0.5 are told apart alone, not together."""
    found = Difference(base=0.5, new=0.6, gained=9, lost=2, difference=Estimate(value=0.1, n=70), p=None)
    tasks = [TaskComparison(task=str(p), metric="acc", modes=("", ""), metrics=(("", ""), ("", "")), reworded=0,
                      alone=0, failed=0, same=None, difference=replace(found, p=p))
             for p in (0.03, 0.04, None, 0.5)]  # fmt: skip
    assert [each.difference and each.difference.p for each in adjust_p_values(tasks)] == [
        pytest.approx(0.09), pytest.approx(0.09), None, pytest.approx(0.5)]  # fmt: skip
    assert adjust_p_values(tasks[:1]) == tasks[:1]


def test_many_tasks_with_one_fault_are_named_in_one_sentence() -> None:
    tasks = [TaskComparison(task=f"t{n}", metric="acc", modes=("", ""), metrics=(("", ""), ("", "")), reworded=n,
                      alone=0, failed=0, same=None, difference=None) for n in range(60)]  # fmt: skip
    told = [block.text for block in page.page(("a", "b"), ("m", "m"), tasks).sections[0].blocks
            if isinstance(block, Prose)]  # fmt: skip
    assert len(told) == 1
    assert told[0].endswith("t1 (1 items); t2 (2 items); t3 (3 items); t4 (4 items); t5 (5 items); and 54 more tasks.")


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """Of 200 items the base has 100 right, and the new side 90 of these and 80 others: 85 %, 35 points more."""
    old = {number: "4" if number < 100 else "5" for number in range(200)}
    new = {number: "4" if 10 <= number < 180 else "5" for number in range(200)}
    return str(evaluated(tmp_path / "old", old, "old", "more")), str(evaluated(tmp_path / "new", new, "new", "more"))


@pytest.mark.parametrize(
    ("gate", "status", "reason"),
    [
        ("sums >= 75%", "met", "sums is 85.00 % (95 % interval 79.39 % to 89.29 %): all of it is within the gate"),
        ("sums >= 95%", "missed", "none of it is within the gate"),
        ("sums >= 0.86", "unresolved", "the limit lies inside it; more items would decide"),
        ("sums >= -1%", "met", "sums is +35.00 points (95 % interval +26.70 points to +42.62"),
        ("sums <= +1%", "missed", "none of it is within the gate"),
        ("sums >= +35%", "unresolved", "more items would decide"),
        ("sums.exact_match >= 75%", "met", "sums.exact_match is 85.00 %"),
        ("sums.exact_match >= -1%", "met", "sums.exact_match is +35.00 points"),
        ("maths >= 80%", "met", "maths is 85.00 % (95 % interval 81."),
        ("maths >= -1%", "met", "maths is +35.00 points (95 % interval +29."),
        ("maths.exact_match >= 80%", "met", "maths.exact_match is 85.00 %"),
    ],
)
def test_gates_of_evaluations(
    sides: tuple[str, str], gate: str, status: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "gates.xml"
    code = main(["compare", *sides, "--gate", gate, "--as", "json", "--junit", str(junit)])
    (found,) = json.loads(capsys.readouterr().out)["gates"]
    assert (found["name"], found["side"], found["status"]) == (gate, sides[1], status)
    assert reason in found["reason"]
    assert code == (1 if status == "missed" else 0)
    (case,) = ElementTree.parse(junit).getroot().iter("testcase")
    elements = {"met": "system-out", "missed": "failure", "unresolved": "skipped"}
    assert (case.get("name"), [part.tag for part in case]) == (gate, [elements[status]])


def test_gates_are_on_the_page_and_decide_the_exit_status(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    gates = ("--gate", "sums >= 75%, sums >= +50%", "--gate", "more >= 86%")
    for view in ("text", "md", "html"):
        assert main(["compare", *sides, *gates, "--as", view]) == 1
        captured = capsys.readouterr()
        assert "1 of 3 gates missed: sums >= +50%" in captured.out.replace("&gt;", ">").replace("\\", "")
        assert "more items would decide" in " ".join(captured.out.split())
        assert captured.err.startswith("loadstone: gate missed: sums >= +50%: sums is +35.00 points")
        assert captured.err.count("\n") == 1
    assert main(["compare", *sides, "--gate", "more >= 86%"]) == 0
    assert main(["compare", *sides, "--gate", "more >= 86%", "--gate-strict"]) == 1
    assert "gate unresolved: more >= 86%" in capsys.readouterr().err


def test_a_score_of_one_side_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of lm-eval's files, which report no scores, the items are counted; a failed one is not right."""
    base = evaluated(tmp_path / "a", dict.fromkeys(range(40), "4"))
    new = evaluated(tmp_path / "b", {**dict.fromkeys(range(38), "4"), 38: None, 39: "5"}, "m", "more")
    (file,) = new.glob("results_*.json")
    content = json.loads(file.read_text())
    del content["loadstone"]
    file.write_text(json.dumps(content))
    gates = "sums >= 80%, more >= 80%, more >= -1%"
    assert main(["compare", str(base), str(new), "--gate", gates, "--as", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["gates"]
    assert [gate["status"] for gate in found] == ["met", "met", "missed"]
    assert found[0]["reason"].startswith("sums is 95.00 % (95 % interval 83.")
    assert found[2]["reason"] == "more has no item that both sides answered"
    assert main(["compare", str(new), str(base), "--gate", "more >= 80%", "--as", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["gates"][0]["reason"] == "more was not measured on the new side"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("summs >= 80%", "takes a task or group of these evaluations (more, sums, maths), not 'summs >= 80%': did you"),
        ("qps >= 1", "takes a task or group of these evaluations (more, sums, maths), not 'qps >= 1'\n"),
        ("sums.exact >= 1%", "takes a metric of sums (exact_match), not 'sums.exact >= 1%': did you mean exact_match?"),
        ("maths.acc >= 1%", "takes a metric of maths (exact_match), not 'maths.acc >= 1%'\n"),
        ("sums >= 80", "takes a score of sums up to 100% such as 80% or 0.8, not 'sums >= 80'\n"),
    ],
)
def test_gates_of_evaluations_that_are_refused(
    sides: tuple[str, str], gate: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *sides, "--gate", gate]) == 2
    assert f"loadstone: --gate {message}" in capsys.readouterr().err
