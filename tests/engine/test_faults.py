"""Test every way in which a server can fail, end to end: each failed request is a record of the right kind."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from loadstone.records import Record
from loadstone.sim.faults import FAULTS
from loadstone.transport import common
from support.servers import PATIENCE, Done, Sim, loadstone, read_json, records

TRANSPORTS = ("wire", "aiohttp")
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
SUCCESS = ""
Capture = pytest.CaptureFixture[str]


class Case(NamedTuple):
    """What becomes of a fault: kind and words of its record, streamed and whole. The requests with these numbers have
    it, and make these records fail."""

    kind: str
    text: str = ""
    whole: tuple[str, str] | None = None
    numbers: tuple[int, ...] = (1, 4)
    rows: tuple[int, ...] = (1, 4)


# One connection is kept for all requests. When the server resets it without a byte of an answer, the client cannot know
# whether the request was seen: it is sent once more, on a new connection.
CASES = {
    "reset": Case("connect", "connection reset by the server before it answered", numbers=(1, 2), rows=(1,)),
    "reset-mid": Case("truncated", "connection reset by the server inside the answer"),
    "stall": Case("timeout", "not complete after 0.4 s (--timeout)"),
    "truncate": Case("truncated", "the server closed the connection inside the answer"),
    "truncate-clean": Case(
        "truncated",
        "the stream ended without finish reason or [DONE]",
        whole=("protocol", "not an answer of this API ("),
    ),
    "bad-json": Case("protocol", "not an answer of this API"),
    "bad-utf8": Case("protocol", "not an answer of this API (byte 0xff is not UTF-8): "),
    "no-done": Case(SUCCESS),
    "empty": Case("empty", "the stream ended without any output", whole=("empty", "the answer holds no output")),
    "400": Case("status", "HTTP 400: The request was refused by the simulated server."),
    "401": Case("status", "HTTP 401: Unauthorized"),
    "404": Case("status", "HTTP 404: The model `no-such-model` does not exist."),
    "429": Case("status", "HTTP 429: Too many requests, please try again later."),
    "500": Case("status", f"HTTP 500: {DEAD}"),
    "503": Case("status", "HTTP 503: The server is overloaded, please try again later."),
    "slow-head": Case(SUCCESS),
    "error-event": Case("server", DEAD, whole=("status", f"HTTP 500: {DEAD}")),
}


pytestmark = pytest.mark.clean_folder


def run(capsys: Capture, sim: Sim, *flags: object) -> tuple[Done, list[Record]]:
    """One run into the folder `run`, with its records; the lines of the file are its requests, each once."""
    done = loadstone(capsys, "run", "--url", sim.url, "-o", "run", "--quiet", *flags)
    rows = records(Path("run"))
    assert [row.index for row in rows] == list(range(len(rows)))
    return done, rows


def failed(rows: list[Record]) -> dict[int, str]:
    return {row.index: row.error.kind for row in rows if row.error is not None}


def test_all_faults_are_covered() -> None:
    assert {*CASES, "refuse"} == set(FAULTS)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", CASES)
def test_fault(fault: str, streamed: bool, transport: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "reset":
        monkeypatch.setattr(common, "KEEP_ALIVE_RACE", 60_000_000_000)  # a slow machine's reset is at once too
    case = CASES[fault]
    kind, text = (case.kind, case.text) if streamed or case.whole is None else case.whole
    with Sim(f"{fault}@{','.join(map(str, case.numbers))}", slow=0.05) as sim:
        flags = ["--timeout", "0.4"] if kind == "timeout" else []
        done, rows = run(
            capsys, sim, "-n", 6, "-c", 1, "--transport", transport, *flags, *([] if streamed else ["--no-stream"])
        )
        assert [row["number"] for row in sim.truth if row["fault"]] == list(case.numbers)
    assert len(rows) == 6
    assert done.status == (len(failed(rows)) > 0.1 * len(rows))
    assert failed(rows) == (dict.fromkeys(case.rows, kind) if kind else {})
    for row in rows:
        assert row.streamed is (streamed and row.status in (200, None))
        if row.error is None:
            assert (row.status, row.finish) == (200, "stop")
            assert row.usage is not None
            assert row.usage.completion == 6
        else:
            assert text in row.error.message
            assert row.finish is None
            assert row.end >= (row.sent or 0)
    counts = read_json(Path("run/summary.json"))["counts"]
    assert (counts["completed"], counts["failed"]) == (6, len(failed(rows)))
    assert counts["by_error"] == dict(Counter(failed(rows).values()))
    assert counts["empty"] == (2 if kind == "empty" else 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_refused_connections(streamed: bool, transport: str, capsys: Capture) -> None:
    """The listener is gone for 300 ms: whoever comes meanwhile is a row, and those after it succeed."""
    with Sim("refuse@2") as sim:
        flags = [] if streamed else ["--no-stream"]
        load = ("-n", 16, "--rate", 20, "--arrivals", "constant", "--transport", transport)
        done, rows = run(capsys, sim, *load, *flags)
    assert len(rows) == 16
    assert done.status == 1
    bad = failed(rows)
    assert set(bad.values()) == {"connect"}
    assert list(bad) == list(range(2, 2 + len(bad)))
    assert len(bad) < 14
    # A connection that is in the listener's queue when it closes is reset; those that come later are refused.
    messages = [row.error.message for row in rows if row.error is not None]
    assert sum("connection refused" in message for message in messages) >= len(messages) - 1, messages
    assert all("connection refused" in message or "reset" in message for message in messages), messages


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_reset_of_a_kept_connection_is_tried_once_more(
    transport: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "KEEP_ALIVE_RACE", 60_000_000_000)  # a slow machine's reset is at once too
    with Sim("reset@2") as sim:
        _, rows = run(capsys, sim, "-n", 4, "-c", 1, "--transport", transport)
        assert [row["fault"] for row in sim.truth] == [None, None, "reset", None, None]
    assert failed(rows) == {}
    assert [row.retried for row in rows] == [False, False, True, False]
    assert [row.resent or 0 for row in rows] == [0, 0, 1, 0]
    assert Path("run/records.jsonl").read_text().count('"resent"') == 1
    summary = read_json(Path("run/summary.json"))
    assert (summary["counts"]["resent"], summary["counts"]["retried"]) == (1, 0)
    assert "resent requests" in [doubt["what"] for doubt in summary["verdict"]["doubts"]]
    assert summary["client"]["send_lag_max"] < (rows[2].sent or 0) - rows[2].scheduled


EVENTS = b"""data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n"""
WHOLE = b"""{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"""


@contextmanager
def killing(wait: float) -> Iterator[tuple[str, Counter[str]]]:
    """A server that works for `wait` seconds on each second request of a connection, then closes without an answer.
    Its URL, and how many requests it answered and killed."""
    counts: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        posts = 0

        def do_GET(self) -> None:
            self._answer(b'{"data": [{"id": "m"}]}', "application/json")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            self.posts += 1
            if self.posts == 2:
                counts["killed"] += 1
                time.sleep(wait)
                self.close_connection = True
                return
            counts["answered"] += 1
            streamed = b'"stream":true' in asked
            self._answer(*((EVENTS, "text/event-stream") if streamed else (WHOLE, "application/json")))

        def _answer(self, body: bytes, kind: str) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", counts
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("wait", "flags"),
    [
        (0.3, ["--transport", "wire"]),
        (0.3, ["--transport", "aiohttp"]),
        (0.01, ["--transport", "wire", "--no-stream"]),
        (0.01, ["--transport", "aiohttp", "--no-stream"]),
        (0.01, ["--transport", "wire", "--workers", "2"]),
    ],
)
def test_a_request_dropped_in_mid_work_is_a_failure(wait: float, flags: list[str], capsys: Capture) -> None:
    with killing(wait) as (url, served):
        loadstone(capsys, "run", "--url", url, "-n", 12, "-c", 2, "-o", "run", "--no-scrape", "--no-html", *flags)
    rows = records(Path("run"))
    summary = read_json(Path("run/summary.json"))
    counts = summary["counts"]
    assert served["killed"] > 0
    assert served["killed"] + served["answered"] == len(rows) == 12
    assert (counts["succeeded"], counts["failed"], counts["resent"]) == (served["answered"], served["killed"], 0)
    assert counts["by_error"] == {"connect": served["killed"]}
    for row in rows:
        if row.error is not None:
            assert row.error.message == "the server closed the connection before it answered"
            assert row.end - (row.sent or 0) >= wait * 0.9e9


LATE = {
    "idle": ("stall", "--idle-timeout", "no output for 0.4 s (--idle-timeout)"),
    "ttft": ("slow-head", "--ttft-timeout", "no output after 0.4 s (--ttft-timeout)"),
    "whole": ("slow-head", "--timeout", "not complete after 0.4 s (--timeout)"),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("late", LATE)
def test_timeouts_name_their_flag(late: str, transport: str, capsys: Capture) -> None:
    fault, flag, message = LATE[late]
    with Sim(f"{fault}@1", slow=5.0) as sim:
        _, rows = run(capsys, sim, "-n", 3, "-c", 1, "--transport", transport, flag, "400ms")
    assert failed(rows) == {1: "timeout"}
    assert rows[1].error is not None
    assert rows[1].error.message == message
    assert rows[1].end - rows[1].scheduled >= 0.4e9


def test_a_stall_keeps_what_came_before_it(capsys: Capture) -> None:
    with Sim("stall@0") as sim:
        _, rows = run(capsys, sim, "-n", 2, "-c", 1, "--idle-timeout", "0.4", "--save-text")
    assert rows[0].pieces is not None
    assert len(rows[0].pieces.times) == 3
    assert rows[0].text
    assert rows[0].last is not None
    assert rows[0].end - rows[0].last >= 0.4e9


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_faults_at_once_are_all_counted(transport: str, capsys: Capture) -> None:
    """Under concurrency the rows agree with the server's own list of what it did."""
    mixed = [name for name in CASES if name not in ("reset", "stall", "slow-head")]
    with Sim(*(f"{name}:{1 / len(mixed) / 1.5:.4f}" for name in mixed)) as sim:
        done, rows = run(capsys, sim, "-n", 120, "-c", 12, "--transport", transport)
        done_to = Counter(CASES[row["fault"]].kind if row["fault"] else SUCCESS for row in sim.truth)
    assert len(rows) == 120
    assert done.status == 1
    assert Counter(row.error.kind if row.error else SUCCESS for row in rows) == done_to
    assert len(done_to) == 6
    counts = read_json(Path("run/summary.json"))["counts"]
    assert counts["by_error"] == {kind: n for kind, n in done_to.items() if kind}


@contextmanager
def after(sim: Sim, count: int, act: Callable[[], None]) -> Iterator[None]:
    """Act as soon as the server has answered `count` requests."""
    acted = threading.Event()

    def watch() -> None:
        until = time.monotonic() + PATIENCE
        while len(sim.truth) < count and time.monotonic() < until:
            time.sleep(0.002)
        act()
        acted.set()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()
    assert acted.is_set()


# A connection that is being accepted while the server closes may be left without an answer, hence the timeouts.
GONE = {"connect", "truncated", "timeout"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_gone_in_mid_run(transport: str, capsys: Capture) -> None:
    with Sim(ttft="10ms") as sim, after(sim, 5, lambda: sim.call(sim.server.close())):
        done, rows = run(capsys, sim, "-n", 300, "-c", 4, "--timeout", 3, "--transport", transport)
    assert len(rows) == 300
    assert done.status == 1
    bad = failed(rows)
    assert set(bad.values()) <= GONE
    assert 5 <= 300 - len(bad) < 300
    assert rows[-1].error is not None
    assert rows[-1].error.kind == "connect"
    assert rows[-1].error.message.endswith(": connection refused")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_gone_in_mid_run(transport: str, tmp_path: Path, capsys: Capture) -> None:
    """The server comes back without TLS."""
    authority, pem, key = trustme.CA(), tmp_path / "server.pem", tmp_path / "server.key"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    with Sim(certfile=str(pem), keyfile=str(key)) as sim, after(sim, 5, sim.replace):
        load = ("-n", 60, "--rate", 150, "--arrivals", "constant", "--insecure", "--timeout", 3)
        _, rows = run(capsys, sim, *load, "--transport", transport)
    assert len(rows) == 60
    assert set(failed(rows).values()) <= GONE | {"tls"}
    assert rows[0].error is None
    assert rows[-1].error is not None
    assert rows[-1].error.kind == "tls"
    assert rows[-1].error.message.startswith("TLS with 127.0.0.1:")


def test_nothing_succeeded(capsys: Capture) -> None:
    with Sim("503:1") as sim:
        done, rows = run(capsys, sim, "-n", 5, "-c", 2)
    assert done.status == 1
    assert failed(rows) == dict.fromkeys(range(5), "status")
    assert "no request succeeded; 5 ended with status: HTTP 503" in done.err


@pytest.mark.parametrize(("limit", "status"), [("0.5", 0), ("0.49", 1), ("0", 1), ("1", 0), (None, 1)])
def test_error_rate_limit(limit: str | None, status: int, capsys: Capture) -> None:
    with Sim("500@0,1") as sim:
        done, _ = run(capsys, sim, "-n", 4, "-c", 1, *(("--max-error-rate", limit) if limit else ()))
    assert done.status == status
    assert ("2 of 4 requests failed, above --max-error-rate" in done.err) == bool(status)
