"""The faults of the simulated server as a client sees them, streamed (8 tokens) and whole."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.sim import faults
from loadstone.sim.faults import FAULTS
from loadstone.sim.server import Server
from support.sim_client import CHAT, USAGE, Client, Reply, Test, capture, chat, posix, until


def faulty(fault: str, **body: Any) -> Test:
    """Request 0 has the fault and request 1, on a new connection, must be well again."""

    async def test(server: Server) -> tuple[Reply, Any]:
        client = await Client.to(server.url)
        reply = await client.ask("POST", CHAT, chat(**body))
        client.close()
        row = server.truth[0]
        assert (row["number"], row["fault"]) == (0, fault)
        if fault != "refuse":
            again = await Client.to(server.url)
            assert (await again.ask("POST", CHAT, chat(2))).ending == "complete"
            again.close()
            assert server.truth[1]["fault"] is None
        assert server.state.counters.running == 0
        assert server.state.counters.generated == sum(row["tokens"] for row in server.truth)
        return reply, row

    return test


STATUSES = ["400", "401", "404", "429", "500", "503"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", STATUSES)
def test_fault_statuses(live: Any, status: str, stream: bool) -> None:
    reply, row = live(faulty(status, stream=stream), faults=(f"{status}@0",))
    assert (reply.status, reply.ending) == (int(status), "complete")
    error = json.loads(reply.body)["error"]
    assert error == "Unauthorized" if status == "401" else error["code"] == int(status)
    assert reply.headers.get("retry-after") == ("1" if status == "429" else None)
    assert row["end"] is not None


def test_fault_500_is_a_dead_engines(live: Any) -> None:
    reply, _ = live(faulty("500"), faults=("500@0",))
    assert reply.body == capture("vllm_engine_death/chat_stream_nousage.json")


@posix
@pytest.mark.parametrize("stream", [True, False])
def test_fault_reset(live: Any, stream: bool) -> None:
    reply, row = live(faulty("reset", stream=stream), faults=("reset@0",))
    assert (reply.status, reply.body, reply.ending) == (None, b"", "reset")
    assert (row["planned"], row["sent"], row["end"]) == ([], [], None)


def words(reply: Reply) -> int:
    return reply.body.count(b'"content":" ')


CUT = {"reset-mid": "reset", "truncate": "eof"}


@posix
@pytest.mark.parametrize("fault", CUT)
def test_fault_cut_in_mid_stream(live: Any, fault: str) -> None:
    reply, row = live(faulty(fault), faults=(f"{fault}@0",))
    assert (reply.status, words(reply), reply.ending) == (200, 4, CUT[fault])
    assert b"[DONE]" not in reply.body
    assert (len(row["planned"]), len(row["sent"]), row["tokens"], row["end"]) == (8, 4, 4, None)
    reply, _ = live(faulty(fault, tokens=1), faults=(f"{fault}@0",))
    assert (reply.status, words(reply), reply.ending) == (200, 0, CUT[fault])
    assert b'"role":"assistant"' in reply.body


@posix
@pytest.mark.parametrize("fault", CUT)
def test_fault_cut_in_a_whole_answer(live: Any, fault: str) -> None:
    reply, row = live(faulty(fault, stream=False), faults=(f"{fault}@0",))
    assert (reply.status, reply.ending) == (200, CUT[fault])
    if fault == "truncate":
        assert 0 < len(reply.body) < int(reply.headers["content-length"])
    assert (row["sent"], row["tokens"], row["end"]) == ([], 0, None)


@pytest.mark.parametrize("stream", [True, False])
def test_fault_stall(live: Any, stream: bool) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        client.send("POST", CHAT, chat(8, stream=stream))
        await until(lambda: bool(server.truth))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.05)
        assert len(server.connections) == 1
        assert (server.truth[0]["tokens"], server.truth[0]["end"]) == (4 if stream else 0, None)
        client.close()

    live(test, faults=("stall@0",))


def test_fault_truncate_clean(live: Any) -> None:
    reply, row = live(faulty("truncate-clean"), faults=("truncate-clean@0",))
    assert (words(reply), reply.ending) == (4, "complete")
    assert b"[DONE]" not in reply.body
    assert b'"finish_reason":"' not in reply.body
    assert row["end"] is not None
    reply, _ = live(faulty("truncate-clean", stream=False), faults=("truncate-clean@0",))
    assert (reply.status, reply.ending) == (200, "complete")
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


@pytest.mark.parametrize("tokens", [8, 1])
def test_fault_bad_json(live: Any, tokens: int) -> None:
    reply, _ = live(faulty("bad-json", tokens=tokens), faults=("bad-json@0",))
    assert (words(reply), reply.ending) == (tokens, "complete")
    events = [event.removeprefix(b"data: ") for event in reply.body.split(b"\n\n") if event]
    bad = [n for n, event in enumerate(events[:-1]) if not event.endswith(b"}")]
    assert bad == [1 + tokens // 2]
    assert events[-1] == b"[DONE]"
    reply, _ = live(faulty("bad-json", stream=False), faults=("bad-json@0",))
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


@pytest.mark.parametrize("stream", [True, False])
def test_fault_bad_utf8(live: Any, stream: bool) -> None:
    reply, _ = live(faulty("bad-utf8", stream=stream), faults=("bad-utf8@0",))
    assert reply.ending == "complete"
    with pytest.raises(UnicodeDecodeError):
        reply.body.decode()
    assert json.loads(reply.body.decode(errors="replace").partition("\n\n")[0].removeprefix("data: "))


def test_fault_no_done(live: Any) -> None:
    reply, row = live(faulty("no-done", stream_options=USAGE), faults=("no-done@0",))
    assert reply.ending == "complete"
    assert reply.events[-1]["usage"]["completion_tokens"] == row["tokens"] == 8
    assert b"[DONE]" not in reply.body


@pytest.mark.parametrize(("stream", "kind"), [(True, "text/event-stream; charset=utf-8"), (False, "application/json")])
def test_fault_empty(live: Any, stream: bool, kind: str) -> None:
    reply, row = live(faulty("empty", stream=stream), faults=("empty@0",))
    assert (reply.status, reply.body, reply.ending) == (200, b"", "complete")
    assert (reply.headers["content-type"], row["tokens"]) == (kind, 0)


def test_fault_error_event(live: Any) -> None:
    reply, row = live(faulty("error-event"), faults=("error-event@0",))
    assert (words(reply), row["tokens"], reply.ending) == (4, 4, "complete")
    assert reply.body.endswith(capture("vllm_engine_death/chat_stream_usage.sse"))
    reply, _ = live(faulty("error-event", stream=False), faults=("error-event@0",))
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (500, "InternalServerError")


@pytest.mark.parametrize("stream", [True, False])
def test_fault_slow_head(live: Any, stream: bool) -> None:
    reply, row = live(faulty("slow-head", stream=stream), faults=("slow-head@0",), slow=0.03)
    assert (reply.ending, row["tokens"]) == ("complete", 8)
    assert row["planned"][0] - row["received"] == (32 if stream else 39) * 10**6
    assert row["sent"][0] >= row["planned"][0]


@posix
@pytest.mark.parametrize("unix", [False, True])
def test_fault_refuse(live: Any, tmp_path: Path, unix: bool) -> None:
    async def test(server: Server) -> None:
        reply, _ = await faulty("refuse")(server)
        assert reply.ending in ({"eof", "reset"} if unix else {"reset"})
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):  # asyncio removes the socket since Python 3.13
            await Client.to(server.url)
        for _ in range(100):
            await asyncio.sleep(0.02)
            try:
                client = await Client.to(server.url)
            except OSError:
                continue
            assert (await client.ask("POST", CHAT, chat(2))).ending == "complete"
            client.close()
            return
        pytest.fail("the listener did not come back")

    live(test, faults=("refuse@0",), unix=str(tmp_path / "s") if unix else None)


def test_a_storm_of_all_faults_leaves_nothing_behind(live: Any) -> None:
    async def visit(server: Server, rng: Random) -> None:
        client = await Client.to(server.url)
        for _ in range(6):
            client.send("POST", CHAT, chat(rng.randrange(1, 9), stream=rng.random() < 0.8, n=rng.choice((1, 1, 2))))
            try:
                reply = await asyncio.wait_for(client.receive(), rng.choice((0.001, 0.005, 0.1)))
            except TimeoutError:
                break
            if reply.ending != "complete":
                break
        client.close()

    async def test(server: Server) -> None:
        await asyncio.gather(*(visit(server, Random(n)) for n in range(60)))
        await until(lambda: not server.connections)
        assert server.state.counters.running == 0
        assert server.state.counters.generated == sum(row["tokens"] for row in server.truth)
        numbers = [row["number"] for row in server.truth]
        assert sorted(numbers) == list(range(len(numbers)))
        assert len({row["fault"] for row in server.truth}) > 10

    live(test, faults=tuple(f"{name}:0.04" for name in FAULTS if name != "refuse"), slow=0.005)


def test_a_fault_table_chooses_by_seed_and_number() -> None:
    shares = faults.parse(("reset:0.25", "500:0.25", "stall@3,4"), seed=7)
    drawn = [shares.choose(number) for number in range(4000)]
    assert drawn == [faults.parse(("reset:0.25", "500:0.25", "stall@3,4"), 7).choose(n) for n in range(4000)]
    assert drawn[3:5] == ["stall", "stall"]
    assert all(900 < drawn.count(name) < 1100 for name in ("reset", "500"))
    assert drawn != [faults.parse(("reset:0.25", "500:0.25"), 8).choose(n) for n in range(4000)]
    assert faults.parse((), 0).choose(0) is None
    assert {faults.parse(("400:1",), 0).choose(n) for n in range(100)} == {"400"}


@pytest.mark.parametrize(
    "specs", [("melt:0.1",), ("reset",), ("reset:2",), ("reset:x",), ("reset:-0.1",), ("reset:nan",), ("reset@",)]
)
def test_a_wrong_fault_is_one_sentence(specs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="write ") as caught:
        faults.parse(specs, 0)
    assert "\n" not in str(caught.value)
    assert "@" in specs[0] or all(name in str(caught.value) for name in FAULTS)


def test_shares_of_more_than_all() -> None:
    with pytest.raises(UsageError, match=r"add up to 1\.2"):
        faults.parse(("reset:0.6", "stall:0.6"), 0)
    faults.parse(("reset:0.9", "stall:0.1"), 0)
