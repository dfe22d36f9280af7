"""Before the load: who is there, is everything the same everywhere, the plan, the clocks, and the word to go.

The plan is made by a clean process (prepare.py), which also asks the server; this one, with gevent in it, only passes
on what that has written. Everything here waits by greenlets, so that Locust's heartbeats go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import msgspec
from gevent import subprocess

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.host import child_process
from loadstone.swarm import clock_sync, messages
from loadstone.swarm.channel import MessageChannel
from loadstone.swarm.members import Machine, Members, Shard
from loadstone.swarm.process_messages import Made, Order

# Seconds for a worker to answer a letter; then it is written again, and after three times given up.
ANSWER = 10.0
READY = 90.0
ROUNDS, ROUND = 20, 1.0
# ns from the word to go to the beginning: every machine has heard it by then.
LEAD = 1_000_000_000
PIECE = 256 * 1024


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true; False if it was not within the time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        gevent.sleep(0.002)
    return True


def call(post: MessageChannel, roster: Members, names: list[str]) -> None:
    """Who is there. Raises UsageError for a worker that does not answer, or is not the same as the others."""
    for name in names:
        post.send(messages.Call(run=roster.run), name)
    if not until(lambda: all(name in roster.machines for name in names), ANSWER):
        silent = ", ".join(name for name in names if name not in roster.machines)
        raise UsageError(f"no answer from {silent}: is it a worker of `loadstone swarm`, of this version?")


def agree(roster: Members, ours: dict[str, str]) -> None:
    """Raises UsageError unless all have the same versions: else they would not make the same requests of a plan."""
    for machine in roster:
        for name, version in ours.items():
            theirs = machine.versions.get(name)
            if theirs != version:
                raise UsageError(
                    f"{machine.host} has {name} {theirs or 'none'}, the master has {version}: install the same on both"
                )


def plan(order: Order) -> Made:
    """Have the run prepared, in a process of its own. Raises UsageError with its sentence."""
    message = msgspec.json.encode(order)
    done = child_process.run("loadstone.swarm.prepare", message, run_process=subprocess.run, stdout=subprocess.PIPE)
    if done.returncode:
        raise UsageError("the run could not be prepared")
    made = msgspec.json.decode(done.stdout, type=Made)
    if made.refused is not None:
        raise UsageError(made.refused)
    return made


def assign(roster: Members, made: Made) -> None:
    """The shares go round the machines, so that fewer shares than processes still use them all. Raises UsageError."""
    machines = list(roster)
    if made.shares < len(machines):
        raise UsageError(
            f"{made.shares} requests or slots are too few for {len(machines)} workers: give more, or start fewer"
        )
    numbers = iter(range(made.shares))
    for turn in range(max(machine.processes for machine in machines)):
        for machine in machines:
            if turn < machine.processes and (number := next(numbers, None)) is not None:
                machine.shards.append(Shard(number, Path(made.folder) / run_folder.SHARD.format(number)))


def deliver(post: MessageChannel, run: str, machine: Machine, parcels: Path) -> None:
    """The machine's commissions, piece by piece, each acknowledged. Raises UsageError."""
    data = messages.packed([(parcels / str(shard.engine)).read_bytes() for shard in machine.shards])
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    for number, piece in enumerate(pieces):
        for _ in range(3):
            post.send(messages.PlanChunk(run=run, number=number, of=len(pieces), data=piece), machine.name)
            if until(lambda number=number: machine.got >= number, ANSWER):  # type: ignore[misc]
                break
        else:
            raise UsageError(f"{machine.host} does not take the plan: is the network between it and the master sound?")


def stand(machine: Machine) -> None:
    """Wait until its processes are ready. Raises UsageError with what is not fit."""
    until(lambda: machine.standing or machine.declined is not None, READY)
    if not machine.standing:
        raise UsageError(f"{machine.host}: {machine.declined or 'its processes did not begin in time'}")


def compare(post: MessageChannel, run: str, machine: Machine) -> clock_sync.Estimate | None:
    """Its clock against ours; None if it does not answer."""
    machine.pongs.clear()
    exchanges = []
    for number in range(ROUNDS):
        left = time.monotonic_ns()
        post.send(messages.Ping(run=run, number=number), machine.name)
        if not until(lambda number=number: number in machine.pongs, ROUND):  # type: ignore[misc]
            break
        there, back = machine.pongs[number]
        exchanges.append(clock_sync.Exchange(left, there, back))
    return clock_sync.estimate(exchanges) if exchanges else None


def begin(post: MessageChannel, roster: Members) -> int:
    """The word to go; returns the run's beginning by our clock, ns."""
    origin = time.monotonic_ns() + LEAD
    for machine in roster:
        assert machine.before is not None
        post.send(messages.Begin(run=roster.run, origin=machine.before.there(origin)), machine.name)
    return origin


def each(roster: Members, work: Callable[[Machine], None]) -> None:
    """For all machines at a time; the first UsageError is raised when all are through."""
    refusals: list[UsageError] = []

    def attempt(machine: Machine) -> None:
        try:
            work(machine)
        except UsageError as exc:
            refusals.append(exc)

    gevent.joinall([gevent.spawn(attempt, machine) for machine in roster], raise_error=True)
    if refusals:
        raise refusals[0]
