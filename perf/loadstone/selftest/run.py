"""`loadstone selftest`: the ceiling of one client process here, and how wrong its times are on the way up to it.

Short runs of the client, as anybody starts them, against exact servers that keep the truth. The search is climb.py's,
the comparison against.py's, processes and cores are lab.py's; the result is kept by machine.py.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import Notice, UsageError
from loadstone.host import limits as room
from loadstone.host import machine
from loadstone.host.ceiling import Bound, Ceiling, Level
from loadstone.selftest import ceiling_search, processes, streams, truth
from loadstone.selftest.ceiling_search import LoadStep
from loadstone.selftest.processes import ClientRun, Server
from loadstone.selftest.timing import EDGE, FULL, HOLD, PROBES, RISE, SETTLE, TOKENS, Pace
from loadstone.units import S_PER_NS

IN_FLIGHT = 64
# One-token answers a second for which a server that thinks first still finds enough in flight.
EASY = 20_000
# TTFT and gap of the servers. They are the same in the first, so that a stream brings events evenly for ever.
STEADY, INSTANT, SLOW = ("10ms", "10ms"), ("0s", "0s"), ("1s", "2s")


class TestBench(Struct, frozen=True):
    """What is measured, and with what. `remote`: servers on another machine, whose times are not ours to set."""

    pace: Pace
    cores: processes.CoreSplit
    flags: tuple[str, ...]
    remote: list[Server]

    @contextlib.contextmanager
    def servers(self, ttft: str, itl: str) -> Iterator[list[Server]]:
        if self.remote:
            yield self.remote
            return
        with processes.start_servers(ttft, itl, self.cores.servers) as servers:
            yield servers

    def run(self, servers: Sequence[Server], seconds: float, *flags: str) -> ClientRun:
        return processes.run_client(servers, self.cores.client, seconds, *self.flags, *flags)


def measure_ceiling(
    urls: Sequence[str] = (),
    pace: Pace = FULL,
    transport: Literal["wire", "aiohttp"] = "wire",
    notice: Notice = lambda _: None,
) -> Ceiling:
    """Find the ceiling, against servers on this machine or the exact ones at `urls`; FULL takes three minutes at most,
    QUICK half a minute. Raises UsageError when there is no second core, no exact server, or no load was held."""
    remote = [processes.check_server(url) for url in urls]
    cores = processes.CoreSplit(None, None) if remote else processes.split_cores()
    bench = TestBench(pace, cores, _flags(transport), remote)
    notice(_where(bench))
    with bench.servers(*STEADY) as servers:
        climbed = _climb(bench, servers, notice)
        best, bound = climbed.best, climbed.bound
        if best is None or bound is None:
            text = f"not even {climbed.least:,.0f} events/s were held"
            raise UsageError(f"{text}: end what else runs on this machine and try again")
        notice(f"ceiling: {bound.value:,.0f} events/s ({ceiling_search.LIMITS[bound.limit]})")
        if bound.limit in ("others", "unknown"):
            notice("something else ran on these cores: try again when the machine is quiet, the ceiling is higher then")
        levels = list(_levels(bench, servers, ceiling_search.error_levels(bound.value, climbed.each), notice))
    return Ceiling(
        identity=machine.identity(transport, machine.arrival_clock(Config(transport=transport))),
        measured_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        quick=not pace.judged,
        server=", ".join(urls) or f"{len(servers)} on this machine, {_pinned(cores)}",
        events=bound,
        beside=best.requests,
        levels=levels,
        requests=_requests(bench, climbed.thinks, notice),
        streams=_streams(bench, bound.value / climbed.each, notice),
    )


def _flags(transport: Literal["wire", "aiohttp"]) -> tuple[str, ...]:
    """Settings that every run has: the ceiling is that of one process."""
    return "--transport", transport, "--workers", "1"


def _pinned(cores: processes.CoreSplit) -> str:
    if cores.servers is None or cores.client is None:
        return "not pinned: this system cannot"
    return f"cores {_list(cores.servers)}; client on {_list(cores.client)}"


def _list(cores: Sequence[int]) -> str:
    return ",".join(map(str, cores))


def _where(bench: TestBench) -> str:
    servers = "the servers given" if bench.remote else f"servers here ({_pinned(bench.cores)})"
    return f"testing one client process against {servers}; about {bench.pace.seconds + bench.pace.runs:.0f} s"


class CeilingSearch(Struct, frozen=True):
    """The way up: its best step and what that bounds, where any was held; the least that was asked for; events a second
    of one stream; seconds before its first."""

    best: LoadStep | None
    bound: Bound | None
    least: float
    each: float
    thinks: float


def _climb(bench: TestBench, servers: list[Server], notice: Notice) -> CeilingSearch:
    """Find the most events a second that are held."""
    pace, most = bench.pace, (room.by_open_files() or 10**9)
    first = _staircase(bench, servers, PROBES, pace.probe)
    row = next((row for row in first.truth if row.planned), None)
    each = _each(first)
    if row is None or each is None:
        raise UsageError("no answer of the server was whole enough to learn from: is it an exact one?")
    easy = _step(first, 0, 0.0, (RISE + SETTLE, RISE + pace.probe * len(PROBES) - EDGE))
    notice(f"an easy load: {easy.events:,.0f} events/s, client CPU {_percent(easy.cpu.client)}")
    steps = tried = _steps(first, PROBES, pace.probe, each)
    numbers, seconds = ceiling_search.coarse_steps(ceiling_search.estimate_ceiling(easy), each, most), pace.stair
    for turn in range(1 + pace.rounds):
        new = _steps(_staircase(bench, servers, numbers, seconds), numbers, seconds, each)
        notice(f"tried {numbers[0] * each:,.0f} to {numbers[-1] * each:,.0f} events/s, held {_held(new)}")
        # Longer stairs count more than shorter ones, which count where nothing was held on the longer ones.
        tried, steps = [*tried, *new], new if ceiling_search.best_held(new) else steps
        bound = ceiling_search.event_ceiling(new, tried)
        if bound and bound.limit != "not reached" and (turn or not pace.judged):
            break
        numbers, seconds = ceiling_search.finer_steps(steps, tried, most), pace.fine
    thinks = (row.planned[0] - row.received) * S_PER_NS
    return CeilingSearch(
        ceiling_search.best_held(steps),
        ceiling_search.event_ceiling(steps, tried),
        min(step.target for step in tried),
        each,
        thinks,
    )


def _held(steps: Sequence[LoadStep]) -> str:
    best = ceiling_search.best_held(steps)
    return f"{best.events:,.0f}" if best else "none"


def _staircase(bench: TestBench, servers: list[Server], numbers: Sequence[int], seconds: float) -> ClientRun:
    stages = ",".join([f"{RISE}s@c1..c{numbers[0]}", *(f"{seconds}s@c{number}" for number in numbers)])
    length = RISE + seconds * len(numbers)
    return bench.run(servers, length, "--stages", stages, *_answers(TOKENS), "--grace", "0")


def _answers(tokens: int) -> tuple[str, ...]:
    return "--output-len", str(tokens), "--request-id", "selftest-"


def _each(trial: ClientRun) -> float | None:
    return truth.events_per_stream(trial.truth, truth.transit_time(list(_pairs(trial))))


def _pairs(trial: ClientRun) -> Iterator[truth.Pair]:
    return truth.pairs(trial.records, {row.request_id: row for row in trial.truth if row.request_id})


def _steps(trial: ClientRun, numbers: Sequence[int], seconds: float, each: float) -> list[LoadStep]:
    begins = [RISE + seconds * place for place in range(len(numbers))]
    spans = [(begin + SETTLE, begin + seconds - EDGE) for begin in begins]
    return [_step(trial, number, number * each, span) for number, span in zip(numbers, spans, strict=True)]


def _step(trial: ClientRun, streams: int, asked: float, span: truth.Span) -> LoadStep:
    events, sent = truth.arrival_times(trial.records), truth.send_times(trial.records)
    spent = ceiling_search.cpu_use(trial.samples, trial.started_at + span[0], trial.started_at + span[1])
    return LoadStep(streams, asked, truth.rate(events, span), truth.rate(sent, span), spent)


def _levels(
    bench: TestBench, servers: list[Server], wanted: Sequence[tuple[float, int]], notice: Notice
) -> Iterator[Level]:
    """Runs at shares of the ceiling, or stretches of one."""
    for runs in [[level] for level in wanted] if bench.pace.judged else [wanted]:
        trial = _rising(bench, servers, [streams for _, streams in runs])
        both = list(_pairs(trial))
        for place, (share, count) in enumerate(runs):
            level = _level(bench.pace, trial, both, share, count, place)
            notice(f"at {share:.0%}: {level.events:,.0f} events/s, mean TTFT wrong by {_ms(level.errors.ttft_mean)}")
            yield level


def _rising(bench: TestBench, servers: list[Server], numbers: Sequence[int]) -> ClientRun:
    """A run that goes gently from each number of streams to the next, and stays there for a while."""
    pace = bench.pace
    stages = [
        f"{pace.ramp}s@c{low}..c{high},{pace.hold}s@c{high}" for low, high in zip([1, *numbers], numbers, strict=False)
    ]
    more = () if pace.judged else ("--grace", "0")
    length = len(numbers) * (pace.ramp + pace.hold)
    return bench.run(servers, length, "--stages", ",".join(stages), *_answers(TOKENS), *more)


def _level(pace: Pace, trial: ClientRun, both: Sequence[truth.Pair], share: float, streams: int, place: int) -> Level:
    """The stretch at this place of a run; lag and verdict are those of a run that has one stretch only."""
    begin = place * (pace.ramp + pace.hold) + pace.ramp
    span = (begin, begin + pace.hold - EDGE)
    step = _step(trial, streams, 0.0, span)
    return Level(
        share=share,
        streams=streams,
        events=step.events,
        errors=truth.errors(both, span),
        client_share=step.cpu.client,
        lag_p99=trial.client.get("loop_lag_p99") if pace.judged else None,
        status=trial.verdict["status"] if pace.judged else None,
        doubts=[doubt["what"] for doubt in trial.verdict["doubts"]] if pace.judged else [],
    )


def _requests(bench: TestBench, think: float, notice: Notice) -> Bound:
    """One-token answers, as fast as they come."""
    seconds = bench.pace.asking
    in_flight = IN_FLIGHT + (round(think * EASY) if bench.remote else 0)
    with bench.servers(*INSTANT) as servers:
        flags = ("-c", str(in_flight), "--duration", f"{seconds}s", "--output-len", "1", "--grace", "5")
        trial = bench.run(servers, seconds, *flags)
    span = (0.2 * seconds, seconds - EDGE)
    spent = ceiling_search.cpu_use(trial.samples, trial.started_at + span[0], trial.started_at + span[1])
    bound = ceiling_search.request_ceiling(truth.rate(truth.send_times(trial.records), span), spent)
    notice(f"one-token answers: {bound.value:,.0f} requests/s ({ceiling_search.LIMITS[bound.limit]})")
    return bound


def _streams(bench: TestBench, carried: float, notice: Notice) -> Bound:
    """Streams that are open at the same time; where the servers' gaps are not ours to set, half of those `carried`."""
    pace = bench.pace
    limits: dict[str, int | None] = {
        "open files": room.by_open_files(),
        "ports": room.by_ports(len(bench.remote or bench.cores.servers or [0])),
    }
    first = room.smallest(limits)
    wanted = min(pace.streams, first[1] if first else pace.streams)
    if bench.remote:
        wanted = min(wanted, max(1, int(carried / 2)))
    with bench.servers(*SLOW) as servers:
        stages = [*streams.opening_stages(wanted, pace.opening), f"{HOLD}s@c{wanted}"]
        trial = bench.run(servers, pace.opening + HOLD, "--stages", ",".join(stages), *_answers(TOKENS), "--grace", "0")
    count = streams.count_open(trial.records, pace.opening + HOLD - EDGE)
    limits["memory"] = room.by_memory(ceiling_search.memory_growth(trial.samples, trial.started_at) / max(1, count))
    bound = streams.stream_ceiling(count, wanted, trial.records, limits)
    notice(f"streams open at once: {count:,} ({bound.limit})")
    return bound


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{share:.0%}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:+.2f} ms"
