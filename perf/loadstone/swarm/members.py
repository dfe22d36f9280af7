"""The workers of a run as the master sees them: who they are, what has arrived from each, which are lost.

This module knows no Locust and has no clock of its own; times are ns of the master's clock. Records are appended to
their shard as they arrive, and never read here.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from loadstone.engine.worker import WorkerResult
from loadstone.swarm import clock_sync, messages
from loadstone.swarm.record_batches import Inbox
from loadstone.units import NS_PER_S

# `ended` of a process whose Locust worker has ended.
ORPHANED = "orphaned"


class Shard:
    """The records of one process, as far as they have arrived.

    process: its number.
    ended: all of them are here, StreamEnd included.
    result: of the process, None until it has ended or if it died.
    """

    def __init__(self, process: int, path: Path) -> None:
        self.process = process
        self.path = path
        self.inbox = Inbox()
        self._size = 0
        self.ended = False
        self.result: WorkerResult | None = None

    def append(self, batch: messages.RecordBatch) -> None:
        """Append a batch if it is the next one.

        A full disk raises OSError. The file then ends with the batch before, and the sender will send this one again.
        """
        if batch.number != self.inbox.count:
            return
        lines = zlib.decompress(batch.data)
        try:
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, self._size)
            raise
        self._size += len(lines)
        self.inbox.accept(batch.number, lines)

    def end(self, message: messages.StreamEnd) -> None:
        """Take in the end of the process."""
        self.inbox.end(message.digest)
        self.result, self.ended = message.result, self.inbox.complete

    @property
    def complete(self) -> bool:
        """Return True if the process ended with the run and all its records are here."""
        return self.ended and self.result is not None and self.result.ended != ORPHANED


class Member:
    """One worker of the run.

    name: Locust's name of the worker.
    last_seen: ns, when its last message arrived.
    concurrency: slots of each of its processes, from its last heartbeat.
    chunks_received: number of the last chunk of the plan that it has, -1 before the first.
    pongs: by number of the Ping, its clock and ours, ns.
    clock_before, clock_after: offset of its clock before and after the run.
    """

    def __init__(self, name: str, join: messages.Join, now: int) -> None:
        self.name = name
        self.host = join.host
        self.processes = join.processes
        self.versions = join.versions
        self.shards: list[Shard] = []
        self.last_seen = now
        self.started = False
        self.concurrency: list[int] = []
        self.chunks_received = -1
        self.ready = False
        self.refusal: str | None = None
        self.pongs: dict[int, tuple[int, int]] = {}
        self.clock_before: clock_sync.Estimate | None = None
        self.clock_after: clock_sync.Estimate | None = None

    @property
    def ended(self) -> bool:
        return all(shard.ended for shard in self.shards)

    def slots(self, shard: Shard) -> int:
        """Return the most requests that one of its processes can have in flight, by its last heartbeat."""
        index = self.shards.index(shard)
        return self.concurrency[index] if index < len(self.concurrency) else 0


class Members:
    """All workers of a run.

    silence: seconds without a message after which a member counts as lost; shorter interruptions do no harm.
    clock: returns ns.
    """

    def __init__(self, run: str, silence: float, clock: Callable[[], int]) -> None:
        self.run = run
        self.by_name: dict[str, Member] = {}
        self._silence = round(silence * NS_PER_S)
        self._clock = clock

    def __iter__(self) -> Iterator[Member]:
        return iter(self.by_name.values())

    def receive(self, name: str, message: messages.AnyMessage) -> messages.SwarmMessage | None:
        """Take in a message from the worker `name`. Return the answer to send, None if it needs none."""
        now = self._clock()
        if isinstance(message, messages.Join):
            self.by_name.setdefault(name, Member(name, message, now))
        member = self.by_name.get(name)
        if member is None:
            return None
        member.last_seen = now
        if isinstance(message, messages.ChunkReceived):
            member.chunks_received = max(member.chunks_received, message.number)
        elif isinstance(message, messages.MachineReady):
            member.ready = True
        elif isinstance(message, messages.Refused):
            member.refusal = message.text
        elif isinstance(message, messages.Pong):
            member.pongs[message.number] = (message.at, now)
        elif isinstance(message, messages.Heartbeat):
            member.started, member.concurrency = message.started, message.concurrency
        elif isinstance(message, messages.RecordBatch | messages.StreamEnd):
            shard = next((shard for shard in member.shards if shard.process == message.process), None)
            if shard is None:
                return None
            if isinstance(message, messages.RecordBatch):
                shard.append(message)
            else:
                shard.end(message)
            return messages.BatchAck(run=self.run, process=shard.process, count=shard.inbox.count, ended=shard.ended)
        return None

    def silent(self, member: Member) -> bool:
        """Return True if no message has come from this member for too long."""
        return self._clock() - member.last_seen > self._silence

    @property
    def over(self) -> bool:
        """Return True if there is no member left to wait for."""
        return all(member.ended or self.silent(member) for member in self)

    @property
    def record_count(self) -> int:
        """Return how many records have arrived."""
        return sum(shard.inbox.lines for member in self for shard in member.shards)

    def loss_sentences(self, origin: int) -> Iterator[str]:
        """Yield a sentence for each process that did not deliver all. `origin`: ns, the start of the run."""
        for member in self:
            for shard in member.shards:
                if shard.complete:
                    continue
                process = f"process {shard.process} on {member.host} ({member.name})"
                records = f"{shard.inbox.lines} of its records are here"
                if not shard.ended:
                    at = f"{max(0, member.last_seen - origin) / NS_PER_S:.1f} s"
                    yield f"{process} was lost: last heard of at {at}, {shard.inbox.missing}; {records}"
                elif shard.result is None:
                    yield f"{process} died; {records}"
                else:
                    yield f"{process} ended with its worker, before the run; {records}"


def split_users(users: int, processes: int) -> list[int]:
    """Return the slots of each process: as even as possible, the first ones have the remainder."""
    each, rest = divmod(users, processes)
    return [each + (number < rest) for number in range(processes)]
