"""What the master and the workers write to each other, as one kind of Locust message with these in it.

Pure. The order: Call and Hello; Parcel and Got, the plan piece by piece; Standing or Declined; Ping and Pong; Begin.
Then Beat, Batch and Ack until Halt, or the plan's own end; End, which is acknowledged too; Over. All times are ns.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from loadstone.engine.worker_messages import Progress, WorkerResult, WorkerSpec
from loadstone.swarm.record_batches import StreamDigest

# Locust's name for all of these.
KIND = "loadstone"
# zlib's quickest level: plans and records are mostly text and digits, and shrink to a third with it.
QUICK = 1


class SwarmMessage(Struct, frozen=True, kw_only=True, tag=True):
    """`run`: which one; letters of another are not read."""

    run: str


class Call(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: a run is being prepared, who are you?"""


class Hello(SwarmMessage, frozen=True, kw_only=True):
    """`processes`: how many will send load here; `versions` of what both ends have to agree on."""

    host: str
    processes: int
    versions: dict[str, str]


class PlanChunk(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: piece `number` of `of`; all together are a packed list of Commission, a process each."""

    number: int
    of: int
    data: bytes


class Got(SwarmMessage, frozen=True, kw_only=True):
    """A piece has come."""

    number: int


class Standing(SwarmMessage, frozen=True, kw_only=True):
    """All processes are ready."""


class Declined(SwarmMessage, frozen=True, kw_only=True):
    """Or this machine is not fit, for this reason."""

    text: str


class Ping(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: what does your clock say?"""

    number: int


class Pong(SwarmMessage, frozen=True, kw_only=True):
    number: int
    at: int


class Begin(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: the run's time is 0 when your clock says `origin`."""

    origin: int


class Beat(SwarmMessage, frozen=True, kw_only=True):
    """Once a second: still here. `begun`: Begin has come; `levels`: slots of each process, in the order of the
    commissions; `finished`: records written by all of them."""

    begun: bool
    levels: list[int]
    finished: int


# Fields of a pulse that no detector looks at.
BINS = ("ttft", "gap", "tpot", "latency", "kinds", "lags", "sends", "slos")


class Note(SwarmMessage, frozen=True, kw_only=True):
    """A pulse of one process, without its bins: only where --stop-error-rate or --stop-saturated has to see it."""

    pulse: Progress


class Batch(SwarmMessage, frozen=True, kw_only=True):
    """Records of one process, compressed; see batches.py."""

    engine: int
    number: int
    data: bytes


class Ack(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: so many batches of this process are here; `ended`: its end mark too."""

    engine: int
    count: int
    ended: bool


class End(SwarmMessage, frozen=True, kw_only=True):
    """A process is over and this is what it sent in all. `outcome`: None if it died; `file`: its records, there."""

    engine: int
    mark: StreamDigest
    outcome: WorkerResult | None
    file: str


class Halt(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: send nothing more; what is in flight has `grace` seconds."""

    reason: str
    grace: float


class Over(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: everything has arrived, or is not waited for any longer. `whole`: nothing need be kept there."""

    whole: bool


Any_ = (
    Call
    | Hello
    | PlanChunk
    | Got
    | Standing
    | Declined
    | Ping
    | Pong
    | Begin
    | Beat
    | Note
    | Batch
    | Ack
    | End
    | Halt
    | Over
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any_] = msgspec.msgpack.Decoder(Any_)
_commissions: msgspec.msgpack.Decoder[list[WorkerSpec]] = msgspec.msgpack.Decoder(list[WorkerSpec])


def sealed(letter: SwarmMessage) -> bytes:
    return _encoder.encode(letter)


def opened(data: bytes) -> Any_:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return _decoder.decode(data)


def packed(commissions: Sequence[bytes]) -> bytes:
    """Commissions that are encoded already, for the parcels to a worker."""
    return zlib.compress(_encoder.encode([msgspec.Raw(each) for each in commissions]), QUICK)


def unpacked(data: bytes) -> list[WorkerSpec]:
    return _commissions.decode(zlib.decompress(data))
