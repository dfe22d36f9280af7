"""What the process that plans a run and those that carry it out say to each other, and the form it has on a pipe.

Pure. A message is four bytes of length, big-endian, and a MessagePack map with its type's name under `type`, or the
same as a JSON object, which has room for any number. A handful a second: requests and records never go this way.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import Struct

from loadstone import text
from loadstone.config.schema import Config
from loadstone.records import Prompt
from loadstone.schedule.partition import Partition
from loadstone.schedule.plan import DatasetShape, Load, Plan

LENGTH_BYTES = 4


class PlanMessage(Struct, frozen=True, kw_only=True):
    """A plan as it travels: see plan.Plan. `offsets`: int64, little-endian, as bytes, so that no machine has to draw
    them again; None for a closed loop."""

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
    """A plan, ready to travel."""
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


def unpack_plan(schedule: PlanMessage) -> Plan:
    """Inverse of `pack_plan`; the recorded instants of the rows stay behind, the offsets are made of them."""
    s = schedule
    offsets = None if s.offsets is None else np.frombuffer(s.offsets, "<i8").astype(np.int64)
    return Plan(s.load, DatasetShape(s.ids, s.turns), s.total, offsets, s.warmup, s.cooldown, s.stage_counts, s.end)


class WorkerSpec(Struct, frozen=True, kw_only=True, tag=True):
    """Sent first: everything that a process has to know. `prompts`: rows of the dataset by their number, those of its
    share at least. `models`: in the order of the plan's numbers. `records`: path of the file to write records to.
    `request_ids`: what their ids begin with. `live_concurrency`: the number of slots comes by `SetConcurrency`, not from the
    schedule."""

    partition: Partition
    config: Config
    plan: PlanMessage
    prompts: dict[int, Prompt]
    models: list[str]
    records: str
    request_ids: str | None = None
    live_concurrency: bool = False


class StartSignal(Struct, frozen=True, tag=True):
    """Begin. `origin`: ns of this machine's monotonic clock at which the run's time is 0, a little in the future."""

    origin: int


class SetConcurrency(Struct, frozen=True, tag=True):
    """From now on so many requests or conversations in flight, by this process alone (closed loop, `live_concurrency`)."""

    slots: int


class Stop(Struct, frozen=True, tag=True):
    """Send nothing more; what is in flight has `grace` seconds to end. May come again, to hurry."""

    reason: str
    grace: float


class Ready(Struct, frozen=True, tag=True):
    """The answer to a Commission: `StartSignal` may come."""

    pid: int


class Refusal(Struct, frozen=True, tag=True):
    """Or it is not fit, for this reason; the process ends."""

    text: str


class Progress(Struct, frozen=True, kw_only=True, tag=True):
    """How things stand in one process, several times a second. Totals since the run began, but for those `since` the
    pulse before.

    at: ns of the run's clock. finished: records written; failed: of them, without the cancelled ones. in_flight:
    requests under way; overdue: arrivals that wait for a slot. tokens: output tokens, those of answers under way
    included. unsent: later turns that there was no time for.
    since: outcomes: whether each judged request failed; waits: seconds from schedule to first output. ttft, gap, tpot,
    latency: counts by bin of `pulses.Bins`; lags, sends: the same of what health.py samples, the loop's lag and that of
    sends. kinds: failures by kind; failures: the most frequent, with their messages. slos: see attained.Tally. cpu:
    share of one core; waited: share of the time that the process was ready and had no core.
    """

    worker: int
    at: int
    finished: int = 0
    failed: int = 0
    in_flight: int = 0
    overdue: int = 0
    tokens: int = 0
    stopping: bool = False
    outcomes: list[bool] = []
    waits: list[float] = []
    ttft: dict[int, int] = {}
    gap: dict[int, int] = {}
    tpot: dict[int, int] = {}
    latency: dict[int, int] = {}
    kinds: dict[str, int] = {}
    cpu: float | None = None
    core_wait: float | None = None
    loop_lags: dict[int, int] = {}
    send_lags: dict[int, int] = {}
    failures: list[tuple[str, str, int]] = []
    slos: dict[str, tuple[int, int]] = {}


class WorkerResult(Struct, frozen=True, kw_only=True, tag=True):
    """The last message: all records are in the file. `ended`: why, as in run.json; `written`: how many records;
    `client`: how this process fared (health.py); `delayed`: requests that limits a minute held back, and for how many ns
    all together."""

    worker: int
    ended: str
    written: int
    unsent_turns: int
    client: dict[str, float | None]
    delayed: tuple[int, int] = (0, 0)


# What a process is told.
ToWorker = WorkerSpec | StartSignal | SetConcurrency | Stop
# What it tells.
FromWorker = Ready | Refusal | Progress | WorkerResult

_encoder = msgspec.msgpack.Encoder()
_down: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_down_json: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_up: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode_frame(message: ToWorker | FromWorker) -> bytes:
    """A message with its length in front."""
    try:
        body = _encoder.encode(message)
    except OverflowError:  # a whole number of more than 64 bits, in a body that the operator gave: JSON has room for it
        body = msgspec.json.encode(message)
    except UnicodeEncodeError:
        if isinstance(message, WorkerSpec):  # prompts are sent as they are, or not at all
            raise
        body = _encoder.encode(text.to_utf8_nested(msgspec.to_builtins(message)))
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_to_worker(body: bytes) -> ToWorker:
    """What a process has been told. Raises msgspec.ValidationError or DecodeError for anything else."""
    return _down_json.decode(body) if body.startswith(b"{") else _down.decode(body)


def decode_from_worker(body: bytes) -> FromWorker:
    """What a process has told."""
    return _up.decode(body)


class FrameSplitter:
    """Cuts a stream of bytes into messages, still encoded."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole by now."""
        self._rest += data
        while len(self._rest) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._rest[:LENGTH_BYTES], "big")
            if len(self._rest) < end:
                return
            body = bytes(self._rest[LENGTH_BYTES:end])
            del self._rest[:end]
            yield body
