"""Saved answers scored again: samples of lm-eval and of Loadstone, older layouts, other extractors, broken lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import lm_eval_samples, results
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.rescore import rescore as rescoring
from loadstone.evals.rescore.options import RescoreOptions
from loadstone.evals.rescore.rescore import MetricChange, RescoreResult
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import ItemResponses
from loadstone.tasks import catalogue
from support.eval_items import SUMS, said
from support.paths import SHARED

CAPTURES = SHARED / "captures/lm_eval"
TIME = "2026-11-20T15-22-49.651747"
captured = pytest.mark.skipif(not CAPTURES.exists(), reason="lm-eval's captured files are not on this machine")
Line = dict[str, Any]


def rescore(*paths: Path, folder: Path | None = None, **wish: str) -> RescoreResult:
    return rescoring.rescore(paths, RescoreOptions(**wish), run_folder.RunFolder(folder) if folder else None, 0.0, TIME)


def values(rescored: RescoreResult) -> dict[str, float]:
    return {f"{task.task} {figure.metric},{figure.filter}": figure.all.value
            for task in rescored.evaluation.tasks for figure in task.figures}  # fmt: skip


def same(change: MetricChange) -> bool:
    return change.gained == change.lost == 0


@captured
def test_lm_evals_captured_samples_give_lm_evals_figures() -> None:
    theirs = json.loads((CAPTURES / f"results_{TIME}.json").read_text())["results"]
    found = rescore(CAPTURES)
    assert found.evaluation.model == "tiny"
    for task in found.evaluation.tasks:
        for figure in task.figures:
            # Python 3.12 and later sum floats more exactly.
            value, stderr = (theirs[task.task][f"{figure.metric}{part},{figure.filter}"] for part in ("", "_stderr"))
            assert figure.all.value == pytest.approx(value, rel=1e-12)
            assert figure.stderr == pytest.approx(stderr, rel=1e-12)
    assert set(values(found)) == {"tiny_mc acc,none", "tiny_mc acc_norm,none", "tiny_gen exact_match,none"}
    assert all(map(same, found.changes))
    assert [change.items for change in found.changes] == [5, 5, 5]


@captured
def test_what_is_written_again_is_what_was_read(tmp_path: Path) -> None:
    rescore(CAPTURES, folder=tmp_path / "new")
    for name in ("tiny_gen", "tiny_mc"):
        file = f"samples_{name}_{TIME}.jsonl"
        before = [json.loads(line) for line in (CAPTURES / file).read_text().splitlines()]
        after = [json.loads(line) for line in (tmp_path / "new" / file).read_text().splitlines()]
        assert [{key: line[key] for key in before[0]} for line in after] == before


def choice(number: int, **changed: Any) -> Line:
    """A choice among three, of which the second is right and the first is taken; by length the second."""
    doc = {"question": f"{number}?", "choices": ["a", "bbbb", "cc"], "answer": 1}
    return {
        "doc_id": number, "doc": doc, "target": "1", "filter": "none", "metrics": ["acc", "acc_norm"],
        "arguments": {f"gen_args_{place}": {"arg_0": "?", "arg_1": f" {text}"}
                      for place, text in enumerate(doc["choices"])},
        "resps": [[["-2.0", "False"]], [["-4.0", "False"]], [["-3.0", "True"]]],
        "doc_hash": lm_eval_samples.doc_hash(doc), "acc": 0.0, "acc_norm": 1.0} | changed  # fmt: skip


def text(number: int, **changed: Any) -> Line:
    return {"doc_id": number, "doc": {"n": number}, "target": "4", "filter": "strict", "metrics": ["exact_match"],
            "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {"until": ["\n"]}}}, "resps": [["so it is 4"]],
            "filtered_resps": ["4"], "doc_hash": f"{number:064}", "exact_match": 1.0} | changed  # fmt: skip


def written(path: Path, lines: Iterable[Line]) -> Path:
    path.write_bytes(b"".join(map(lm_eval_samples.encode_line, lines)))
    return path


def singles(line: Line) -> list[Line]:
    """As older versions logged it: a line for each continuation, arguments as lists, one list less around a pair."""
    return [line | {"arguments": [["?", f" {text}"]], "resps": [pair[0]]}
            for text, pair in zip(line["doc"]["choices"], line["resps"], strict=True)]  # fmt: skip


LAYOUTS: dict[str, Callable[[Line], list[Line]]] = {
    "captured": lambda line: [line],
    "numbers": lambda line: [line | {"resps": [[[-2.0, False]], [[-4.0, False]], [[-3.0, True]]]}],
    "a line for each continuation": singles,
    "arguments as lists": lambda line: [
        line | {"arguments": [list(part.values()) for part in line["arguments"].values()]}
    ],
    "target in words": lambda line: [line | {"target": "bbbb"}],
    "several targets": lambda line: [line | {"target": "[1, 1]"}],
    "no hash": lambda line: [{key: value for key, value in line.items() if key != "doc_hash"}],
    "no names of metrics": lambda line: [{key: value for key, value in line.items() if key != "metrics"}],
    "no filter": lambda line: [{key: value for key, value in line.items() if key != "filter"}],
}


@pytest.mark.parametrize("form", LAYOUTS)
def test_every_layout_of_a_choice_is_read(form: str, tmp_path: Path) -> None:
    lines = [part for number in range(4) for part in LAYOUTS[form](choice(number))]
    found = rescore(written(tmp_path / f"samples_unheard_{TIME}.jsonl", lines))
    assert values(found) == {"unheard acc,none": 0.0, "unheard acc_norm,none": 1.0}
    assert found.evaluation.tasks[0].items == 4
    assert all(map(same, found.changes))


def test_lines_belong_together_by_item_wherever_they_stand(tmp_path: Path) -> None:
    lines = [part for number in range(3) for part in singles(choice(number))]
    shuffled = [lines[place] for place in (4, 0, 8, 3, 1, 6, 2, 5, 7)]
    for _number in range(3):
        shuffled = [line | {"target": "0"} if line["doc_id"] == 0 else line for line in shuffled]
    log = SamplesFile("t", [written(tmp_path / "x.jsonl", shuffled)])
    assert [(one.responses.doc_id, len(one.responses.responses)) for one in log] == [(1, 3), (0, 3), (2, 3)]


def test_filters_of_one_item_are_one_item(tmp_path: Path) -> None:
    """As lm-eval writes them: all of one filter, then all of the next."""
    strict = [text(number) for number in range(3)]
    flexible = [text(number, filter="flexible", filtered_resps=["[invalid]"], exact_match=0.0) for number in range(3)]
    found = rescore(written(tmp_path / f"samples_unheard_{TIME}.jsonl", [*strict, *flexible]))
    assert values(found) == {"unheard exact_match,strict": 1.0, "unheard exact_match,flexible": 0.0}
    (task,) = found.evaluation.tasks
    assert (task.items, task.figures[1].outcomes["unparsed"]) == (3, 3)


def test_the_same_doc_id_of_another_document_is_another_item(tmp_path: Path) -> None:
    lines = [text(0), text(0, doc_hash="f" * 64)]
    assert rescore(written(tmp_path / "x.jsonl", lines)).evaluation.tasks[0].items == 2


def test_further_lines_of_an_item_are_further_passes(tmp_path: Path) -> None:
    line = text(0)
    log = SamplesFile("t", [written(tmp_path / "x.jsonl", [line, line | {"resps": [["again"]]}])])
    (only,) = log
    assert only.responses.responses == [["so it is 4", "again"]]


def test_passes_on_lines_of_their_own_all_count(tmp_path: Path) -> None:
    """Not the last of them alone."""
    lines = [
        text(0, resps=[[said]], filtered_resps=[said], exact_match=worth) for said, worth in (("9", 0.0), ("4", 1.0))
    ]
    found = rescore(written(tmp_path / "x.jsonl", lines))
    (task,) = found.evaluation.tasks
    assert (task.items, task.passes, task.figures[0].all.value) == (1, 2, 0.5)
    assert (task.figures[0].outcomes["right"], task.figures[0].outcomes["wrong"]) == (1, 1)
    assert [(change.items, same(change)) for change in found.changes] == [(1, True)]


def test_a_metric_written_as_text_is_compared_too(tmp_path: Path) -> None:
    found = rescore(written(tmp_path / "x.jsonl", [text(0, exact_match="0.0"), text(1, exact_match="1.0")]))
    assert [(change.items, change.gained, change.lost) for change in found.changes] == [(2, 1, 0)]


def test_answers_are_read_by_another_extractor(tmp_path: Path) -> None:
    lines = [text(number, resps=[[f"so it is {4 + number % 2} or 9"]], filtered_resps=["9"], exact_match=0.0)
             for number in range(4)]  # fmt: skip
    path = written(tmp_path / f"samples_unheard_{TIME}.jsonl", lines)
    found = rescore(path, extractor=r"regex:is (\d)")
    assert values(found) == {r"unheard exact_match,regex:is (\d)": 0.5}
    assert values(rescore(path, extractor=r"regex:\d")) == {r"unheard exact_match,regex:\d": 0.0}
    own = tmp_path / "mine.py"
    own.write_text(
        "def first(text, sample):\n    return text.split()[3]\n\n\n"
        "def near(extracted, sample):\n    return {'near': float(abs(int(extracted) - 4) <= 1)}\n"
    )
    found = rescore(path, extractor=f"{own}:first", scorer=f"{own}:near")
    assert list(values(found).values()) == [1.0]


def test_changed_scores_are_reported(tmp_path: Path) -> None:
    lines = [text(number, exact_match=float(number < 2)) for number in range(5)]
    lines[0] |= {"filtered_resps": ["5"]}
    (change,) = rescore(written(tmp_path / "x.jsonl", lines)).changes
    assert (change.items, change.gained, change.lost, change.first) == (5, 3, 1, [0, 2, 3, 4])


def evaluated(folder: Path) -> Path:
    answered: list[ItemResponses] = [said("It is 4"), said(None, doc_id=1), said("5, or", doc_id=2, finish="length"),
                                said("", doc_id=3), said("4", "5", doc_id=4)][:4]  # fmt: skip
    setup = TaskSetup(task=SUMS, mode="generation", original=1319, shots=5)
    about = EvalMetadata(model="org/m", began=0.0, took=1.0)
    results.write_results(run_folder.RunFolder(folder), about, [(setup, answered)], [], TIME)
    return folder


def test_ours_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes too, which lm-eval's layout does not know; the same lines again."""
    monkeypatch.setattr(catalogue, "find", lambda names: catalogue.Selection([SUMS], []))
    before = evaluated(tmp_path / "a")
    found = rescore(before, folder=tmp_path / "b")
    (task,) = found.evaluation.tasks
    assert task.figures[0].outcomes == {"right": 1, "wrong": 1, "unparsed": 0, "truncated": 1, "failed": 1}
    assert (task.shots, found.evaluation.model) == (5, "org/m")
    name = f"samples_sums_{TIME}.jsonl"
    assert (tmp_path / "b" / name).read_text() == (before / name).read_text()
    assert all(map(same, found.changes))


def test_only_some_are_judged(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", [text(number) for number in range(20)])
    assert rescore(path, only="3,5-9").evaluation.tasks[0].items == 6
    with pytest.raises(UsageError, match=r"nothing to score: no item of .* is selected"):
        rescore(path, only="77")
    with pytest.raises(UsageError, match="--only takes doc_ids such as 3,5-9, not '7-'"):
        rescore(path, only="7-")


@pytest.mark.parametrize(
    ("line", "said_"),
    [
        (b"{not json\n", "line 3 is no sample: ."),
        (b"[1, 2]\n", "line 3 is no sample: ."),
        (b'{"doc_id": 2}\n', "line 3 is no sample: it has no list `resps`"),
        (b'{"doc_id": 2, "resps": "x"}\n', "line 3 is no sample: it has no list `resps`"),
        (b'{"doc_id": 2, "resps": [["a"]], "arguments": [["?", {}], ["?", {}]]}\n', "line 3 .*2 arguments and 1 resp"),
        (b'{"doc_id": 2, "resps": [[["x", "False"]]], "target": "0"}\n', "line 3 is no sample: ."),
        (b'{"doc_id": 2, "target": "4", "resps": [["\xff"]]}\n', "line 3 is no sample"),
        (b'{"doc_id": 2, "resps": [["so"]], "loadstone": []' + b"[" * 2000 + b"\n", "line 3 is no sample"),
        (b'{"doc_id": 2, "resps": [["a", "b"], ["c"]], "arguments": [["?", {}], ["!", {}]]}\n', "have 1 and 2 resp"),
    ],
)
def test_a_broken_line_is_named(line: bytes, said_: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(
        b"".join(map(lm_eval_samples.encode_line, [text(0), text(1)])) + line + lm_eval_samples.encode_line(text(3))
    )
    with pytest.raises(UsageError, match=f"x.jsonl, {said_}" if said_.startswith("line") else said_):
        rescore(path)


def test_nan_is_borne_though_it_is_no_json(tmp_path: Path) -> None:
    """Python writes it, and with it lm-eval."""
    lines = [text(0, bleu=float("nan")), text(1, doc={"n": float("inf")})]
    path = written(tmp_path / "x.jsonl", lines)
    assert b"NaN" in path.read_bytes()
    assert b"Infinity" in path.read_bytes()
    assert values(rescore(path, folder=tmp_path / "new")) == {"x exact_match,strict": 1.0}
    assert rescore(tmp_path / "new").evaluation.tasks[0].items == 2


def test_a_choice_whose_target_is_none_of_it_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", [choice(0), choice(1, target="7")])
    with pytest.raises(UsageError, match=r"x.jsonl, line 2 .*its target '7' is none of its 3 choices"):
        rescore(path)


def test_errors_of_what_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no samples_\*.jsonl"):
        rescore(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read .*absent.jsonl: ."):
        rescore(tmp_path / "absent.jsonl")
    path = written(tmp_path / "x.jsonl", [choice(0)])
    with pytest.raises(UsageError, match="--extractor and --scorer are for generated answers"):
        rescore(path, extractor="regex:x")
    with pytest.raises(UsageError, match="--extractor regex:\\(: "):
        rescore(written(tmp_path / "y.jsonl", [text(0)]), extractor="regex:(")
    for model in ("a", "b"):
        (tmp_path / model).mkdir()
        written(tmp_path / model / f"samples_t_{TIME}.jsonl", [text(0)])
    with pytest.raises(UsageError, match=r"holds several evaluations: give one of .*a, .*b"):
        rescore(tmp_path)


def test_a_failure_leaves_nothing_half_done(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", [text(0), {"doc_id": 1}])
    with pytest.raises(UsageError, match="line 2"):
        rescore(path, folder=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_one_task_is_not_made_of_several(tmp_path: Path) -> None:
    files = [written(tmp_path / f"samples_{name}_{TIME}.jsonl", [text(0)]) for name in ("a", "b")]
    with pytest.raises(UsageError, match="--task gsm8k is one task, and the files are of a, b: give those of one"):
        rescore(*files, task="gsm8k")
    assert len(rescore(*files, task="target").evaluation.tasks) == 2
    assert [task.task for task in rescore(*files, task="b").evaluation.tasks] == ["b"]


def test_of_a_folder_the_last_of_each_task_counts(tmp_path: Path) -> None:
    written(tmp_path / "samples_t_2026-01-01T00-00-00.000000.jsonl", [text(0), text(1)])
    written(tmp_path / "samples_t_2026-02-01T00-00-00.000000.jsonl", [text(0)])
    assert rescore(tmp_path).evaluation.tasks[0].items == 1


def test_a_task_in_a_file_of_its_own_judges_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own scorer and name, not by target as a name that nobody knows."""
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(
        "from loadstone.scorers.match import whole\n"
        "from loadstone.tasks.spec import Data, Filter, Generation, Task\n"
        "def odd(extracted, sample):\n    return {'exact_match': float(extracted == 'odd')}\n"
        "TASK = Task(name='odd', title='Odd', version=3.0, source='', data=Data(path='odd'),\n"
        "            query=str, target=lambda doc: '',\n"
        "            generation=Generation(template='odd', filters=(Filter('none', whole, odd),)))\n"
    )
    line = {"doc_id": 0, "doc": {}, "target": "7", "arguments": [["x", {}]], "resps": [["odd"]],
            "filtered_resps": ["odd"], "filter": "none", "doc_hash": "1", "prompt_hash": "2",
            "target_hash": "3"}  # fmt: skip
    Path(f"samples_odd_{TIME}.jsonl").write_text(json.dumps(line) + "\n")
    (task,) = rescore(Path(f"samples_odd_{TIME}.jsonl"), task="odd.py:TASK").evaluation.tasks
    assert (task.task, task.template, task.figures[0].all.value) == ("odd", "odd", 1.0)
    with pytest.raises(UsageError, match="no task 'ood'"):
        rescore(Path(f"samples_odd_{TIME}.jsonl"), task="ood")
