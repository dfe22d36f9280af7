"""Every hostile program of tests/hostile.py, at the size it means, under all means that this machine has.

By hand: `python tests/bench/hostile.py`. Asserts that none reaches its aim where that is contained, that no process and
no file is left, and that the machine is alive: an honest program passes in two seconds after each. Exit status 1 where
that does not hold.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadstone.evals.scoring import sandbox
from support import hostile_programs

SECONDS = 3.0
# What is not tried where it is not contained.
OPEN = {
    "read what the user can read": {"reads a secret", "reads home", "reads passwords", "reads processes"},
    "write where the user can write": {"writes outside", "writes the library", "removes outside"},
    "connect to the network": {"network", "datagram", "listens", "unix socket"},
    "signal the user's processes": {"kills the parent", "kills the tester"},
}
# Without the filter a program may have namespaces of its own below those it is in, which gives it nothing.
HARMLESS = {"new namespace"}
# Not tried with neither namespaces nor filter: for root nothing but the time limit would hold them.
TOO_MUCH = {"fork bomb", "traces", "mounts", "runs a program"}


def main() -> int:
    bad = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        where = places(Path(folder), server, local)
        for means in sandbox.MEANS:
            if sandbox.run(sandbox.PROBE, means=means).passed:
                print(f"\n{' and '.join(means) or 'limits alone'}; not contained: {sandbox.uncontained(means)}")
                bad += sum(not holds(name, means, where) for name in tried(means))
            else:
                print(f"\n{' and '.join(means)}: not to be had here")
    print("\nall contained" if not bad else f"\n{bad} did harm")
    return 1 if bad else 0


def places(folder: Path, server: socket.socket, local: socket.socket) -> dict[str, Any]:
    folder.chmod(0o755)
    (folder / "secret").write_text("hidden", "utf-8")
    local.bind(str(folder / "socket"))
    local.listen()
    return {
        "port": server.getsockname()[1],
        "socket": str(folder / "socket"),
        "secret": str(folder / "secret"),
        "outside": str(folder / "outside"),
        "home": str(Path.home()),
        "pid": os.getpid(),
    }


def tried(means: sandbox.Means) -> list[str]:
    left_out = {name for hole in sandbox.uncontained(means) for name in OPEN.get(hole, set())}
    left_out |= HARMLESS if "seccomp" not in means else set()
    left_out |= TOO_MUCH if not {"namespaces", "seccomp"} & set(means) else set()
    return [name for name in hostile_programs.PROGRAMS if name not in left_out]


def holds(name: str, means: sandbox.Means, where: dict[str, Any]) -> bool:
    mark = f"ls-{secrets.token_hex(4)}"
    verdict = sandbox.run(hostile_programs.program(name, mark, **where), seconds=SECONDS, means=means)
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/comm") if comm(path) == mark]
    files = [path for path in folders() - BEFORE if mine(path)]
    touched = Path(where["outside"]).exists() or Path(where["secret"]).read_text("utf-8") != "hidden"
    began = time.monotonic()
    alive = sandbox.run("assert sum(range(10)) == 45", means=means).passed and time.monotonic() - began < 2
    good = not verdict.passed and verdict.ending != "unrun" and not (left or files or touched) and alive
    said = verdict.output.splitlines()[-1][-60:] if verdict.output else ""
    print(f"{'ok ' if good else 'BAD'} {name:20} {verdict.ending:8} {verdict.seconds:5.2f} s  {said}")
    return good


def folders() -> set[Path]:
    """Of programs that run, or have been killed with whoever ran them."""
    return set(Path(tempfile.gettempdir()).glob("loadstone-answer-*"))


def mine(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > SECONDS + sandbox.GRACE + 30
    except OSError:
        return False


def comm(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


BEFORE = folders()

if __name__ == "__main__":
    sys.exit(main())
