"""Test the run folder: nothing is overwritten, finished requests are on disk, a broken file is one sentence."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from loadstone import results
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.records import Choice, Failure, FailureCause, Pieces, Record, Usage, from_line, from_lines, to_line
from loadstone.report.exports import requests_csv

FULL = Path("/dev/full")


def record(index: int = 0, **fields: Any) -> Record:
    return Record(index=index, prompt="p", scheduled=0, end=5, **fields)


RICH = record(
    sent=1,
    connect=0,
    first_byte=2,
    first=3,
    first_answer=3,
    last=4,
    pieces=Pieces([0, 1], [2, 0], [1, 2]),
    usage=Usage(7, 2, 0, None),
    text="a\nb\u2028c\x00é",
    tools=[{"id": "t", "function": {"arguments": '{"a": 1}'}}],
    choices=[Choice("x", None, "stop"), Choice("y")],
    error=Failure(FailureCause.SERVER, 'it said "no"\n'),
)


def lines(count: int) -> bytes:
    return b"".join(to_line(record(index)) for index in range(count))


def split(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


# Records


@pytest.mark.parametrize("given", [record(), RICH])
def test_a_record_reads_back_from_its_line(given: Record) -> None:
    line = to_line(given)
    assert from_line(line) == given
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")


def test_what_did_not_happen_is_null() -> None:
    written = msgspec.json.decode(to_line(record()))
    assert {written[name] for name in ("sent", "connect", "first_byte", "first", "last", "usage", "error")} == {None}


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert from_line(to_line(record()).replace(b"{", b'{"novel":1,', 1)) == record()


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_cut_last_line_is_passed_over(cut: int) -> None:
    found = list(from_lines(split(lines(3)[:-cut])))
    assert len(found) == (3 if cut == 1 else 2)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (lines(1) + b"{oops\n" + lines(1), 2),
        (lines(1) + b"{oops\n", 2),
        (lines(2)[:-20] + b"\n" + lines(1), 2),
        (b'{"index":0}\n', 1),
        (b"[1,2]\n", 1),
        (b"\xff\xfe\n" + lines(1), 1),
    ],
)
def test_any_other_bad_line_is_named(content: bytes, line: int) -> None:
    with pytest.raises(UsageError, match=rf"^r\.jsonl, line {line} is not a record: "):
        list(from_lines(split(content), "r.jsonl"))


def test_empty_lines_are_passed_over() -> None:
    assert len(list(from_lines(split(b"\n" + lines(1) + b"  \n" + lines(1) + b"\n")))) == 2


# The folder


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert run_folder.RunFolder(tmp_path / "a" / "b").path.is_dir()


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert run_folder.RunFolder(tmp_path).path == tmp_path


def test_an_existing_run_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"{}")
    with pytest.raises(UsageError, match=r"exists and is not empty; give another folder with -o$"):
        run_folder.RunFolder(tmp_path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("run.json", b"{}")]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    for path in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(UsageError, match=r"^cannot make the folder .*; give another with -o$"):
            run_folder.RunFolder(path)
    assert (tmp_path / "x").read_bytes() == b"mine"


def test_files_are_written_whole(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path)
    folder.write("a.txt", "één")
    folder.write("a.txt", b"two")
    folder.write_json("b.json", {"x": None})
    folder.write_lines("c.jsonl", iter([b"1\n", b"2\n"]))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "a.txt": b"two",
        "b.json": b'{\n  "x": null\n}\n',
        "c.jsonl": b"1\n2\n",
    }


def test_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadstone.engine.run_folder.time.strftime", lambda _: "20250101-120000")
    names = []
    for label in (None, "my run/../x", "///", None, None):
        path = run_folder.default_path(label, tmp_path)
        path.mkdir()
        names.append(path.name.removeprefix("20250101-120000-"))
    assert names == ["run", "my-run-..-x", "run-2", "run-3", "run-4"]


# Recording


def test_each_record_is_on_disk_before_the_end(tmp_path: Path) -> None:
    recorder = run_folder.Recorder(run_folder.RunFolder(tmp_path).path / run_folder.RECORDS)
    for index in range(3):
        recorder.add(record(index))
        while len(found := list(run_folder.load_records(tmp_path))) <= index:
            assert recorder.error is None
        assert found[-1] == record(index)
    recorder.close()
    assert (tmp_path / run_folder.RECORDS).read_bytes() == lines(3)


def test_closing_waits_for_what_is_still_to_be_written(tmp_path: Path) -> None:
    recorder = run_folder.Recorder(run_folder.RunFolder(tmp_path).path / run_folder.RECORDS)
    for index in range(5000):
        recorder.add(record(index))
    recorder.close()
    assert [found.index for found in run_folder.load_records(tmp_path)] == list(range(5000))
    assert recorder.error is None


def test_records_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / run_folder.RECORDS).write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        run_folder.Recorder(tmp_path / run_folder.RECORDS)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_a_full_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    monkeypatch.setattr("loadstone.engine.run_folder.os.open", lambda *_: opened(FULL, os.O_WRONLY))
    recorder = run_folder.Recorder(tmp_path / "x")
    recorder.add(record())
    recorder.add(record())
    recorder.close()
    assert recorder.error is not None
    assert recorder.error.strerror == "No space left on device"


# Reading


def test_load_run(tmp_path: Path) -> None:
    (tmp_path / run_folder.RUN).write_bytes(b'{"format": 1}')
    assert run_folder.load_run(tmp_path) == {"format": 1}


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run: no run\.json in it \(.+\)$"):
        results.read_summary(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / run_folder.RUN).write_bytes(content)
    with pytest.raises(UsageError, match=r"run\.json is not readable: "):
        run_folder.load_run(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [{"config": []}, {"config": {"goodput": [1]}}, {"stages": {}}, {"ended": 5}, {"workers": [1]}, {"host": "h"}],
)
def test_a_run_json_that_was_changed_by_hand_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(fields))
    with pytest.raises(UsageError, match=r"run\.json is not readable: ."):
        run_folder.load_run(tmp_path)


def test_records_that_are_not_there(tmp_path: Path) -> None:
    for path, name in ((tmp_path, "records.jsonl"), (tmp_path / "x.jsonl", "x.jsonl")):
        with pytest.raises(UsageError, match=rf"^cannot read .*{name}: [^:]+$"):
            list(run_folder.load_records(path))


def test_shards_of_a_run_that_was_killed_read_as_one(tmp_path: Path) -> None:
    for number, at in ((10, 4), (0, 0), (2, 2)):
        (tmp_path / run_folder.SHARD.format(number)).write_bytes(to_line(record(at)) + to_line(record(at + 1)))
    (tmp_path / "records.x.jsonl").write_bytes(b"not one of them")
    assert [file.name for file in run_folder.find_shards(tmp_path)] == [
        f"records.{number}.jsonl" for number in (0, 2, 10)
    ]
    assert [found.index for found in run_folder.load_records(tmp_path)] == [0, 1, 2, 3, 4, 5]


def test_each_shard_may_end_in_mid_line(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / run_folder.SHARD.format(number)).write_bytes(to_line(record(number)) + lines(1)[:-9])
    assert [found.index for found in run_folder.load_records(tmp_path)] == [0, 1, 2]


def test_a_bad_line_in_a_shard_names_it(tmp_path: Path) -> None:
    (tmp_path / "records.0.jsonl").write_bytes(lines(1))
    (tmp_path / "records.1.jsonl").write_bytes(b"{}\n" + lines(1))
    with pytest.raises(UsageError, match=r"records\.1\.jsonl, line 1 is not a record"):
        list(run_folder.load_records(tmp_path))


def test_merged_records_win_over_shards(tmp_path: Path) -> None:
    (tmp_path / run_folder.RECORDS).write_bytes(lines(1))
    (tmp_path / "records.0.jsonl").write_bytes(lines(5))
    assert [found.index for found in run_folder.load_records(tmp_path)] == [0]
    (tmp_path / run_folder.RECORDS).write_bytes(b"")
    assert list(run_folder.load_records(tmp_path)) == []


def test_a_killed_run_reads(tmp_path: Path) -> None:
    (tmp_path / run_folder.RUN).write_bytes(b'{"began": "now", "expected": 9}')
    (tmp_path / run_folder.RECORDS).write_bytes(lines(3)[:-10])
    summary = results.read_summary(tmp_path)
    assert (summary.counts.succeeded, summary.counts.expected) == (2, 9)
    assert summary.verdict is not None
    assert "no end" in [doubt.what for doubt in summary.verdict.doubts]


def test_objectives_given_later_replace_those_of_the_run(tmp_path: Path) -> None:
    (tmp_path / run_folder.RUN).write_bytes(b'{"began": "now", "config": {"goodput": {"ttft": 1.0}, "rate": 2}}')
    (tmp_path / run_folder.RECORDS).write_bytes(to_line(record(sent=0, first=3, last=4, pieces=Pieces([0], [1]))))
    summary = results.read_summary(tmp_path, goodput={"latency": 5.0})
    assert summary.run["config"] == {"goodput": {"latency": 5.0}, "rate": 2}
    assert summary.rates["attainment.latency"] == 1
    assert "attainment.ttft" not in summary.rates


# requests.csv


def test_table() -> None:
    [row] = requests_csv.table([RICH]).to_dict("records")
    times = {name: row[f"{name}_s"] for name in ("scheduled", "sent", "first", "last", "end", "ttft", "latency")}
    assert times == pytest.approx(
        {"scheduled": 0, "sent": 1e-9, "first": 3e-9, "last": 4e-9, "end": 5e-9, "ttft": 2e-9, "latency": 3e-9}
    )
    assert (row["events"], row["input_tokens"], row["output_tokens"], row["error"]) == (2, 7, 2, "server")


def test_an_answer_that_was_not_streamed_ends_at_its_end() -> None:
    [row] = requests_csv.table([record(sent=1, streamed=False)]).to_dict("records")
    assert row["latency_s"] == pytest.approx(4e-9)


def test_requests_csv_reads_back(tmp_path: Path) -> None:
    requests_csv.write_csv([RICH, record(1)], tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["0", "1"]
    assert rows[0]["error_message"] == 'it said "no"\n'
    assert {rows[1][name] for name in ("sent_s", "ttft_s", "input_tokens", "status", "error", "events")} == {""}
    assert list(pd.read_csv(tmp_path / "r.csv").columns) == list(rows[0])


def test_requests_csv_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that is whole, or empty, in one piece alone is written as in the others."""
    records = [record(index, status=200 if index < 4 else None, connect=0 if index < 6 else 7) for index in range(10)]
    requests_csv.write_csv(records, tmp_path / "whole.csv")
    for size in (1, 3, 5, 10):
        monkeypatch.setattr(requests_csv, "CHUNK", size)
        requests_csv.write_csv(records, tmp_path / "pieces.csv")
        assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_requests_csv_of_nothing_is_its_head(tmp_path: Path) -> None:
    requests_csv.write_csv([], tmp_path / "none.csv")
    requests_csv.write_csv([record()], tmp_path / "one.csv")
    assert (tmp_path / "none.csv").read_text() == (tmp_path / "one.csv").read_text().splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (b"", (0, 0, 0)),
        (lines(3)[:-10], (2, 2, 0)),
        (
            b"".join(to_line(record(at, sent=1, error=Failure(FailureCause.STATUS, "429"))) for at in range(3)),
            (3, 0, 3),
        ),
        (b"".join(to_line(record(at, sent=1, streamed=False)) for at in range(3)), (3, 3, 0)),
    ],
    ids=["empty", "cut", "all failed", "not streamed"],
)
def test_the_end_of_an_odd_run(tmp_path: Path, content: bytes, counts: tuple[int, int, int]) -> None:
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.write(run_folder.RUN, '{"began": "now"}')
    folder.write(run_folder.RECORDS, content)
    found = results.write_results(folder).counts
    assert (found.completed, found.succeeded, found.failed) == counts
    with (folder.path / results.REQUESTS_CSV).open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + found.completed
    assert results.decode_summary((folder.path / "summary.json").read_bytes()).counts == found


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_no_room_for_requests_csv_leaves_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_csv, "CHUNK", 2)
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.write(run_folder.RUN, '{"began": "now"}')
    folder.write(run_folder.RECORDS, lines(5))
    (folder.path / results.REQUESTS_CSV).symlink_to(FULL)
    with pytest.raises(UsageError, match=r"^cannot write .*requests.csv: [^;]+; the records so far"):
        results.write_results(folder)
    assert results.decode_summary((folder.path / "summary.json").read_bytes()).counts.succeeded == 5


def test_a_full_disk_at_the_end_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder.RunFolder(tmp_path / "run")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"^cannot write .*summary.json: No space left on device; the records so far"):
        folder.write("summary.json", "{}")
