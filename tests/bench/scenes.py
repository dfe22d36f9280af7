"""What is measured: each function puts the clients through one kind of load, in turns, and gives numbers by client."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from clients import Client, Load
from machine import resident
from truth import Errors, errors, server, truth

TURNS = 3
# Seconds, tokens of an answer, requests of a stream.
TTFT, TOKENS, ROUNDS = 0.1, 128, 2
# Share of its core from which a client counts as at its ceiling.
FULL = 0.95
# Factors by which the load is raised: from step to step, and over what should fill the client's core.
STEP, MARGIN = 1.25, 1.1
# Seconds by which the server's p99 event may be late where its times count.
LATE = 0.005
MEMORY = Load(2000, 2000, 32)


class Rate(NamedTuple):
    """A load of so many streams with so many seconds between the tokens."""

    streams: int
    itl: float

    @property
    def cycle(self) -> float:
        """Seconds of a request."""
        return TTFT + (TOKENS - 1) * self.itl


# Events a second, about.
RATES = {20_000: Rate(256, 0.012), 60_000: Rate(640, 0.010)}


class Turn(NamedTuple):
    """One load by one client. cpu: seconds per event; rate: events/s; late: by which the server's p99 event left late,
    s."""

    cpu: float
    rate: float
    late: float
    off: Errors

    @property
    def share(self) -> float:
        """Of the client's core, while the load was steady."""
        return self.cpu * self.rate

    def __str__(self) -> str:
        off = f"TTFT off by {self.off.ttft_mean * 1e3:.2f} ms (p99 {self.off.ttft_p99 * 1e3:.2f})"
        late = f"server late by {self.late * 1e3:.2f} ms at p99"
        return f"{self.rate:>9,.0f} /s {self.cpu * 1e6:>7.2f} us {self.share:>5.0%}  {off}; {late}"


class Ceiling(NamedTuple):
    """rate: events/s; reached: whether the client's core was full there, else the server could do no more.
    near: at 80 % of it."""

    rate: float
    reached: bool
    near: Turn


class OneToken(NamedTuple):
    """Requests a second, and CPU seconds per request."""

    rate: float
    cpu: float


def take_turns(clients: Sequence[Client], rate: Rate) -> dict[str, list[Turn]]:
    """The clients one after the other, TURNS times, each time another one first."""
    turns: dict[str, list[Turn]] = {client.name: [] for client in clients}
    with server(f"{TTFT}s", f"{rate.itl}s") as url:
        for number in range(TURNS):
            first = number * len(clients) // TURNS
            for client in (*clients[first:], *clients[:first]):
                turns[client.name].append(_turn(client, url, rate.streams))
    return turns


def _turn(client: Client, url: str, streams: int) -> Turn:
    course = client.run(url, Load(streams, streams * ROUNDS, TOKENS))
    true = truth(url)
    events = sum(len(row.times) for row in course.rows.values())
    late = float(np.percentile(true.late, 99)) / 1e9
    made = Turn(course.cpu / events, true.rate(), late, errors(course.rows, true.rows))
    print(f"  {client.name:<20}{streams:>6} streams {made}", flush=True)
    return made


def ceilings(clients: Sequence[Client], known: dict[str, list[Turn]], rate: Rate) -> dict[str, Ceiling]:
    """`known`: the turns at that rate, from which the search begins."""
    found = {}
    with server(f"{TTFT}s", f"{rate.itl}s") as url:
        for client in clients:
            top, reached = _top(client, url, rate, known[client.name])
            found[client.name] = Ceiling(top, reached, _turn(client, url, _streams(0.8 * top, rate)))
    return found


def _top(client: Client, url: str, rate: Rate, known: Sequence[Turn]) -> tuple[float, bool]:
    """Events a second at the client's ceiling and True, or the most that the server kept its times at and False."""
    held, cost = median(known, lambda turn: turn.rate), median(known, lambda turn: turn.cpu)
    asked = min(STEP * held, FULL / cost)
    for _ in range(TURNS):
        made = _turn(client, url, _streams(asked, rate))
        if made.share >= FULL:
            return made.rate, True
        if made.late > LATE or made.rate < 0.9 * asked:
            break
        held = made.rate
        asked = min(STEP * asked, MARGIN / made.cpu)
    return held, False


def _streams(events: float, rate: Rate) -> int:
    return max(1, round(events * rate.cycle / TOKENS))


def one_token(clients: Sequence[Client]) -> dict[str, OneToken]:
    """64 streams of one token, answered at once."""
    found = {}
    with server("0s", "0s") as url:
        for client in clients:
            requests = 20_000 if client.lean else 5_000
            course, true = client.run(url, Load(64, requests, 1)), truth(url)
            found[client.name] = made = OneToken(true.rate(), course.cpu / requests)
            print(f"  {client.name:<20}{made.rate:>9,.0f} requests/s {made.cpu * 1e6:>7.1f} us", flush=True)
    return found


def memory(clients: Sequence[Client]) -> dict[str, float | None]:
    """Bytes by which a client grows for each stream it holds open; None where the system does not tell."""
    found = {}
    with server("1s", "0.05s") as url:
        for client in clients:
            grown = _Growth(url)
            client.run(url, MEMORY, grown.watch)
            truth(url)
            found[client.name] = size = grown.per_stream()
            print(f"  {client.name:<20}" + ("?" if size is None else f"{size / 1024:>9.1f} KiB per stream"), flush=True)
    return found


class _Growth:
    """Memory of a process against the requests that the server has running: as the first have come, and at the most."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: list[tuple[int, int]] = []

    def watch(self, pid: int) -> None:
        """Look until the load has passed its height."""
        height = 0
        while resident(pid):
            running = self._running()
            if running:
                self._seen.append((running, resident(pid)))
            if running < height:
                return
            height = max(height, running)
            time.sleep(0.02)

    def per_stream(self) -> float | None:
        if not self._seen:
            return None
        few, before = self._seen[0]
        many = max(running for running, _ in self._seen)
        after = max(size for running, size in self._seen if running == many)
        return (after - before) / (many - few) if many > few and before else None

    def _running(self) -> int:
        with urllib.request.urlopen(self._url + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return round(float(next(line.split()[1] for line in lines if line.startswith("vllm:num_requests_running"))))


def median(turns: Sequence[Turn], value: Callable[[Turn], float]) -> float:
    return statistics.median(value(turn) for turn in turns)
