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

from loadstone.cli import sweep
from loadstone.cli.parser import parse
from loadstone.errors import UsageError
from loadstone.sweep import slo_probe
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
    options = parse(["sweep", *typed])
    settings = {name: value for name, value in vars(options).items() if name != "command"}
    return sweep.split(settings, getattr(options, "vary", ()), options.kinds)[1]


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
    ("--vary temperature=hot,cold", "--vary temperature: takes numbers, a list of them or"),
    ("-c 1,2 --vary concurrency=4", "--concurrency is given twice"),
    ("-c 1,2 --output-len 1,2,3 --zip", "--zip takes lists of one length"),
    ("-c 1,2 --grid --zip", "not allowed with argument"),
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
