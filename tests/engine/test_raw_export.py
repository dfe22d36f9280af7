"""Test --export-raw: the bytes are those that the server sent, keys are hidden, and size is bounded."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadstone.config.schema import Config
from loadstone.engine import raw_export, run_folder
from loadstone.engine.raw_export import hide_in_pieces
from loadstone.errors import ConfigError
from support import paths
from support.scripted_api import CHUNKED, Peer, Received, answer, event, serving, serving_script, stream
from support.scripted_server import chunk, response
from support.servers import Capture, loadstone, post

pytestmark = pytest.mark.clean_folder
KEY = "sk-proj-abcdef123456"
TRANSPORTS = ("wire", "aiohttp")
# Bodies with which requests 1, 2, ... are answered, chunk by chunk; each of them is a failure.
BROKEN: list[list[bytes]] = [
    [event(content="a"), b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n'],
    [event(content="a"), b"data: {not json\n\n"],
    [event(content="a"), b"data: \xff\xfe\x00\x01\n\n"],
    ["data: é".encode()[:-1], "é\n\n".encode()[1:]],
    [b""],
    [b"<html>\r\n<body>502 Bad Gateway\r\n</body></html>"],
    [event(content="\ud800")],
    [event(content="a"), b"event: error\ndata: overloaded\n\n"],
]


def run(capsys: Capture, url: str, *flags: object) -> list[dict[str, Any]]:
    """Run into the folder `run` and return the lines of raw.jsonl, in the order of the requests."""
    loadstone(capsys, "run", "--url", url, "-o", "run", "--quiet", "--no-html", "--no-scrape", "--timeout", 2, *flags)
    lines = [json.loads(line) for line in Path("run", "raw.jsonl").read_bytes().splitlines()]
    return sorted(lines, key=lambda line: (line["index"], line["attempt"]))


def data_of(piece: dict[str, str]) -> bytes:
    return piece["text"].encode() if "text" in piece else base64.b64decode(piece["base64"])


def body_of(line: dict[str, Any]) -> bytes:
    return b"".join(map(data_of, line["response"]["pieces"]))


async def answers(peer: Peer, _: Received, number: int) -> None:
    """A good answer, then each of the broken ones."""
    if number == 0:
        return await stream(peer, answer())
    await peer.send(CHUNKED)
    for part in BROKEN[number - 1]:
        await peer.send(chunk(part) if part else b"")
    await peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_bytes_of_failed_requests_are_those_that_the_server_sent(transport: str, capsys: Capture) -> None:
    with serving(answers) as url:
        lines = run(capsys, url, "-n", 1 + len(BROKEN), "-c", 1, "--transport", transport, "--export-raw")
    assert [line["index"] for line in lines] == list(range(1 + len(BROKEN)))
    assert body_of(lines[0]) == b"".join(answer())
    assert lines[0]["error"] is None
    for line, sent in zip(lines[1:], BROKEN, strict=True):
        assert body_of(line) == b"".join(sent)
        assert line["error"] is not None or sent == BROKEN[3]
        assert line["response"]["status"] == 200
        assert line["response"]["left_out_bytes"] == 0
        assert not line["response"]["keys_hidden"]
    # Times are those since it was sent, and the request is the one that was made.
    times = [piece["at"] for piece in lines[0]["response"]["pieces"]]
    assert times == sorted(times)
    assert 0 < lines[0]["response"]["first_byte"] <= times[0] <= times[-1] <= lines[0]["response"]["end"]
    request = lines[0]["request"]
    assert (request["method"], request["url"]) == ("POST", f"{url}/v1/chat/completions")
    assert json.loads(request["body"]["text"])["stream"] is True


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_no_http_is_kept_too(transport: str, capsys: Capture) -> None:
    garbage = b"SSH-2.0-OpenSSH_9.6\r\nnot what you want\r\n\r\n"

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.line.startswith("GET"):
            await peer.send(response(b'{"data": [{"id": "m"}]}', "200 OK", b"Connection: close"))
        else:
            await peer.send(garbage)
        peer.close()

    with serving_script(script) as url:
        (line,) = run(capsys, url, "-n", 1, "--transport", transport, "--export-raw")
    assert line["response"] is None
    assert data_of(line["not_http"]) in garbage
    assert data_of(line["not_http"]).startswith(b"SSH-2.0")
    assert line["error"]["kind"] == "protocol"


def test_every_attempt_has_a_line_and_one_without_an_answer_none_of_it(capsys: Capture) -> None:
    async def handler(peer: Peer, _: Received, number: int) -> None:
        if number == 0:
            await peer.send(response(b'{"error": "busy"}', "503 Unavailable", b"Retry-After: 0", b"Connection: close"))
            return peer.close()
        if number == 1:
            return peer.close()
        await stream(peer, answer())

    with serving(handler) as url:
        lines = run(capsys, url, "-n", 1, "--retries", 2, "--export-raw")
    assert [(line["attempt"], line["error"] and line["error"]["kind"]) for line in lines[:2]] == [
        (0, "status"),
        (1, "connect"),
    ]
    assert lines[0]["response"]["headers"][0] == ["Retry-After", "0"]
    assert lines[1]["response"] is None


@pytest.mark.parametrize(
    ("which", "kept"), [("failed", [*range(5), 8]), ("2", [0, 1, 8]), ("0", [8]), ("all", [*range(9)])]
)
def test_which_requests_are_kept(which: str, kept: list[int], capsys: Capture) -> None:
    async def handler(peer: Peer, _: Received, number: int) -> None:
        await stream(peer, answer() if number < 8 else [b"data: {\n\n"], pause=0.0)

    with serving(handler) as url:
        lines = run(capsys, url, "-n", 9, "-c", 1, "--export-raw", which)
    assert [line["index"] for line in lines] == kept


def test_several_processes_write_one_file(capsys: Capture) -> None:
    async def handler(peer: Peer, _: Received, number: int) -> None:
        await stream(peer, answer(), pause=0.0)

    with serving(handler) as url:
        lines = run(capsys, url, "-n", 12, "-c", 4, "--workers", 2, "--export-raw", "all")
    assert [line["index"] for line in lines] == list(range(12))
    assert {line["worker"] for line in lines} == {0, 1}
    assert [path.name for path in Path("run").glob("raw*")] == ["raw.jsonl"]


def test_without_the_flag_nothing_is_kept(capsys: Capture) -> None:
    async def handler(peer: Peer, _: Received, number: int) -> None:
        await stream(peer, answer(), pause=0.0)

    with serving(handler) as url:
        loadstone(capsys, "run", "--url", url, "-o", "run", "-n", 2, "--quiet", "--no-html", "--no-scrape")
    assert not list(Path("run").glob("raw*"))


def test_size_is_bounded_and_said(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_export, "MAX_BODY", 3000)
    monkeypatch.setattr(raw_export, "MAX_RAW", 20_000)
    monkeypatch.setattr(run_folder, "MAX_RAW", 20_000)

    async def handler(peer: Peer, _: Received, number: int) -> None:
        await stream(peer, answer(40), pause=0.0)

    with serving(handler) as url:
        flags = ("-o", "run", "--no-html", "--no-scrape", "--export-raw", "all", "-n", 10, "-c", 2)
        done = loadstone(capsys, "run", "--url", url, *flags)
    lines = [json.loads(line) for line in Path("run/raw.jsonl").read_bytes().splitlines()]
    assert 0 < len(lines) < 10
    assert Path("run/raw.jsonl").stat().st_size <= 20_000
    assert f"no room for {10 - len(lines)} more requests" in done.err
    whole = b"".join(answer(40))
    for line in lines:
        assert whole.startswith(body_of(line))
        assert len(body_of(line)) <= 3000
        assert len(body_of(line)) + line["response"]["left_out_bytes"] == len(whole)
    assert done.status == 0


@pytest.mark.parametrize(
    "pieces",
    [
        [b"before " + KEY.encode() + b" after"],
        [b"before sk-pro", b"j-abcdef123456 after"],
        [b"before s", b"k-proj-abc", b"", b"def12", b"3456", b" after"],
        [b"cut short: sk-proj-abcd..."],
        [KEY.encode()] * 3,
        [b'{"a": "' + KEY.encode()],
    ],
)
def test_a_key_is_hidden_wherever_it_is_cut(pieces: list[bytes]) -> None:
    hidden, changed = hide_in_pieces(pieces, [KEY])
    assert changed
    assert len(hidden) == len(pieces)
    assert b"sk-proj-" not in b"".join(hidden)
    assert b"***" in b"".join(hidden)
    whole = b"".join(pieces)
    if whole.endswith(b" after"):
        assert b"".join(hidden) == b"before *** after"


def test_a_key_that_is_spelled_token_by_token_hides_the_body() -> None:
    pieces = [b'data: {"delta": {"content": "%b"}}\n\n' % KEY[at : at + 3].encode() for at in range(0, len(KEY), 3)]
    hidden, changed = hide_in_pieces(pieces, [KEY])
    assert changed
    assert b"".join(hidden) == b"***"


@pytest.mark.parametrize("pieces", [[], [b""], [b"plain"], [b'{"a": "b', b'c"}'], [b'"\\"' * 100_000], [b"\\" * 99]])
def test_bytes_without_a_key_stay_as_they_are(pieces: list[bytes]) -> None:
    assert hide_in_pieces(pieces, [KEY, "none"]) == (pieces, False)
    assert hide_in_pieces(pieces, []) == (pieces, False)


def test_a_key_that_the_server_echoes_is_in_no_file(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def handler(peer: Peer, request: Received, number: int) -> None:
        (given,) = request.values("Authorization")
        body = json.dumps({"error": {"message": f"bad key: {given}"}}).encode()
        await peer.send(response(body, "401 Unauthorized", b"X-You-Sent: " + given.encode(), b"Set-Cookie: s=hunter2"))

    with serving(handler) as url:
        (line, *_) = run(capsys, url, "-n", 2, "--header", "X-Other: a", "--export-raw")
    headers = dict(map(tuple, line["request"]["headers"]))
    assert (headers["Authorization"], headers["X-Other"]) == ("***", "a")
    assert ["X-You-Sent", "***"] in line["response"]["headers"] or ["X-You-Sent", "Bearer ***"] in line["response"][
        "headers"
    ]
    assert ["Set-Cookie", "***"] in line["response"]["headers"]
    assert line["response"]["keys_hidden"]
    for file in Path("run").iterdir():
        assert KEY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("value", ["some", "-1", "1.5", ""])
def test_another_value_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="--export-raw takes"):
        Config(export_raw=value).check()


def test_the_program_of_the_docs_answers_as_the_server_did(capsys: Capture, tmp_path: Path) -> None:
    with serving(answers) as url:
        lines = run(capsys, url, "-n", 4, "-c", 1, "--export-raw")
    program = (paths.ROOT / "docs/bug-reports.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    (tmp_path / "replay.py").write_text(program, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, tmp_path / "replay.py", "run/raw.jsonl", "3", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_open(port)
            status, kind, body = post(f"http://127.0.0.1:{port}/v1/chat/completions", {"stream": True})
        finally:
            server.terminate()
    assert (status, body) == (200, b"".join(BROKEN[2]))
    assert lines[3]["response"]["status"] == status
    assert kind == b""


def wait_until_open(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError("the program did not start")


@pytest.mark.parametrize(
    ("records", "raw"),
    [
        ("run/records.jsonl", "run/raw.jsonl"),
        ("run/records.12.jsonl", "run/raw.12.jsonl"),
        ("spool/5f2a.0.jsonl", "spool/5f2a.0.raw.jsonl"),
    ],
)
def test_the_file_is_beside_the_records_of_its_process(records: str, raw: str) -> None:
    assert run_folder.raw_path(Path(records)) == Path(raw)
