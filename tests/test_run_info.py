"""run.json and records: what a run writes is read as it was, so are older files; bad ones are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone import loadtest, results
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import DataError
from loadstone.host import event_loop
from loadstone.records import Failure, FailureCause, Record, Resource, from_line, to_line
from loadstone.summary import COMPLETE, EndReason, RunInfo
from support.example_run import run as example_run
from support.paths import TESTS
from support.records import run_info

# A run with too few open files, from before run.json was a struct, some of its records, and their figures then.
FORMAT_1 = TESTS / "data" / "format-1"


class Model:
    """Answers each prompt with a word."""

    def predict(self, prompts: list[Any], **_: Any) -> list[Any]:
        return [{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]} for _ in prompts]


def write(folder: Path, run: dict[str, Any]) -> Path:
    (folder / run_folder.RUN).write_bytes(msgspec.json.encode(run))
    return folder


@pytest.mark.parametrize("load", [{"requests": 3}, {"stages": "0.02s@50,0.02s@100"}, {"duration": 0.05, "rpm": 1e9}])
@pytest.mark.clean_folder
def test_a_run_is_read_as_it_was_written(load: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer 123456789"}
    config = Config(dataset="chat-small", html=False, output="run", header=headers, goodput={"latency": 1.0}, **load)
    event_loop.run(loadtest.load_test(config, model=Model()))
    written = Path("run", run_folder.RUN).read_bytes()
    run = run_folder.load_run(Path("run"))
    assert (run.config.header, run.config.goodput) == ({"Authorization": "***"}, {"latency": 1.0})
    assert run.ended in COMPLETE
    assert (run.held_back is not None) == ("rpm" in load)
    assert run_folder.RunFolder(Path("again")).write_json(run_folder.RUN, run).read_bytes() == written


def test_an_older_run_gives_its_figures() -> None:
    summary = results.read_summary(FORMAT_1)
    expected = json.loads((FORMAT_1 / "figures.json").read_bytes())
    for name, figures in expected.pop("metrics").items():
        found = msgspec.to_builtins(summary.metrics[name])
        assert {figure: found[figure] for figure in figures} == pytest.approx(figures), name
    for name in ("rates", "client"):
        assert getattr(summary, name) == pytest.approx(expected.pop(name)), name
    assert summary.duration == pytest.approx(expected.pop("duration"))
    found = json.loads(msgspec.json.encode(summary))
    assert found["counts"].pop("lacking") == {"open_files": 4}
    assert sum(found["counts"].pop("finishes").values()) == found["counts"]["succeeded"]
    # The advice is today's.
    for verdict in (found["verdict"], expected["verdict"]):
        for doubt in verdict["doubts"]:
            del doubt["advice"]
    assert {name: found[name] for name in expected} == expected
    assert summary.counts.lacking == {Resource.OPEN_FILES: 4}
    assert (summary.run.config.concurrency, summary.run.host.open_files) == (60, 64)


def test_an_older_summary_says_what_ran_out() -> None:
    new = results.read_summary(FORMAT_1)
    old = msgspec.to_builtins(new)
    del old["counts"]["lacking"]
    assert results.decode_summary(msgspec.json.encode(old)) == new


def test_an_older_run_whose_disk_was_full(tmp_path: Path) -> None:
    run = run_folder.load_run(write(tmp_path, {"ended": "cannot write records: No space left on device"}))
    assert run.ended == EndReason.WRITE


def test_records_alone_have_an_empty_run() -> None:
    summary = results.read_summary(FORMAT_1 / run_folder.RECORDS)
    assert summary.run == RunInfo()
    assert msgspec.json.encode(summary.run) == b"{}"


def test_a_run_may_be_given_as_json_was_decoded() -> None:
    records = [Record(index=0, prompt="p", scheduled=0, sent=1, end=2)]
    assert results.measure(records, example_run()) == results.measure(records, run_info(example_run()))
    with pytest.raises(msgspec.ValidationError, match=r"\$\.config\.rate"):
        results.measure(records, {"config": {"rate": "fast"}})


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"config": {"rate": "fast"}}, "$.config.rate"),
        ({"config": {"transport": "pigeon"}}, "$.config.transport"),
        ({"stages": [{"index": 0}]}, "$.stages[0]"),
        ({"ceiling": {"events_per_second": "many"}}, "$.ceiling.events_per_second"),
        ({"clocks": [{"worker": "a", "host": "b", "offset": 0.1, "error": "?"}]}, "$.clocks[0].error"),
        ({"client": {"cpu_share": "all"}}, "$.client[...]"),
        ({"schedule": {"loop": "spiral"}}, "$.schedule.loop"),
    ],
)
def test_a_bad_value_is_refused_with_its_file_and_key(tmp_path: Path, fields: dict[str, Any], key: str) -> None:
    with pytest.raises(DataError) as caught:
        run_folder.load_run(write(tmp_path, fields))
    assert caught.value.file == str(tmp_path / "run.json")
    assert f"run.json is not readable: {caught.value.__cause__}" in str(caught.value)
    assert f"`{key}`" in str(caught.value)


def test_keys_of_other_versions_are_ignored(tmp_path: Path) -> None:
    new = {"began": "then", "weather": "fine", "config": {"rate": 2, "colour": "red"}, "host": {"cores": 2, "gpus": 8}}
    run = run_folder.load_run(write(tmp_path, new))
    assert (run.config, run.host.cores) == (Config(rate=2.0), 2)


def test_a_failure_of_another_version_is_a_failure() -> None:
    failed = Record(index=0, prompt="p", scheduled=0, sent=1, end=2, error=Failure(FailureCause.TLS, "no"))
    read = from_line(to_line(failed).replace(b'"tls"', b'"quic"'))
    assert read.error == Failure(FailureCause.OTHER, "no")
    assert results.measure([read]).counts.by_error == {"other": 1}


def test_what_ran_out_is_written_only_where_it_did() -> None:
    record = Record(index=0, prompt="p", scheduled=0, end=2, error=Failure(FailureCause.CONNECT, "no"))
    assert b"resource" not in to_line(record)
    short = msgspec.structs.replace(record, error=Failure(FailureCause.CONNECT, "no", Resource.LOCAL_PORTS))
    assert from_line(to_line(short)) == short
    assert results.measure([short, record]).counts.lacking == {Resource.LOCAL_PORTS: 1}


def test_a_run_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has format 9, from a later Loadstone"):
        run_folder.load_run(write(tmp_path, {"format": 9}))


def test_the_settings_need_no_numpy() -> None:
    code = "import loadstone.config.schema, loadstone.summary, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
