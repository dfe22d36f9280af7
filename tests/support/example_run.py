"""The run in reports/example: records as eight users would have made them, the same on every machine and every Python.

Not a measurement: times are drawn from Python's own generator, whose `random()` is promised to stay as it is.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import Any

import msgspec

from loadstone.config.schema import Config
from loadstone.records import FORMAT, Failure, FailureCause, Pieces, Prompt, Record, Usage
from loadstone.schedule.plan import DatasetShape, Load, Plan, make_plan

USERS, REQUESTS, WARMUP = 8, 120, 8
MS = 1_000_000
PROMPTS = [Prompt(id=f"chat-{number:04}", text="?") for number in range(1, 268)]
CONFIG = Config(
    url="http://127.0.0.1:8000",
    model="tiny",
    api="chat",
    concurrency=USERS,
    requests=REQUESTS,
    warmup=WARMUP,
    goodput={"ttft": 0.15, "tpot": 0.015},
)

# By index: how the request fails, and its HTTP status.
FAILURES: dict[int, tuple[Failure, int | None]] = {
    23: (Failure(FailureCause.STATUS, "HTTP 429: too many requests | please <wait>"), 429),
    41: (Failure(FailureCause.TIMEOUT, "no output after 2 s (--ttft-timeout)"), 200),
    58: (Failure(FailureCause.TRUNCATED, "the stream ended without finish reason or [DONE]"), 200),
    77: (Failure(FailureCause.CONNECT, "connection refused"), None),
    90: (Failure(FailureCause.SERVER, "engine ran out of memory"), 200),
    104: (Failure(FailureCause.EMPTY, "the stream ended without any output"), 200),
}


def plan() -> Plan:
    return make_plan(
        Load(concurrency=USERS, requests=REQUESTS, warmup=WARMUP), DatasetShape([prompt.id for prompt in PROMPTS])
    )


def records() -> list[Record]:
    """In the order in which they ended."""
    rng, schedule = Random(20250101), plan()
    slots = [(0, user) for user in range(USERS)]
    made = []
    for index in range(WARMUP + REQUESTS):
        free, user = heapq.heappop(slots)
        failure, status = FAILURES.get(index, (None, 200))
        record = _request(rng, schedule, index, free + 20_000 + int(15_000 * rng.random()), failure, status)
        heapq.heappush(slots, (record.end, user))
        made.append(record)
    return sorted(made, key=lambda record: record.end)


def _request(
    rng: Random, schedule: Plan, index: int, scheduled: int, failure: Failure | None, status: int | None
) -> Record:
    kind = failure.kind if failure else None
    begin: dict[str, Any] = {
        "index": index,
        "phase": schedule.phase(index),
        "prompt": PROMPTS[schedule.row(index)].id,
        "streamed": status in (200, None),
        "scheduled": scheduled,
        "status": status,
        "error": failure,
    }
    if status is None:
        return Record(**begin, end=scheduled + 300_000)
    connect = 250_000 + int(100_000 * rng.random()) if index < USERS else 0
    sent = scheduled + connect + 30_000 + int(60_000 * rng.random())
    head = sent + 500_000 + int(500_000 * rng.random())
    begin |= {"sent": sent, "connect": connect, "first_byte": head}
    if kind in ("status", "empty"):
        return Record(**begin, end=head + 40_000, reads=1)
    if kind == "timeout":
        return Record(**begin, end=sent + 2_000 * MS)
    return Record(**{**begin, **_answer(rng, sent, cut=kind is not None)})


def _answer(rng: Random, sent: int, *, cut: bool) -> dict[str, Any]:
    """What came back: some answers stop by themselves, and their stop token has no event; some events share a read."""
    events, stops = 24 + int(40 * rng.random()), rng.random() < 0.3
    first = sent + 60 * MS + int(80 * MS * rng.random() ** 2)
    times, chars = [0], [1 + int(8 * rng.random())]
    for _ in range(events - 1):
        times.append(0 if rng.random() < 0.02 else 11 * MS + int(3 * MS * rng.random()))
        chars.append(1 + int(8 * rng.random()))
    last = first + sum(times)
    usage = Usage(prompt=12 + int(150 * rng.random()), completion=events + stops, cached=0)
    return {
        "first": first,
        "first_answer": first,
        "last": last,
        "end": last + 90_000,
        "pieces": Pieces(times, chars),
        "reads": 2 + sum(map(bool, times)),
        "finish": None if cut else "stop" if stops else "length",
        "usage": None if cut else usage,
    }


def run() -> dict[str, Any]:
    """The content of run.json."""
    return {
        "format": FORMAT,
        "began": "2025-01-01T12:00:00.000+00:00",
        "config": msgspec.to_builtins(CONFIG.check().redacted()),
        "model": "tiny",
        "expected": REQUESTS,
        "schedule": {
            "file": "schedule.jsonl",
            "loop": "closed",
            "requests": WARMUP + REQUESTS,
            "prompts": len(PROMPTS),
            "repeats": False,
            "seed": 0,
        },
        "server": {"models": ["tiny"], "software": None},
        "host": {
            "system": "Linux",
            "machine": "x86_64",
            "cores": 8,
            "allowed_cores": [0, 1],
            "open_files": 1024,
            "local_ports": [32768, 60999],
            "event_loop": "uvloop",
        },
        "versions": {"loadstone": "0.1.0", "python": "3.11"},
        "ended": "done",
        "ended_at": "2025-01-01T12:00:13.000+00:00",
        "client": {
            "cpu_share": 0.06,
            "cpu_seconds": 0.72,
            "run_queue_share": 0.004,
            "core_wait_mean": 0.00003,
            "asleep": 0.0,
            "loop_lag_mean": 0.00015,
            "loop_lag_p50": 0.0001,
            "loop_lag_p99": 0.0012,
            "loop_lag_p999": 0.0022,
            "loop_lag_max": 0.0031,
            "send_lag_mean": 0.00007,
            "send_lag_p50": 0.00005,
            "send_lag_p99": 0.0004,
            "send_lag_p999": 0.0008,
            "send_lag_max": 0.0009,
        },
    }
