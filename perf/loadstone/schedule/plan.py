"""The schedule of a run as data: which row of the dataset each place takes, when it is wanted, what it is there for.

A place is a request, or a conversation of several. Computed once from one seed, before the first request, and saved
with the run. Nobody else draws a random number for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from loadstone.errors import UsageError
from loadstone.records import Phase
from loadstone.schedule.arrivals import ArrivalProcess, Offsets, scale_recorded
from loadstone.units import NS_PER_S

_ARRIVALS, _ORDER, _MODELS, _CANCELS = 1, 2, 3, 4  # streams of the one seed
_BLOCK = 4096
Counts = NDArray[np.int64]


class Load(Struct, frozen=True, kw_only=True):
    """How much load, and how long. `rate` (requests/s), stages of rates or a replay make an open loop, in which
    `concurrency` is a cap. Warm-up and cool-down are so many places, or so many seconds, around the measured ones.

    models: shares of the models; servers: how many there are; sticky: a conversation stays with one of them.
    skip: rows passed over in the order of the run, as they were used before.
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
        """Return the load that a configuration asks for. Raises UsageError for a text that cannot be read."""
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
            models=tuple(share for _, share in config.models),
            servers=max(1, len(config.urls)),
            sticky=config.balance == "sticky",
            cancel_share=config.cancel_share,
            seed=config.seed,
            shuffle=config.shuffle,
            skip=config.skip,
        )


class DatasetShape(Struct, frozen=True):
    """What a plan has to know of a dataset: its ids, the turns of each row, and the recorded instants, in ns."""

    ids: Sequence[str]
    turns: Sequence[int] | None = None
    recorded_at: Sequence[int] | None = None


class Plan:
    """Place p takes row `row(p)` and is wanted at `offsets[p]`; closed loop: `offsets` is None, `levels` says how many
    slots there are from when on, and a free slot takes the next place. `total` counts all places; None: until a time
    has passed. The first `warmup` and the last `cooldown` places are not measured; `stage_counts`: arrivals of each stage."""

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
        self._all_turns = int(self.turns.sum())
        self._order = lru_cache(maxsize=2)(self._epoch)
        self._starts = lru_cache(maxsize=2)(self._begins)
        self._draws = lru_cache(maxsize=8)(self._uniform)
        self._edges = np.cumsum([round(stage.seconds * NS_PER_S) for stage in load.stages])
        self._brought = np.cumsum(stage_counts)
        self._shares = np.cumsum(load.models) / sum(load.models)
        self._skipped = 0 if self._single else self._before(load.skip)

    def row(self, place: int) -> int:
        """Row of the dataset: file order, or a new shuffle each time the dataset is used up."""
        epoch, rest = divmod(place + self.load.skip, self._rows)
        return int(self._order(epoch)[rest]) if self.load.shuffle else rest

    def index(self, place: int, turn: int = 0) -> int:
        """Number of a request among all: places in their order, and within them turns, counted from 0."""
        if self._single:
            return place
        return self._before(place + self.load.skip) - self._skipped + turn

    def conversation(self, place: int) -> str | None:
        """Name of the conversation, unlike any other in the run; None for a single request."""
        if self._single:
            return None
        epoch, row = (place + self.load.skip) // self._rows, self.row(place)
        if self.turns[row] == 1:
            return None
        return self.rows.ids[row] + (f"#{epoch + 1}" if epoch else "")

    def phase(self, place: int) -> Phase:
        if place < self.warmup:
            return "warmup"
        return (
            "cooldown"
            if self.cooldown and self.total is not None and place >= self.total - self.cooldown
            else "measure"
        )

    def stage(self, place: int, at: int) -> int | None:
        """The stage that brought an arrival; in a closed loop, the one in which it was wanted (ns), or the last."""
        if not self.load.stages:
            return None
        if self.offsets is not None:
            return int(self._brought.searchsorted(place, "right"))
        return min(int(self._edges.searchsorted(at, "right")), len(self._edges) - 1)

    def model(self, place: int) -> int:
        """Which of the models, drawn by their shares."""
        if len(self._shares) == 1:
            return 0
        return int(self._shares.searchsorted(self._drawn(_MODELS, place), "right"))

    def server(self, place: int, turn: int = 0) -> int:
        """Which of the servers: one after the other, or for a whole conversation the same."""
        return (place if self.load.sticky else self.index(place, turn)) % self.load.servers

    def cancelled(self, index: int) -> bool:
        """Whether the client is to lose its patience with this request."""
        return self.load.cancel_share > 0 and bool(self._drawn(_CANCELS, index) < self.load.cancel_share)

    @property
    def only_index(self) -> bool:
        """Whether there is nothing to know of a request but its number: thousands of them may begin in a second."""
        load = self.load
        return self._single and not load.stages and load.servers == 1 and not load.cancel_share

    @property
    def levels(self) -> list[tuple[int, int]]:
        """(ns, slots) of a closed loop: from then on so many."""
        begins = [0, *self._edges.tolist()]
        steps = [
            (begin + round(second * NS_PER_S), level)
            for begin, stage in zip(begins, self.load.stages, strict=False)
            for second, level in stage.steps()
        ]
        return steps or [(0, self.load.concurrency or 1)]

    @property
    def expected(self) -> int | None:
        """Measured requests planned; None where only time will tell."""
        timed = self.offsets is None and (self.load.warmup_time or self.load.cooldown_time)
        if self.total is None:
            return None
        if timed and (self.turns != 1).any():
            return None
        return self._requests(self.warmup, self.total - self.cooldown)

    @property
    def requests(self) -> int | None:
        """All requests planned, measured or not."""
        return None if self.total is None else self._requests(0, self.total)

    def rows_of(self, places: Iterable[int]) -> list[int]:
        """The rows that these places take, each once."""
        return list(dict.fromkeys(self.row(place) for place in places))

    @property
    def repeats(self) -> bool:
        """Whether rows are used more than once, or were before."""
        return self.load.skip + (self.total or 0) > self._rows

    def _requests(self, first: int, last: int) -> int:
        return self.index(last) - self.index(first) if last > first else 0

    def _before(self, place: int) -> int:
        """Requests of all places before one, had none been passed over."""
        epoch, rest = divmod(place, self._rows)
        return epoch * self._all_turns + int(self._starts(epoch)[rest])

    def _epoch(self, epoch: int) -> Counts:
        return np.random.default_rng([self.load.seed, _ORDER, epoch]).permutation(self._rows)

    def _begins(self, epoch: int) -> Counts:
        """Requests of an epoch before each of its places."""
        turns = self.turns[self._order(epoch)] if self.load.shuffle else self.turns
        return np.cumsum(turns) - turns

    def _drawn(self, stream: int, number: int) -> float:
        return float(self._draws(stream, number // _BLOCK)[number % _BLOCK])

    def _uniform(self, stream: int, block: int) -> NDArray[np.float64]:
        return np.random.default_rng([self.load.seed, stream, block]).random(_BLOCK)


def make_plan(load: Load, rows: DatasetShape) -> Plan:
    """The plan for a load over a dataset of at least one row. Raises UsageError for a load without an end, without
    times or without requests."""
    parts, end = _arrivals(load, rows), _end(load)
    if parts is None:
        return _closed(load, rows, end)
    offsets = np.concatenate(parts)
    if not len(offsets):
        raise UsageError("this load brings no request at all: give it more time, or a higher rate")
    return Plan(load, rows, len(offsets), offsets, *_edges(load, offsets), [len(part) for part in parts], end)


def _closed(load: Load, rows: DatasetShape, end: int | None) -> Plan:
    total = None if load.requests is None or load.stages else load.requests + load.warmup + load.cooldown
    if load.cooldown and total is None:
        raise UsageError("--cooldown takes a time, such as 10s, where it is a time that ends the run")
    return Plan(load, rows, total, None, load.warmup, load.cooldown, end=end)


def _end(load: Load) -> int | None:
    """ns after which nothing is sent any more; None: after the last request, or a time from the first measured one."""
    if load.stages:
        return round(sum(stage.seconds for stage in load.stages) * NS_PER_S)
    if load.duration is None or (load.rate is None and load.arrivals != REPLAY):
        return None
    if load.rate is None:
        return round((load.warmup_time + load.duration + load.cooldown_time) * NS_PER_S)
    return round((load.duration + sum(_around(load, load.rate)) / load.rate) * NS_PER_S)


def _arrivals(load: Load, rows: DatasetShape) -> list[Offsets] | None:
    """Instants of an open loop, those of each stage apart; None for a closed one."""
    if load.arrivals == REPLAY:
        return [_replayed(load, rows)]
    chance = np.random.default_rng([load.seed, _ARRIVALS, *([load.skip] if load.skip else [])])
    process = ArrivalProcess(load.arrivals, chance, load.burstiness, load.rescale)
    if load.stages:
        return None if load.stages[0].concurrency else process.over_stages(load.stages)
    return None if load.rate is None else [_at_rate(load, load.rate, process)]


def _replayed(load: Load, rows: DatasetShape) -> Offsets:
    if rows.recorded_at is None:
        raise UsageError("--arrivals replay needs a dataset with recorded times, such as mooncake:trace.jsonl")
    if load.skip:
        raise UsageError("--skip is for prompts in a row: give --from to begin so far into recorded times")
    offsets, end = scale_recorded(rows.recorded_at, load.speed), _end(load)
    kept = offsets if end is None else offsets[: offsets.searchsorted(end, "left")]
    return kept if load.requests is None else kept[: load.warmup + load.requests + load.cooldown]


def _around(load: Load, rate: float) -> tuple[int, int]:
    """Places before and after the measured ones of an open loop with one rate."""
    return load.warmup + round(rate * load.warmup_time), load.cooldown + round(rate * load.cooldown_time)


def _at_rate(load: Load, rate: float, process: ArrivalProcess) -> Offsets:
    """So many requests, or as many as fit into the time, whichever are fewer."""
    if load.requests is None and load.duration is None:
        raise UsageError("an open loop needs an end: give -n REQUESTS or --duration SECONDS")
    around = sum(_around(load, rate))
    if load.duration is None or (load.requests is not None and load.requests <= rate * load.duration):
        return process.at_rate(rate, (load.requests or 0) + around)
    return process.within(rate, load.duration + around / rate)


def _edges(load: Load, offsets: Offsets) -> tuple[int, int]:
    """Places before and after the measured ones."""
    if load.rate is not None:  # so many requests, that the measured ones are exactly as many as asked for
        return _around(load, load.rate)
    last = int(offsets[-1])
    warm = int(offsets.searchsorted(round(load.warmup_time * NS_PER_S), "left"))
    cool = len(offsets) - int(offsets.searchsorted(last - round(load.cooldown_time * NS_PER_S), "right"))
    return max(warm, load.warmup), max(cool, load.cooldown)


def schedule_lines(plan: Plan) -> Iterator[bytes]:
    """The schedule as JSON lines: one a place or, where their number is open, one a row in order of first use."""
    for place in range(plan.total if plan.total is not None else len(plan.turns)):
        yield msgspec.json.encode(_line(plan, place)) + b"\n"


def _line(plan: Plan, place: int) -> dict[str, Any]:
    """What a request is alone in not having is left out."""
    row, index = plan.row(place), plan.index(place)
    offset = None if plan.offsets is None else int(plan.offsets[place])
    line: dict[str, Any] = {
        "index": index,
        "phase": plan.phase(place),
        "prompt": plan.rows.ids[row],
        "offset": offset,
    }
    turns = int(plan.turns[row])
    if turns > 1:
        line["turns"] = turns
    if offset is not None and plan.load.stages:
        line["stage"] = plan.stage(place, offset)
    if len(plan.load.models) > 1:
        line["model"] = plan.model(place)
    if plan.load.servers > 1:
        line["server"] = plan.server(place)
    cancelled = [turn for turn in range(turns) if plan.cancelled(index + turn)]
    if cancelled:
        line["cancelled"] = cancelled
    return line
