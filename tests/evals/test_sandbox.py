"""Programs that a model wrote, run where they can do no harm. tests/bench/hostile.py tries each at full size, under all
means; here are short limits."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.evals.scoring import sandbox
from loadstone.samples import Question, Sample
from support import hostile_programs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines programs")
SHORT = 0.3
BENCH_ONLY = {
    "sparse file", "exit in a thread", "exit by a hook", "exit at the end", "datagram", "unix socket",
    "removes outside",
    "memory by steps", "more memory", "runs a program", "other user", "mounts", "catches all", "listens", "recursion",
    "reads passwords", "environment", "thread bomb",
}  # fmt: skip
LONG = {"loop", "sleep", "deaf loop", "catches all", "fork bomb", "memory by steps", "listens"}
EXPECTED = {
    "loop": "time", "sleep": "time", "deaf loop": "time", "catches all": "time", "fork bomb": "time",
    "hard exit": "exited", "exit": "raised", "own token": "exited", "memory": "memory", "crash": "killed",
    "prints for ever": "output", "big file": "raised", "network": "raised",
}  # fmt: skip
ITEM = Sample(task="humaneval", doc_id=3, doc={}, target="", ask=Question(query=""))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the programs go for: all of it there, and open to everybody."""
    folder = tmp_path_factory.mktemp("places")
    secret = folder / "secret"
    secret.write_text("hidden", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(path := f"/tmp/loadstone-{secrets.token_hex(4)}")
        local.listen()
        yield {
            "port": server.getsockname()[1],
            "socket": path,
            "secret": str(secret),
            "outside": str(folder / "outside"),
            "home": str(Path.home()),
            "pid": os.getpid(),
        }
        os.unlink(path)


def had(*means: str) -> sandbox.Means:
    """These means, or a skip where this machine has them not."""
    if not sandbox.run(sandbox.PROBE, means=means).passed:  # type: ignore[arg-type]
        pytest.skip(f"no {' and '.join(means)} here")
    return means  # type: ignore[return-value]


def left(mark: str) -> list[str]:
    """Processes with that name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found += [path.parent.name] if path.read_text().strip() == mark else []
        except OSError:
            continue
    return found


def tried(name: str, places: dict[str, Any], means: sandbox.Means | None = None) -> sandbox.Verdict:
    """The program did not reach its aim, and left neither process nor file."""
    mark = f"ls-{secrets.token_hex(4)}"
    verdict = sandbox.run(
        hostile_programs.program(name, mark, **places), seconds=SHORT if name in LONG else 20, means=means
    )
    assert not verdict.passed, verdict
    assert verdict.ending != "unrun", verdict
    assert not left(mark)
    assert not Path(places["outside"]).exists()
    assert Path(places["secret"]).read_text("utf-8") == "hidden"
    return verdict


@pytest.mark.parametrize("name", sorted(hostile_programs.PROGRAMS.keys() - BENCH_ONLY))
def test_a_hostile_program_is_contained_and_counted_as_wrong(name: str, places: dict[str, Any]) -> None:
    means = had("namespaces", "seccomp")
    verdict = tried(name, places, means)
    assert verdict.ending == EXPECTED.get(name, verdict.ending)


@pytest.mark.parametrize("name", ["daemon", "network", "reads a secret"])
@pytest.mark.parametrize("means", [("namespaces",), ("landlock", "seccomp")], ids=" ".join)
def test_each_layer_holds_where_the_other_cannot_be_had(
    name: str, means: tuple[str, ...], places: dict[str, Any]
) -> None:
    tried(name, places, had(*means))


def test_without_namespaces_and_filter_a_daemon_is_still_swept_away(places: dict[str, Any]) -> None:
    tried("daemon", places, had())


@pytest.mark.parametrize(
    ("program", "how", "said"),
    [
        ("x = 1", "passed", ""),
        ("", "passed", ""),
        ("print('a word')", "passed", "a word"),
        ("assert 1 == 2, 'not so'", "raised", "AssertionError: not so"),
        ("import sys; print('out'); raise SystemExit(0)", "raised", "out\nSystemExit: 0"),
        ("def f(:", "raised", "SyntaxError"),
        ("x = '\ud800'", "raised", "surrogates not allowed"),
        ("\0", "raised", "null bytes"),
        ("import threading as t\na = t.Thread(target=print, args=('in a thread',))\na.start()\na.join()", "passed",
         "in a thread"),
        ("import asyncio\nasyncio.run(asyncio.sleep(0))", "passed", ""),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int\nassert A(1) == A(1)", "passed", ""),
        ("import tempfile\nassert tempfile.NamedTemporaryFile().write(b'x')", "passed", ""),
        ("open('mine', 'w').write('x')\nassert open('mine').read() == 'x'", "passed", ""),
        ("if __name__ == '__main__': raise ValueError", "passed", ""),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()", "passed", ""),
    ],
)  # fmt: skip
def test_what_becomes_of_a_program(program: str, how: str, said: str) -> None:
    verdict = sandbox.run(program, seconds=20)
    assert verdict.ending == how, verdict
    assert said in verdict.output
    assert verdict.passed == (how == "passed")


def test_the_same_program_sees_the_same_hashes_again() -> None:
    verdicts = sandbox.run_all(["print(hash('a'))"] * 2)
    assert len({verdict.output for verdict in verdicts}) == 1


def test_verdicts_come_in_the_order_of_the_programs() -> None:
    programs = ["import time\ntime.sleep(.2)", "assert 0", "print(1)"]
    assert [verdict.ending for verdict in sandbox.run_all(programs, at_once=3)] == ["passed", "raised", "passed"]


def test_nothing_stays_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    for means in (sandbox.containment().means, ()):
        program = "import os\nos.mkdir('a')\nopen('a/b', 'w').write('x')\nos.chmod('a', 0)"
        assert sandbox.run(program, means=means).passed
    assert not list(tmp_path.iterdir())


def test_a_sandbox_that_fails_says_so_and_condemns_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "guard.py"
    broken.write_text("raise SystemExit('broken')", "utf-8")
    sandbox.containment()
    monkeypatch.setattr(sandbox, "CHILD", broken)
    verdict = sandbox.run("x = 1")
    assert (verdict.ending, verdict.output) == ("unrun", "broken")
    with pytest.raises(UsageError, match="the sandbox failed at item 3 of humaneval: broken; all answers are kept"):
        sandbox.ProgramRunner()("x = 1", ITEM)


def test_programs_run_ahead_are_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = sandbox.ProgramRunner(at_once=2)
    runs.run_ahead(["x = 1", "assert 0", "x = 1"])
    assert len(runs.verdicts) == 2
    assert runs.confined == {"by": [*sandbox.containment().means, "limits"], "open": sandbox.containment().open}
    assert sandbox.ProgramRunner().confined == {}
    monkeypatch.setattr(sandbox, "run", None)
    assert runs("x = 1", ITEM) == {"pass@1": 1.0}
    assert runs("assert 0", ITEM) == {"pass@1": 0.0}


def test_code_is_run_only_where_that_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.check_allowed(True)
    with pytest.raises(UsageError, match=r"humaneval is scored by running .* say --allow-code-execution"):
        sandbox.check_allowed(False)
    monkeypatch.setattr(sandbox.os, "name", "nt")
    with pytest.raises(UsageError, match="only on Linux and macOS: say --predict-only"):
        sandbox.check_allowed(True)


def test_what_is_not_contained_is_said() -> None:
    assert sandbox.uncontained(("namespaces", "seccomp")) == []
    assert sandbox.uncontained(("landlock", "seccomp")) == ["fill the disk in many files"]
    assert "read what the user can read" in sandbox.uncontained(("seccomp",))
    assert "connect to the network" in sandbox.uncontained(())


def test_whatever_a_program_leaves_is_removed(tmp_path: Path) -> None:
    """Folders deeper than paths can be, without permissions, with names that are no text, pipes and links."""
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (top / "locked").mkdir()
    (top / "locked/file").write_text("x")
    (top / "locked").chmod(0)
    os.mkdir(os.path.join(os.fsencode(top), b"\xff\xfe"))
    os.mkfifo(top / "pipe")
    (top / "link").symlink_to(tmp_path)
    (tmp_path / "outside").write_text("stays")
    sandbox.remove_tree(os.fsencode(top))
    assert not top.exists()
    assert (tmp_path / "outside").read_text() == "stays"
    sandbox.remove_tree(os.fsencode(top))  # once more: nothing is there, and nothing is raised
