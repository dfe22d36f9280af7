"""The output of commands: files, reports, views, help, and what an interrupted run keeps."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadstone.cli.main import main
from loadstone.version import __version__
from support import sentences as sentences
from support.run_files import PARTS
from support.servers import (
    PATIENCE,
    Sim,
    command,
    loadstone,
    posix,
    read_json,
    records,
    refused,
)

Capture = pytest.CaptureFixture[str]

HEAVY = ("numpy", "pandas", "aiohttp", "rich", "transformers", "uvloop", "httptools")

pytestmark = pytest.mark.clean_folder


def test_a_run_and_its_reports(sim: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 12, "-c", 3, "--warmup", 2, "-o", "run", "--as", "json")
    assert done.status == 0
    assert sorted(os.listdir("run")) == PARTS
    assert done.err == "loadstone: results are in run\n"
    assert done.out == Path("run/summary.json").read_text("utf-8")
    summary = json.loads(done.out)
    assert (summary["counts"]["expected"], summary["counts"]["succeeded"], summary["counts"]["warmup"]) == (12, 12, 2)
    assert summary["metrics"]["ttft"]["n"] == 12
    assert [row.phase for row in records(Path("run"))] == ["warmup"] * 2 + ["measure"] * 12
    assert len(Path("run/schedule.jsonl").read_bytes().splitlines()) == 14
    with open("run/requests.csv", encoding="utf-8", newline="") as file:
        assert sorted(int(row["index"]) for row in csv.DictReader(file)) == list(range(14))
    run = read_json(Path("run/run.json"))
    assert (run["ended"], run["model"], run["config"]["warmup"]) == ("done", "sim", 2)
    assert loadstone(capsys, "report", "run", "--as", "json").out == done.out
    assert loadstone(capsys, "report", "run", "--as", "csv").out == Path("run/summary.csv").read_text("utf-8")
    alone = json.loads(loadstone(capsys, "report", "run/records.jsonl", "--as", "json").out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("run/records.jsonl").read_bytes())))
    piped = json.loads(loadstone(capsys, "report", "-", "--as", "json").out)
    for part in ("metrics", "rates", "duration"):
        assert alone[part] == piped[part] == summary[part]
    assert alone["verdict"]["status"] != "valid"
    assert "client not known" in [doubt["what"] for doubt in alone["verdict"]["doubts"]]


VIEWS = {
    "text": "Distributions of successful requests",
    "classic": "Expected number of requests",
    "md": "| --- |",
    "csv": "window,metric,unit,n,mean",
    "json": '"format": 1',
    "html": "<!doctype html>",
}


@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str, sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 4, "-o", "run", "--as", view)
    assert done.status == 0
    assert VIEWS[view] in done.out
    assert "\x1b" not in done.out + done.err
    assert loadstone(capsys, "report", "run", "--as", view).out == done.out


def test_a_web_page_of_records_from_a_pipe_and_into_a_file(
    sim: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 4, "-o", "run", "--no-html", "--as", "html")
    assert not Path("run/report.html").exists()
    assert "<figure" not in done.out
    assert loadstone(capsys, "report", "run", "--as", "html", "-o", "page.html").out == ""
    assert Path("page.html").read_text("utf-8").count("<figure") == 9
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("run/records.jsonl").read_bytes())))
    assert loadstone(capsys, "report", "-", "--as", "html").out.count("<figure") == 9
    again = loadstone(capsys, "report", "run", "--as", "html", "-o", "page.html")
    assert (again.status, again.err.count("\n")) == (2, 1)


def test_a_view_of_ones_own(sim: Sim, capsys: Capture) -> None:
    Path("mine.py").write_text("def short(summary):\n    return f'{summary.counts.succeeded} good\\n'\n", "utf-8")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "--as", "mine.py:short")
    assert done.out == "3 good\n"


def test_text_is_the_view_of_default(sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "--label", "first try")
    assert done.status == 0
    (folder,) = Path("reports").iterdir()
    assert folder.name.endswith("-first-try")
    assert done.err == f"loadstone: results are in {folder}\n"
    assert done.out == loadstone(capsys, "report", folder, "--as", "text").out
    assert "Check: " in done.out


def test_a_report_into_a_file_overwrites_nothing(sim: Sim, capsys: Capture) -> None:
    loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run")
    done = loadstone(capsys, "report", "run", "--as", "md", "-o", "report.md")
    assert (done.status, done.out) == (0, "")
    written = Path("report.md").read_bytes()
    assert written.decode() == loadstone(capsys, "report", "run", "--as", "md").out
    said = refused(capsys, "report", "run", "-o", "report.md")
    assert sentences.same("cannot write report.md: …; give another file with -o", said)
    assert Path("report.md").read_bytes() == written
    assert loadstone(capsys, "report", "run", "--as", "csv", "-o", "-").out.startswith("window,")


def test_goodput_of_a_run_and_of_a_report(sim: Sim, capsys: Capture) -> None:
    flags = ("--goodput", "ttft:10s", "latency:1us")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run", "--as", "json", *flags)
    assert json.loads(done.out)["rates"]["attainment"] == 0
    done = loadstone(capsys, "report", "run", "--as", "json", "--goodput", "ttft:10s")
    assert json.loads(done.out)["rates"]["attainment"] == 1


def test_check_of_a_run(sim: Sim, capsys: Capture) -> None:
    loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run")
    shutil.copytree("run", "killed")
    run = read_json(Path("run/run.json"))
    Path("killed/run.json").write_text(json.dumps({k: v for k, v in run.items() if k != "ended"}), "utf-8")
    done = loadstone(capsys, "check", "killed")
    assert done.status == 1
    assert done.out.splitlines()[0] in ("suspect", "invalid")  # invalid on a machine that is busy with other things
    assert "suspect: no end: the run has no end (limit an end): the run was killed" in done.out
    assert "sample size: 3 successes" in done.out


def test_nobody_reads_the_output(sim: Sim) -> None:
    """As in `loadstone report run | head -1`."""
    assert main(["run", "--url", sim.url, "-n", "3", "-o", "run", "--quiet"]) == 0
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "wb") as out:
        done = subprocess.run(
            command("report", "run"), stdout=out, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert done.stderr == b""


def test_list_and_version(capsys: Capture) -> None:
    done = loadstone(capsys, "list")
    assert done.status == 0
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [
        "apis",
        "readers",
        "views",
        "datasets",
        "tasks",
    ]
    assert "chat, completions" in done.out
    assert (
        loadstone(capsys, "list", "views").out
        == "views: classic, csv, html, json, junit, md, parquet, text, vllm, vllm-sweep\n"
    )
    assert loadstone(capsys, "list", "datasets").out.startswith("datasets: chat-small")
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"loadstone {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["serve", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, loadstone.__main__ as m\n"
        "try:\n    m.main()\n"
        "except SystemExit as exc:\n"
        f"    print(exc.code, [n for n in {HEAVY} if n in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stderr == "0 []\n"
    assert "loadstone" in done.stdout.partition("\n")[0]


@posix
def test_a_killed_run_keeps_what_had_ended(capsys: Capture) -> None:
    """All but what ended in the last quarter of a second, which may not have been on its way to the file yet."""
    with Sim(ttft="10ms", itl="2ms") as server:
        load = ("--url", server.url, "-n", 100_000, "-c", 4, "-o", "run", "--quiet")
        with subprocess.Popen(
            command("run", "--no-scrape", *load), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            until = time.monotonic() + PATIENCE
            while len(server.truth) < 100 and time.monotonic() < until:
                time.sleep(0.01)
            killed = time.monotonic_ns()
            run.send_signal(signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL
        ended = [row["end"] for row in server.truth if row["end"] is not None]
    rows = records(Path("run"))
    assert sum(end < killed - 250_000_000 for end in ended) <= len(rows) <= len(ended)
    assert len(rows) > 20
    assert all(row.error is None and row.usage and row.usage.completion == 6 for row in rows)
    done = loadstone(capsys, "report", "run", "--as", "json")
    assert done.status == 0
    summary = json.loads(done.out)
    assert summary["counts"]["succeeded"] == len(rows)
    assert summary["verdict"]["status"] != "valid"
    assert "no end" in [doubt["what"] for doubt in summary["verdict"]["doubts"]]
    assert "Check: " in loadstone(capsys, "report", "run").out


def test_a_run_of_which_everything_was_taken_back_says_so(sim: Sim, capsys: Capture) -> None:
    flags = ("--cancel-share", 1, "--cancel-after", "1ms", "-o", "run", "--quiet")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, *flags)
    assert done.status == 1
    assert "no request succeeded; each was cancelled: give a lower --cancel-share" in done.err
