"""The messages between the process that plans a run and its workers, and their form on a pipe.

A message is four bytes of length, big-endian, and a MessagePack map with the name of its type under `type`, or the same
as a JSON object, which has room for any number. There are a few messages a second: requests and records do not go this
way.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import Struct

from loadstone import text
from loadstone.config.schema import Config
from loadstone.engine.progress_digest import Progress
from loadstone.engine.worker import WorkerResult
from loadstone.records import Prompt
from loadstone.schedule.partition import Partition
from loadstone.schedule.plan import DatasetShape, Load, Plan
from loadstone.summary import EndReason

# Bytes of the length in front of each message.
LENGTH_BYTES = 4


class PlanMessage(Struct, frozen=True, kw_only=True):
    """A `Plan` as a message.

    ids, turns: of each row of the dataset.
    offsets: int64, little-endian, as bytes, so that no machine has to draw them again; None for a closed loop.
    Other fields: see `Plan`.
    """

    load: Load
    ids: list[str]
    turns: list[int]
    total: int | None
    offsets: bytes | None
    warmup: int
    cooldown: int
    stage_counts: list[int]
    end: int | None


def pack_plan(plan: Plan) -> PlanMessage:
    """Convert a plan to a message."""
    return PlanMessage(
        load=plan.load,
        ids=list(plan.rows.ids),
        turns=plan.turns.tolist(),
        total=plan.total,
        offsets=None if plan.offsets is None else plan.offsets.astype("<i8").tobytes(),
        warmup=plan.warmup,
        cooldown=plan.cooldown,
        stage_counts=list(plan.stage_counts),
        end=plan.end,
    )


def unpack_plan(message: PlanMessage) -> Plan:
    """Convert a message to a plan. The recorded times of the rows are not sent: the offsets are made from them."""
    offsets = None if message.offsets is None else np.frombuffer(message.offsets, "<i8").astype(np.int64)
    return Plan(
        message.load,
        DatasetShape(message.ids, message.turns),
        message.total,
        offsets,
        message.warmup,
        message.cooldown,
        message.stage_counts,
        message.end,
    )


class WorkerSpec(Struct, frozen=True, kw_only=True, tag=True):
    """The first message to a worker: everything that it needs.

    prompts: rows of the dataset by number, at least those of its partition.
    models: in the order of the plan's numbers.
    records: path of the file to write records to.
    request_ids: prefix of the request ids; None: no ids.
    live_concurrency: True if the number of slots comes by `SetConcurrency`, not from the plan.
    """

    partition: Partition
    config: Config
    plan: PlanMessage
    prompts: dict[int, Prompt]
    models: list[str]
    records: str
    request_ids: str | None = None
    live_concurrency: bool = False


class StartSignal(Struct, frozen=True, tag=True):
    """Start the run.

    origin: ns of this machine's monotonic clock at which the run's time is 0, a little in the future.
    """

    origin: int


class SetConcurrency(Struct, frozen=True, tag=True):
    """Set how many requests or conversations this process has in flight (closed loop, `live_concurrency`)."""

    slots: int


class Stop(Struct, frozen=True, tag=True):
    """Stop sending; requests in flight have `grace` seconds to end. A second one may shorten the grace."""

    reason: EndReason
    grace: float


class Ready(Struct, frozen=True, tag=True):
    """The worker accepts its `WorkerSpec` and waits for `StartSignal`."""

    pid: int


class Refusal(Struct, frozen=True, tag=True):
    """The worker cannot run its `WorkerSpec`, for the reason in `text`, and ends."""

    text: str


ToWorker = WorkerSpec | StartSignal | SetConcurrency | Stop
FromWorker = Ready | Refusal | Progress | WorkerResult

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_to_worker_json: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode_frame(message: ToWorker | FromWorker) -> bytes:
    """Encode a message, with its length in front."""
    try:
        body = _encoder.encode(message)
    except OverflowError:
        # A whole number of more than 64 bits, in a body that the operator gave: JSON has room for it.
        body = msgspec.json.encode(message)
    except UnicodeEncodeError:
        if isinstance(message, WorkerSpec):  # prompts are sent unchanged or not at all
            raise
        body = _encoder.encode(text.to_utf8_nested(msgspec.to_builtins(message)))
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_to_worker(body: bytes) -> ToWorker:
    """Decode a message to a worker. Raises msgspec.ValidationError or DecodeError for anything else."""
    return _to_worker_json.decode(body) if body.startswith(b"{") else _to_worker.decode(body)


def decode_from_worker(body: bytes) -> FromWorker:
    """Decode a message from a worker. Raises msgspec.ValidationError or DecodeError for anything else."""
    return _from_worker.decode(body)


class FrameSplitter:
    """Splits a stream of bytes into messages, which stay encoded."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that are complete with `data`."""
        self._rest += data
        while len(self._rest) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._rest[:LENGTH_BYTES], "big")
            if len(self._rest) < end:
                return
            body = bytes(self._rest[LENGTH_BYTES:end])
            del self._rest[:end]
            yield body
