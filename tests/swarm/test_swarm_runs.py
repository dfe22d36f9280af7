"""A swarm as it is run: a master and workers of Locust, each a process of its own, against the simulated server.

Locust patches the process that imports it, so none of it is imported here. These tests take some seconds each, nearly
all of them Locust's own waits.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from loadstone.engine import run_folder
from loadstone.swarm.command import LOCUSTFILE
from support.servers import Sim, clean, closed_port, read_json, records

pytestmark = [
    pytest.mark.skipif(find_spec("locust") is None, reason="needs Locust: pip install 'loadstone[locust]'"),
    pytest.mark.skipif(os.name != "posix", reason="processes are ended by signals"),
]
PATIENCE = 90.0
LOADSTONE = [sys.executable, "-m", "loadstone", "swarm"]
LOCUST = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]


class Swarm:
    """The processes of one test, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = closed_port()
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            cwd=self.folder,
        )
        self.processes.append(process)
        return process

    def worker(self, number: int) -> subprocess.Popen[str]:
        where = ("--master-host", "127.0.0.1", "--master-port", self.port)
        return self.start(*LOADSTONE, "worker", *where, "--processes", 1, "--spool", f"spool{number}")

    def master(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", self.port)
        return self.start(*LOADSTONE, "master", *bind, "--headless", "--only-summary", *words, **environment)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swarm]:
    clean(monkeypatch, tmp_path)
    made = Swarm(tmp_path)
    yield made
    made.close()


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE)[0]


def total(path: Path) -> dict[str, str]:
    with path.open() as file:
        return next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")


def test_totals_are_the_servers(swarm: Swarm) -> None:
    with Sim() as server:
        workers = [swarm.worker(number) for number in range(2)]
        master = swarm.master(
            *("--url", server.url, "-n", 60, "-c", 6, "--expect-workers", 2, "-o", "run", "--csv", "live")
        )
        out = said(master)
        assert master.returncode == 0, out
        assert "succeeded           60" in out
        assert [worker.wait(PATIENCE) for worker in workers] == [0, 0]
        assert len(server.truth) == 60
    run, found = read_json(swarm.folder / "run" / "run.json"), records(swarm.folder / "run")
    assert [record.index for record in found] == list(range(60))
    assert {record.worker for record in found} == {0, 1}
    assert "lost" not in run
    assert run["ended"] == "done"
    assert run["config"]["concurrency"] == 6
    tallies = read_json(swarm.folder / "run" / "summary.json")["server"]["tallies"]
    assert (tallies[0]["client"], tallies[0]["server"]) == (60, 60)
    assert [client["worker"] for client in run["workers"]] == [0, 1]
    for clock in run["clocks"]:  # one machine has one clock
        assert abs(clock["offset"]) <= clock["error"]
    again = run_folder.RunFolder(swarm.folder / "again")
    again.write_json(run_folder.RUN, run_folder.load_run(swarm.folder / "run"))
    assert read_json(swarm.folder / "again" / "run.json") == run
    assert total(swarm.folder / "live_stats.csv")["Request Count"] == "60"
    assert list(swarm.folder.glob("spool*/*")) == []


def test_the_plain_way_of_locust_and_a_machine_that_is_lost(swarm: Swarm) -> None:
    """As an operator of Kubernetes starts it; a worker and its process are gone without a word in mid-run."""
    (swarm.folder / "run.toml").write_text('rate = 50.0\nduration = "5s"\ngrace = 1.0\noutput = "run"\n')
    with Sim() as server:
        told = {"LOADSTONE_CONFIG": "run.toml", "LOADSTONE_SILENCE": "3s"}
        bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", swarm.port, "--host", server.url)
        master = swarm.start(*LOCUST, "--master", *bind, "--headless", "--expect-workers", 2, **told)
        where = ("--master-host", "127.0.0.1", "--master-port", swarm.port)
        for number in range(2):
            one = {"LOADSTONE_PROCESSES": "1", "LOADSTONE_SPOOL": f"spool{number}"}
            victim = swarm.start(*LOCUST, "--worker", *where, **one)
        until(lambda: len(server.server.truth) >= 60)
        victim.send_signal(signal.SIGKILL)
        out = said(master)
        assert master.returncode == 1, out
    summary, run = read_json(swarm.folder / "run" / "summary.json"), read_json(swarm.folder / "run" / "run.json")
    assert summary["verdict"]["status"] == "invalid"
    (sentence,) = run["lost"]
    assert "was lost: last heard of at" in sentence
    assert sentence in [doubt["measured"] for doubt in summary["verdict"]["doubts"]]
    found = records(swarm.folder / "run")
    assert [record.index for record in found] == list(range(250))
    lost = {record.index for record in found if record.error is not None and record.error.kind == "stopped"}
    assert lost
    assert len({record.index % 2 for record in found if record.index in lost}) == 1, "its share and no other"
    spooled = sum(path.read_bytes().count(b"\n") for path in swarm.folder.glob("spool*/*.jsonl"))
    assert spooled + len(lost) >= 125


def until(true: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_that_is_not_fit_is_refused_in_one_sentence(swarm: Swarm) -> None:
    swarm.worker(0)
    master = swarm.master("--url", f"http://127.0.0.1:{closed_port()}", "-n", 5, "--expect-workers", 1, "-o", "run")
    out = said(master)
    assert master.returncode == 2, out
    assert "Traceback" not in out
    assert "cannot connect" in out or "refused" in out
    assert not (swarm.folder / "run").exists()


def test_on_its_own_locust_is_told_what_to_type(swarm: Swarm) -> None:
    alone = swarm.start(*LOCUST, "--headless", "-u", 1)
    out = said(alone)
    assert alone.returncode == 2, out
    assert "a swarm needs a master and workers" in out


def form(port: int, **fields: object) -> dict[str, Any]:
    """What Locust's web interface answers to a form that starts a run."""
    data = urllib.parse.urlencode({"user_count": 1, "spawn_rate": 1, **fields}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/swarm", data, PATIENCE) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def listening(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0


@pytest.mark.parametrize("opened", [False, True], ids=["default", "--web-host"])
def test_the_web_interface_gives_no_key_away(opened: bool, swarm: Swarm) -> None:
    """It is only for this machine, or the master says so; and it starts runs against the plan's server alone."""
    port, key = closed_port(), {"OPENAI_API_KEY": "sk-of-the-plan"}
    with Sim() as ours, Sim() as others:
        bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", swarm.port, "--web-port", port)
        flags = ("--web-host", "0.0.0.0") if opened else ()
        words = ("--url", ours.url, "-n", 4, "-c", 1, "-o", "run", "--no-scrape", "--no-html")
        master = swarm.start(*LOADSTONE, "master", *bind, *flags, *words, **key)
        where = ("--master-host", "127.0.0.1", "--master-port", swarm.port, "--processes", 1)
        swarm.start(*LOADSTONE, "worker", *where, **key)
        until(lambda: listening(port))
        assert listening(port, "127.0.0.2") is opened
        for host in (others.url, f"{ours.url}/elsewhere", others.url + "/"):
            said_so = form(port, host=host)
            assert not said_so["success"]
            assert "is not the server of this plan" in said_so["message"]
        time.sleep(0.5)
        assert not (swarm.folder / "run").exists()
        stats = f"http://127.0.0.1:{port}/stats/requests"
        until(lambda: len(json.loads(urllib.request.urlopen(stats, timeout=PATIENCE).read())["workers"]) == 1)
        assert form(port, host=ours.url)["success"]
        until((swarm.folder / "run" / "summary.json").exists)
        assert len(ours.truth) == 4
        assert others.truth == []
    master.terminate()
    out = said(master)
    assert ("the web interface listens on 0.0.0.0" in out) is opened
    assert "Traceback" not in out
