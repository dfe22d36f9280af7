"""The machines of a run as the master sees them: who they are, what has come from each, who has fallen silent.

Knows no Locust and has no clock of its own; times are ns of the master's. Records are appended to their shard as they
come, and never read here.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loadstone.engine.worker_messages import WorkerResult
from loadstone.swarm import clock_sync as clocks
from loadstone.swarm import messages
from loadstone.swarm.record_batches import Inbox
from loadstone.units import NS_PER_S

# How a process ends whose Locust worker has.
ORPHANED = "orphaned"


class Shard:
    """The records of one process, as far as they have come. `ended`: all of them, up to its end mark."""

    def __init__(self, engine: int, path: Path) -> None:
        self.engine = engine
        self.path = path
        self.inbox = Inbox()
        self._size = 0
        self.ended = False
        self.outcome: WorkerResult | None = None

    def take(self, batch: messages.Batch) -> None:
        """Append the batch that comes next. A disk that is full raises OSError, and leaves neither half a batch behind
        nor one that counts as here: it will be sent again."""
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
        self.inbox.take(batch.number, lines)

    def close(self, end: messages.End) -> None:
        self.inbox.close(end.mark)
        self.outcome, self.ended = end.outcome, self.inbox.whole

    @property
    def done(self) -> bool:
        """It ended with the run, and everything of it is here."""
        return self.ended and self.outcome is not None and self.outcome.ended != ORPHANED

    def ack(self, run: str) -> messages.Ack:
        return messages.Ack(run=run, engine=self.engine, count=self.inbox.count, ended=self.ended)


class Machine:
    """One worker of the run. `heard`: when its last letter came; `levels`: slots of each of its processes."""

    def __init__(self, name: str, hello: messages.Hello, now: int) -> None:
        self.name = name
        self.host = hello.host
        self.processes = hello.processes
        self.versions = hello.versions
        self.shards: list[Shard] = []
        self.heard = now
        self.begun = False
        self.levels: list[int] = []
        self.got = -1
        self.standing = False
        self.declined: str | None = None
        self.pongs: dict[int, tuple[int, int]] = {}
        self.before: clocks.Estimate | None = None
        self.after: clocks.Estimate | None = None

    @property
    def ended(self) -> bool:
        return all(shard.ended for shard in self.shards)

    def slots(self, shard: Shard) -> int:
        """What was in flight at most in one of its processes, by its last sign of life."""
        at = self.shards.index(shard)
        return self.levels[at] if at < len(self.levels) else 0


class Members:
    """All of them, by their Locust names. `silence`: seconds without a letter after which a machine is lost; a cut
    shorter than this is only a cut. `clock`: ns."""

    def __init__(self, run: str, silence: float, clock: Callable[[], int]) -> None:
        self.run = run
        self.machines: dict[str, Machine] = {}
        self._silence, self._clock = round(silence * NS_PER_S), clock

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines.values())

    def hear(self, name: str, letter: messages.Any_) -> messages.SwarmMessage | None:
        """Take in a letter; returns the answer, where it has one."""
        if isinstance(letter, messages.Hello):
            self.machines.setdefault(name, Machine(name, letter, self._clock()))
        machine = self.machines.get(name)
        if machine is None:
            return None
        machine.heard = self._clock()
        return self._read(machine, letter)

    def _read(self, machine: Machine, letter: messages.Any_) -> messages.SwarmMessage | None:
        if isinstance(letter, messages.Got):
            machine.got = max(machine.got, letter.number)
        elif isinstance(letter, messages.Standing):
            machine.standing = True
        elif isinstance(letter, messages.Declined):
            machine.declined = letter.text
        elif isinstance(letter, messages.Pong):
            machine.pongs[letter.number] = (letter.at, self._clock())
        elif isinstance(letter, messages.Beat):
            machine.begun, machine.levels = letter.begun, letter.levels
        elif isinstance(letter, messages.Batch | messages.End):
            return self._records(machine, letter)
        return None

    def _records(self, machine: Machine, letter: messages.Batch | messages.End) -> messages.Ack | None:
        shard = next((shard for shard in machine.shards if shard.engine == letter.engine), None)
        if shard is None:
            return None
        if isinstance(letter, messages.Batch):
            shard.take(letter)
        else:
            shard.close(letter)
        return shard.ack(self.run)

    def silent(self, machine: Machine) -> bool:
        return self._clock() - machine.heard > self._silence

    @property
    def over(self) -> bool:
        """Nobody is left to wait for."""
        return all(machine.ended or self.silent(machine) for machine in self)

    @property
    def records(self) -> int:
        """How many have come."""
        return sum(shard.inbox.lines for machine in self for shard in machine.shards)

    # what is told of them in the end

    def lost(self, origin: int) -> Iterator[str]:
        """A sentence for each machine and process that did not deliver all. `origin`: when the run began."""
        for machine in self:
            for shard in machine.shards:
                if not shard.done:
                    yield f"{_whose(machine, shard)} {self._fate(machine, shard, origin)}"

    def _fate(self, machine: Machine, shard: Shard, origin: int) -> str:
        records = f"{shard.inbox.lines} of its records are here"
        if shard.ended:
            return f"died; {records}" if shard.outcome is None else f"ended with its worker, before the run; {records}"
        at = f"{max(0, machine.heard - origin) / NS_PER_S:.1f} s"
        return f"was lost: last heard of at {at}, {shard.inbox.missing}; {records}"

    def clocks(self) -> list[dict[str, Any]]:
        return [
            {"worker": machine.name, "host": machine.host, **clocks.told(machine.before, machine.after)}
            for machine in self
            if machine.before is not None
        ]

    def clients(self) -> list[dict[str, Any]]:
        """How each process fared, by itself."""
        return [
            {"worker": shard.engine, "machine": machine.name, "host": machine.host, **shard.outcome.client}
            for machine in self
            for shard in machine.shards
            if shard.outcome is not None
        ]

    def outcomes(self) -> list[WorkerResult]:
        return [shard.outcome for machine in self for shard in machine.shards if shard.outcome is not None]


def _whose(machine: Machine, shard: Shard) -> str:
    return f"process {shard.engine} on {machine.host} ({machine.name})"


def levels(seats: int, engines: int) -> list[int]:
    """Slots of each process, as even as can be; what is left over goes to the first."""
    each, rest = divmod(seats, engines)
    return [each + (number < rest) for number in range(engines)]
