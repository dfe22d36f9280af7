"""The messages between master and workers. They all travel as one kind of Locust message.

Pure. The order of a run: Invite and Join; PlanChunk and ChunkReceived, until the whole plan is there; MachineReady or
Refused; Ping and Pong, to compare clocks; Start. Then Heartbeat, RecordBatch and BatchAck until StopSending or the end
of the plan; StreamEnd, which is acknowledged as well; RunOver. All times are ns of a monotonic clock.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from loadstone.engine.progress_digest import Progress
from loadstone.engine.worker import WorkerResult
from loadstone.engine.worker_messages import WorkerSpec
from loadstone.summary import EndReason
from loadstone.swarm.record_batches import StreamDigest

# Locust's name for all of these messages.
MESSAGE_TYPE = "loadstone"
# zlib's fastest level: plans and records are mostly text and digits, and shrink to a third with it.
COMPRESSION_LEVEL = 1


class SwarmMessage(Struct, frozen=True, kw_only=True, tag=True):
    """The base of all messages.

    run: id of the run; a receiver ignores messages of any other run.
    """

    run: str


class Invite(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: a run is being prepared; join it."""


class Join(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: the answer to Invite.

    host: name of the machine.
    processes: number of processes that will send load there.
    versions: of the software that has to be the same on all machines.
    """

    host: str
    processes: int
    versions: dict[str, str]


class PlanChunk(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: one chunk of the packed list of WorkerSpec, which has one entry per process.

    number: of this chunk, from 0.
    count: number of chunks.
    """

    number: int
    count: int
    data: bytes


class ChunkReceived(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: this chunk of the plan has arrived."""

    number: int


class MachineReady(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: all its processes are ready."""


class Refused(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: it cannot take part, for this reason."""

    text: str


class Ping(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: read your clock."""

    number: int


class Pong(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: the answer to Ping.

    at: the worker's clock, ns.
    """

    number: int
    at: int


class Start(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: the run starts when your clock shows `origin`, ns."""

    origin: int


class Heartbeat(SwarmMessage, frozen=True, kw_only=True):
    """From a worker, once a second.

    started: Start has arrived.
    concurrency: slots of each process, in the order of the specs.
    finished: records written by all processes.
    """

    started: bool
    concurrency: list[int]
    finished: int


# Fields of Progress that the stop conditions do not use; a ProgressUpdate leaves them empty.
BIN_FIELDS = ("ttft", "gap", "tpot", "latency", "kinds", "lags", "sends", "slos")


class ProgressUpdate(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: progress of one process, without its bins. Sent only for --stop-error-rate, --stop-saturated."""

    progress: Progress


class RecordBatch(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: records of one process; see record_batches.py.

    process: number of the process.
    number: of the batch, from 0.
    data: whole lines of the records file, compressed with zlib.
    """

    process: int
    number: int
    data: bytes


class BatchAck(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: how much of the records of one process has arrived.

    count: number of batches.
    ended: StreamEnd has arrived, and all batches before it.
    """

    process: int
    count: int
    ended: bool


class StreamEnd(SwarmMessage, frozen=True, kw_only=True):
    """From a worker: one process has ended.

    digest: of all records that it sent.
    result: None if the process died.
    file: path of its records on the worker.
    """

    process: int
    digest: StreamDigest
    result: WorkerResult | None
    file: str


class StopSending(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: send no more requests; those in flight have `grace` seconds to end."""

    reason: EndReason
    grace: float


class RunOver(SwarmMessage, frozen=True, kw_only=True):
    """To a worker: the master waits for nothing more.

    complete: the master has all records, so the worker may delete its files.
    """

    complete: bool


AnyMessage = (
    Invite
    | Join
    | PlanChunk
    | ChunkReceived
    | MachineReady
    | Refused
    | Ping
    | Pong
    | Start
    | Heartbeat
    | ProgressUpdate
    | RecordBatch
    | BatchAck
    | StreamEnd
    | StopSending
    | RunOver
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_spec_decoder: msgspec.msgpack.Decoder[list[WorkerSpec]] = msgspec.msgpack.Decoder(list[WorkerSpec])


def encode(message: SwarmMessage) -> bytes:
    """Encode a message for Locust's transport."""
    return _encoder.encode(message)


def decode(data: bytes) -> AnyMessage:
    """Decode a message. Raises msgspec.ValidationError or msgspec.DecodeError for anything else."""
    return _decoder.decode(data)


def pack_specs(specs: Sequence[bytes]) -> bytes:
    """Merge specs that are encoded already into the bytes that the plan chunks of a worker carry."""
    return zlib.compress(_encoder.encode([msgspec.Raw(spec) for spec in specs]), COMPRESSION_LEVEL)


def unpack_specs(data: bytes) -> list[WorkerSpec]:
    """Return the specs that `pack_specs` merged, one per process."""
    return _spec_decoder.decode(zlib.decompress(data))
