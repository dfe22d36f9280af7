"""`loadstone sweep` as a command: what is typed, what is written and said, what is refused, Ctrl-C and going on."""

from __future__ import annotations

import csv
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from loadstone.cli.parser import parse
from loadstone.cli.schema import schema_of
from loadstone.config import files
from loadstone.errors import UsageError
from loadstone.sweep import slo_probe
from loadstone.sweep.settings import load_sweep
from support.paths import ROOT
from support.servers import PATIENCE, Sim, closed_port, command, loadstone, posix, read_json, refused

Capture = pytest.CaptureFixture[str]
DOCUMENT = ROOT / "docs" / "sweeps.md"


pytestmark = pytest.mark.clean_folder


@pytest.fixture
def sim() -> Iterator[Sim]:
    with Sim() as server:
        yield server


def rows(folder: str = "sweep") -> list[dict[str, str]]:
    with Path(folder, "sweep.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lists(*typed: str) -> dict[str, list[object]]:
    """The lists that a command line gives."""
    return load_sweep(vars(parse(["sweep", *typed])))[1]


TYPED: list[tuple[str, dict[str, list[object]]]] = [
    ("-c 1,2 --output-len 8,16", {"concurrency": [1, 2], "output_len": [8, 16]}),
    ("--output-len 8,16 -c 1,2", {"output_len": [8, 16], "concurrency": [1, 2]}),
    ("--rate 1..4x2", {"rate": [1.0, 2.0, 4.0]}),
    ("--timeout 1s,2m", {"timeout": [1.0, 120.0]}),
    ("--transport wire,aiohttp", {"transport": ["wire", "aiohttp"]}),
    ("--input-len uniform(1,9),64", {"input_len": ["uniform(1,9)", 64]}),
    ("--workers auto,2", {"workers": ["auto", 2]}),
    ("-c 8 --vary temperature=0,0.5", {"temperature": [0.0, 0.5]}),
    ("--vary dataset=a,b --vary shuffle=on,off", {"dataset": ["a", "b"], "shuffle": [True, False]}),
    ("--vary n-choices=1,2", {"choices": [1, 2]}),
    ("--vary extra-body={},{\"a\":1}", {"extra_body": [{}, {"a": 1}]}),
    ("--vary stages=30s@2,60s@4;30s@8", {"stages": ["30s@2,60s@4", "30s@8"]}),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "expected"), TYPED, ids=[typed for typed, _ in TYPED])
def test_lists_are_typed(typed: str, expected: dict[str, list[object]]) -> None:
    found = lists(*typed.split(" "))
    assert found == expected
    assert list(found) == list(expected)


REFUSED = [
    ("--vary foo=1,2", "--vary takes a flag of `loadstone run` that points can differ in, not 'foo'"),
    ("--vary output=a,b", "--vary takes a flag of `loadstone run` that points can differ in, not 'output'"),
    ("--vary temperature", "--vary takes FLAG=VALUE,VALUE such as temperature=0,1, not 'temperature'"),
    ("--vary temperature=hot,cold", "--vary temperature: takes a number, not 'hot'"),
    ("-c 1,2 --vary concurrency=4", "--concurrency is given twice"),
    ("-c 1,2 --output-len 1,2,3 --zip", "--zip takes lists of one length"),
    ("-c 1,2 --grid --zip", "--grid and --zip exclude each other"),
    ("-c 1,x", "takes a whole number, not 'x'"),
    ("-c 1,2 --as pdf", "--as takes text, md, html, csv, json, junit for a sweep, not 'pdf'"),
    ("-c 0,1", "at concurrency 0: --concurrency takes 1 or more, not 0"),
    ("-c 1,2 --dataset -", "--dataset - can be read once"),
    ("-c 1,2 --auto", "--auto finds its own loads"),
    ("--slo ttft.p99", "--slo takes METRIC.STATISTIC"),
]


@pytest.mark.parametrize(("typed", "said"), REFUSED, ids=[typed for typed, _ in REFUSED])
def test_what_is_typed_wrong(capsys: Capture, typed: str, said: str) -> None:
    assert said in refused(capsys, "sweep", "--url", "http://127.0.0.1:1", *shlex.split(typed))
    assert list(Path().iterdir()) == []


def test_a_sweep_of_a_server(capsys: Capture, sim: Sim) -> None:
    flags = ("-c", "1,2", "--output-len", "2,4", "-n", 6, "-o", "sweep", "--quiet")
    done = loadstone(capsys, "sweep", "--url", sim.url, *flags)
    assert done.status == 0, done.err
    assert "concurrency 2, output-len 4" in done.out
    assert "results are in sweep" in done.err
    assert [(row["concurrency"], row["output-len"], row["status"]) for row in rows()] == [
        ("1", "2", "done"), ("1", "4", "done"), ("2", "2", "done"), ("2", "4", "done"),
    ]  # fmt: skip
    assert {path.name for path in Path("sweep").iterdir() if path.is_file()} == {
        "sweep.json", "sweep.csv", "report.html", "report.md",
    }  # fmt: skip
    assert len(sim.truth) == 24
    again = loadstone(capsys, "report", "sweep")
    assert again.out == done.out
    assert loadstone(capsys, "report", "sweep", "--as", "csv").out == Path("sweep/sweep.csv").read_text("utf-8")
    assert loadstone(capsys, "report", "sweep", "--as", "md").out == Path("sweep/report.md").read_text("utf-8")


def test_lists_in_a_configuration_file(capsys: Capture, sim: Sim) -> None:
    Path("c.toml").write_text(f'url = "{sim.url}"\nconcurrency = [1, 2]\nrequests = 4\noutput-len = 2\n')
    done = loadstone(capsys, "sweep", "--config", "c.toml", "-o", "sweep", "--no-html", "--quiet", "--as", "json")
    assert done.status == 0, done.err
    assert [row["concurrency"] for row in rows()] == ["1", "2"]


FILE: list[tuple[str, str, dict[str, object], dict[str, list[object]]]] = [
    ("a list", "concurrency: [1, 2]\ngpus: 4", {"gpus": 4}, {"concurrency": [1, 2]}),
    ("a list of one value", "rate: [3]", {}, {"rate": [3.0]}),
    ("a text as typed", "concurrency: 1..4x2\ntimeout: 1s,2m", {}, {"concurrency": [1, 2, 4], "timeout": [1.0, 120.0]}),
    ("one value", "concurrency: 8\ninput-len: normal(512,128)", {"concurrency": 8}, {}),
    ("a list as a value", "stop: [a, b]", {"stop": ["a", "b"]}, {}),
    ("vary", "vary: {n-choices: [1, 2], stop: [[a], [b]]}", {}, {"choices": [1, 2], "stop": [["a"], ["b"]]}),
    ("vary as typed", "vary: ['temperature=0,0.5']", {}, {"temperature": [0.0, 0.5]}),
    ("lists together", "zip: true\nrepeat: 2\nrest: 2s", {"zip": True, "repeat": 2, "rest": 2.0}, {}),
    ("a search", "slo: ttft.p99<1s\nsearch: rate\nwithin: 5%", {"slo": "ttft.p99<1s", "within": 0.05}, {}),
]


@pytest.mark.parametrize(("text", "values", "expected"), [case[1:] for case in FILE], ids=[case[0] for case in FILE])
def test_settings_of_a_sweep_in_a_file(text: str, values: dict[str, object], expected: dict[str, list[object]]) -> None:
    Path("sweep.yaml").write_text(text, "utf-8")
    Draft202012Validator(schema_of("sweep")).validate(files.read(Path("sweep.yaml")))
    config, found = load_sweep({"config": "sweep.yaml"})
    assert found == expected
    assert {name: getattr(config, name) for name in values} == values


def test_flags_take_precedence_over_lists_of_a_file() -> None:
    Path("sweep.yaml").write_text("concurrency: [1, 2]\nvary: {temperature: [0, 1]}\nseed: 3\n", "utf-8")
    assert lists("--config", "sweep.yaml", "-c", "8") == {"temperature": [0.0, 1.0]}
    assert lists("--config", "sweep.yaml", "--temperature", "0.5") == {"concurrency": [1, 2]}
    assert lists("--config", "sweep.yaml", "--vary", "seed=1,2") == {"concurrency": [1, 2], "seed": [1, 2]}


FILE_REFUSED = [
    ("concurrency: [1, many]", "sweep.yaml, line 1: --concurrency takes a whole number, not 'many'"),
    ("seed: 1\nconcurrency: 1,many", "sweep.yaml, line 2: --concurrency takes a whole number, not 'many'"),
    ("wihtin: 5%", "sweep.yaml, line 1: `sweep` has no setting 'wihtin' (did you mean within?)"),
    ("within: 5%", "sweep.yaml, line 1: --within needs --slo or --auto"),
    ("repeat: often", "sweep.yaml, line 1: --repeat takes a whole number, not 'often'"),
    ("vary: {speeed: [1]}", "sweep.yaml, line 1: --vary takes a flag of `loadstone run`"),
    ("seed: 1\nvary: {seed: [1, 2]}", "sweep.yaml, line 1: --seed is given twice"),
]


@pytest.mark.parametrize(("text", "said"), FILE_REFUSED, ids=[text for text, _ in FILE_REFUSED])
def test_what_is_wrong_in_a_file(capsys: Capture, text: str, said: str) -> None:
    Path("sweep.yaml").write_text(text, "utf-8")
    assert said in refused(capsys, "sweep", "--url", "http://127.0.0.1:1", "--config", "sweep.yaml")


def test_a_sweep_from_a_saved_run(capsys: Capture, sim: Sim) -> None:
    load = ("-n", 4, "-c", 2, "--output-len", 3, "--stop", "a", "b", "--temperature", 0.5, "-o", "run", "--no-html")
    assert loadstone(capsys, "run", "--url", sim.url, *load, "--quiet").status == 0
    flags = ("--config", "run/run.json", "-c", "1,3", "-o", "sweep", "--quiet")
    done = loadstone(capsys, "sweep", *flags)
    assert done.status == 0, done.err
    assert [(row["concurrency"], row["completed"]) for row in rows()] == [("1", "4"), ("3", "4")]
    config = read_json(Path("sweep/sweep.json"))["config"]
    assert (config["output_len"], config["stop"], config["temperature"]) == (3, ["a", "b"], 0.5)


def test_a_search_that_nothing_meets(capsys: Capture, sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        slo_probe, "client_faults", lambda summary: []
    )  # how fit it is depends on who else uses the machine
    goal = ("--slo", "ttft.p50<1us", "--search", "concurrency")
    arguments = (*goal, "-n", 40, "--output-len", 2, "-o", "sweep", "--quiet", "--no-html")
    done = loadstone(capsys, "sweep", "--url", sim.url, *arguments)
    assert done.status == 1
    assert "no load that was tried meets them, down to 1 request in flight" in " ".join(done.out.split()).lower()
    assert "the objectives are not met: not even 1 was met" in done.err
    found = read_json(Path("sweep/search.json"))
    assert found["outcomes"][0]["answer"]["low"] is None
    assert [probe["call"] for probe in found["outcomes"][0]["probes"]] == ["missed"]
    assert read_json(Path("sweep/sweep.json"))["rule"]["slo"] == "ttft.p50<1us"
    assert loadstone(capsys, "report", "sweep").out == done.out


def test_a_search_that_everything_meets(capsys: Capture, sim: Sim) -> None:
    goal = ("--slo", "ttft.p50<5s error_rate<20%", "--search", "concurrency")
    flags = (*goal, "--at-most", 2, "-n", 60, "--output-len", 2)
    done = loadstone(capsys, "sweep", "--url", sim.url, *flags, "-o", "sweep", "--quiet", "--no-html")
    assert done.status == 0, done.err
    assert "they are met at 2 requests in flight" in " ".join(done.out.split()).lower()
    assert "2 is the highest load tried" in done.out


def test_a_server_that_is_not_there(capsys: Capture) -> None:
    done = loadstone(capsys, "sweep", "--url", f"http://127.0.0.1:{closed_port()}", "-c", "1,2", "-o", "sweep")
    assert done.status == 2
    assert "connection refused" in done.err
    assert not Path("sweep").exists()


@posix
def test_ctrl_c_and_going_on(capsys: Capture) -> None:
    """In a process of its own: the second point, of four seconds, is cut short, and made again by a faster server."""
    with Sim(ttft="5ms", itl="80ms", default_tokens=5) as sim:
        load = ("-c", "4,1", "-n", 12, "-o", "sweep", "--no-html", "--quiet", "--as", "csv")
        line, written = ("sweep", "--url", sim.url, *load), Path("sweep/concurrency-1/records.jsonl")
        with subprocess.Popen(command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            until = time.monotonic() + PATIENCE
            while not (written.exists() and written.stat().st_size) and time.monotonic() < until:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, error
        assert "interrupted: the same command with -o sweep goes on" in error
        assert [row["status"] for row in rows()] == ["done", "not run"]
        assert Path("sweep/concurrency-1/summary.json").exists()
        sim.replace()
        assert loadstone(capsys, *line).status == 0
    assert [row["status"] for row in rows()] == ["done", "done"]
    assert [row["completed"] for row in rows()] == ["12", "12"]
    assert Path("sweep/unfinished/concurrency-1-1/run.json").exists()


def test_the_commands_of_the_document_run(capsys: Capture) -> None:
    commands = re.findall(r"^\$ loadstone (.*)$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 4
    with Sim() as sim:
        for line in commands:
            short = ["--no-html", "--quiet"] if line.startswith("sweep") else []
            done = loadstone(capsys, *shlex.split(line.replace("http://127.0.0.1:8000", sim.url)), *short)
            assert done.status == 0, f"{line}: {done.err}"


def test_a_plain_value_is_no_list() -> None:
    assert lists("-c", "8", "--rate", "2") == {}
    with pytest.raises(UsageError, match="is not a range of numbers"):
        lists("--vary", "arrivals=a..b+1")
