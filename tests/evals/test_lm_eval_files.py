"""Our files are lm-eval's, key by key and hash by hash: held against a results file and samples that it has written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import lm_eval_samples, results
from loadstone.evals.output.items_csv import Timing, _cell, timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.scoring import score
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.records import Record
from loadstone.samples import Evaluation, ItemResponses
from loadstone.tasks.spec import Group, Task
from support.eval_items import CAPTURED_GEN, CAPTURED_MC, SUMS, said
from support.paths import SHARED

CAPTURES = SHARED / "captures/lm_eval"
TIME = "2026-11-20T15-22-49.651747"
captured = pytest.mark.skipif(not CAPTURES.exists(), reason="lm-eval's captured files are not on this machine")
ABOUT = EvalMetadata(model="org/tiny", began=1795188165.8, took=8.9)
SENT = {"stop": ["\n"], "max_tokens": 16, "temperature": 0.0}


def log(task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CAPTURES / f"samples_{task}_{TIME}.jsonl").read_text().splitlines()]


def held(line: dict[str, Any]) -> ItemResponses:
    """What lm-eval was answered, from its line."""
    pairs = [tuple(each.values()) for each in line["arguments"].values()]
    chosen = isinstance(pairs[0][1], str)
    told = [[(float(one[0]), one[1] == "True") if chosen else one for one in lane] for lane in line["resps"]]
    arguments = pairs if chosen else [(pairs[0][0], SENT)]
    return ItemResponses(task="tiny", doc_id=line["doc_id"], doc=line["doc"], target=line["target"],
                    arguments=arguments, responses=told)  # fmt: skip


@captured
@pytest.mark.parametrize("task", [CAPTURED_GEN, CAPTURED_MC], ids=["generation", "choice"])
def test_a_line_is_lm_evals_own(task: Task) -> None:
    """Keys in their order, values, hashes; `loadstone` comes on top."""
    setup = TaskSetup(task=task, mode=task.default)
    for line in log(task.name):
        answered = held(line)
        (ours,) = lm_eval_samples.sample_lines(setup, answered, score.score(task, task.default, answered))
        ours = json.loads(lm_eval_samples.encode_line(ours))
        assert list(ours) == [*line, "loadstone"]
        ours.pop("loadstone")
        assert ours == line


@captured
def test_results_have_lm_evals_keys_and_figures(tmp_path: Path) -> None:
    theirs = json.loads((CAPTURES / f"results_{TIME}.json").read_text())
    setups = [TaskSetup(task=task, mode=task.default, original=5) for task in (CAPTURED_MC, CAPTURED_GEN)]
    parts = [(setup, map(held, log(setup.task.name))) for setup in setups]
    results.write_results(run_folder.RunFolder(tmp_path), ABOUT, parts, [], TIME)
    ours = json.loads((tmp_path / f"results_{TIME}.json").read_text())
    assert list(ours) == [*theirs, "loadstone"]
    assert set(ours["results"]) == set(theirs["results"])
    for name, figures in theirs["results"].items():  # Python 3.12 and later sum floats more exactly
        assert list(ours["results"][name]) == list(figures)
        for key, figure in figures.items():
            expected = pytest.approx(figure, rel=1e-12) if isinstance(figure, float) else figure
            assert ours["results"][name][key] == expected, key
    for same in ("versions", "n-shot", "n-samples", "task_hashes", "higher_is_better", "group_subtasks"):
        assert ours[same] == theirs[same], same
    assert set(ours["config"]) == set(theirs["config"])
    for name, theirs_ in theirs["configs"].items():
        missing = set(theirs_) - set(ours["configs"][name]) - {"dataset_kwargs"}
        assert not missing, name
    assert type(ours["total_evaluation_time_seconds"]) is str


def items(count: int = 4) -> Iterator[ItemResponses]:
    """Right, wrong, failed, truncated, and so on."""
    texts = ["It is 4", "It is 5", None, "Let me think"]
    for number in range(count):
        text = texts[number % 4]
        yield said(text, doc_id=number, finish="length" if number % 4 == 3 else "stop", records=[("1", number)])


def written(folder: Path, answered: Iterator[ItemResponses] | None = None, **more: Any) -> list[dict[str, Any]]:
    setup = TaskSetup(task=SUMS, mode="generation", settings=SENT, original=1319, **more)
    results.write_results(run_folder.RunFolder(folder), ABOUT, [(setup, answered or items())], [], TIME)
    return [json.loads(line) for line in (folder / f"samples_sums_{TIME}.jsonl").read_text().splitlines()]


def test_there_is_a_line_for_each_filter(tmp_path: Path) -> None:
    lines = written(tmp_path)
    assert [(line["doc_id"], line["filter"]) for line in lines[:3]] == [(0, "strict"), (0, "whole"), (1, "strict")]
    assert [line["exact_match"] for line in lines if line["filter"] == "strict"] == [1.0, 0.0, 0.0, 0.0]
    assert lines[0]["arguments"]["gen_args_0"]["arg_1"] == {
        "until": ["\n"], "max_gen_toks": 16, "do_sample": False, "temperature": 0.0}  # fmt: skip


def test_what_became_of_it_stands_under_a_key_of_our_own(tmp_path: Path) -> None:
    right, _, failed, cut = (line for line in written(tmp_path) if line["filter"] == "strict")
    assert right["loadstone"] == {"mode": "generation",
                                  "passes": [{"outcome": "right", "extracted": "4", "finish": "stop"}]}  # fmt: skip
    assert failed["resps"] == [[""]]
    assert failed["filtered_resps"] == [""]
    assert failed["loadstone"]["passes"] == [{"outcome": "failed", "extracted": None, "failure": "status"}]
    assert cut["filtered_resps"] == ["[invalid]"]
    assert cut["loadstone"]["passes"][0]["outcome"] == "truncated"


def test_several_passes_stand_in_one_line_with_their_mean(tmp_path: Path) -> None:
    line = written(tmp_path, iter([said("4", "5", "4", None)]))[0]
    assert line["resps"] == [["4", "5", "4", ""]]
    assert line["filtered_resps"] == [["4", "5", "4", ""]]
    assert line["exact_match"] == 0.5
    assert [one["outcome"] for one in line["loadstone"]["passes"]] == ["right", "wrong", "right", "failed"]


def test_a_chat_is_logged_as_lm_eval_logs_it(tmp_path: Path) -> None:
    line = written(tmp_path, chat=True)[0]
    assert line["arguments"]["gen_args_0"]["arg_0"] == ["2 + 2?"]
    assert line["prompt_hash"] == lm_eval_samples.digest("2 + 2?")


def test_predictions_alone_are_logged_without_a_judgement(tmp_path: Path) -> None:
    line = written(tmp_path, scored=False)[0]
    assert (line["metrics"], line["bypass"]) == (["bypass"], 999)
    assert line["loadstone"]["passes"] == [{"finish": "stop"}]
    told = json.loads((tmp_path / f"results_{TIME}.json").read_text())["results"]["sums"]
    assert (told["bypass,none"], told["sample_len"]) == (999, 4)


def test_the_same_answers_give_the_same_lines_whatever_run_they_came_from(tmp_path: Path) -> None:
    elsewhere = (msgspec.structs.replace(one, records=[[("2", 7)]]) for one in items())
    assert written(tmp_path / "a") == written(tmp_path / "b", elsewhere)


def test_what_no_encoding_has_does_not_end_the_evaluation(tmp_path: Path) -> None:
    (line, _) = written(tmp_path, iter([said("4 \ud800")]))
    assert line["resps"] == [["4 ?"]]


def test_groups_stand_among_the_results_and_apart(tmp_path: Path) -> None:
    group = Group(name="maths", title="Maths", tasks=("sums", "absent"))
    setup = TaskSetup(task=SUMS, mode="generation")
    results.write_results(run_folder.RunFolder(tmp_path), ABOUT, [(setup, items())], [group], TIME)
    told = json.loads((tmp_path / f"results_{TIME}.json").read_text())
    assert told["groups"]["maths"] == told["results"]["maths"]
    assert told["groups"]["maths"]["exact_match,strict"] == 0.25
    assert told["groups"]["maths"]["sample_count"] == {"exact_match,strict": 4, "exact_match,whole": 4}
    assert told["group_subtasks"] == {"maths": ["sums", "absent"]}
    assert told["versions"] == {"maths": "N/A", "sums": 1.0}
    assert told["n-shot"] == {"maths": 0, "sums": 0}
    assert told["higher_is_better"]["maths"] == {"exact_match": True}


def test_ours_is_read_back(tmp_path: Path) -> None:
    written(tmp_path)
    found = results.latest(tmp_path)
    assert found is not None
    evaluation = results.read(found)
    assert isinstance(evaluation, Evaluation)
    assert evaluation.tasks[0].figures[0].outcomes == {
        "right": 1, "wrong": 1, "unparsed": 0, "truncated": 1, "failed": 1}  # fmt: skip
    (tmp_path / "results_0.json").write_text("{}")
    with pytest.raises(UsageError, match=r"results_0.json holds no evaluation of loadstone: ."):
        results.read(tmp_path / "results_0.json")


def test_names_of_files() -> None:
    assert results.file_time(datetime(2026, 11, 20, 15, 22, 49, 651747)) == TIME
    assert (
        lm_eval_samples.task_of(lm_eval_samples.samples_name("mmlu_high_school_physics", TIME))
        == "mmlu_high_school_physics"
    )
    assert lm_eval_samples.task_of("samples.jsonl") is None
    assert lm_eval_samples.sanitize("org/tiny:v1") == "org__tiny__v1"


def test_items_join_what_an_answer_was_worth_with_what_it_took(tmp_path: Path) -> None:
    record = Record(index=0, prompt="sums:0", scheduled=0, sent=1_000_000_000, first=1_250_000_000, last=3_000_000_000,
                    end=3_100_000_000, attempt=1)  # fmt: skip
    timings: dict[tuple[str, int], Timing] = {("1", 0): timing(record)}
    setup = TaskSetup(task=SUMS, mode="generation")
    results.write_results(run_folder.RunFolder(tmp_path), ABOUT, [(setup, items())], [], TIME, timings=timings)
    head, first, *_, last = (tmp_path / "items.csv").read_text().splitlines()
    assert head == ("task,doc_id,pass,outcome,extracted,target,metric,ttft,latency,input_tokens,output_tokens,"
                    "finish,failure,attempts,run,index")  # fmt: skip
    assert first == "sums,0,0,right,4,4,1.0,0.25,2.0,,,stop,,2,1,0"
    assert last == "sums,3,0,truncated,,4,0.0,,,,,length,,,1,3"


def test_a_choice_took_from_its_first_request_to_its_last(tmp_path: Path) -> None:
    doc = {"question": "?", "choices": ["=a", "b"], "answer": 0}
    one = ItemResponses(task="tiny_mc", doc_id=0, doc=doc, target="=a", arguments=[("?", " =a"), ("?", " b")],
                   responses=[[(-1.0, True)], [(-2.0, False)]], records=[[("1", 0)], [("1", 1)]])  # fmt: skip
    timings = {("1", number): Timing(start=number * 1.0, end=number + 1.5, ttft=0.5, input_tokens=7, output_tokens=1,
                                     attempts=1) for number in range(2)}  # fmt: skip
    setup = TaskSetup(task=CAPTURED_MC, mode="loglikelihood")
    results.write_results(run_folder.RunFolder(tmp_path), ABOUT, [(setup, [one])], [], TIME, timings=timings)
    assert (tmp_path / "items.csv").read_text().splitlines()[1] == "tiny_mc,0,0,right,0,'=a,1.0,,2.5,14,2,,,1,1,0 1"


def test_an_empty_answer_is_an_empty_cell() -> None:
    assert [_cell(said) for said in ("", "=1", "-x", "-5", None)] == ["", "'=1", "'-x", "-5", None]
