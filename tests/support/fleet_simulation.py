"""The simulated engine without a clock: requests at given instants, or of users who think, as the records of a run.

What a client on the same machine would have measured, had it no delay of its own. A fleet is several such engines.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loadstone.capacity import from_sweep
from loadstone.capacity.curves import Curve, PointJudgement, build_curves
from loadstone.capacity.replica import find_capacity
from loadstone.config.slo import parse
from loadstone.metrics.columns import Columns, build
from loadstone.records import Pieces, Record, Usage
from loadstone.results import measure_columns
from loadstone.schedule.arrivals import ArrivalProcess
from loadstone.sim.engine.presets import Costs, Limits, Profile
from loadstone.sim.engine.scheduler import Engine
from loadstone.sim.engine.scheduler import Sequence as Job
from loadstone.summary import Summary
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.slo_probe import read_evidence

SMALL = Profile(
    description="a small machine, on which a request takes 0.3 s, and 16 run at once",
    limits=Limits(max_num_seqs=16, max_num_batched_tokens=512, num_gpu_blocks=4096, prefix_caching=False),
    costs=Costs(overhead=6e-3, weights=1e-3, token=20e-6, context=0.4e-6),
)
CLIENT = {"cpu_share": 0.05, "loop_lag_p99": 1e-4, "loop_lag_mean": 1e-5, "send_lag_p99": 1e-4, "send_lag_mean": 1e-5}
# Tokens of a prompt and of its answer.
Lengths = tuple[int, int]


def lengths(count: int, seed: int, prompt: int = 100, answer: int = 32) -> list[Lengths]:
    """Prompts within a half around the mean, answers of exponential length around theirs, at least 2."""
    rng = np.random.default_rng([seed, 7])
    prompts = rng.integers(prompt // 2, prompt + prompt // 2, count, endpoint=True)
    return [(int(p), max(2, round(a))) for p, a in zip(prompts, rng.exponential(answer, count), strict=True)]


def poisson(rate: float, count: int, seed: int) -> list[int]:
    """Instants in ns."""
    return ArrivalProcess("poisson", np.random.default_rng([seed, 11])).at_rate(rate, count).tolist()


def serve(profile: Profile, arrivals: Sequence[tuple[int, Lengths]], seed: int = 0) -> list[Record]:
    """Requests that come when they like: rising instants in ns, with their lengths."""
    return list(_run(profile, seed, list(arrivals), lambda _record: None))


def busy(profile: Profile, clients: int, sizes: Sequence[Lengths], seed: int = 0, think: float = 0.0) -> list[Record]:
    """`clients` of whom each sends its next request when it has its answer and has thought, `think` s on average."""
    rng, left = np.random.default_rng([seed, 13]), iter(sizes)

    def pause() -> int:
        return int(rng.exponential(think) * 1e9) if think else 0

    def again(record: Record) -> tuple[int, Lengths] | None:
        size = next(left, None)
        return None if size is None else (record.end + pause(), size)

    first = sorted((pause(), size) for _, size in zip(range(clients), left, strict=False))
    return list(_run(profile, seed, first, again))


def _run(
    profile: Profile, seed: int, arrivals: list[tuple[int, Lengths]], again: Callable[[Record], Any]
) -> Iterator[Record]:
    """Steps one after the other, as drive.py runs them in real time."""
    engine, now = Engine(profile, seed), 0
    coming = [(at, number, size) for number, (at, size) in enumerate(arrivals)]
    count, seats = len(coming), dict[int, tuple[int, Lengths, list[int]]]()
    while coming or seats:
        if not seats:
            now = max(now, coming[0][0])
        while coming and coming[0][0] <= now:
            at, number, size = heapq.heappop(coming)
            seats[number] = (at, size, [])
            engine.add(Job(number, *size))
        step = engine.step()
        assert step is not None
        now += step.duration
        for number, tokens, last in step.outputs:
            seats[number][2].extend([now] * tokens)
            if last:
                record = _record(number, *seats.pop(number))
                yield record
                if more := again(record):
                    heapq.heappush(coming, (more[0], count, more[1]))
                    count += 1


def _record(number: int, at: int, size: Lengths, times: list[int]) -> Record:
    return Record(
        index=number,
        prompt=f"p{number}",
        asked=size[1],
        scheduled=at,
        sent=at,
        connect=0,
        first_byte=times[0],
        first=times[0],
        first_answer=times[0],
        last=times[-1],
        end=times[-1],
        pieces=Pieces([0, *(b - a for a, b in itertools.pairwise(times))], [4] * len(times)),
        reads=len(times),
        status=200,
        finish="length",
        usage=Usage(*size),
    )


def summary(records: Sequence[Record], **config: Any) -> Summary:
    return measured(records, **config)[0]


def measured(records: Sequence[Record], **config: Any) -> tuple[Summary, Columns]:
    """As a run with these settings, on a machine with time to spare."""
    loop = "open" if config.get("rate") else "closed"
    run = {
        "began": "2025-01-01T12:00:00.000+00:00",
        "ended": "done",
        "config": {"arrivals": "poisson" if loop == "open" else None, **config},
        "expected": len(records),
        "schedule": {"loop": loop},
        "client": CLIENT,
    }
    columns = build(sorted(records, key=lambda record: record.end))
    return measure_columns(columns, run), columns


def at_rate(profile: Profile, rate: float, count: int, seed: int) -> Summary:
    """A run of `count` requests at a Poisson rate."""
    return summary(_at_rate(profile, rate, count, seed), rate=rate)


def _at_rate(profile: Profile, rate: float, count: int, seed: int) -> list[Record]:
    return serve(profile, list(zip(poisson(rate, count, seed), lengths(count, seed), strict=True)), seed)


def with_clients(profile: Profile, clients: int, count: int, seed: int) -> Summary:
    """A run of `count` requests, `clients` at a time."""
    return summary(busy(profile, clients, lengths(count, seed), seed), concurrency=clients)


def save(path: Path, points: dict[str, list[Summary]], varied: str = "rate", **grid: Any) -> Path:
    """The folder that a sweep with these runs leaves behind, as far as others read it."""
    places = [SweepPoint(name, {varied: getattr(runs[0].run.config, varied)}) for name, runs in points.items()]
    path.mkdir()
    (path / "sweep.json").write_bytes(msgspec.json.encode(Grid(config={}, varied=[varied], places=places, **grid)))
    for name, runs in points.items():
        for number, run in enumerate(runs):
            folder = path / name / str(number)
            folder.mkdir(parents=True)
            (folder / "run.json").write_bytes(msgspec.json.encode(run.run))
            (folder / "summary.json").write_bytes(msgspec.json.encode(run))
    return path


def fleet(profile: Profile, replicas: int, rate: float, count: int, seed: int) -> Summary:
    """`count` requests at a Poisson rate, each sent to one of `replicas` at random."""
    arrivals = list(zip(poisson(rate, count, seed), lengths(count, seed), strict=True))
    places = np.random.default_rng([seed, 17]).integers(replicas, size=count)
    parts = ([one for one, place in zip(arrivals, places, strict=True) if place == replica]
             for replica in range(replicas))  # fmt: skip
    records = [record for replica, part in enumerate(parts) for record in serve(profile, part, seed + replica)]
    return summary(records, rate=rate)


def crowd(profile: Profile, replicas: int, users: int, think: float, count: int, seed: int) -> Summary:
    """`users` who think, spread over `replicas` and staying there; `count` requests in all."""
    records = []
    for replica in range(replicas):
        mine = users // replicas + (replica < users % replicas)
        sizes = lengths(count // replicas, seed + replica)
        records += busy(profile, mine, sizes, seed + replica, think)
    return summary(records, concurrency=users)


def refined(profile: Profile, rates: Sequence[float], slo: str, count: int, seed: int, narrow: float) -> Curve:
    """A sweep over `rates`, and then between the highest that meets the objectives and the lowest that misses them,
    until these are a factor of `narrow` apart or no probe between them is told."""
    held = parse(slo, "--slo")
    points: dict[float, MeasuredPoint] = {}
    called: dict[str, PointJudgement] = {}

    def probe(rate: float) -> None:
        found, columns = measured(_at_rate(profile, rate, count, seed * 1000 + len(points)), rate=rate)
        points[rate] = MeasuredPoint(f"rate-{rate:g}", {"rate": rate}, [found])
        called[points[rate].name] = from_sweep.judge_point([read_evidence(columns, found, held)], held)

    def curve() -> Curve:
        sweep = Sweep(Grid(config={}, varied=["rate"], places=[]), list(points.values()))
        return build_curves(sweep, "fast", held, called)[0]

    for rate in rates:
        probe(rate)
    for _ in range(8):
        found = find_capacity(curve(), held)
        low, high = found.low or min(points), found.high or max(points)
        inner = sorted(rate for rate in points if low <= rate <= high)
        wide = max(itertools.pairwise(inner), key=lambda pair: pair[1] / pair[0])
        if wide[1] / wide[0] <= narrow:
            break
        probe((wide[0] * wide[1]) ** 0.5)
    return curve()
