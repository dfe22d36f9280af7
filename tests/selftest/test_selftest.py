"""`loadstone selftest`: from the command to what is saved, what it refuses, and that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.host import ceiling_file, machine
from loadstone.host import limits as room
from loadstone.host.ceiling import load_ceiling
from loadstone.records import Failure, FailureCause, Record
from loadstone.selftest import processes, streams, timing
from loadstone.selftest import run as selftest
from loadstone.selftest.processes import CoreSplit
from loadstone.selftest.timing import FULL, QUICK, Pace
from support.servers import PATIENCE, Sim, closed_port, command, loadstone, posix, refused, scripted

TINY = msgspec.structs.replace(QUICK, probe=0.3, stair=0.3, ramp=0.2, hold=0.5, asking=0.5, opening=0.2, streams=40)
MS = 1_000_000


pytestmark = pytest.mark.clean_folder


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "ceiling.json"))
    monkeypatch.setattr(selftest, "PROBES", (4, 8))


def test_the_whole_way_against_a_server_that_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timing, "QUICK", TINY)
    monkeypatch.setattr(selftest, "HOLD", 0.5)
    monkeypatch.setattr("loadstone.selftest.ceiling_search.STAIRS", (0.1, 0.2))
    with Sim(ttft="10ms", itl="10ms") as sim:
        done = loadstone(capsys, "selftest", "--quick", "--url", sim.url, "--as", "json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert [level["share"] for level in found["levels"]] == [0.1, 0.5, 0.8, 0.95]
    assert all(level["errors"]["gaps"] > 0 for level in found["levels"])
    assert found["events"]["value"] > 0
    assert found["requests"]["value"] > 0
    assert found["streams"]["value"] > 0
    assert found["server"] == sim.url
    saved, wrong = ceiling_file.saved_ceilings()
    assert wrong is None
    assert msgspec.to_builtins(saved[0]) == found
    assert load_ceiling(Config()) == saved[0].figures()
    for part in ("an easy load", "ceiling:", "at 95%", "one-token answers", "streams open at once", "saved in"):
        assert part in done.err


@pytest.mark.parametrize(("planned", "run", "most"), [(QUICK, 1.3, 30), (FULL, 4.0, 180)], ids=["quick", "full"])
def test_it_fits_into_its_time(planned: Pace, run: float, most: float) -> None:
    """`run`: seconds for a run to begin and to end; on the machine of docs/selftest.md it takes two thirds of them."""
    assert planned.seconds + planned.runs * run < most


def test_a_server_that_keeps_no_truth_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(lambda _: (404, "{}")) as url:
        said = refused(capsys, "selftest", "--url", url)
    assert said == f"{url} has no /truth (HTTP 404): selftest needs `loadstone serve` there, not another server"


def test_a_truth_of_another_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(lambda _: (200, '{"truth": 42}\n')) as url:
        said = refused(capsys, "selftest", "--url", url)
    assert said.startswith(f"{url}/truth is text/plain, not the application/x-ndjson of a `loadstone serve`")


def test_a_truth_of_another_version_is_refused() -> None:
    with pytest.raises(UsageError, match=r"http://a/truth is not that of a `loadstone serve` of this version: "):
        processes.decode_truth("http://a", b'{"received": "yesterday"}\n')


def test_a_server_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    said = refused(capsys, "selftest", "--quick", "--url", url)
    assert said.startswith(f"no answer from {url}: ")
    assert said.endswith("; selftest needs `loadstone serve` there")


@pytest.mark.parametrize("url", ["http://", "http://[::1"])
def test_what_is_no_url_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert refused(capsys, "selftest", "--url", url).startswith(f"no answer from {url}: ")


@pytest.mark.parametrize("url", ["nonsense", "unix:/nowhere", "https://localhost"])
def test_what_is_no_plain_http_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    """A ceiling found over TLS would be taken for one of this machine over plain HTTP."""
    assert refused(capsys, "selftest", "--url", url).startswith(f"{url} is no plain http:// address")


@pytest.mark.parametrize("flags", [("--transport", "pigeon"), ("--as", "html"), ("--quickly",), ("x",)])
def test_flags_that_it_does_not_have(capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]) -> None:
    assert "see loadstone" in refused(capsys, "selftest", *flags)


def test_one_core_is_not_enough_for_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(processes, "allowed_cores", lambda: [0])
    assert "give --url of a `loadstone serve` on a second machine" in refused(capsys, "selftest")


def test_where_cores_cannot_be_chosen_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "allowed_cores", lambda: None)
    assert processes.split_cores() == CoreSplit(None, None)
    assert selftest.describe_cores(CoreSplit(None, None)) == "not pinned: this system cannot"


def test_a_place_to_keep_it_is_looked_for_first(capsys: pytest.CaptureFixture[str]) -> None:
    machine.ceiling_path().mkdir()
    assert refused(capsys, "selftest").startswith(f"cannot write {machine.ceiling_path()}: ")


def test_a_run_that_fails_says_why() -> None:
    with Sim() as sim, pytest.raises(UsageError, match=r"a run of the self-test failed: .*--stages takes"):
        processes.run_client([processes.check_server(sim.url)], None, 0.1, "--stages", "never")


def test_a_run_takes_along_what_the_server_knows_of_it_alone() -> None:
    with Sim() as sim:
        server = processes.check_server(sim.url)
        for _ in range(2):
            trial = processes.run_client([server], None, 0.1, "-c", "2", "-n", "6", "--request-id", "t")
    assert sorted(row.request_id or "" for row in trial.truth) == [f"t{index}" for index in range(6)]
    assert len(trial.records) == 6
    assert trial.verdict["status"] in ("valid", "suspect", "invalid")


# streams


def record(first: int | None, end: int, error: Failure | None = None) -> Record:
    begun = None if first is None else first * MS
    return Record(index=0, prompt="p", scheduled=0, first=begun, end=end * MS, error=error)


def test_streams_that_are_open_have_begun_and_not_ended() -> None:
    records = [record(10, 500), record(10, 90), record(200, 500), record(None, 500)]
    assert streams.count_open(records, 0.1) == 1


REFUSED = Failure(FailureCause.CONNECT, "too many open files")


@pytest.mark.parametrize(
    ("opened", "records", "limits", "limit", "lower"),
    [
        (40, [], {"open files": 800, "ports": 300}, "more was not tried; ports would end it at 300", True),
        (40, [], {"open files": None}, "more was not tried", True),
        (38, [], {}, "40 were asked for, and did not begin in time", True),
        (38, [record(None, 1, REFUSED)] * 2, {}, "2 failed: too many open files", False),
        (40, [record(1, 9, Failure(FailureCause.STOPPED, "x"))], {}, "more was not tried", True),
    ],
)
def test_what_kept_streams_from_being_more(
    opened: int, records: list[Record], limits: dict[str, int | None], limit: str, lower: bool
) -> None:
    bound = streams.stream_ceiling(opened, 40, records, limits)
    assert (bound.value, bound.limit, bound.lower) == (opened, limit, lower)


def test_room_on_this_machine() -> None:
    for limit in (room.by_open_files(), room.by_ports(2), room.by_memory(1.0)):
        assert limit is None or limit > 0
    assert room.by_memory(0.0) is None
    assert room.smallest({"a": 5, "b": 3, "c": None}) == ("b", 3)
    assert room.smallest({"c": None}) is None


# the end


def children(pid: int) -> set[int]:
    """Processes that `pid` has started and that are still there."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [(int(child), int(parent)) for child, parent in (line.split() for line in told.splitlines())]
    return {child for child, parent in pairs if parent == pid}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@posix
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0, 1])(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"], ids=["ctrl-c", "sigterm", "terminal closed"])
def test_an_interrupt_leaves_nobody_behind(name: str, tmp_path: Path) -> None:
    with Path("said").open("wb") as said:
        process = subprocess.Popen(command("selftest", "--quick"), stdout=subprocess.PIPE, stderr=said)
    with process:
        try:
            until = time.monotonic() + PATIENCE
            while len(started := children(process.pid)) < 2:  # server and client
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(getattr(signal, name))
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == b""
    assert "Traceback" not in Path("said").read_text("utf-8")
    assert not [pid for pid in started if alive(pid)]
    assert not (tmp_path / "ceiling.json").exists()


@posix
def test_what_is_ignored_stays_so() -> None:
    """As under nohup."""
    before = {number: signal.getsignal(number) for number in processes._END_SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        processes.interrupt_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        with processes.defer_interrupts():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@posix
def test_an_interrupt_in_the_middle_of_a_start_waits_for_its_end() -> None:
    done: list[str] = []

    def start() -> None:
        with processes.defer_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("started")
        done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_help_names_the_second_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loadstone(capsys, "selftest", "--help")
    said: Any = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "loadstone serve --ttft 10ms --itl 10ms" in said
