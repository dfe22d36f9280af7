"""`loadstone eval` against a server with known answers: its files, continued evaluations, and cached answers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import loadstone as library
from loadstone.errors import UsageError
from loadstone.evals import evaluate as session
from loadstone.evals import prepare
from loadstone.evals.lock import exclusive
from loadstone.evals.output.lm_eval_samples import task_of
from loadstone.evals.requests import answers
from loadstone.evals.settings import from_mapping
from loadstone.host import event_loop
from loadstone.records import from_line, to_line
from support import eval_tasks
from support.servers import Done, Sim, clean, loadstone, records, refused

SUMS = 12


@pytest.fixture(autouse=True)
def _at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch, tmp_path)
    eval_tasks.write(tmp_path / "data", SUMS)
    rows = [{"question": f"{n} + {n}", "answer": f"That is {2 * n}"} for n in range(SUMS)]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def sim() -> Iterator[Sim]:
    with Sim(answers="answers.jsonl", ttft="0ms", itl="0ms") as server:
        yield server


def evaluate(capsys: pytest.CaptureFixture[str], url: str, *flags: object, tasks: str = eval_tasks.ONLY_SUMS) -> Done:
    given = ("--url", url, "--tasks", tasks, "--data-dir", "data", "--no-html", "--quiet", "-c", 4)
    output = () if "-o" in flags else ("-o", "out")
    return loadstone(capsys, "eval", *given, *output, *flags)


def results(folder: str = "out") -> Any:
    return json.loads(max(Path(folder).glob("results_*.json")).read_bytes())["loadstone"]


def samples(folder: str = "out") -> bytes:
    return max(Path(folder).glob("samples_exam_sums_*.jsonl")).read_bytes()


def journal(folder: str = "out") -> Any:
    return json.loads(Path(folder, "eval.json").read_bytes())


def figure(task: int = 0) -> Any:
    return results()["tasks"][task]["figures"][0]


def test_an_evaluation_is_a_run_and_its_scores(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = evaluate(capsys, sim.url, "--price-in", 1, "--price-out", 10, tasks=eval_tasks.NAME)
    assert done.status == 0, done.err
    assert "results are in out" in done.err
    assert "exam_sums" in done.out
    assert "request bodies" not in done.err
    found = {path.name.partition("_20")[0] for path in Path("out").iterdir()}
    assert found == {
        "eval.json", "items.csv", "report.md", "requests-1.jsonl", "requests-2.jsonl", "results", "runs",
        "samples_exam_cities", "samples_exam_sums",
    }  # fmt: skip
    assert figure()["all"]["value"] == 1.0
    told = journal()
    assert told["counts"] == {"wanted": SUMS + 5, "answered": SUMS + 5, "failed": 0, "unsent": 0, "cached": 0}
    assert [(task["mode"], task["api"]) for task in told["tasks"]] == [
        ("generation", "chat"), ("loglikelihood", "completions"),
    ]  # fmt: skip
    spent = told["spent"]
    assert spent["cost"] == pytest.approx((spent["input_tokens"] + 10 * spent["output_tokens"]) / 1e6)


def test_flags_that_an_evaluation_does_not_use_are_named_once(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--batch-size", 4, "--insecure", "--usage", "off", "--no-stream")
    done = evaluate(capsys, sim.url, *flags, tasks=eval_tasks.NAME)  # two runs
    assert done.status == 0, done.err
    assert [line for line in done.err.splitlines() if " not used: " in line] == [
        "loadstone: --batch-size is not used: it is for a local model, and a server decides on its own batches;"
        " --insecure is not used: no URL begins with https://; --usage is not used: an unstreamed response has its"
        " token counts in any case"
    ]
    done = evaluate(capsys, sim.url, *flags, "--stage", "score", tasks=eval_tasks.NAME)
    assert " not used: " not in done.err


def test_the_requests_are_rows_that_run_can_send(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--num-fewshot", 0, "--api", "completions")
    (first, *_) = Path("out/requests-1.jsonl").read_text().splitlines()
    assert json.loads(first) == {
        "id": "exam_sums:0", "prompt": "Add up.\n\nQ: 0 + 0\nA:", "max_tokens": 64, "temperature": 0.0,
        "stop": ["Q:", "\n\n"],
    }  # fmt: skip
    again = loadstone(capsys, "run", "--url", sim.url, "--api", "completions", "--dataset", "out/requests-1.jsonl",
                      "-n", SUMS, "-o", "again", "--no-html", "--quiet")  # fmt: skip
    assert again.status == 0
    assert [record.prompt for record in records(Path("again"))] == [f"exam_sums:{n}" for n in range(SUMS)]


def _kill(kept: int) -> list[str]:
    """What a run leaves that was killed when so many had been answered, the last line cut short."""
    run = Path("out/runs/1")
    lines = (run / "records.jsonl").read_bytes().splitlines(keepends=True)
    (run / "records.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:40])
    for name in ("summary.json", "summary.csv", "requests.csv"):
        (run / name).unlink()
    for path in Path("out").glob("*_20*"):
        path.unlink()
    return [from_line(line).prompt for line in lines[:kept]]


def test_an_evaluation_that_was_killed_sends_what_is_missing(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url)
    whole = samples()
    kept = _kill(5)
    before = len(sim.truth)
    done = evaluate(capsys, sim.url)
    assert done.status == 0, done.err
    assert "out/runs/1 was not finished: its answers count" in done.err
    assert f"5 of {SUMS} requests are answered already" in done.err
    assert len(sim.truth) - before == SUMS - 5
    sent = [record.prompt for record in records(Path("out/runs/2"))]
    assert sorted([*kept, *sent]) == sorted(f"exam_sums:{n}" for n in range(SUMS))
    assert samples() == whole
    assert Path("out/runs/1/summary.json").exists()
    assert journal()["runs"] == ["1", "2"]


def test_what_is_whole_is_scored_again_without_a_request(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url)
    before = len(sim.truth)
    assert evaluate(capsys, sim.url).status == 0
    assert loadstone(capsys, "eval", "--tasks", eval_tasks.ONLY_SUMS, "--data-dir", "data", "-o", "out",
                     "--stage", "score").status == 0  # fmt: skip
    assert len(sim.truth) == before
    assert not Path("out/runs/2").exists()
    assert journal()["settings"]["load"]["url"] == sim.url


def test_more_items_are_asked_beside_those_that_are_there(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--limit", 4)
    assert figure()["all"]["n"] == 4
    evaluate(capsys, sim.url)
    assert [record.prompt for record in records(Path("out/runs/2"))] == [f"exam_sums:{n}" for n in range(4, SUMS)]
    assert max(results()["tasks"][0]["items"] for _ in (0,)) == SUMS


def test_what_failed_is_asked_again_and_is_no_wrong_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with Sim(answers="answers.jsonl", ttft="0ms", itl="0ms", answer_failing=3.0) as sim:
        done = evaluate(capsys, sim.url, "--retries", 0, "--max-error-rate", 0.1)
        assert done.status == 1
        assert f"3 of {SUMS} requests have no answer, above --max-error-rate 0.1" in done.err
        assert figure()["outcomes"] == {"right": 9, "wrong": 0, "unparsed": 0, "truncated": 0, "failed": 3}
        assert figure()["answered"]["value"] == 1.0
        assert journal()["failures"] == {"status": 3}
        url = sim.url
        sim.replace(answers="answers.jsonl", ttft="0ms", itl="0ms")
        assert evaluate(capsys, url, "--retries", 0, "--max-error-rate", 0.1).status == 0
    assert len(records(Path("out/runs/2"))) == 3
    assert figure()["outcomes"]["right"] == SUMS


def test_a_task_may_have_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Its passes are told apart, continued and scored, whatever separates the parts of a request's id."""
    flags = ("--retries", 0, "--repeat", 2, "--temperature", 0.5)
    with Sim(answers="answers.jsonl", ttft="0ms", itl="0ms", answer_failing=3.0) as sim:
        evaluate(capsys, sim.url, *flags, tasks=eval_tasks.ODDLY_NAMED)
        failed = journal()["counts"]["failed"]
        assert failed
        url = sim.url
        sim.replace(answers="answers.jsonl", ttft="0ms", itl="0ms")
        done = evaluate(capsys, url, *flags, tasks=eval_tasks.ODDLY_NAMED)
    assert (done.status, journal()["counts"]["answered"]) == (0, 2 * SUMS)
    assert len(records(Path("out/runs/2"))) == failed
    assert figure()["all"]["value"] == 1.0
    names = {task_of(path.name) for path in Path("out").glob("samples_*.jsonl")}
    assert names == {eval_tasks.ODD_NAME.name}


def test_nothing_answered_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with Sim(answers="answers.jsonl", ttft="0ms", itl="0ms", answer_failing=1.0) as sim:
        done = evaluate(capsys, sim.url, "--retries", 0)
    assert done.status == 1
    assert "nothing was answered: 12 status" in done.err


def test_other_settings_do_not_go_on(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--limit", 2)
    given = ("eval", "--url", sim.url, "--tasks", eval_tasks.ONLY_SUMS, "--data-dir", "data", "-o", "out")
    assert refused(capsys, *given, "--num-fewshot", 1) == (
        "out holds an evaluation with another --num-fewshot: give the same to go on, or another -o"
    )
    eval_tasks.write(Path("data"), SUMS, shots=5)
    assert "in other words: the data, a template or the API has changed since; give another -o" in refused(
        capsys, *given
    )


def test_a_folder_with_something_else_is_left_alone(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    said = refused(capsys, "eval", "--url", sim.url, "--tasks", eval_tasks.ONLY_SUMS, "--data-dir", "data", "-o", "out")
    assert said == "out exists and is not empty; give another folder with -o"
    assert not sim.truth


def test_answers_that_are_known_are_not_asked_again(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--cache", "cache", "--limit", 5)
    whole = samples()
    shutil.move("out", "before")
    evaluate(capsys, sim.url, "--cache", "cache")
    assert journal()["counts"]["cached"] == 5
    assert len(records(Path("out/runs/1"))) == SUMS - 5
    assert samples().startswith(whole)
    shutil.rmtree("out")
    before = len(sim.truth)
    evaluate(capsys, sim.url, "--cache", "cache", "--gen", "top_k=3", "--limit", 1)
    assert journal()["counts"]["cached"] == 0, "another request is another answer"
    shutil.rmtree("out")
    evaluate(capsys, sim.url, "--cache", "cache", "--limit", 3)
    assert journal()["counts"]["cached"] == 3
    assert not Path("out/runs").exists()
    assert figure()["all"]["value"] == 1.0
    assert len([row for row in sim.truth[before:] if row.get("tokens")]) >= 1


def test_a_dry_run_sends_and_leaves_nothing(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = evaluate(capsys, sim.url, "--dry-run", "--price-in", 2, "--limit", 3, tasks=eval_tasks.NAME)
    assert done.status == 0
    assert not sim.truth
    assert not Path("out").exists()
    assert "8 requests would be sent; none was" in done.out
    assert "Q: 0 + 0\nA:" in done.out
    assert "cost" in done.out


def test_predictions_alone_are_not_judged(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--predict-only", "--limit", 2)
    (first, *_) = map(json.loads, samples().splitlines())
    assert first["resps"] == [["That is 0"]]
    assert results()["tasks"][0]["figures"] == []


def test_asking_and_scoring_may_be_done_apart(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = evaluate(capsys, sim.url, "--stage", "infer")
    assert done.status == 0
    assert not list(Path("out").glob("results_*"))
    assert evaluate(capsys, sim.url, "--stage", "score").status == 0
    assert figure()["all"]["value"] == 1.0


def test_passes_are_requests_of_their_own(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, sim.url, "--repeat", 3, "--temperature", 0.7, "--limit", 2)
    rows = [json.loads(line) for line in Path("out/requests-1.jsonl").read_text().splitlines()]
    assert [(row["id"], row["seed"]) for row in rows[:3]] == [
        ("exam_sums:0", 1234), ("exam_sums:0#1", 1235), ("exam_sums:0#2", 1236),
    ]  # fmt: skip
    assert results()["tasks"][0]["passes"] == 3


def test_each_model_has_its_folder(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = evaluate(capsys, sim.url, "--model", "sim", "--model", "org/other", "--limit", 1)
    assert journal("out/sim")["model"] == "sim"
    assert results("out/sim")["tasks"][0]["items"] == 1
    assert done.status == 1
    assert f"{sim.url} does not answer for a model 'org/other'; it lists sim: give --model" in done.err
    made = session.resolve_settings({"tasks": "x", "model": ["sim", "org/other"], "output": "out"})
    assert [each.load.output for each in made] == ["out/sim", "out/org__other"]
    with pytest.raises(UsageError, match="the folders of two models have the same name"):
        session.resolve_settings({"tasks": "x", "model": ["a/b", "a|b"], "output": "out"})


def test_a_file_of_settings_may_be_yaml(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    Path("eval.yaml").write_text(
        f"url: {sim.url}\ntasks: ['{eval_tasks.ONLY_SUMS}']\ndata-dir: data\nlimit: 2\nhtml: false\noutput: out\n"
        "gen: {max_gen_toks: 9}\n"
    )
    assert loadstone(capsys, "eval", "--config", "eval.yaml", "--limit", 1, "--quiet").status == 0
    assert journal()["tasks"][0]["items"] == 1
    assert journal()["tasks"][0]["settings"]["max_tokens"] == 9


def test_from_python_an_evaluation_is_a_call(sim: Sim) -> None:
    given = {
        "url": sim.url,
        "tasks": [eval_tasks.ONLY_SUMS],
        "data_dir": "data",
        "limit": 2,
        "html": False,
        "output": "out",
    }
    (done,) = library.evaluate(given)
    assert done.results is not None
    assert done.results.tasks[0].figures[0].all.value == 1.0
    assert done.folder == Path("out")
    with pytest.raises(UsageError, match="`eval` has no setting 'modes'"):
        library.evaluate({**given, "modes": 1})


def test_what_was_in_flight_at_an_interruption_has_not_been_asked(sim: Sim) -> None:
    (settings,) = from_mapping(
        {"url": sim.url, "tasks": [eval_tasks.ONLY_SUMS], "data_dir": "data", "output": "out"}, "here"
    )
    event_loop.run(session.evaluate(settings))
    run = Path("out/runs/1/records.jsonl")
    first, *rest = map(from_line, run.read_bytes().splitlines(keepends=True))
    stopped = json.loads(to_line(first)) | {"error": {"kind": "stopped", "message": "interrupted"}, "text": None}
    run.write_bytes(json.dumps(stopped).encode() + b"\n" + b"".join(map(to_line, rest)))
    begun = event_loop.run(prepare.prepare(settings, Path("out"), None, lambda _: None))
    found = answers.read(Path("out"), begun.requests)
    assert first.prompt not in map(str, found)
    assert len(found) == SUMS - 1


def test_answers_longer_than_the_context_give_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    with Sim(answers="answers.jsonl", ttft="0ms", itl="0ms", max_model_len=64) as sim:
        done = evaluate(capsys, sim.url, "--limit", 1, "--num-fewshot", 0)
    assert "exam_sums: answers may have 64 tokens, but the server takes 64 with the prompt: give a lower" in done.err


def test_two_evaluations_in_one_folder_are_refused(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    """The second would take the first's run for one that was killed, and put its shards together under way."""
    with exclusive(Path("out")):
        done = evaluate(capsys, sim.url)
    assert done.status == 2
    assert done.err == "loadstone: another evaluation is at work in out: wait for its end, or give another -o\n"
    assert not Path("out").exists()
    assert evaluate(capsys, sim.url).status == 0


def test_a_model_that_cannot_be_asked_does_not_cost_the_others_theirs(
    sim: Sim, capsys: pytest.CaptureFixture[str]
) -> None:
    done = evaluate(capsys, sim.url, "--model", "other", "--model", "sim")
    assert done.status == 1
    assert f"other was not evaluated: {sim.url} does not answer for a model 'other'; it lists sim" in done.err
    assert results("out/sim")["tasks"][0]["figures"][0]["all"]["value"] == 1.0
    assert not Path("out/other").exists()
    given = {
        "url": sim.url,
        "tasks": [eval_tasks.ONLY_SUMS],
        "data-dir": "data",
        "model": ["other", "sim"],
        "output": "two",
    }
    with pytest.raises(UsageError, match="does not answer for a model 'other'"):
        library.evaluate(given)
    assert results("two/sim")["tasks"]


def test_inside_an_event_loop_it_is_said_what_to_await() -> None:
    async def inside() -> None:
        with pytest.raises(RuntimeError, match=r"await loadstone\.load_test.*or loadstone\.evals\.evaluate"):
            library.evaluate({"url": "http://127.0.0.1:1", "tasks": [eval_tasks.ONLY_SUMS], "data-dir": "data"})

    event_loop.run(inside())


TALKS = """
from loadstone.tasks.spec import Data, Task
from msgspec.structs import replace
from support.eval_tasks import SUMS
TALKS = replace(SUMS, name="exam_talks", shots=0, later=lambda doc: ["And doubled?", "Thanks."])
"""


def _talks(capsys: pytest.CaptureFixture[str], url: str, *flags: object) -> Done:
    Path("talks.py").write_text(TALKS)
    return evaluate(capsys, url, "--limit", 3, *flags, tasks="talks.py:TALKS")


def _turns(folder: str) -> list[tuple[str, int | None, str | None]]:
    return sorted((record.prompt, record.turn, record.text) for record in records(Path(folder)))


def test_a_conversation_is_asked_turn_by_turn(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = _talks(capsys, sim.url)
    assert done.status == 0, done.err
    told = _turns("out/runs/1")
    names = [f"exam_talks:{n}{turn}" for n in range(3) for turn in ("", ".2", ".3")]
    assert [name for name, *_ in told] == names
    (line, *_) = max(Path("out").glob("samples_exam_talks_*.jsonl")).read_text().splitlines()
    first, second, third = (text for name, _, text in told if name.startswith("exam_talks:0"))
    (one,) = json.loads(line)["loadstone"]["passes"]
    assert one["turns"] == [first, "And doubled?", second, "Thanks.", third]
    assert json.loads(line)["resps"] == [[third]]
    assert journal()["counts"]["answered"] == 3
    assert journal()["tasks"][0]["requests"] == 9


def test_a_conversation_that_was_cut_short_is_asked_anew(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole: a later turn depends on the answer before it."""
    _talks(capsys, sim.url)
    run = Path("out/runs/1/records.jsonl")
    lines = run.read_bytes().splitlines(keepends=True)
    run.write_bytes(b"".join(line for line in lines if from_line(line).prompt != "exam_talks:1.3"))
    assert "2 of 3 requests are answered already" in _talks(capsys, sim.url, "--cache", "cached").err
    assert [name for name, *_ in _turns("out/runs/2")] == ["exam_talks:1", "exam_talks:1.2", "exam_talks:1.3"]
    assert figure()["outcomes"]["failed"] == 0
    again = _talks(capsys, sim.url, "--cache", "cached", "-o", "again")
    assert (again.status, journal("again")["counts"]["cached"]) == (0, 0)


def test_a_conversation_with_a_failed_turn_has_failed(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    _talks(capsys, sim.url)
    run = Path("out/runs/1/records.jsonl")
    lost = {"error": {"kind": "timeout", "message": "30 s"}, "text": None, "finish": None}
    made = [
        json.dumps(json.loads(line) | lost).encode() + b"\n" if from_line(line).prompt == "exam_talks:2.2" else line
        for line in run.read_bytes().splitlines(keepends=True)
        if from_line(line).prompt != "exam_talks:2.3"
    ]
    run.write_bytes(b"".join(made))
    assert _talks(capsys, sim.url, "--stage", "score").status == 1, "1 of 3 is above a tenth"
    assert (figure()["outcomes"]["failed"], journal()["failures"]) == (1, {"timeout": 1})


def test_a_conversation_needs_a_chat(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    done = _talks(capsys, sim.url, "--api", "completions")
    assert done.status == 2
    assert done.err == "loadstone: exam_talks is conversations, which completions do not hold: say --api chat\n"


def test_answers_that_are_not_scored_yet_are_said_to_be_so(sim: Sim, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(capsys, sim.url, "--stage", "infer").status == 0
    assert "out holds no results_*.json: its answers are not scored yet" in refused(capsys, "report", "out")
    for verb in (("score", "out"), ("compare", "out", "out")):
        assert "out has not been scored yet: give --stage score -o out to the command" in refused(capsys, *verb)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-n", "5"), "`eval` has no flag -n (use --limit; or --samples); see loadstone eval --help"),
        (("--n-choices", "2"), "`eval` has no flag --n-choices (use --repeat); see loadstone eval --help"),
        (("--duration", "5"), "`eval` has no flag --duration (an evaluation ends when all items have been asked"),
    ],
)
def test_flags_of_a_run_that_make_no_sense_say_what_to_type(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "eval", "--tasks", "gsm8k", "--data-dir", "bundled", *flags)


def test_if_nothing_was_answered_the_error_of_the_server_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Sim(answers="answers.jsonl", answer_failing=1.0, ttft="0ms", itl="0ms") as sim:
        done = evaluate(capsys, sim.url, "--retries", 0, "--limit", 2)
    assert done.status == 1
    assert re.search(r"nothing was answered: 2 status; the first: .*500", done.err), done.err


def test_a_dry_run_has_no_figures_to_tell_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "eval", "--tasks", "gsm8k", "--data-dir", "bundled", "--dry-run", "--as", "json")
    assert said == "--dry-run takes --as text, md, html, not json"
