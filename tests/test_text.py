"""Foreign text: whatever a server sends becomes a row, and the run goes on to its report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone import records, text
from loadstone.apis import APIS, Delta, Event
from loadstone.apis.openai import Chat
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.server_errors import error_body_message
from loadstone.cli.main import main
from loadstone.config import secrets
from loadstone.engine import worker_messages
from loadstone.engine.progress_digest import Progress
from loadstone.engine.run_folder import RunFolder
from loadstone.engine.worker import Worker
from loadstone.plugins import load_instance
from loadstone.records import Failure, FailureCause, Record
from support.servers import Asked, Capture, loadstone, read_json, refused, scripted
from support.servers import records as rows_of

NASTY = {
    "a lone high surrogate": "a\ud800b",
    "a lone low surrogate": "a\udfffb",
    "surrogates the wrong way round": "\ude00\ud83d",
    "NUL": "a\x00b",
    "control characters": "a\x1b[2J\x07\x08\x9b\r\u202e\u2066b",
    "1 MB": "x" * 1_000_000,
    "1 MB of surrogates": "\ud800" * 200_000,
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "a formula and markup": "=1+1</script><b>&[/bold]\u2028",
}


pytestmark = pytest.mark.clean_folder


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_foreign_text_is_fit_for_all_that_follows(nasty: str) -> None:
    kept = text.to_utf8(nasty)
    assert kept == "".join(f"\\u{ord(old):04x}" if "\ud800" <= old <= "\udfff" else old for old in nasty)
    shown = text.clean(nasty)
    assert len(shown) < text.MAX_MESSAGE + 40
    assert text.clean(shown, 2000) == shown == shown.encode().decode()
    assert not set(shown) & set("\x00\x07\x08\x1b\x9b\r\u202e\u2066")
    if len(nasty) > text.MAX_MESSAGE:
        assert shown.endswith(f"… ({len(nasty):,} characters)")


def test_ordinary_text_stays_as_it_is() -> None:
    for ordinary in ("", "plain", "Zeile\nzwei\tTab", "Grüße, 你好, 👍🏽, e\u0301"):
        assert text.to_utf8(ordinary) is ordinary
        assert text.visible(ordinary) == text.clean(ordinary) == ordinary


def test_the_halves_of_a_character_that_events_cut_apart_are_joined() -> None:
    assert text.to_utf8("a\ud83d" + "\ude00b\ude00") == "a\U0001f600b\\ude00"


def test_a_carriage_return_is_only_ordinary_before_a_newline() -> None:
    assert text.clean("a\r\nb\rc") == "a\nb\ufffdc"


def test_what_has_no_text_is_named_by_its_type() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert text.clean(Mute()) == "Mute"
    assert text.clean({"a": "\ud800"}) == "{'a': '\\ud800'}"


@pytest.mark.parametrize(
    ("escaped", "mended"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"\uDFFF\uD800"', "\ufffd\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud800"', r"\ud800"),
        (rb'"\\\ud800\n"', "\\\ufffd\n"),
        (rb'"\ud800A\""', '\ufffdA"'),
    ],
)
def test_lone_surrogates_in_json_are_replaced_and_nothing_else(escaped: bytes, mended: str) -> None:
    assert msgspec.json.decode(text.replace_surrogate_escapes(escaped)) == mended


def test_records_messages_and_files_take_any_text(tmp_path: Path) -> None:
    bad = "\ud800"
    record = Record(
        index=0, prompt="p", scheduled=0, end=1, text=bad, tools=[{bad: [bad]}], error=Failure(FailureCause.SERVER, bad)
    )
    again = records.from_line(records.to_line(record))
    assert (again.text, again.tools, again.error) == (
        r"\ud800",
        [{r"\ud800": [r"\ud800"]}],
        Failure(FailureCause.SERVER, r"\ud800"),
    )
    (body,) = worker_messages.FrameSplitter().feed(
        worker_messages.encode_frame(Progress(worker=0, at=1, failures=[(Failure(FailureCause.SERVER, bad), 1)]))
    )
    assert worker_messages.decode_from_worker(body) == Progress(
        worker=0, at=1, failures=[(Failure(FailureCause.SERVER, r"\ud800"), 1)]
    )
    folder = RunFolder(tmp_path / "run")
    folder.write_json("run.json", {"model": bad, bad: [record]})
    assert read_json(folder.path / "run.json")["model"] == r"\ud800"
    assert folder.write("page.html", f"<p>{bad}").read_text("utf-8") == r"<p>\ud800"


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize(
    "body",
    [
        lambda bad: {"error": {"message": bad}},
        lambda bad: {"error": bad},
        lambda bad: {"detail": [{bad: bad}]},
        lambda bad: {"message": [bad]},
    ],
    ids=["error.message", "error", "detail", "message"],
)
def test_the_words_of_an_error_are_bounded_text(body: Any, nasty: str) -> None:
    words = error_body_message(json.dumps(body(nasty)).encode())
    assert words.encode()
    assert len(words) < 560


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


PLACES: dict[str, Any] = {
    "text": lambda bad: event({"content": bad}),
    "reasoning": lambda bad: event({"reasoning_content": bad}),
    "refusal": lambda bad: event({"refusal": bad}),
    "parts": lambda bad: event({"content": [{"type": "text", "text": bad}]}),
    "finish": lambda bad: event({"content": "x"}, bad),
    "tool": lambda bad: event({"tool_calls": [{"index": 0, "id": bad, "function": {"name": bad, "arguments": bad}}]}),
    "logprobs": lambda bad: {
        "choices": [{"delta": {"content": "x"}, "logprobs": {"content": [{"token": bad, "logprob": -1.0}]}}]
    },
    "error": lambda bad: {"error": {"message": bad}},
    "error text": lambda bad: {"error": bad},
    "error object": lambda bad: {"object": "error", "message": bad},
    "error in a list": lambda bad: {"error": [{bad: bad}]},
    "unknown fields": lambda bad: event({"content": "x", bad: bad}, id=bad, model=bad),
    "wrong type": lambda bad: {"choices": bad},
    "wrong index": lambda bad: {"choices": [{"index": bad}]},
}  # fmt: skip


def sse(*events: dict[str, Any]) -> str:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n"


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_event_with_any_text_anywhere_leaves_something_that_can_be_recorded(place: Any, nasty: str) -> None:
    reply = ResponseParser(Chat(), stream=True, keep_text=True)
    reply.start(200, b"text/event-stream")
    reply.feed(sse(event({"content": "begin "}), place(nasty), event({}, "stop")).encode(), 5)
    failure = reply.finish()
    kept = msgspec.json.encode([reply.choices(), reply.tool_calls(), reply.logprobs(), reply.finish_reason, failure])
    assert failure is None or (failure.kind in ("server", "protocol") and len(failure.message) < 1100)
    assert len(reply.finish_reason or "") < 240
    if place is PLACES["text"]:
        assert failure is None
        assert reply.choices()[0].text == "begin " + text.to_utf8(nasty)
        assert kept


@pytest.mark.parametrize("name", [name for name in APIS if name != "template"])
@pytest.mark.parametrize("nasty", [r"\ud800", r"\u0000", r"\udc00\ud800"])
def test_every_protocol_reads_what_is_no_utf8(name: str, nasty: str) -> None:
    """Each as the words of an error, in a stream and in one piece."""
    bodies = ('{"error":{"message":"%s"},"type":"error"}', '{"error":"%s","type":"error"}', '{"%s":1}')
    api = load_instance("loadstone.apis", name, APIS, "--api")
    for body in bodies:
        for stream in {api.streams, False}:
            reply = ResponseParser(api, stream=stream, keep_text=True)
            reply.start(200, b"text/event-stream" if stream else b"application/json")
            line = body % nasty
            reply.feed(
                (f"{line}\n" if name == "ollama" and stream else f"data: {line}\n\n" if stream else line).encode(), 1
            )
            failure = reply.finish()
            assert failure is not None
            assert msgspec.json.encode(failure)


class Careless(Chat):
    """A decoder that checks nothing, as one with `json.loads` would be."""

    def parse_response(self, data: bytes) -> Event:
        found = json.loads(data)
        if found.get("raise"):
            raise LookupError(found["text"])
        return Event([Delta(answer=found["text"], reasoning=found["text"], finish=found["text"], output=True)])

    def parse_event(self, data: bytes) -> Event:
        return Event(done=True) if data == b"[DONE]" else self.parse_response(data)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("mistake", [True, False])
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_a_protocol_of_ones_own_need_not_check_its_text(nasty: str, mistake: bool, stream: bool) -> None:
    reply = ResponseParser(Careless(), stream=stream, keep_text=True)
    body = json.dumps({"text": nasty, "raise": mistake})
    reply.start(200, b"text/event-stream" if stream else b"application/json")
    reply.feed((f"data: {body}\n\n" if stream else body).encode(), 1)
    failure = reply.finish()
    assert msgspec.json.encode([reply.choices(), reply.finish_reason, failure])
    assert (failure is not None) == mistake
    if failure is not None:
        assert failure.kind == "protocol"
        assert "LookupError" in failure.message
        assert len(failure.message) < 1100


VIEWS = ("text", "classic", "html", "md", "csv", "json", "junit")


@contextmanager
def server(bad: dict[int, tuple[int, str]], models: str = "m", page: str | None = None) -> Iterator[str]:
    """Gives the n-th POST the status and body that `bad` has for it, and others a good stream."""
    count = 0

    def script(asked: Asked) -> tuple[int, str]:
        nonlocal count
        if asked.method == "GET":
            listing = json.dumps({"data": [{"id": models}]})
            return (200, listing) if asked.path.endswith("models") else (200 if page else 404, page or "")
        count += 1
        return bad.get(count, (200, sse(event({"content": "a"}), event({}, "stop"))))

    with scripted(script) as url:
        yield url


def run(capsys: Capture, url: str, *flags: object) -> list[Record]:
    """A run of 40 requests to its end; all views of it can be drawn."""
    done = loadstone(capsys, "run", "--url", url, "-n", 40, "-c", 4, "-o", "run", "--quiet", "--save-text", *flags)
    assert done.status in (0, 1), done
    assert "Traceback" not in done.err
    assert (Path("run") / "summary.json").exists(), done
    for view in VIEWS:
        assert main(["report", "run", "--as", view, "-o", f"report.{view}"]) == 0
        out = Path(f"report.{view}").read_text("utf-8")
        assert view == "json" or not set(out) & set("\x00\x1b\x07\x9b")
    return rows_of(Path("run"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
@pytest.mark.parametrize("status", [500, 200])
def test_a_run_goes_on_whatever_one_answer_holds(status: int, transport: str, workers: int, capsys: Capture) -> None:
    """Errors in all places, texts in all places: a row each, and the others succeed."""
    bodies = [
        json.dumps({"error": {"message": nasty}}) if status == 500 else sse(place(nasty), event({}, "stop"))
        for nasty in (NASTY["a lone high surrogate"], NASTY["NUL"], NASTY["control characters"])
        for place in PLACES.values()
    ]
    bad = {number: (status, body) for number, body in enumerate(bodies[:36], 2)}
    with server(bad) as url:
        rows = run(capsys, url, "--workers", workers, "--transport", transport, "--no-scrape")
    assert [row.index for row in rows] == list(range(40))
    failures = [row.error for row in rows if row.error is not None]
    assert {failure.kind for failure in failures} <= {"status", "server", "protocol", "empty"}
    assert len(failures) == 36 if status == 500 else len(failures) < 36


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_a_model_may_have_any_name(nasty: str, capsys: Capture) -> None:
    with server({}, models=nasty) as url:
        if len(nasty) > 1000:
            assert "name one with --model" in refused(capsys, "run", "--url", url, "-n", 1, "-o", "run")
            return
        rows = run(capsys, url, "--no-scrape")
    assert {row.error for row in rows} == {None}


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_before_the_run_is_one_line_of_plain_text(nasty: str, status: int, capsys: Capture) -> None:
    body = json.dumps({"error": {"message": nasty}})
    with scripted(lambda asked: (status if status == 401 or asked.method == "POST" else 404, body)) as url:
        said = refused(capsys, "run", "--url", url, "--model", "m", "-n", 1, "-o", "run")
    assert said == text.visible(said)
    assert len(said) < 1000


@pytest.mark.scrapes
def test_labels_of_a_metrics_page_may_hold_anything(capsys: Capture) -> None:
    labels = ["\x00\x1b[2J\x07", "y" * 1_000_000, "\ufffe\uffff", '=1+1,"\\n;\\\\']
    page = "".join(
        f'vllm:num_requests_running{{model_name="{label.replace(chr(34), chr(92) + chr(34))}"}} 1\n' for label in labels
    )
    many = ",".join(f'l{number}="{"z" * 1500}"' for number in range(200))
    with server({}, page=f"{page}vllm:num_requests_waiting{{{many}}} 2\n") as url:
        rows = run(capsys, url, "--scrape", f"{url}/metrics")
    assert {row.error for row in rows} == {None}
    assert Path("run/server.csv").stat().st_size < 1_000_000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_record_that_cannot_be_written_is_a_failed_row(
    workers: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Whatever the reason is. (Only in this process: the other workers do not see the patch.)"""
    keep = Worker._record

    def fussy(self: Worker, record: Record) -> None:
        if record.error is None and record.index % 4 == 0:
            raise OverflowError("no such \ud800 number")
        keep(self, record)

    monkeypatch.setattr(Worker, "_record", fussy)
    with server({}) as url:
        rows = run(capsys, url, "--workers", workers, "--no-scrape")
    assert [row.index for row in rows] == list(range(40))
    failed = [row for row in rows if row.error is not None]
    if workers == 1:
        assert sorted(row.index for row in failed) == list(range(0, 40, 4))
        for row in failed:
            assert row.error == Failure(
                FailureCause.PROTOCOL, "recording the response failed: OverflowError: no such \ufffd number"
            )
            assert row.text is None
            assert row.sent is not None


def test_csv_rows_are_quoted_and_end_with_a_newline() -> None:
    rows = text.write_rows(["a", "b"], [[1, None], ['say "x"', "1,2"]])
    assert rows == 'a,b\n1,\n"say ""x""","1,2"\n'
    assert text.write_rows(None, [["only", "rows"]]) == "only,rows\n"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "＋1", "－1", "＠x", "-", "--x"]
)
def test_no_text_is_a_formula_for_a_spreadsheet(cell: str) -> None:
    kept = text.csv_cell(cell)
    assert kept == (cell if cell == "-" else f"'{cell}")
    assert text.csv_text(str(kept)) == cell
    assert text.write_rows(None, [[cell]]).lstrip('"').startswith(str(kept)[:2].strip() or "'")


@pytest.mark.parametrize(
    "cell", ["-5", "+3.5", "-1,441.5", "-5.2%", "+1e9", "-.5", "plain", "", "'quoted", "a=b", -5, 1.5, None]
)
def test_numbers_and_other_text_stay_as_they_are(cell: object) -> None:
    assert text.csv_cell(cell) == cell
    if isinstance(cell, str):
        assert text.csv_text(cell) == cell


KEY = "sk-Zq7/x+9-secret"


def test_a_key_that_a_server_echoes_is_written_nowhere(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the answer, its finish reason, a tool call, an error, the name of a model and a label of a metric."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    calls = [{"index": 0, "id": KEY, "function": {"name": KEY, "arguments": json.dumps({"key": KEY})}}]
    bodies = [
        sse(event({"content": f"your key is {KEY}, quoted {json.dumps(KEY)}", "reasoning": KEY}), event({}, KEY)),
        sse(event({"tool_calls": calls}), event({}, "stop")),
        sse({"error": {"message": f"no such key: {KEY}"}}),
        json.dumps({"error": KEY}),
    ]
    bad = {number: (500 if number == 5 else 200, body) for number, body in enumerate(bodies, 2)}
    page = f'vllm:num_requests_running{{model_name="{KEY}"}} 1\n'
    with server(bad, models=f"model-{KEY}", page=page) as url:
        run(capsys, url, "--scrape", f"{url}/metrics", "--save-bodies", "--model", "m", "--header", "X-Session: none")
    for file in Path().rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
    assert "***" in Path("run/records.jsonl").read_text()


@pytest.mark.parametrize("word", ["EMPTY", "token", "password", "abc", "12345"])
def test_a_word_that_is_hardly_a_key_does_not_spoil_answers(word: str) -> None:
    assert secrets.scrubber([word]) is None


def test_a_key_is_hidden_in_all_forms_in_which_json_and_urls_have_it() -> None:
    scrub = secrets.scrubber(['a"b\\c&d=e/12'])
    assert scrub is not None
    for form in ('a"b\\c&d=e/12', 'a\\"b\\\\c&d=e/12', "a%22b%5Cc%26d%3De%2F12"):
        assert scrub(f"x {form} y".encode()) == b"x *** y"
