"""The worked examples of docs/extending.md, run as they are written: an API, a reader, a view, a task, a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadstone import Config, plugins
from loadstone.evals.data import rows
from loadstone.evals.data.samples import SampleSelection, select_samples
from loadstone.evals.requests import build
from loadstone.records import Usage
from loadstone.samples import Sample
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Task
from support import servers
from support.documents import EXTENDING, commands, example, section
from support.servers import Sim

ROWS = [json.loads(line) for line in re.findall(r"^\{\"event.*", section("A benchmark"), re.MULTILINE)]
CASES = [json.loads(line) for line in re.findall(r"^\{\"answer.*", section("Extractors and scorers"), re.MULTILINE)]


@pytest.fixture
def sim() -> Iterator[Sim]:
    with Sim(ttft="0ms", itl="0ms") as server:
        yield server


def addressed(words: list[str], url: str) -> list[str]:
    """Return the words of a command with the address of a server in place of the document's."""
    return [url if word.startswith("http") else word for word in words]


def test_the_api(capsys: pytest.CaptureFixture[str], tmp_path: Path, sim: Sim) -> None:
    (tmp_path / "own.py").write_text(example("own.py"), "utf-8")
    (name,) = set(re.findall(r"--api own\.py:(\w+)", EXTENDING))
    for stream in ([], ["--no-stream"]):
        folder = tmp_path / f"run{len(stream)}"
        flags = ["--url", sim.url, "--api", f"{tmp_path / 'own.py'}:{name}", "-n", 4, "--output-len", 5, *stream]
        done = servers.loadstone(capsys, "run", *flags, "-o", folder)
        assert done.status == 0, done.err
        rows = servers.records(folder)
        assert [(row.error, row.usage) for row in rows] == [
            (None, Usage(row.usage.prompt, 5)) for row in rows if row.usage
        ]
        assert {row.streamed for row in rows} == {not stream}


@pytest.mark.clean_folder
def test_the_reader(capsys: pytest.CaptureFixture[str], sim: Sim) -> None:
    Path("paragraphs.py").write_text(example("paragraphs.py"), "utf-8")
    Path("questions.txt").write_text("Who are you?\nReally?\n\n\nWhere?\n\nWhy?\n\nWhen?\n", "utf-8")
    (words,) = commands(section("A dataset reader"))
    done = servers.loadstone(capsys, *addressed(words, sim.url), "-o", "run")
    assert done.status == 0, done.err
    assert [row.prompt for row in servers.records(Path("run"))] == [f"paragraph-{number}" for number in range(1, 5)]
    Path("questions.txt").write_text("Who?\n\nWh\0?\n", "utf-8")
    done = servers.loadstone(capsys, *addressed(words, sim.url), "-o", "empty")
    assert done.status == 2
    assert done.err == "loadstone: questions.txt, paragraph 2 contains a NUL; is this a text file?\n"


@pytest.mark.clean_folder
def test_the_view(capsys: pytest.CaptureFixture[str], sim: Sim) -> None:
    Path("oneline.py").write_text(example("oneline.py"), "utf-8")
    run, report = commands(section("A view"))
    first = servers.loadstone(capsys, *addressed(run, sim.url))
    assert re.fullmatch(r"20 of 20 succeeded, TTFT p99 (-|\d+ ms), (valid|suspect|invalid)\n", first.out), first.err
    assert servers.loadstone(capsys, *report).out == first.out


@pytest.mark.clean_folder
def test_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(example("mine.py"), "utf-8")
    Path("prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"What is {number} times 2?"}) + "\n" for number in range(8)), "utf-8"
    )
    (words,) = commands(section("A model"))[:1]
    for api in ("chat", "completions"):
        done = servers.loadstone(capsys, *words, "--api", api, "-o", api)
        assert done.status == 0, done.err
        assert "in this process, model mine.py:Arithmetic" in done.out
        assert [row.text for row in servers.records(Path(api))] == [str(2 * number) for number in range(8)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "years.py").write_text(example("years.py"), "utf-8")
    (tmp_path / "years").mkdir()
    for name, row in zip(("train", "test"), ROWS, strict=True):
        (tmp_path / "years" / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(of: Task, root: str) -> list[Sample]:
    docs, shots = (rows.load_rows(of.data, root, shots=shots).docs for shots in (False, True))
    return select_samples(of, "generation", docs, shots, SampleSelection())


@pytest.mark.usefixtures("folder")
def test_the_task_asks_what_it_says() -> None:
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = asked(of, ".")
    question = "In which year was {}? End with `Year: `.\n\nAnswer:"
    before = question.format("the fall of the Berlin Wall") + " Year: 1989\n\n"
    assert build.as_text(sample.ask) == before + question.format("the first moon landing")
    assert (sample.target, sample.cluster) == ("1969", "science")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_its_cases_score_as_labelled(case: dict[str, Any]) -> None:
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = asked(of, ".")
    assert of.generation is not None
    strict, flexible = of.generation.filters
    item = Sample(task="years", doc_id=0, doc={}, target=case["target"], ask=sample.ask)
    extracted = strict.extract(case["answer"], item)
    right = extracted is not None and strict.score(extracted, item)["exact_match"] == 1.0
    assert (extracted, right) == (case["extracted"], case["right"])
    assert flexible.extract("In 1989.", item) == "1989"


@pytest.mark.usefixtures("folder")
def test_its_scorer_is_found_by_file_and_counts_nearness() -> None:
    near = plugins.load_instance("loadstone.scorers", "years.py:near", {}, "--scorer")
    (of,) = catalogue.find(["years.py:BENCHMARK"]).tasks
    (sample,) = asked(of, ".")
    assert near("1972", sample) == {"exact_match": 0.0, "nearness": pytest.approx(0.7)}
    assert near("never", sample) == {"exact_match": 0.0, "nearness": 0.0}


def test_its_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = section("A benchmark") + section("Extractors and scorers")
    answers = folder / "answers.jsonl"
    answers.write_text(json.dumps({"question": ROWS[1]["event"], "answer": "Year: 1969"}) + "\n", "utf-8")
    with servers.Sim(answers=str(answers), ttft="0ms", itl="0ms") as sim:
        for words in commands(document):
            done = servers.loadstone(capsys, *[sim.url if word.startswith("http") else word for word in words])
            assert done.status == 0, done.err
    (results,) = (folder / "years-1").glob("results_*.json")
    told = json.loads(results.read_text("utf-8"))["results"]["years"]
    assert {name: told[name] for name in ("exact_match,strict", "nearness,strict", "exact_match,flexible")} == {
        "exact_match,strict": 1.0,
        "nearness,strict": 1.0,
        "exact_match,flexible": 1.0,
    }


@pytest.mark.clean_folder
def test_the_errors(tmp_path: Path, sim: Sim) -> None:
    Path("careful.py").write_text(example("careful.py"), "utf-8")
    run = plugins.load_object("loadstone.none", "careful.py:run", {}, "--none")
    Path("rows.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n', "utf-8")
    load: dict[str, Any] = {"requests": 2, "html": False, "scrape": False}
    assert run(Config(url=sim.url, dataset="rows.jsonl", **load)) == "correct line 2 of rows.jsonl"
    assert run(Config(url=sim.url, dataset="random", input_len="x", **load)) == "correct the setting input_len"
    assert run(Config(url=f"http://127.0.0.1:{servers.closed_port()}", **load)) == "start the server"
    assert run(Config(url=sim.url, output="run", **load)) == "2 requests succeeded"
