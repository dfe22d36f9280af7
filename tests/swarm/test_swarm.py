"""The parts of a swarm that need no Locust: clocks, batches, messages, members, settings, statistics."""

from __future__ import annotations

import argparse
import random
import re
import typing
import zlib
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.cli import swarm
from loadstone.cli.parser import parse
from loadstone.config.schema import Config
from loadstone.engine.progress_digest import Progress, bin_middle, count_bins
from loadstone.engine.worker import WorkerResult
from loadstone.errors import UsageError
from loadstone.summary import EndReason
from loadstone.swarm import clock_sync, command, messages, outcome, record_batches, settings
from loadstone.swarm.locust_stats import LocustStats, bin_milliseconds
from loadstone.swarm.members import Member, Members, Shard, split_users
from loadstone.swarm.record_stream import RecordStream
from support.paths import ROOT

MS = 1_000_000
RUN = "r"

# clocks


def exchanges(offset: int, out: float, back: float, rounds: int = 20, jitter: float = 0.0) -> list[clock_sync.Exchange]:
    """Return exchanges between two clocks whose directions take `out` and `back` ms, and up to `jitter` ms more."""
    draw, now, result = random.Random(1), 10_000 * MS, []
    for _ in range(rounds):
        there = now + round((out + jitter * draw.random()) * MS)
        home = there + round((back + jitter * draw.random()) * MS)
        result.append(clock_sync.Exchange(now, there + offset, home))
        now = home + 10 * MS
    return result


@pytest.mark.parametrize("offset", [0, 7_000_000 * MS, -3 * MS])
@pytest.mark.parametrize(("out", "back"), [(0.2, 0.2), (0.1, 5.0), (40.0, 0.5)])
def test_the_true_offset_lies_within_the_error_however_asymmetric_the_directions_are(
    offset: int, out: float, back: float
) -> None:
    estimate = clock_sync.estimate(exchanges(offset, out, back, jitter=2.0))
    assert abs(estimate.offset - offset) <= estimate.error
    assert estimate.error <= (out + back) / 2 * MS + 2 * MS


def test_many_exchanges_are_more_exact_than_the_fastest() -> None:
    slow_back, slow_out = clock_sync.Exchange(0, 1 * MS, 11 * MS), clock_sync.Exchange(100 * MS, 110 * MS, 111 * MS)
    assert clock_sync.estimate([slow_back]).error == pytest.approx(5.5 * MS, abs=1)
    assert clock_sync.estimate([slow_back, slow_out]) == clock_sync.Estimate(0, 1 * MS, 55 * MS + MS // 2)


def test_of_contradictory_exchanges_the_fastest_counts() -> None:
    jumped = [clock_sync.Exchange(0, 1 * MS, 2 * MS), clock_sync.Exchange(10 * MS, 911 * MS, 14 * MS)]
    assert clock_sync.estimate(jumped) == clock_sync.Estimate(0, MS, 7 * MS)


def test_the_drift_is_what_the_offset_changed_by() -> None:
    before, after = clock_sync.Estimate(1000, 200, 0), clock_sync.Estimate(4000, 300, 60)
    assert clock_sync.summary(before, after) == {"offset": 1e-6, "error": 3.3e-6, "drift": 3e-6}
    assert clock_sync.summary(before, None)["drift"] is None
    assert before.to_remote(50) == 1050


# batches


def test_batches_arrive_once_and_in_order_over_a_connection_that_loses_and_repeats() -> None:
    draw, outbox, inbox, file = random.Random(2), record_batches.Outbox(), record_batches.Inbox(), b""
    sent = [b"".join(b"%d.%d\n" % (number, line) for line in range(draw.randrange(1, 9))) for number in range(200)]
    now, left, wire = 0.0, list(sent), list[record_batches.Batch]()
    while left or not outbox.empty:
        now += 0.5
        wire += outbox.resends(now)
        while left and outbox.has_room:
            wire.append(outbox.add(left.pop(0), now))
        for batch in wire:
            if draw.random() < 0.6:
                file += batch.lines if inbox.accept(batch.number, batch.lines) else b""
        wire = [batch for batch in wire if draw.random() < 0.2]
        if draw.random() < 0.5:
            outbox.acknowledge(inbox.count, now)
    inbox.end(outbox.digest)
    assert file == b"".join(sent)
    assert inbox.complete
    assert inbox.missing is None
    assert inbox.lines == file.count(b"\n")


def test_no_more_is_unacknowledged_than_the_window_holds() -> None:
    outbox = record_batches.Outbox()
    for number in range(record_batches.WINDOW):
        assert outbox.has_room
        outbox.add(b"%d\n" % number, 0.0)
    assert not outbox.has_room
    assert outbox.resends(record_batches.ACK_TIMEOUT - 0.1) == []
    assert [batch.number for batch in outbox.resends(record_batches.ACK_TIMEOUT)] == list(range(record_batches.WINDOW))
    outbox.acknowledge(3, 10.0)
    assert outbox.has_room
    assert [batch.number for batch in outbox.resends(20.0)] == list(range(3, record_batches.WINDOW))


def test_the_digest_shows_what_is_missing() -> None:
    inbox = record_batches.Inbox()
    inbox.accept(0, b"a\nb\n")
    assert inbox.missing == "no end mark after 2 records"
    inbox.end(record_batches.StreamDigest(3, 5, "x"))
    assert inbox.missing == "2 of 3 batches of records"
    inbox.accept(1, b"c\n")
    inbox.accept(2, b"d\n")
    assert inbox.missing == "4 records came that are not those that were sent"
    assert not inbox.complete


def test_a_batch_is_whole_lines() -> None:
    assert record_batches.whole_lines(b"a\nb\nhalf") == b"a\nb\n"
    assert record_batches.whole_lines(b"half") == b""


class Process:
    """A load process as a stream sees it."""

    def __init__(self) -> None:
        self.number, self.result, self.has_ended = 7, None, False
        self.ended = self

    def is_set(self) -> bool:
        return self.has_ended


def test_a_file_is_sent_while_it_grows_and_again_until_it_has_arrived(tmp_path: Path) -> None:
    path, process, sent = tmp_path / "r.jsonl", Process(), list[messages.SwarmMessage]()
    stream = RecordStream(RUN, process, path, sent.append)  # type: ignore[arg-type]
    stream.send_due(0.0)
    assert sent == []
    path.write_bytes(b'{"a":1}\n{"b":')
    stream.send_due(1.0)
    with path.open("ab") as file:
        file.write(b'2}\n{"torn')
    process.has_ended = True
    stream.send_due(1.1)
    batches = [message for message in sent if isinstance(message, messages.RecordBatch)]
    assert [zlib.decompress(batch.data) for batch in batches] == [b'{"a":1}\n', b'{"b":2}\n']
    stream.send_due(1.1 + record_batches.ACK_TIMEOUT)
    assert len(sent) == 4
    stream.acknowledge(messages.BatchAck(run=RUN, process=7, count=2, ended=False))
    stream.send_due(9.0)
    assert isinstance(sent[-1], messages.StreamEnd)
    assert (sent[-1].digest.batches, sent[-1].digest.lines) == (2, 2)
    assert not stream.complete
    stream.acknowledge(messages.BatchAck(run=RUN, process=7, count=2, ended=True))
    assert stream.complete
    count = len(sent)
    stream.send_due(99.0)
    assert len(sent) == count


# users


@pytest.mark.parametrize(("users", "processes"), [(0, 3), (1, 3), (10, 4), (500, 3)])
def test_users_are_spread_evenly_over_processes(users: int, processes: int) -> None:
    slots = split_users(users, processes)
    assert sum(slots) == users
    assert max(slots) - min(slots) <= 1


# messages


def test_every_message_can_be_decoded() -> None:
    assert set(typing.get_args(messages.AnyMessage)) == set(messages.SwarmMessage.__subclasses__())


def test_a_decoded_message_equals_the_encoded_one() -> None:
    result = WorkerResult(worker=1, ended="done", written=3, unsent_turns=0, client={"cpu_share": None})
    digest = record_batches.StreamDigest(1, 3, "d")
    end = messages.StreamEnd(run=RUN, process=1, digest=digest, result=result, file="/x")
    assert messages.decode(messages.encode(end)) == end
    with pytest.raises(msgspec.ValidationError):
        messages.decode(msgspec.msgpack.encode({"type": "Unknown", "run": RUN}))


# members


class TwoMembers:
    """Two members of one process each, on a clock of their own."""

    def __init__(self, folder: Path) -> None:
        self.now = 0
        self.members = Members(RUN, 20.0, lambda: self.now)
        for number, name in enumerate("ab"):
            self.members.receive(name, messages.Join(run=RUN, host=f"host-{name}", processes=1, versions={}))
            self[name].shards.append(Shard(number, folder / f"records.{number}.jsonl"))

    def __getitem__(self, name: str) -> Member:
        return self.members.by_name[name]

    def batch(self, name: str, number: int, lines: bytes) -> messages.SwarmMessage | None:
        shard = self[name].shards[0]
        return self.members.receive(
            name, messages.RecordBatch(run=RUN, process=shard.process, number=number, data=zlib.compress(lines))
        )

    def end(self, name: str, died: bool = False, ended: str = "done") -> messages.SwarmMessage | None:
        shard = self[name].shards[0]
        result = WorkerResult(worker=shard.process, ended=ended, written=0, unsent_turns=0, client={"cpu_share": 0.1})
        digest = shard.inbox._digester.digest
        end = messages.StreamEnd(
            run=RUN, process=shard.process, digest=digest, result=None if died else result, file=""
        )
        return self.members.receive(name, end)


def test_batches_are_appended_once_and_acknowledged(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    assert pair.batch("a", 0, b"1\n") == messages.BatchAck(run=RUN, process=0, count=1, ended=False)
    assert pair.batch("a", 0, b"1\n") == messages.BatchAck(run=RUN, process=0, count=1, ended=False)
    assert pair.batch("a", 2, b"3\n") == messages.BatchAck(run=RUN, process=0, count=1, ended=False)
    pair.batch("a", 1, b"2\n")
    assert pair.end("a") == messages.BatchAck(run=RUN, process=0, count=2, ended=True)
    assert (tmp_path / "records.0.jsonl").read_bytes() == b"1\n2\n"
    assert pair.members.record_count == 2


def test_a_batch_that_could_not_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path / "later")
    with pytest.raises(OSError, match="later"):
        pair.batch("a", 0, b"1\n")
    (tmp_path / "later").mkdir()
    assert pair.batch("a", 0, b"1\n") == messages.BatchAck(run=RUN, process=0, count=1, ended=False)
    assert (tmp_path / "later" / "records.0.jsonl").read_bytes() == b"1\n"


def test_a_machine_that_was_only_cut_off_is_waited_for(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    pair.end("a")
    pair.now = 19_000 * MS
    assert not pair.members.over
    pair.batch("b", 0, b"1\n")
    pair.now = 38_000 * MS
    assert not pair.members.over
    pair.end("b")
    assert pair.members.over
    assert list(pair.members.loss_sentences(0)) == []


def test_a_machine_that_fell_silent_is_lost_and_named(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    pair.now = 5_000 * MS
    pair.batch("b", 0, b"1\n2\n")
    pair.members.receive("b", messages.Heartbeat(run=RUN, started=True, concurrency=[12], finished=3))
    pair.now = 26_000 * MS
    pair.end("a")
    assert pair.members.over
    assert pair.members.silent(pair["b"])
    (sentence,) = pair.members.loss_sentences(1_000 * MS)
    assert sentence.startswith("process 1 on host-b (b) was lost: last heard of at 4.0 s, no end mark after 2 records")
    assert pair["b"].slots(pair["b"].shards[0]) == 12


def test_a_process_that_died_is_named_though_its_records_are_here(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    pair.batch("a", 0, b"1\n")
    pair.end("a", died=True)
    pair.end("b")
    assert pair.members.over
    assert list(pair.members.loss_sentences(0)) == ["process 0 on host-a (a) died; 1 of its records are here"]
    ending = outcome.run_ending(pair.members, EndReason.DURATION, None, 0)
    assert ending.ended is EndReason.WORKER
    assert ending.lost == [ending.ended_because]
    assert [client["worker"] for client in ending.workers] == [1]


def test_a_worker_that_ended_before_the_run_is_named_too(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    pair.end("a", ended="orphaned")
    pair.end("b")
    (sentence,) = pair.members.loss_sentences(0)
    assert "ended with its worker, before the run" in sentence


def test_messages_of_other_workers_are_ignored(tmp_path: Path) -> None:
    pair = TwoMembers(tmp_path)
    assert (
        pair.members.receive("c", messages.RecordBatch(run=RUN, process=0, number=0, data=zlib.compress(b"1\n")))
        is None
    )
    assert pair.members.record_count == 0


# ends


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ({"stop_condition": "errors", "over": True}, "errors"),
        ({"over": True}, "done"),
        ({"endless": True}, "duration"),
        ({"timed": True}, "duration"),
        ({}, "interrupted"),
        ({"endless": True, "interrupted": True}, "interrupted"),
    ],
)
def test_why_a_test_ended(why: dict[str, Any], expected: str) -> None:
    known = {"stop_condition": None, "over": False, "endless": False, "interrupted": False, "timed": False}
    assert outcome.end_reason(outcome.StopContext(**{**known, **why})) == expected


def test_the_deadline_passes_when_no_more_records_come() -> None:
    deadline = outcome.StopDeadline(30.0)
    assert not deadline.passed(0, 100.0)
    assert not deadline.passed(0, 129.0)
    assert not deadline.passed(1, 131.0)
    assert not deadline.passed(1, 160.0)
    assert deadline.passed(1, 162.0)


# settings


def test_the_run_comes_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('url = "http://h:1"\nrate = 5.0\nduration = "10s"\n')
    assert settings.config({settings.CONFIG: str(path)}) == Config(url="http://h:1", rate=5.0, duration=10.0)
    assert settings.config({settings.RUN: '{"rate": 3.0}'}).rate == 3.0
    assert settings.config({}) == Config()
    with pytest.raises(UsageError, match="LOADSTONE_RUN is not a run"):
        settings.config({settings.RUN: '{"rat": 3.0}'})


@pytest.mark.parametrize(
    "config",
    [
        Config(header={"Authorization": "Bearer x"}),
        Config(url="http://me:pass@host"),
        Config(extra_body={"api_key": "x"}),
    ],
)
def test_no_key_travels(config: Config) -> None:
    with pytest.raises(UsageError, match="into the environment of each machine"):
        settings.check_sendable(config)


def test_what_is_no_key_travels() -> None:
    plain = Config(url="http://h", header={"X-Team": "a"}, extra_body={"max_tokens": 3}, api_key_env="MINE")
    assert settings.check_sendable(plain) is plain
    with pytest.raises(UsageError, match="--processes"):
        settings.check_sendable(Config(workers=2))


def test_the_settings_of_a_worker() -> None:
    worker = settings.worker_settings({settings.PROCESSES: "3", settings.SPOOL: "/s"})
    assert (worker.process_count, worker.folder) == (3, Path("/s"))
    for environment in ({}, {settings.PROCESSES: "auto", settings.SPOOL: ""}):
        worker = settings.worker_settings(environment)
        assert worker.process_count >= 1
        assert worker.folder == Path("loadstone-spool")
    with pytest.raises(UsageError, match="LOADSTONE_PROCESSES: --processes takes 1 or more, not 0"):
        settings.worker_settings({settings.PROCESSES: "0"})
    with pytest.raises(
        UsageError, match="LOADSTONE_PROCESSES: --processes takes auto or a number of processes, not 'x'"
    ):
        settings.worker_settings({settings.PROCESSES: "x"})
    assert settings.silence({}) == 20.0
    with pytest.raises(UsageError, match="a time such as 20s"):
        settings.silence({settings.SILENCE: "soon"})


# the command


def split(*words: str) -> argparse.Namespace:
    return parse(["swarm", *words])


def test_our_flags_are_ours_and_the_rest_is_locusts() -> None:
    options = split(
        *("master", "--url", "http://h:1", "-n", "50", "--headless", "-u", "5", "-r", "2", "-t", "1m"),
        *("--expect-workers", "3", "--stop", "a", "b", "--csv", "out", "--goodput", "ttft:1s"),
    )
    assert options.role == "master"
    assert options.rest == ["--headless", "-u", "5", "-r", "2", "-t", "1m", "--expect-workers", "3", "--csv", "out"]
    assert options.settings.requests == 50
    assert options.settings.stop == ["a", "b"]


@pytest.mark.parametrize(
    ("config", "rest", "expected"),
    [
        (Config(concurrency=9), [], ["-r", "9", "-u", "9"]),
        (Config(concurrency=9), ["-r", "3"], ["-u", "9", "-r", "3"]),
        (Config(concurrency=9), ["--users=4"], ["--users=4"]),
        (Config(concurrency=9, rate=2.0), [], []),
    ],
)
def test_a_concurrency_is_so_many_users(config: Config, rest: list[str], expected: list[str]) -> None:
    assert command.arguments("master", config, rest) == ["-f", str(command.LOCUSTFILE), "--master", *expected]


def test_another_locustfile_is_loaded_beside_ours() -> None:
    words = command.arguments("worker", Config(), ["-f", "shape.py", "--master-host", "m"])
    assert words == ["-f", f"{command.LOCUSTFILE},shape.py", "--worker", "--master-host", "m"]


@pytest.mark.parametrize(
    ("flags", "said"), [("--processes 2", "the master sends no load"), ("--junit j.xml", "are not for a swarm")]
)
def test_flags_that_the_master_does_not_have_are_refused(flags: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        swarm.run(split("master", "--url", "http://h:1", *flags.split()))


def test_flags_travel_by_the_environment() -> None:
    worker = settings.WorkerSettings(processes=2, spool="/s")
    assert settings.worker_environment(worker) == {settings.PROCESSES: "2", settings.SPOOL: "/s"}
    assert settings.worker_environment(settings.WorkerSettings()) == {}
    variables = command.master_environment(Config(rate=2.0, requests=3), "md")
    assert settings.config(variables) == Config(rate=2.0, requests=3)
    assert settings.view(variables) == "md"


# live statistics


class Entry:
    """What LocustStats needs of locust.stats.StatsEntry."""

    def __init__(self) -> None:
        self.num_requests = self.num_none_requests = self.num_failures = 0
        self.total_response_time = self.max_response_time = 0.0
        self.min_response_time: float | None = None
        self.response_times: dict[float, int] = defaultdict(int)
        self.num_reqs_per_sec: dict[int, int] = defaultdict(int)
        self.last_request_timestamp: float | None = None


class Stats:
    def __init__(self) -> None:
        self.total = Entry()
        self.entries: dict[tuple[str, str], Entry] = defaultdict(Entry)
        self.errors: list[Any] = []

    def get(self, name: str, method: str) -> Entry:
        return self.entries[name, method]

    def log_error(self, *what: str) -> None:
        self.errors.append(what)


def test_requests_count_and_times_do_not() -> None:
    stats = Stats()
    live = LocustStats(stats)
    live.add(
        Progress(
            worker=0,
            at=1,
            finished=3,
            latency=count_bins([2e9, 3e9]),
            ttft=count_bins([1e8, 1e8]),
            kinds={"timeout": 1},
        )
    )
    live.add(Progress(worker=1, at=1, finished=2, latency=count_bins([2e9]), kinds={"stopped": 1}))
    live.add(Progress(worker=0, at=2, finished=4, latency=count_bins([2e9]), gap=count_bins([2e7] * 9)))
    requests = stats.entries["request", "POST"]
    assert stats.total.num_requests == requests.num_requests == 6
    assert requests.num_none_requests == 2
    assert sum(requests.response_times.values()) == 4
    assert requests.min_response_time == pytest.approx(2000, rel=0.02)
    assert stats.errors == [("POST", "request", "timeout")]
    assert stats.entries["ttft", "TIME"].num_requests == 2
    assert stats.entries["gap", "TIME"].num_requests == 9


def test_times_have_three_digits() -> None:
    for number in range(0, 1200, 37):
        assert bin_milliseconds(number) == pytest.approx(bin_middle(number) * 1e3, rel=0.005)
    assert bin_milliseconds(600) == float(f"{bin_milliseconds(600):.3g}")


# the documents

DOCS = ROOT / "docs"
FILES = ("deploy/compose.yaml", "deploy/kubernetes.yaml", "many-machines.md")


def commands(text: str) -> list[list[str]]:
    """Return the words after `loadstone` in a document, or in the lists of a manifest."""
    lists = re.findall(r"\[(swarm,.*?)\]", text, re.DOTALL)
    lines = re.findall(r"^    loadstone (swarm .*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [[word.strip().strip('"') for word in each.split(",")] for each in lists] + [line.split() for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_the_commands_of_the_documents_name_real_flags(name: str) -> None:
    locust = find_spec("locust")
    examples = commands((DOCS / name).read_text("utf-8"))
    assert {words[1] for words in examples} == {"master", "worker"}
    for words in examples:
        rest = [word for word in parse(words).rest if word.startswith("-")]
        if locust is not None and locust.origin is not None:
            known = Path(locust.origin).with_name("argument_parser.py").read_text("utf-8")
            assert not [flag for flag in rest if f'"{flag}"' not in known]


# the web interface


PLAN = Config(url="http://10.0.0.5:8000/v1")


@pytest.mark.parametrize(
    "host", [None, "", "  ", "http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1/", " http://10.0.0.5:8000/v1 "]
)
def test_the_web_interface_may_name_the_plans_server(host: str | None) -> None:
    settings.check_host(PLAN, host)


@pytest.mark.parametrize(
    "host",
    [
        "http://evil:8000/v1",
        "http://10.0.0.5:8001/v1",
        "https://10.0.0.5:8000/v1",
        "http://10.0.0.5:8000/v1@evil",
        "http://10.0.0.5:8000@evil/v1",
        "http://10.0.0.5:8000/v1.evil",
        "http://10.0.0.5:8000/v1?x=1",
        "HTTP://evil",
        "unix:/tmp/s",
        "evil",
        "\x1b[2J\ud800",
        "http://[",
        "x" * 100_000,
    ],
)
@pytest.mark.parametrize("plan", [PLAN, Config(url=["http://10.0.0.5:8000/v1", "http://10.0.0.6:8000"]), Config()])
def test_a_host_that_is_not_the_plans_is_refused_in_one_sentence(plan: Config, host: str) -> None:
    with pytest.raises(UsageError) as refusal:
        settings.check_host(plan, host)
    sentence = str(refusal.value)
    assert "is not the server of this plan" in sentence
    assert "--url" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 600


def test_several_servers_are_all_the_plans() -> None:
    plan = Config(url=["http://a:1", "http://b:2"])
    settings.check_host(plan, "http://b:2")
    assert settings.with_host(plan, "http://c:3") == plan
    assert settings.with_host(PLAN, None) == PLAN
    assert settings.with_host(PLAN, "http://c:3").urls == ["http://c:3"]
    assert settings.with_host(Config(), "http://c:3").urls == ["http://c:3"]


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True), ("[::1]", True)),
        *(("", False), ("*", False), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("node7", False)),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, only_here: bool) -> None:
    assert settings.is_loopback(host) is only_here


def test_deployments_publish_no_web_interface() -> None:
    compose = (DOCS / "deploy" / "compose.yaml").read_text("utf-8")
    assert re.findall(r"ports: \[(.*?)\]", compose) == ['"127.0.0.1:8089:8089"']
    kubernetes = (DOCS / "deploy" / "kubernetes.yaml").read_text("utf-8")
    assert "--web-host" not in kubernetes
    assert not re.search(r"^ *type: (NodePort|LoadBalancer)|^ *- port: 8089", kubernetes, re.MULTILINE)
