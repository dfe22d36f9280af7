"""The steps before the load: invite the workers, check versions, send the plan, compare clocks, start.

A process without gevent (prepare.py) makes the plan and asks the server; this one, with gevent in it, only passes on
what that process has written. All waiting is by greenlets, so that Locust's heartbeats go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import msgspec
from gevent import subprocess

from loadstone.engine import run_folder
from loadstone.errors import ConfigError, UsageError
from loadstone.host import child_process
from loadstone.swarm import clock_sync, messages
from loadstone.swarm.channel import MessageChannel
from loadstone.swarm.members import Member, Members, Shard
from loadstone.swarm.process_messages import PreparedPlan, PrepareRequest

# Seconds for a worker to answer a message; a chunk of the plan is then sent again.
ANSWER_TIMEOUT = 10.0
# How often a chunk of the plan is sent before the worker counts as unreachable.
ATTEMPTS = 3
# Seconds for the processes of a worker to be ready.
READY_TIMEOUT = 90.0
# Messages to compare clocks by, and seconds to wait for each answer.
PINGS, PONG_TIMEOUT = 20, 1.0
# ns between the Start message and the start of the run: by then every worker has received it.
START_DELAY = 1_000_000_000
# Bytes of a chunk of the plan.
CHUNK_SIZE = 256 * 1024


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds. Return False if it did not within that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        gevent.sleep(0.002)
    return True


def invite(channel: MessageChannel, members: Members, names: list[str], versions: dict[str, str]) -> None:
    """Invite these workers. Raises UsageError if one does not join, or has other versions than `versions`."""
    for name in names:
        channel.send(messages.Invite(run=members.run), name)
    if not wait_until(lambda: all(name in members.by_name for name in names), ANSWER_TIMEOUT):
        silent = ", ".join(name for name in names if name not in members.by_name)
        raise UsageError(f"no answer from {silent}: is it a worker of `loadstone swarm`, of this version?")

    # Versions: with different ones, the same plan would give other requests.
    for member in members:
        for name, version in versions.items():
            theirs = member.versions.get(name)
            if theirs != version:
                raise UsageError(
                    f"{member.host} has {name} {theirs or 'none'}, the master has {version}: install the same on both"
                )


def prepare(request: PrepareRequest) -> PreparedPlan:
    """Run prepare.py in a process of its own. Raises UsageError with its reason if the run is impossible."""
    message = msgspec.json.encode(request)
    completed = child_process.run(
        "loadstone.swarm.prepare", message, run_process=subprocess.run, stdout=subprocess.PIPE
    )
    if completed.returncode:
        raise UsageError("the run could not be prepared")
    plan = msgspec.json.decode(completed.stdout, type=PreparedPlan)
    if plan.refusal is not None:
        raise UsageError(plan.refusal)
    return plan


def assign_partitions(members: Members, plan: PreparedPlan) -> None:
    """Give each process of each member a shard: first one process of every member, then the next, and so on.

    In this order, fewer partitions than processes still use all members. Raises UsageError if there are fewer
    partitions than members.
    """
    workers = list(members)
    if plan.partitions < len(workers):
        raise ConfigError(
            f"{plan.partitions} requests or slots are too few for {len(workers)} workers: give more, or start fewer"
        )
    numbers = iter(range(plan.partitions))
    for turn in range(max(member.processes for member in workers)):
        for member in workers:
            if turn < member.processes and (number := next(numbers, None)) is not None:
                member.shards.append(Shard(number, Path(plan.folder) / run_folder.SHARD.format(number)))


def send_plan(channel: MessageChannel, run: str, member: Member, spec_folder: Path) -> None:
    """Send a member the specs of its processes, chunk by chunk. Raises UsageError if it does not acknowledge one."""
    data = messages.pack_specs([(spec_folder / str(shard.process)).read_bytes() for shard in member.shards])
    chunks = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
    for number, chunk in enumerate(chunks):
        for _ in range(ATTEMPTS):
            channel.send(messages.PlanChunk(run=run, number=number, count=len(chunks), data=chunk), member.name)
            if wait_until(lambda number=number: member.chunks_received >= number, ANSWER_TIMEOUT):  # type: ignore[misc]
                break
        else:
            raise UsageError(f"{member.host} does not take the plan: is the network between it and the master sound?")


def wait_ready(member: Member) -> None:
    """Wait until the processes of a member are ready. Raises UsageError, with the reason that it gave if any."""
    wait_until(lambda: member.ready or member.refusal is not None, READY_TIMEOUT)
    if not member.ready:
        raise UsageError(f"{member.host}: {member.refusal or 'its processes did not begin in time'}")


def measure_clock(channel: MessageChannel, run: str, member: Member) -> clock_sync.Estimate | None:
    """Measure a member's clock against ours. Return None if it does not answer."""
    member.pongs.clear()
    exchanges = []
    for number in range(PINGS):
        sent = time.monotonic_ns()
        channel.send(messages.Ping(run=run, number=number), member.name)
        if not wait_until(lambda number=number: number in member.pongs, PONG_TIMEOUT):  # type: ignore[misc]
            break
        remote, received = member.pongs[number]
        exchanges.append(clock_sync.Exchange(sent, remote, received))
    return clock_sync.estimate(exchanges) if exchanges else None


def start(channel: MessageChannel, members: Members) -> int:
    """Send Start to all. Return the start of the run by our clock, ns."""
    origin = time.monotonic_ns() + START_DELAY
    for member in members:
        assert member.clock_before is not None
        channel.send(messages.Start(run=members.run, origin=member.clock_before.to_remote(origin)), member.name)
    return origin


def for_each(members: Members, work: Callable[[Member], None]) -> None:
    """Call `work` for all members at a time. Raises the first UsageError once all calls have ended."""
    refusals: list[UsageError] = []

    def attempt(member: Member) -> None:
        try:
            work(member)
        except UsageError as exc:
            refusals.append(exc)

    gevent.joinall([gevent.spawn(attempt, member) for member in members], raise_error=True)
    if refusals:
        raise refusals[0]
