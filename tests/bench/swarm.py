"""A swarm on one machine, held against the server's own count: by hand, `python tests/bench/swarm.py [PART ...]`.

Parts: closed, rate, losses, web; all without one. Needs Locust and two cores, about six minutes; as root on Linux the
server, the master and each worker get a network namespace of their own, else all are on loopback and nobody can be cut
off. `web` needs Chromium and a folder with playwright-core: PLAYWRIGHT=DIR (npm install playwright-core in it).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loadstone.engine.run_folder import load_records
from loadstone.records import Record

BRIDGE, NET, PORT, WEB = "lsbr", "10.77.0", 18200, 18289
SERVER = ("--ttft", "500ms", "--itl", "50ms", "--default-tokens", "64")
USERS, TIME, WORKERS = 500, "2m", 3
SHOTS = Path(__file__).with_name("swarm.js")


class Site:
    """Where things run: `enter` is what a command is begun with to be on machine `number` (0: the master)."""

    def __init__(self, apart: bool) -> None:
        self.apart = apart
        self.server = f"{NET}.1" if apart else "127.0.0.1"
        self.master = f"{NET}.10" if apart else "127.0.0.1"

    def enter(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", f"ls{number}"] if self.apart else []

    def cut(self, number: int, off: bool) -> None:
        ip("link", "set", f"lsv{number}", "down" if off else "up")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def site() -> Iterator[Site]:
    if os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        yield Site(apart=False)
        return
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number in range(WORKERS + 1):
            _machine(number)
        yield Site(apart=True)
    finally:
        for number in range(WORKERS + 1):
            subprocess.run(["ip", "netns", "del", f"ls{number}"], check=False)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)


def _machine(number: int) -> None:
    name, inside, outside = f"ls{number}", f"lsw{number}", f"lsv{number}"
    ip("netns", "add", name)
    ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
    ip("link", "set", outside, "master", BRIDGE, "up")
    for words in (
        ("addr", "add", f"{NET}.{10 + number}/24", "dev", inside),
        ("link", "set", inside, "up"),
        ("link", "set", "lo", "up"),
    ):
        ip("-n", name, *words)


class Swarm:
    """A server, a master and workers, each a process; `folder` has their logs and the run."""

    def __init__(self, where: Site, folder: Path) -> None:
        self.where = where
        self.folder = folder
        self.workers: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, name: str, number: int, *words: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [*self.where.enter(number), sys.executable, "-m", "loadstone", *words]
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd or self.folder)

    def worker(self, number: int) -> None:
        words = ("--master-host", self.where.master, "--processes", "1", "--spool", f"spool{number}")
        self.workers[number] = self.start(f"worker{number}", number, "swarm", "worker", *words)

    def master(self, *words: str) -> subprocess.Popen[bytes]:
        url = f"http://{self.where.server}:{PORT}"
        bind = ("--master-bind-host", self.where.master, "--expect-workers", str(WORKERS))
        return self.start("master", 0, "swarm", "master", "--url", url, "-o", "run", *bind, *words)

    def truth(self) -> list[dict[str, Any]]:
        """The server's own rows, one for each request that came."""
        with urllib.request.urlopen(f"http://{self.where.server}:{PORT}/truth") as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    @property
    def run(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "run" / "run.json").read_text())
        return told

    @property
    def summary(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "run" / "summary.json").read_text())
        return told

    def records(self) -> list[Record]:
        return list(load_records(self.folder / "run"))


@contextlib.contextmanager
def swarm(where: Site, name: str, *server: str) -> Iterator[Swarm]:
    folder = Path(tempfile.mkdtemp(prefix=f"swarm-{name}-"))
    print(f"\n{name}: logs and run in {folder}", flush=True)
    made = Swarm(where, folder)
    with (folder / "server.log").open("wb") as log:
        words = ["serve", "--host", where.server, "--port", str(PORT), *(server or SERVER)]
        serving = subprocess.Popen([sys.executable, "-m", "loadstone", *words], stdout=log, stderr=log)
    try:
        time.sleep(2)
        for number in range(1, WORKERS + 1):
            made.worker(number)
        yield made
    finally:
        for process in (serving, *made.workers.values()):
            process.terminate()
            process.wait()


def hold(what: str, true: bool, shown: object) -> None:
    print(f"  {'ok    ' if true else 'FAILED'} {what}: {shown}", flush=True)
    FAILED.extend([] if true else [what])


FAILED: list[str] = []


def closed(where: Site) -> None:
    """500 users for two minutes: the report's totals are the server's."""
    with swarm(where, "closed") as made:
        words = ("-u", str(USERS), "-r", "100", "-t", TIME, "--headless", "--only-summary", "--csv", "locust")
        status = made.master(*words).wait()
        seen, counts = made.truth(), made.summary["counts"]
        hold("exit status", status == 0, status)
        hold("verdict", made.summary["verdict"]["status"] != "invalid", made.summary["verdict"])
        total = counts["completed"] + counts["stopped"]
        hold("requests in the report, and at the server", total == len(seen), (total, len(seen)))
        whole = sum(row["end"] is not None for row in seen)
        hold("successes, and whole answers", counts["succeeded"] == whole, (counts["succeeded"], whole))
        tokens = sum(len(record.pieces.times) for record in made.records() if record.pieces)
        sent = sum(len(row["sent"]) for row in seen)
        hold("events received, and sent", tokens == sent, (tokens, sent))
        rows = (made.folder / "locust_stats.csv").read_text().splitlines()
        csv = next(int(row.split(",")[2]) for row in rows if ",Aggregated," in row)
        hold("requests in Locust's CSV", csv == total, csv)
        steady = made.summary["steady"]["rates"]["concurrency"]
        hold("in flight while steady", abs(steady - USERS) < 0.05 * USERS, steady)
        print(f"  clocks: {made.run.clocks}")
        print(f"  client: {made.run.client}")


def rate(where: Site) -> None:
    """Arrivals over three workers are one Poisson process: counts in 100 ms have the variance of their mean."""
    with swarm(where, "rate", "--ttft", "50ms", "--itl", "10ms", "--default-tokens", "8") as made:
        words = ("--rate", "200", "--duration", "40s", "--no-rescale", "--headless", "--only-summary")
        status = made.master(*words).wait()
        seen, records = made.truth(), made.records()
        hold("exit status", status == 0, status)
        hold("requests in the report, and at the server", len(records) == len(seen), (len(records), len(seen)))
        hold("workers that sent", len({record.worker for record in records}) == WORKERS, WORKERS)
        sent = np.array(sorted(record.sent for record in records if record.sent is not None)) / 1e9
        index, low, high = dispersion(sent, 40.0, 0.1)
        hold(f"index of dispersion of `sent` within {low:.3f} to {high:.3f}", low < index < high, round(index, 3))
        arrived = np.array(sorted(row["received"] for row in seen)) / 1e9
        index, low, high = dispersion(arrived - arrived[0], 39.5, 0.1)
        hold(f"and at the server, within {low:.3f} to {high:.3f}", low < index < high, round(index, 3))
        late = np.array([record.sent - record.scheduled for record in records if record.sent is not None]) / 1e6
        print(f"  sent after schedule: p50 {np.percentile(late, 50):.2f} ms, p99 {np.percentile(late, 99):.2f} ms")


def dispersion(instants: np.ndarray[Any, Any], seconds: float, bin_: float) -> tuple[float, float, float]:
    """Variance over mean of the counts in bins, and where that of a Poisson process lies in 99 of 100 cases: (n - 1)
    times it is chi-squared with n - 1 degrees of freedom (here by its normal approximation)."""
    bins = round(seconds / bin_)
    counts, _ = np.histogram(instants, bins=bins, range=(0, seconds))
    spread = 2.576 * np.sqrt(2 / (bins - 1))
    return float(counts.var(ddof=1) / counts.mean()), 1 - spread, 1 + spread


def losses(where: Site) -> None:
    """One worker is killed, one is cut off and comes back: what was written is there, what is missing is named."""
    with swarm(where, "losses") as made:
        words = ("-u", "90", "-r", "90", "-t", "60s", "--headless", "--only-summary", "--autostart")
        master = made.master(*words)
        time.sleep(20)
        made.workers[1].send_signal(signal.SIGKILL)
        if where.apart:
            where.cut(2, off=True)
            time.sleep(8)
            where.cut(2, off=False)
        status = master.wait()
        seen, summary = made.truth(), made.summary
        records = made.records()
        for sentence in made.run.lost:
            print(f"  {sentence}")
        hold("exit status", status == 1, status)
        hold("verdict", summary["verdict"]["status"] == "invalid", summary["verdict"]["status"])
        hold("the loss is named, and only that", len(made.run.lost) == 1, len(made.run.lost))
        kept = {record.worker: 0 for record in records}
        for record in records:
            kept[record.worker] += record.error is None
        print(f"  successes by process: {kept}")
        cut = [r for r in records if r.error is not None and r.error.message.startswith("lost with")]
        hold("what the lost one had in flight is `stopped`", 0 < len(cut) <= 30, len(cut))
        spools = {path.parent.name: path.read_bytes().count(b"\n") for path in made.folder.glob("spool*/*.jsonl")}
        mine = sum(record.worker == cut[0].worker for record in records) - len(cut)
        print(f"  left in the spools: {spools}; of these {mine} had come")
        whole = sum(row["end"] is not None for row in seen)
        unsent = sum(spools.values()) - mine
        good = sum(record.error is None for record in records)
        hold("whole answers at the server are in the report or the spool", 0 <= whole - good <= unsent + 30,
             (whole, good, unsent))  # fmt: skip
        other = [r for r in records if r.worker != cut[0].worker and r.error is not None]
        print(f"  failures of the others: {[r.error.kind for r in other if r.error][:5]} {len(other)}")


def web(where: Site) -> None:
    """The web interface in a browser: starts, raises and stops the load."""
    folder = os.environ.get("PLAYWRIGHT")
    if not folder or not shutil.which("node"):
        print("\nweb: no browser: give PLAYWRIGHT=DIR")
        return
    with swarm(where, "web", "--ttft", "100ms", "--itl", "20ms", "--default-tokens", "16") as made:
        master = made.master("--web-host", where.master, "--web-port", str(WEB))
        time.sleep(5)
        command = ["node", str(SHOTS), f"http://{where.master}:{WEB}/", str(made.folder)]
        environment = {**os.environ, "NODE_PATH": str(Path(folder) / "node_modules")}
        browsed = subprocess.run(command, env=environment, check=False, timeout=200)
        time.sleep(1)
        master.send_signal(signal.SIGINT)
        master.wait()
        hold("the browser got through", browsed.returncode == 0, browsed.returncode)
        counts, seen = made.summary["counts"], made.truth()
        total = counts["completed"] + counts["stopped"]
        hold("requests in the report, and at the server", total == len(seen), (total, len(seen)))
        hold("ended", made.run.ended == "duration", made.run.ended)
        begun = sorted(record.sent for record in made.records() if record.sent is not None)
        print(f"  most users: {made.run.config.concurrency}, {begun[-1] / 1e9:.0f} s")


PARTS: dict[str, Callable[[Site], None]] = {"closed": closed, "rate": rate, "losses": losses, "web": web}

if __name__ == "__main__":
    with site() as here:
        for part in sys.argv[1:] or PARTS:
            PARTS[part](here)
    sys.exit(f"failed: {', '.join(FAILED)}" if FAILED else 0)
