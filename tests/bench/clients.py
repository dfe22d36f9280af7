"""The clients that are compared: how each is started for a load, and what it wrote down.

All send the same body with an X-Request-Id, in a closed loop whose streams begin 0.2 ms apart, on core 1. CPU is user
and system time of the process from the first connection to the last answer, starting up and evaluating excluded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
from machine import pinned
from truth import Row

HERE = Path(__file__).parent
# ns; as Loadstone's closed loop begins, so that all meet the same arrivals.
STAGGER = 200_000
PROMPT = "hello there"


class Load(NamedTuple):
    """A closed loop: how many streams, requests in all, tokens of each answer."""

    streams: int
    requests: int
    tokens: int

    @property
    def body(self) -> bytes:
        """What Loadstone sends for PROMPT."""
        messages = [{"role": "user", "content": PROMPT}]
        more = {"max_tokens": self.tokens, "stream": True, "stream_options": {"include_usage": True}}
        return json.dumps({"model": "sim", "messages": messages, **more}, separators=(",", ":")).encode()


class Course(NamedTuple):
    """How a load went for the client: CPU seconds, and its requests by id, ns of whatever clock."""

    cpu: float
    rows: dict[str, Row]


class Client(NamedTuple):
    """command(url, load, folder): what to run; read(its standard output, folder): how it went. lean: built for load."""

    name: str
    command: Callable[[str, Load, Path], list[str]]
    read: Callable[[bytes, Path], Course]
    lean: bool = True

    def run(self, url: str, load: Load, meanwhile: Callable[[int], None] = lambda _: None) -> Course:
        """`meanwhile` gets the process id while the load goes on."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pipe = subprocess.PIPE
            with subprocess.Popen(pinned(1, self.command(url, load, folder)), stdout=pipe, stderr=pipe) as process:
                meanwhile(process.pid)
                out, wrong = process.communicate(timeout=120)
            if process.returncode:
                raise RuntimeError(f"{self.name}: {wrong.decode()}")
            return self.read(out, folder)


def everyone(folder: Path) -> list[Client]:
    """All clients that this machine can run; the C client is compiled into `folder`."""
    clocks = _knows("--clock")
    clients = [
        _ours("wire", *(("--clock", "user") if clocks else ())),
        _ours("wire, kernel clock", "--clock", "kernel") if clocks else None,
        _ours("aiohttp", "--transport", "aiohttp")._replace(lean=False),
        _plain("plain, by reads", "reads"),
        _plain("plain, by lines", "lines"),
    ]
    return [client for client in (_compiled(folder), *clients) if client is not None]


def _ours(name: str, *flags: str) -> Client:
    def command(url: str, load: Load, folder: Path) -> list[str]:
        (folder / "prompts.jsonl").write_text(json.dumps({"prompt": PROMPT}))
        size = ["-c", str(load.streams), "-n", str(load.requests), "--output-len", str(load.tokens)]
        which = ["--dataset", str(folder / "prompts.jsonl"), "--request-id", "r", "-o", str(folder / "run")]
        start = [sys.executable, "-m", "loadstone", "run", "--url", url]
        return [*start, *size, *which, "--as", "json", "--quiet", *flags]

    return Client(name, command, _records)


def _records(out: bytes, folder: Path) -> Course:
    rows = {}
    for line in (folder / "run" / "records.jsonl").read_bytes().splitlines():
        record = msgspec.json.decode(line)
        if record["error"] is not None:
            raise RuntimeError(f"loadstone: {record['error']}")
        rows[record["request_id"]] = Row(record["sent"], record["first"] + np.cumsum(record["pieces"]["times"]))
    return Course(json.loads(out)["client"]["cpu_seconds"], rows)


def _knows(flag: str) -> bool:
    told = subprocess.run([sys.executable, "-m", "loadstone", "run", "--help"], capture_output=True, check=True)
    return flag.encode() in told.stdout


def _plain(name: str, by: str) -> Client:
    def command(url: str, load: Load, folder: Path) -> list[str]:
        script = [sys.executable, str(HERE / "plain_aiohttp.py"), url, str(load.streams), str(load.requests)]
        return [*script, str(STAGGER), load.body.decode(), str(folder / "rows.jsonl"), by]

    return Client(name, command, _rows, lean=False)


def _compiled(folder: Path) -> Client | None:
    """None where there is no C compiler, or none with epoll."""
    compiler, program = shutil.which("cc"), folder / "epoll_client"
    if compiler is None or sys.platform != "linux":
        print("no C compiler on Linux: going on without the C client, and without what is compared with it")
        return None
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "epoll_client.c")], check=True)

    def command(url: str, load: Load, folder: Path) -> list[str]:
        server = urlsplit(url)
        size = [str(load.streams), str(load.requests), str(STAGGER)]
        return [
            str(program),
            str(server.hostname),
            str(server.port),
            *size,
            load.body.decode(),
            str(folder / "rows.jsonl"),
        ]

    return Client("C, epoll", command, _rows)


def _rows(out: bytes, folder: Path) -> Course:
    told: list[dict[str, Any]] = [
        msgspec.json.decode(line) for line in (folder / "rows.jsonl").read_bytes().splitlines()
    ]
    rows = {row["id"]: Row(row["sent"], np.array(row["times"])) for row in told}
    return Course(json.loads(out)["cpu_seconds"], rows)
