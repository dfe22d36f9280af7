"""Test several processes in one run: the same requests as of one, and what is left when one or the parent dies."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadstone.engine.worker_messages import StartSignal, encode_frame
from loadstone.records import Record
from support.servers import PATIENCE, Sim, command, loadstone, read_json, records, refused

if sys.platform == "win32":
    pytest.skip("needs signals", allow_module_level=True)

Capture = pytest.CaptureFixture[str]
SLOW = {"ttft": "5ms", "itl": "10ms", "default_tokens": 20}


pytestmark = pytest.mark.clean_folder


@contextmanager
def running(sim: Sim, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`loadstone run` in a process of its own, of three workers, when the first request has been recorded."""
    flags = ("--url", sim.url, "--workers", 3, "--no-scrape", "-o", "run", *arguments)
    with subprocess.Popen(
        command("run", *flags), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            until(lambda: all(lines(f"records.{number}.jsonl") for number in range(3)))
            yield process
        finally:
            process.kill()


def lines(name: str) -> int:
    path = Path("run", name)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    """Worker processes of a run, in the order in which they were started."""
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
    return sorted(pid for pid, of in pairs if of == parent)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def heard(process: subprocess.Popen[str], words: str) -> str:
    """What it says on stderr up to the line with these words."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def planned(record: Record) -> tuple[Any, ...]:
    return record.index, record.prompt, record.phase, record.turn, record.model, record.server


@pytest.mark.parametrize(
    "load",
    [
        ("--rate", 150, "-n", 60, "--shuffle", "--seed", 5, "--cancel-share", 0.2, "--cancel-after", 60),
        ("-c", 10, "-n", 60, "--warmup", 6, "--shuffle", "--seed", 5),
        ("-c", 6, "-n", 12, "--dataset", "synthetic", "--turns", "uniform(1,3)", "--input-len", 8),
    ],
    ids=["rate", "concurrency", "conversations"],
)
def test_any_number_of_workers_sends_the_same_requests(load: tuple[object, ...], capsys: Capture) -> None:
    with Sim() as sim:
        runs = {}
        for workers in (1, 2, 4):
            arguments = ("--url", sim.url, "--workers", workers, "-o", f"run{workers}", "--quiet", *load)
            assert loadstone(capsys, "run", *arguments, "--output-len", 4).status == 0
            runs[workers] = records(Path(f"run{workers}"))
        assert len(sim.truth) == sum(map(len, runs.values()))
    for workers, found in runs.items():
        assert [planned(record) for record in found] == [planned(record) for record in runs[1]]
        assert {record.worker for record in found} == set(range(workers))
        assert all(record.error is None for record in found)
        if "--rate" in load:
            assert [record.scheduled for record in found] == [record.scheduled for record in runs[1]]
    digests = [read_json(Path(f"run{workers}", "run.json"))["digest"] for workers in runs]
    assert digests[0] == digests[1] == digests[2]
    assert not list(Path("run4").glob("records.*.jsonl")), "the shards have become one file"
    assert len(read_json(Path("run4/run.json"))["workers"]) == 4


def test_warm_up_and_cool_down_by_time_go_on_for_several_workers(capsys: Capture) -> None:
    """They bring more places than were asked for, whose prompts each worker has to have."""
    with Sim() as sim:
        load = ("-c", 4, "-n", 20, "--warmup", "200ms", "--cooldown", "200ms", "--output-len", 4)
        assert loadstone(capsys, "run", "--url", sim.url, "--workers", 2, "-o", "run", "--quiet", *load).status == 0
        sent = len(sim.truth)
    found = records(Path("run"))
    assert len(found) == sent
    phases = Counter(record.phase for record in found)
    assert phases["measure"] == 20
    assert min(phases["warmup"], phases["cooldown"]) >= 4
    assert read_json(Path("run/run.json"))["ended"] == "done"


def test_the_worst_of_the_workers_counts(capsys: Capture) -> None:
    with Sim() as sim:
        arguments = ("--url", sim.url, "--workers", 2, "-c", 4, "-n", 20, "-o", "run", "--quiet")
        assert loadstone(capsys, "run", *arguments).status == 0
    run = read_json(Path("run/run.json"))
    each = run["workers"]
    assert [client["worker"] for client in each] == [0, 1]
    for name in ("cpu_share", "send_lag_p99", "loop_lag_p99"):
        assert run["client"][name] == max(client[name] for client in each)
    assert run["client"]["cpu_seconds"] == pytest.approx(sum(client["cpu_seconds"] for client in each))
    assert read_json(Path("run/summary.json"))["client"] == run["client"]


@pytest.mark.parametrize("load", [("-c", 6, "-n", 5000), ("--rate", 40, "-n", 5000)], ids=["closed", "open"])
def test_a_worker_that_dies_ends_the_run_and_nothing_is_lost(load: tuple[object, ...], capsys: Capture) -> None:
    with Sim(**SLOW) as sim:
        with running(sim, *load) as process:
            os.kill(children(process.pid)[1], signal.SIGKILL)
            status, _, err = ended(process)
        answered = len(sim.truth)
    assert status == 1, err
    run, found = read_json(Path("run/run.json")), records(Path("run"))
    assert run["ended"] == "worker"
    assert run["ended_because"] == "worker process 2 of 3 died: killed by SIGKILL"
    stopped = [record for record in found if record.error is not None]
    assert {record.worker for record in stopped} == {1}
    assert {record.error.kind for record in stopped if record.error} == {"stopped"}
    assert all("killed by SIGKILL" in record.error.message for record in stopped if record.error)
    assert len({record.index for record in found}) == len(found)
    assert len(found) - len(stopped) <= answered <= len(found)
    assert loadstone(capsys, "check", "run").status == 1


def test_when_the_parent_is_killed_its_workers_end_and_their_records_stay(capsys: Capture) -> None:
    with Sim(**SLOW) as sim, running(sim, "-c", 6, "-n", 5000) as process:
        workers = children(process.pid)
        process.kill()
        process.wait(PATIENCE)
        until(lambda: all(map(gone, workers)))
    found = records(Path("run"))
    assert {record.worker for record in found} == {0, 1, 2}
    cut = [record for record in found if record.error is not None]
    assert len(cut) <= 6
    assert {record.error.kind for record in cut if record.error} <= {"stopped"}
    done = loadstone(capsys, "check", "run")
    assert done.status == 1
    assert "no end" in done.out
    assert loadstone(capsys, "report", "run", "--as", "json").status == 0


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_drains_first_and_cuts_then(times: int) -> None:
    tokens = 20 if times == 1 else 5000
    with Sim(**{**SLOW, "default_tokens": 20}) as sim, running(sim, "-c", 6, "-n", 5000) as process:
        if times == 2:
            sim.replace(**{**SLOW, "default_tokens": tokens})
        process.send_signal(signal.SIGINT)
        said = heard(process, "requests in flight")
        if times == 2:  # two at once would be one
            process.send_signal(signal.SIGINT)
        status, _, err = ended(process)
    assert status == 130, said + err
    found, run = records(Path("run")), read_json(Path("run/run.json"))
    assert run["ended"] == "interrupted"
    kinds = {record.error.kind for record in found if record.error is not None}
    assert kinds == set() if times == 1 else kinds <= {"stopped", "truncated", "connect"}


def test_a_file_that_cannot_grow_ends_the_run_and_what_fits_is_kept() -> None:
    def small() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with Sim(ttft="1ms", itl="0", default_tokens=400) as sim, running(sim, "-c", 6, "-n", 300, preexec_fn=small) as run:
        status, _, err = ended(run)
    assert status in (1, 2), err
    reason = os.strerror(errno.EFBIG)
    assert reason in err or reason in json.dumps(read_json(Path("run/run.json")))
    found = records(Path("run"))
    assert 10 < len(found) < 300
    assert {record.worker for record in found} == {0, 1, 2}


def test_a_disk_that_is_full_at_the_very_end_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """When the last of the records are written the requests are over: nobody is left to stop for it."""
    write = os.write

    def full(file: int, data: bytes) -> int:
        if data.startswith(b'{"index":'):
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr("loadstone.engine.run_folder.os.write", full)
    with Sim() as sim:
        arguments = ("--url", sim.url, "--workers", 1, "-c", 1, "-n", 1, "-o", "run", "--quiet")
        assert loadstone(capsys, "run", *arguments).status == 1
    run = read_json(Path("run/run.json"))
    assert (run["ended"], run["ended_because"]) == ("write", "cannot write records: No space left on device")


def test_a_worker_that_does_not_begin(monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with Sim() as sim:
        monkeypatch.setattr("loadstone.host.child_process.sys.executable", str(broken))
        sentence = refused(capsys, "run", "--url", sim.url, "--workers", 2, "-o", "run", "--quiet")
        assert len(sim.truth) == 0
    assert sentence == "a worker process did not begin: it ended with status 3"


def test_modules_in_the_working_folder_are_not_taken_for_those_of_python(capsys: Capture) -> None:
    Path("random.py").write_text("raise SystemExit('not the one of Python')\n")
    with Sim() as sim:
        arguments = ("--url", sim.url, "--workers", 2, "-c", 2, "-n", 4, "-o", "run", "--quiet")
        assert loadstone(capsys, "run", *arguments).status == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_standard_files_that_are_closed(closed: tuple[int, ...], workers: int) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    with Sim() as sim:
        flags = ("--url", sim.url, "--workers", workers, "-c", 2, "-n", 4, "-o", "run", "--quiet")
        done = subprocess.run(
            command("run", *flags), preexec_fn=close, timeout=PATIENCE, capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert len(records(Path("run"))) == 4


@pytest.mark.parametrize("heard", [0, 3, 4, 7])
def test_a_worker_whose_parent_dies_in_mid_sentence_just_ends(heard: int) -> None:
    command = (sys.executable, "-m", "loadstone.engine.worker_main")
    done = subprocess.run(
        command, input=encode_frame(StartSignal(1))[:heard], capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("given", ["0", "-1", "some", "1.5"])
def test_a_wrong_number_of_workers(given: str, capsys: Capture) -> None:
    assert "--workers" in refused(capsys, "run", "--workers", given)


def test_a_worker_that_hangs_is_not_waited_for_without_end() -> None:
    """Stopped in mid-run, it neither ends nor answers; the run ends all the same, and its requests are `stopped`: those
    that were due before the end, not those of the seconds in which it was waited for."""
    with Sim(**SLOW) as sim, running(sim, "--rate", 40, "-n", 5000, "--grace", 0.2) as process:
        frozen = children(process.pid)[2]
        os.kill(frozen, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        status, _, err = ended(process)
    assert status in (1, 130), err
    found = records(Path("run"))
    assert {record.worker for record in found if record.error is not None} == {2}
    assert (
        max(record.scheduled for record in found) - max(record.scheduled for record in found if not record.error) < 2e9
    )
    assert gone(frozen)


def test_no_worker_is_left_behind_when_the_next_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    started: list[Process] = []
    start = asyncio.create_subprocess_exec

    async def scarce(*command: str, **options: Any) -> Process:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(await start(*command, **options))
        return started[0]

    monkeypatch.setattr("loadstone.engine.worker_pool.asyncio.create_subprocess_exec", scarce)
    with Sim() as sim:
        sentence = refused(capsys, "run", "--url", sim.url, "--workers", 3, "-o", "run", "--quiet")
    assert sentence == "cannot start worker process 2 of 3: Resource temporarily unavailable; take fewer with --workers"
    assert started[0].returncode == 0
