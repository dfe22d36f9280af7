"""The plan of a run: which row of the dataset is sent at each position, when it is due, and in which phase.

A position is a request, or a conversation of several. The plan is made once, from one seed, before the first request,
and saved with the run. Nothing else draws a random number for it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.config.parse import REPLAY, parse_count_or_time
from loadstone.config.schema import Config
from loadstone.config.stages import Stage
from loadstone.config.stages import parse_stages as parse_stages
from loadstone.errors import ConfigError
from loadstone.records import Phase
from loadstone.schedule.arrivals import ArrivalProcess, Offsets, scale_recorded
from loadstone.units import NS_PER_S, Array

# Random streams of the one seed.
_ARRIVALS, _ORDER, _MODELS, _CANCELS = 1, 2, 3, 4
# Random numbers drawn at a time.
_BLOCK = 4096
Counts = NDArray[np.int64]
# Arrivals of one plan, which are in memory as times; a closed loop has no such limit.
MAX_ARRIVALS = 10_000_000
# Lines of a plan that are written: the rest follows from the seed, and a run begins at once.
MAX_LINES = 100_000


class Load(Struct, frozen=True, kw_only=True):
    """How much load, and for how long.

    A rate (requests/s), stages of rates or a replay make an open loop, in which `concurrency` is a cap. Warm-up and
    cool-down are a number of positions, or seconds, around the measured ones.

    speed: factor of a replay.
    models: weights of the models.
    servers: how many there are.
    sticky: True if a conversation stays with one server.
    cancel_share: fraction of the requests that the client cancels.
    skip: rows to skip in the order of the run, as an earlier run has used them.
    """

    concurrency: int | None = None
    rate: float | None = None
    arrivals: str = "poisson"
    burstiness: float = 1.0
    rescale: bool = True
    stages: tuple[Stage, ...] = ()
    speed: float = 1.0
    requests: int | None = None
    duration: float | None = None
    warmup: int = 0
    warmup_time: float = 0.0
    cooldown: int = 0
    cooldown_time: float = 0.0
    models: tuple[float, ...] = (1.0,)
    servers: int = 1
    sticky: bool = False
    cancel_share: float = 0.0
    seed: int = 0
    shuffle: bool = False
    skip: int = 0

    @classmethod
    def of(cls, config: Config) -> Load:
        """Return the load of a configuration. Raises UsageError for a text that cannot be parsed."""
        warmup, warmup_time = parse_count_or_time("warmup", config.warmup)
        cooldown, cooldown_time = parse_count_or_time("cooldown", config.cooldown)
        return cls(
            concurrency=config.concurrency,
            rate=config.rate,
            arrivals=config.arrivals or "poisson",
            burstiness=1.0 if config.burstiness is None else config.burstiness,
            rescale=config.rescale,
            stages=parse_stages(config.stages) if config.stages else (),
            speed=config.speed or 1.0,
            requests=config.requests,
            duration=config.duration,
            warmup=warmup,
            warmup_time=warmup_time,
            cooldown=cooldown,
            cooldown_time=cooldown_time,
            models=tuple(weight for _, weight in config.models),
            servers=max(1, len(config.urls)),
            sticky=config.balance == "sticky",
            cancel_share=config.cancel_share,
            seed=config.seed,
            shuffle=config.shuffle,
            skip=config.skip,
        )


class DatasetShape(Struct, frozen=True):
    """What a plan needs of a dataset: the id, turns and recorded time (ns) of each row."""

    ids: Sequence[str]
    turns: Sequence[int] | None = None
    recorded_at: Sequence[int] | None = None


class Plan:
    """Which request is sent when.

    Position p takes row `row(p)`. In an open loop it is due at `offsets[p]`. In a closed loop `offsets` is None:
    `levels` gives the number of slots over time, and a free slot takes the next position.

    total: number of all positions; None: until a time has passed.
    offsets: ns since the start of the run, rising, shape (total,).
    warmup, cooldown: the first and last positions that are not measured.
    stage_counts: arrivals of each stage.
    end: ns after which nothing is sent; None: no such time.
    """

    def __init__(
        self,
        load: Load,
        rows: DatasetShape,
        total: int | None,
        offsets: Offsets | None,
        warmup: int = 0,
        cooldown: int = 0,
        stage_counts: Sequence[int] = (),
        end: int | None = None,
    ) -> None:
        self.load = load
        self.rows = rows
        self.total = total
        self.offsets = offsets
        self.warmup = warmup
        self.cooldown = cooldown
        self.end = end
        self.stage_counts = stage_counts
        self.turns: Counts = np.ones(len(rows.ids), np.int64) if rows.turns is None else np.array(rows.turns, np.int64)
        self._rows = len(self.turns)
        self._single = bool((self.turns == 1).all())
        # True if rows are used more than once, or were by an earlier run.
        self.repeats = load.skip + (total or 0) > self._rows
        # True if nothing but the index differs between requests: thousands may start in a second.
        self.only_index = self._single and not load.stages and load.servers == 1 and not load.cancel_share
        self._requests_per_epoch = int(self.turns.sum())
        self._cached_order = lru_cache(maxsize=2)(self._order)
        self._cached_requests_before = lru_cache(maxsize=2)(self._requests_before)
        self._cached_random = lru_cache(maxsize=8)(self._random)
        self._stage_ends = np.cumsum([round(stage.seconds * NS_PER_S) for stage in load.stages])
        self._arrivals_until = np.cumsum(stage_counts)
        self._weights = np.cumsum(load.models) / sum(load.models)
        self._skipped = 0 if self._single else self._count_before(load.skip)

    def row(self, position: int) -> int:
        """Return the row of the dataset: in file order, or in a new shuffle each time the dataset is used up."""
        epoch, rest = divmod(position + self.load.skip, self._rows)
        return int(self._cached_order(epoch)[rest]) if self.load.shuffle else rest

    def index(self, position: int, turn: int = 0) -> int:
        """Return the number of a request among all: by position, then by turn, from 0."""
        if self._single:
            return position
        return self._count_before(position + self.load.skip) - self._skipped + turn

    def conversation(self, position: int) -> str | None:
        """Return the name of the conversation, unique in the run; None for a single request."""
        if self._single:
            return None
        row = self.row(position)
        if self.turns[row] == 1:
            return None
        epoch = (position + self.load.skip) // self._rows
        return self.rows.ids[row] + (f"#{epoch + 1}" if epoch else "")

    def phase(self, position: int) -> Phase:
        """Return the phase of a position, where phases are numbers of positions."""
        if position < self.warmup:
            return "warmup"
        if self.cooldown and self.total is not None and position >= self.total - self.cooldown:
            return "cooldown"
        return "measure"

    def stage(self, position: int, at: int) -> int | None:
        """Return the stage of an arrival; in a closed loop, the one at `at` (ns of the run), or the last."""
        if not self.load.stages:
            return None
        if self.offsets is not None:
            return int(self._arrivals_until.searchsorted(position, "right"))
        return min(int(self._stage_ends.searchsorted(at, "right")), len(self._stage_ends) - 1)

    def model(self, position: int) -> int:
        """Return the number of the model, drawn by the weights."""
        if len(self._weights) == 1:
            return 0
        return int(self._weights.searchsorted(self._draw(_MODELS, position), "right"))

    def server(self, position: int, turn: int = 0) -> int:
        """Return the number of the server: one after the other, or one for a whole conversation."""
        return (position if self.load.sticky else self.index(position, turn)) % self.load.servers

    def cancelled(self, index: int) -> bool:
        """Return True if the client is to cancel request `index`."""
        return self.load.cancel_share > 0 and bool(self._draw(_CANCELS, index) < self.load.cancel_share)

    @property
    def levels(self) -> list[tuple[int, int]]:
        """Return the levels of a closed loop: (ns of the run, slots from then on)."""
        starts = [0, *self._stage_ends.tolist()]
        steps = [
            (start + round(second * NS_PER_S), level)
            for start, stage in zip(starts, self.load.stages, strict=False)
            for second, level in stage.steps()
        ]
        return steps or [(0, self.load.concurrency or 1)]

    @property
    def expected(self) -> int | None:
        """Return how many measured requests are planned; None where that depends on time."""
        timed = self.offsets is None and (self.load.warmup_time or self.load.cooldown_time)
        if self.total is None:
            return None
        if timed and (self.turns != 1).any():
            return None
        return max(0, self.index(self.total - self.cooldown) - self.index(self.warmup))

    @property
    def requests(self) -> int | None:
        """Return how many requests are planned, measured or not; None where that depends on time."""
        return None if self.total is None else self.index(self.total)

    def _count_before(self, position: int) -> int:
        """Return the requests of all positions before one, without any `skip`."""
        epoch, rest = divmod(position, self._rows)
        return epoch * self._requests_per_epoch + int(self._cached_requests_before(epoch)[rest])

    def _order(self, epoch: int) -> Counts:
        """Return the shuffled rows of an epoch: one use of the whole dataset."""
        return np.random.default_rng([self.load.seed, _ORDER, epoch]).permutation(self._rows)

    def _requests_before(self, epoch: int) -> Counts:
        """Return the requests of an epoch before each of its positions."""
        turns = self.turns[self._cached_order(epoch)] if self.load.shuffle else self.turns
        return np.cumsum(turns) - turns

    def _draw(self, stream: int, number: int) -> float:
        return float(self._cached_random(stream, number // _BLOCK)[number % _BLOCK])

    def _random(self, stream: int, block: int) -> Array:
        return np.random.default_rng([self.load.seed, stream, block]).random(_BLOCK)


def make_plan(load: Load, rows: DatasetShape) -> Plan:
    """Make the plan of a load over a dataset of at least one row.

    Raises UsageError for a load without an end, without times or without requests.
    """
    stages = _arrivals(load, rows)
    end = _end(load)
    if stages is None:
        total = None if load.requests is None or load.stages else load.requests + load.warmup + load.cooldown
        if load.cooldown and total is None:
            raise ConfigError(
                "--cooldown takes a time, such as 10s, where it is a time that ends the run", field="cooldown"
            )
        return Plan(load, rows, total, None, load.warmup, load.cooldown, end=end)
    offsets = np.concatenate(stages)
    if not len(offsets):
        raise ConfigError("this load brings no request at all: give it more time, or a higher rate")
    if load.rate is not None:  # as numbers, so that exactly as many are measured as were requested
        warmup, cooldown = _unmeasured_at_rate(load, load.rate)
    else:
        warmup = int(offsets.searchsorted(round(load.warmup_time * NS_PER_S), "left"))
        cooldown_start = int(offsets[-1]) - round(load.cooldown_time * NS_PER_S)
        cooldown = len(offsets) - int(offsets.searchsorted(cooldown_start, "right"))
        warmup = max(warmup, load.warmup)
        cooldown = max(cooldown, load.cooldown)
    return Plan(load, rows, len(offsets), offsets, warmup, cooldown, [len(stage) for stage in stages], end)


def _end(load: Load) -> int | None:
    """Return the ns after which nothing is sent; None where the last request, or the first measured one, decides."""
    if load.stages:
        return round(sum(stage.seconds for stage in load.stages) * NS_PER_S)
    if load.duration is None or (load.rate is None and load.arrivals != REPLAY):
        return None
    if load.rate is None:
        return round((load.warmup_time + load.duration + load.cooldown_time) * NS_PER_S)
    return round((load.duration + sum(_unmeasured_at_rate(load, load.rate)) / load.rate) * NS_PER_S)


def _arrivals(load: Load, rows: DatasetShape) -> list[Offsets] | None:
    """Return the arrivals of an open loop, of each stage; None for a closed loop. Raises UsageError."""
    if load.arrivals == REPLAY:
        if rows.recorded_at is None:
            raise ConfigError(
                "--arrivals replay needs a dataset with recorded times, such as mooncake:trace.jsonl", field="arrivals"
            )
        if load.skip:
            raise ConfigError(
                "--skip is for prompts in a row: give --from to begin so far into recorded times", field="skip"
            )
        # Up to the end or the number of requests.
        offsets = scale_recorded(rows.recorded_at, load.speed)
        end = _end(load)
        kept = offsets if end is None else offsets[: offsets.searchsorted(end, "left")]
        return [kept if load.requests is None else kept[: load.warmup + load.requests + load.cooldown]]
    if load.stages[0].concurrency if load.stages else load.rate is None:
        return None
    rng = np.random.default_rng([load.seed, _ARRIVALS, *([load.skip] if load.skip else [])])
    process = ArrivalProcess(load.arrivals, rng, load.burstiness, load.rescale)
    if load.stages:
        _check_size(sum(stage.area for stage in load.stages), "shorter stages, or lower rates")
        return process.over_stages(load.stages)

    # One rate: the number of requests, or as many as fit into the time, whichever are fewer.
    assert load.rate is not None
    if load.requests is None and load.duration is None:
        raise ConfigError("an open loop needs an end: give -n REQUESTS or --duration SECONDS")
    unmeasured = sum(_unmeasured_at_rate(load, load.rate))
    by_time = math.inf if load.duration is None else load.rate * load.duration
    by_number = math.inf if load.requests is None else load.requests
    _check_size(min(by_time, by_number) + unmeasured, "a smaller -n, a shorter --duration or a lower --rate")
    if load.duration is None or by_number <= by_time:
        return [process.at_rate(load.rate, (load.requests or 0) + unmeasured)]
    return [process.within(load.rate, load.duration + unmeasured / load.rate)]


def _check_size(requests: float, remedy: str) -> None:
    """Raise ConfigError for a plan of more arrivals than a run can use."""
    if requests > MAX_ARRIVALS:
        raise ConfigError(
            f"this load is {requests:,.0f} requests, and a plan holds up to {MAX_ARRIVALS:,}: give {remedy}"
        )


def _unmeasured_at_rate(load: Load, rate: float) -> tuple[int, int]:
    """Return the positions before and after the measured ones of an open loop with one rate."""
    return load.warmup + round(rate * load.warmup_time), load.cooldown + round(rate * load.cooldown_time)


def schedule_lines(plan: Plan) -> Iterator[bytes]:
    """Yield the plan as lines of JSON: one per position or, where their number is open, per row in order of first use.

    A line leaves out what does not differ between requests. Of a plan with more than MAX_LINES positions the last line
    has the number of the others, `more`, and the digest of their times.
    """
    positions = plan.total if plan.total is not None else len(plan.turns)
    for position in range(min(positions, MAX_LINES)):
        row = plan.row(position)
        index = plan.index(position)
        offset = None if plan.offsets is None else int(plan.offsets[position])
        line: dict[str, Any] = {
            "index": index,
            "phase": plan.phase(position),
            "prompt": plan.rows.ids[row],
            "offset": offset,
        }
        turns = int(plan.turns[row])
        if turns > 1:
            line["turns"] = turns
        if offset is not None and plan.load.stages:
            line["stage"] = plan.stage(position, offset)
        if len(plan.load.models) > 1:
            line["model"] = plan.model(position)
        if plan.load.servers > 1:
            line["server"] = plan.server(position)
        cancelled = [turn for turn in range(turns) if plan.cancelled(index + turn)]
        if cancelled:
            line["cancelled"] = cancelled
        yield msgspec.json.encode(line) + b"\n"
    if positions > MAX_LINES:
        rest: dict[str, Any] = {"more": positions - MAX_LINES}
        if plan.offsets is not None:
            rest["offsets"] = hashlib.sha256(plan.offsets[MAX_LINES:].astype("<i8").tobytes()).hexdigest()
        yield msgspec.json.encode(rest) + b"\n"
