"""Arrival times by the kernel: their conversion on clocks made up for it, who can have them, what a record then says.

That a transport which stamps so keeps all promises of the others is tested by the other files of this folder.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadstone.cli.main import main
from loadstone.errors import UsageError
from loadstone.records import ArrivalClock
from loadstone.transport import Exchange, Options, Request, Target, TransportError, kernel_socket, kernel_timestamps
from loadstone.transport.factory import choose_arrival_clock
from loadstone.transport.kernel_timestamps import REFRESH_INTERVAL, ClockConverter, read_timestamp
from loadstone.transport.wire import Wire
from loadstone.units import NS_PER_S
from support.scripted_server import CHUNKED, Peer, Server, Taken, answering, ask, chunk, response, run, turns
from support.servers import Sim

MS = NS_PER_S // 1000
# ns that reading a clock takes in `Clocks`.
READING = 60

stamping = pytest.mark.skipif(not kernel_timestamps.available(), reason="this machine's kernel stamps no packets")


@pytest.fixture
def _stamped() -> Iterator[None]:
    """The kernel stamps: it begins to, some time after the first socket has asked for it."""
    with (
        closing(kernel_socket.KernelTimestamping(time.monotonic_ns)),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        server.accept()[0] as far,
    ):
        kernel_timestamps.enable_timestamps(near)
        for _ in range(100_000):
            far.send(b"?")
            if near.recvmsg(1, kernel_timestamps.ANCILLARY_SIZE)[1]:
                break
        yield


class Clocks:
    """A run's clock and a wall clock that is `ahead` of it, and gains `ppm`; reading either takes time."""

    def __init__(self, ahead: int = 1_700_000_000 * NS_PER_S, ppm: int = 0) -> None:
        self.now = 5 * NS_PER_S
        self.ahead = ahead
        self.ppm = ppm

    def run(self) -> int:
        self.now += READING
        return self.now

    def wall(self) -> int:
        self.now += READING
        return self.stamp()

    def stamp(self) -> int:
        """What the kernel would write on a packet that comes now."""
        return self.now + self.ahead + self.now * self.ppm // 1_000_000

    def errors(self, converter: ClockConverter, seconds: float, late: int = 3 * MS) -> Iterator[int]:
        """Of the arrivals of packets every 7 ms, each read `late`."""
        for _ in range(int(seconds * NS_PER_S) // (7 * MS)):
            came, stamp = self.now, self.stamp()
            self.now += late
            at = converter.to_run_clock(stamp, 0, self.run())
            assert at is not None
            yield at - came
            self.now += 7 * MS - late


@pytest.mark.parametrize("ppm", [0, 500, -500])
def test_drift_is_followed(ppm: int) -> None:
    clocks = Clocks(ppm=ppm)
    worst = max(map(abs, clocks.errors(ClockConverter(clocks.run, clocks.wall), 60)))
    assert worst <= abs(ppm) * (REFRESH_INTERVAL + 10 * MS) // 1_000_000 + 2 * READING


@pytest.mark.parametrize("step", [3600 * NS_PER_S, -3600 * NS_PER_S, 20 * MS, -10 * NS_PER_S])
def test_a_wall_clock_that_is_set_is_followed_at_once(step: int) -> None:
    """The stamp that gives it away is converted anew already."""
    clocks = Clocks()
    converter = ClockConverter(clocks.run, clocks.wall)
    list(clocks.errors(converter, 1))
    clocks.ahead += step
    assert max(map(abs, clocks.errors(converter, 1))) <= max(2 * READING, abs(step) if abs(step) < MS else 0)


def test_a_small_step_is_followed_within_the_refresh() -> None:
    """Too small to make an arrival impossible: for so long the error is the step, and no more."""
    clocks = Clocks()
    converter = ClockConverter(clocks.run, clocks.wall)
    list(clocks.errors(converter, 1))
    clocks.ahead += 2 * MS
    errors = list(map(abs, clocks.errors(converter, 1)))
    wrong = [error for error in errors if error > 2 * READING]
    assert max(wrong) <= 2 * MS + 2 * READING
    assert len(wrong) * 7 * MS <= REFRESH_INTERVAL + 7 * MS
    assert max(errors[len(wrong) :]) <= 2 * READING


def test_an_offset_that_no_reading_contradicts_does_not_jitter() -> None:
    clocks = Clocks()
    converter = ClockConverter(clocks.run, clocks.wall)
    before = converter.offset
    for number in range(200):
        clocks.now += REFRESH_INTERVAL + number  # so that each measurement falls otherwise
        converter.to_run_clock(clocks.stamp(), 0, clocks.run())
    assert converter.offset == before


def test_an_interrupted_measurement_does_not_count() -> None:
    """Of three, the tightest one is taken: a pause between two readings makes a wide one."""
    clocks = Clocks()
    pauses = iter([40 * MS, 0, 9 * MS])

    def wall() -> int:
        reading = clocks.wall()
        clocks.now += next(pauses)
        return reading

    assert abs(ClockConverter(clocks.run, wall).offset - clocks.ahead) <= READING


def test_a_stamp_that_cannot_be_true_is_none() -> None:
    """Before the request was sent, or after the data was read, on clocks that agree with themselves."""
    clocks = Clocks()
    converter = ClockConverter(clocks.run, clocks.wall)
    sent = clocks.run()
    clocks.now += MS
    assert converter.to_run_clock(clocks.stamp() - 2 * MS, sent, clocks.run()) is None
    assert converter.to_run_clock(clocks.stamp() + 2 * MS, sent, clocks.run()) is None
    at = converter.to_run_clock(clocks.stamp(), sent, clocks.run())
    assert at is not None
    assert sent < at <= clocks.now


def test_what_came_between_the_clock_and_the_read_is_no_later_than_its_reading() -> None:
    """`now` is read first, so a packet may be stamped a little after it."""
    clocks = Clocks()
    converter = ClockConverter(clocks.run, clocks.wall)
    now = clocks.run()
    clocks.now += MS
    came, stamp = clocks.now, clocks.stamp()
    at = converter.to_run_clock(stamp, 0, now)
    assert at is not None
    assert now < at
    assert abs(at - came) <= 2 * READING


def test_the_stamp_of_a_read() -> None:
    data = struct.pack("@ll", 1_700_000_000, 123_456_789)
    assert read_timestamp([(socket.SOL_SOCKET, kernel_timestamps.SO_TIMESTAMPNS, data)]) == 1_700_000_000_123_456_789
    assert read_timestamp([]) is None


# --- who can have them -------------------------------------------------------------------------------------------

PLAIN = Target("127.0.0.1", 80)
CANNOT = {
    "aiohttp": ("aiohttp", PLAIN, "with --transport aiohttp"),
    "tls": ("wire", Target("127.0.0.1", 443, secure=True), "over https://"),
    "unix": ("wire", Target("localhost", 80, unix="/run/model"), "over a unix socket"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_where_they_cannot_be_had(case: str) -> None:
    name, target, reason = CANNOT[case]
    assert choose_arrival_clock("auto", name, target) == choose_arrival_clock("user", name, target) == "user"
    with pytest.raises(
        UsageError, match=rf"--clock kernel cannot be had {reason}.*; leave it out, or say --clock user"
    ):
        choose_arrival_clock("kernel", name, target)


@stamping
def test_where_they_can() -> None:
    assert choose_arrival_clock("auto", "wire", PLAIN) == choose_arrival_clock("kernel", "wire", PLAIN) == "kernel"
    assert choose_arrival_clock("user", "wire", PLAIN) == "user"


@pytest.mark.parametrize("how", ["another system", "an old kernel", "no stamp"])
def test_a_system_without_them(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError

    if how == "another system":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(
            kernel_timestamps, "enable_timestamps", refuse if how == "an old kernel" else lambda _: None
        )
    monkeypatch.setattr(kernel_timestamps, "available", kernel_timestamps.available.__wrapped__)
    assert choose_arrival_clock("auto", "wire", PLAIN) == "user"
    with pytest.raises(UsageError, match=r"cannot be had on this system, whose kernel stamps no packets"):
        choose_arrival_clock("kernel", "wire", PLAIN)


def test_nothing_is_sent_where_they_were_asked_for_in_vain(capsys: pytest.CaptureFixture[str]) -> None:
    with Sim() as server:
        assert main(["run", "--url", server.url, "--clock", "kernel", "--transport", "aiohttp"]) == 2
    assert "--clock kernel cannot be had with --transport aiohttp" in capsys.readouterr().err


# --- what they say -----------------------------------------------------------------------------------------------


def talking(work: Any, script: Any, arrivals: ArrivalClock = "kernel", **where: Any) -> None:
    async def whole() -> None:
        async with Server(script, time.monotonic_ns, **where) as server:
            wire = Wire(server.target(), Options(server.clock, arrival_clock=arrivals))
            try:
                await work(wire)
            finally:
                await wire.close()

    run(whole())


@stamping
@pytest.mark.usefixtures("_stamped")
@pytest.mark.parametrize("arrivals", ["kernel", "user"])
def test_an_arrival_is_when_the_data_came_not_when_it_was_read(arrivals: ArrivalClock) -> None:
    """The loop does not turn between sending and `after`: the client cannot have read by then."""
    moments: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        moments.append(peer.clock())
        os.write(peer.writer.get_extra_info("socket").fileno(), chunk(b"ab") + chunk(b""))
        moments.append(peer.clock())
        await peer.gone()

    async def work(wire: Wire) -> None:
        exchange, taken = await ask(wire)
        before, after = moments
        assert exchange.clock == arrivals
        assert taken.stamps == [exchange.end]
        assert (before < taken.stamps[0] < after) == (arrivals == "kernel")

    talking(work, script, arrivals)


def test_reads_without_a_stamp_are_the_users_and_the_record_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_socket, "enable_timestamps", lambda _: None)

    async def work(wire: Wire) -> None:
        for _ in range(2):
            before = time.monotonic_ns()
            exchange, taken = await ask(wire)
            assert (exchange.clock, taken.body) == ("user", b"ok")
            assert before < taken.stamps[0] < time.monotonic_ns()

    talking(work, answering(response(b"ok")))


@stamping
@pytest.mark.usefixtures("_stamped")
def test_one_read_without_a_stamp_is_enough_for_its_answer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bool] = []

    def forgetful(control: Any) -> int | None:
        reads.append(True)
        return None if len(reads) == 2 else read_timestamp(control)

    monkeypatch.setattr(kernel_socket, "read_timestamp", forgetful)

    async def work(wire: Wire) -> None:
        clocks = []
        for _ in range(2):
            exchange, taken = await ask(wire)
            assert taken.stamps == sorted(taken.stamps)
            clocks.append(exchange.clock)
        assert clocks == ["user", "kernel"]

    talking(work, answering(CHUNKED, chunk(b"a"), chunk(b"b") + chunk(b"")))


@stamping
def test_an_answer_is_read_before_sending_to_a_server_that_has_gone_fails() -> None:
    """It refused a large body by its head, and closed with the rest unread: the connection is reset."""

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        os.write(peer.writer.get_extra_info("socket").fileno(), response(b"too large", "413 Content Too Large"))
        peer.reset()

    async def work(wire: Wire) -> None:
        exchange, taken = await ask(wire, Request("POST", "/", (), bytes(20_000_000)))
        assert (exchange.status, taken.body) == (413, b"too large")

    talking(work, script)


@stamping
@pytest.mark.parametrize("call", ["epoll", "register"])
def test_a_socket_that_cannot_be_watched_is_closed(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is left for an epoll, or the kernel watches as many as it may. Unclosed, it would warn when collected."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    epoll = select.epoll()
    full = SimpleNamespace(register=refuse, fileno=epoll.fileno, poll=epoll.poll, close=epoll.close)
    monkeypatch.setattr(kernel_socket.select, "epoll", refuse if call == "epoll" else lambda: full)

    async def work(wire: Wire) -> None:
        with pytest.raises(TransportError, match="too many open files"):
            await wire.exchange(Request("GET", "/"), Exchange(Taken()))
        await turns(5)  # until the server has seen it come and go

    talking(work, answering(response(b"ok")))


@stamping
def test_an_end_by_closing_has_no_stamp() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        peer.close()

    async def work(wire: Wire) -> None:
        exchange, _ = await ask(wire)
        assert exchange.clock == "user"

    talking(work, script)


def test_a_request_without_an_answer_has_no_kernel_times() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async def work(wire: Wire) -> None:
        exchange = Exchange(Taken())
        with pytest.raises(TransportError, match="closed the connection before it answered"):
            await wire.exchange(Request("GET", "/"), exchange)
        assert exchange.clock == "user"

    talking(work, script)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets in asyncio")
def test_a_unix_socket_does_without(tmp_path: Path) -> None:
    async def work(wire: Wire) -> None:
        assert (await ask(wire))[0].clock == "user"

    talking(work, answering(response(b"ok")), unix=tmp_path / "socket")


@stamping
@pytest.mark.usefixtures("_stamped")
@pytest.mark.parametrize(("flags", "clock"), [([], "kernel"), (["--clock", "user"], "user")])
def test_records_say_whose_times_they_hold(flags: list[str], clock: ArrivalClock, tmp_path: Path) -> None:
    with Sim() as server:
        command = ["run", "--url", server.url, "-n", "4", "--output-len", "3", "-o", str(tmp_path / "run"), "--quiet"]
        assert main([*command, *flags]) == 0
    records = [json.loads(line) for line in (tmp_path / "run/records.jsonl").read_bytes().splitlines()]
    assert [record["clock"] for record in records] == [clock] * 4
    for record in records:
        assert record["sent"] <= record["first_byte"] <= record["first"] <= record["last"] <= record["end"]
