"""A run in a real terminal: its live display, Ctrl-C once and twice, SIGTERM too, and what is left in the end."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadstone.records import Record
from support.servers import PATIENCE, Sim, closed_port, command, read_json, records

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

import fcntl
import struct
import termios

CTRL_C = b"\x03"
ROWS, COLUMNS = 30, 100
# The process takes its stdin, the pseudo-terminal, for its controlling one, so that Ctrl-C becomes a signal.
MAIN = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from loadstone.__main__ import main
main()
"""
# An answer takes 0.4 s: whatever is in flight at Ctrl-C can end soon after it.
SLOW = {"ttft": "5ms", "itl": "20ms", "default_tokens": 20}
LONG = {"ttft": "5ms", "itl": "20ms", "default_tokens": 100_000}


pytestmark = pytest.mark.clean_folder


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


class Terminal:
    """A process on a pseudo-terminal of its own: what it wrote there, and what of it is still to be seen."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.written = ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, found: Callable[[str], Any], what: str) -> None:
        """Read until the process has written that."""
        until = time.monotonic() + PATIENCE
        while not found(self.written):
            assert self._read(until), f"no {what} in {self.written!r}"

    def end(self) -> int:
        """Read until the process closes the terminal; its exit status."""
        until = time.monotonic() + PATIENCE
        while self._read(until):
            pass
        return self.process.wait(PATIENCE)

    @property
    def screen(self) -> list[str]:
        return screen(self.written)

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, until - time.monotonic()))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # how Linux says that nobody has the other end open any more
            return False
        self.written += data.decode("utf-8", "replace")
        return bool(data)


def screen(written: str) -> list[str]:
    """The lines left to be seen: of a terminal's control sequences those that the display uses to move and to erase."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\x1b.|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part in ("\x1b[K", "\x1b[J"):
            lines[row] = lines[row][:column]
            del lines[row + 1 : None if part == "\x1b[J" else row + 1]
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


def test_the_screen_of_a_live_display() -> None:
    first = "before\r\nbar 1\r\nrate 1"
    second = "\r\x1b[2K\x1b[1A\x1b[2Kbar 2\r\nrate 2"
    assert screen(first + second) == ["before", "bar 2", "rate 2"]
    assert screen(first + second + "\r\n\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[?25h") == ["before"]
    assert screen(first + "\r\n^C\x1b[3A\rbegin\x1b[K\r\nbar\x1b[J") == ["begin", "bar"]


@contextmanager
def terminal(*arguments: object, out: str = "out.txt") -> Iterator[Terminal]:
    """`loadstone` with stdin and stderr on a terminal, and stdout in a file; `out` "": stdout on the terminal too."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    line = [sys.executable, "-c", MAIN, *(str(argument) for argument in arguments)]
    file = os.open(out, os.O_WRONLY | os.O_CREAT, 0o600) if out else os.dup(slave)
    process = subprocess.Popen(line, stdin=slave, stdout=file, stderr=slave, start_new_session=True)
    os.close(slave)
    os.close(file)
    with process:
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            os.close(master)


def in_flight(count: int) -> Callable[[str], Any]:
    return lambda written: f"{count} in flight" in written


def interrupt_twice(tty: Terminal, streams: int) -> None:
    """Ctrl-C with all streams in flight, and once more when it has been heard; the command ends with its status."""
    tty.wait_for(in_flight(streams), f"display of {streams} requests in flight")
    tty.type(CTRL_C)
    tty.wait_for(lambda written: "stopping: waiting up to" in written, "notice")
    tty.type(CTRL_C)
    assert tty.end() == 130


def run(sim: Sim, *flags: object) -> tuple[object, ...]:
    return ("run", "--url", sim.url, "-o", "run", "--as", "json", *flags)


def outcome() -> tuple[dict[str, Any], list[Record], str]:
    """Summary as printed, records, and how the run ended."""
    printed = Path("out.txt").read_text("utf-8")
    assert printed == Path("run/summary.json").read_text("utf-8")
    return json.loads(printed), records(Path("run")), read_json(Path("run/run.json"))["ended"]


def test_ctrl_c_once_lets_the_requests_in_flight_end() -> None:
    with Sim(**SLOW) as sim, terminal(*run(sim, "-c", 4, "-n", 1000)) as tty:
        tty.wait_for(in_flight(4), "display of 4 requests in flight")
        tty.type(CTRL_C)
        assert tty.end() == 130
        sent = len(sim.truth)
    summary, rows, ended = outcome()
    assert ended == "interrupted"
    assert 4 <= len(rows) == sent < 1000
    assert [row.error for row in rows] == [None] * sent
    assert {row.usage.completion for row in rows if row.usage} == {20}
    assert summary["counts"]["succeeded"] == sent
    assert "ended early" in [doubt["what"] for doubt in summary["verdict"]["doubts"]]
    said = " ".join(tty.screen)
    assert "loadstone: stopping: waiting up to 30 s for 4 requests in flight; Ctrl-C again cuts them off" in said
    assert said.endswith("loadstone: results are in run")


def test_ctrl_c_twice_cuts_them_off() -> None:
    with Sim(**LONG) as sim, terminal(*run(sim, "-c", 3, "-n", 1000)) as tty:
        interrupt_twice(tty, 3)
    summary, rows, ended = outcome()
    assert ended == "interrupted"
    assert [(row.error.kind, row.error.message) for row in rows if row.error] == [
        ("stopped", "in flight when the run ended (interrupted)")
    ] * 3
    assert len(rows) == 3
    assert all(row.pieces and len(row.pieces.times) > 1 for row in rows)
    assert (summary["counts"]["stopped"], summary["counts"]["succeeded"]) == (3, 0)


def test_ctrl_c_when_the_grace_is_over() -> None:
    with Sim(**LONG) as sim, terminal(*run(sim, "-c", 2, "-n", 9, "--grace", "100ms")) as tty:
        tty.wait_for(in_flight(2), "display of 2 requests in flight")
        tty.type(CTRL_C)
        assert tty.end() == 130
    _, rows, _ = outcome()
    assert [row.error.kind for row in rows if row.error] == ["stopped"] * 2


def test_ctrl_c_in_an_open_loop_keeps_those_that_waited_for_a_slot() -> None:
    with Sim(**LONG) as sim, terminal(*run(sim, "--rate", 50, "--arrivals", "constant", "-c", 2, "-n", 9999)) as tty:
        interrupt_twice(tty, 2)
    _, rows, ended = outcome()
    assert ended == "interrupted"
    assert [row.error.message for row in rows[:2] if row.error] == ["in flight when the run ended (interrupted)"] * 2
    waiting = [row.error for row in rows[2:]]
    assert len(waiting) > 5
    assert {error.message for error in waiting if error} == {"waiting for a slot when the run ended (interrupted)"}
    assert None not in waiting


def test_ctrl_c_leaves_a_server_of_our_own_alone_until_the_end() -> None:
    arguments = ("run", "-o", "run", "--as", "json", "-c", 2, "-n", 1000, "--output-len", 30)
    with terminal(*arguments) as tty:
        tty.wait_for(in_flight(2), "display of 2 requests in flight")
        tty.type(CTRL_C)
        assert tty.end() == 130
    _, rows, ended = outcome()
    assert ended == "interrupted"
    assert [row.error for row in rows] == [None] * len(rows)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://user@"], ids=["no server", "no url"])
def test_a_mistake_shows_no_display(url: str) -> None:
    with terminal("run", "--url", url.format(port=closed_port()), "-o", "run") as tty:
        assert tty.end() == 2
    assert len(tty.screen) <= 2
    assert tty.screen[0].startswith("loadstone: ")
    assert "\x1b" not in tty.written


def test_ctrl_c_before_the_first_request() -> None:
    """The server takes the connection and then says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(PATIENCE)
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with terminal("run", "--url", url, "-o", "run") as tty:
            peer, _ = mute.accept()
            with peer:
                tty.type(CTRL_C)
                assert tty.end() == 130
    assert "Traceback" not in tty.written
    assert not Path("run").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_is_like_ctrl_c(times: int) -> None:
    with Sim(**(SLOW if times == 1 else LONG)) as sim:
        line = command(*run(sim, "-c", 2, "-n", 1000))
        with (
            open("out.txt", "wb") as out,
            open("said.txt", "wb") as file,
            subprocess.Popen(line, stdout=out, stderr=file) as process,
        ):
            until = time.monotonic() + PATIENCE
            while not Path("run/records.jsonl").exists() or sim.server.state.counters.running < 2:
                assert time.monotonic() < until
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            if times == 2:  # two at once would be one
                while b"stopping" not in Path("said.txt").read_bytes():
                    assert time.monotonic() < until
                    time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 130
        said = Path("said.txt").read_bytes()
    _, rows, ended = outcome()
    assert ended == "interrupted"
    assert b"loadstone: stopping: waiting up to 30 s" in said
    assert b"\x1b" not in said
    if times == 1:
        assert [row.error for row in rows] == [None] * len(rows)
    else:
        assert [row.error.kind for row in rows if row.error] == ["stopped"] * 2


def test_the_live_display_is_gone_in_the_end() -> None:
    """The report follows on the same terminal, in colour, and nothing of the display is left above it."""
    with Sim(**SLOW) as sim, terminal("run", "--url", sim.url, "-c", 4, "-n", 16, "-o", "run", out="") as tty:
        assert tty.end() == 0
    for figure in ("of 16 done", "4 in flight", "0 failed", "QPS", "tokens/s", "TTFT p50", "gap p50", "━"):
        assert figure in tty.written
    assert "\x1b[" in tty.written
    left = tty.screen
    assert left[0].startswith("Run")
    assert not any("in flight, " in line or "━" in line for line in left)
    assert any(line.startswith("Check: ") for line in left)
    assert left[-1] == "loadstone: results are in run"


def test_quiet_shows_no_display() -> None:
    with Sim(**SLOW) as sim, terminal(*run(sim, "-c", 4, "-n", 8, "--quiet")) as tty:
        assert tty.end() == 0
    assert tty.screen == ["loadstone: results are in run"]
    assert "\x1b" not in tty.written
