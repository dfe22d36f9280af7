"""`loadstone selftest`: measure the ceiling of one client process here, and the error of its times on the way up.

Runs the client, as a user starts it, against exact servers that keep the truth. `ceiling_search.py` chooses the loads,
`truth.py` compares, `processes.py` starts servers and clients; `host/ceiling_file.py` stores the result.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import Notice, ServerError, UsageError
from loadstone.host import ceiling_file, machine
from loadstone.host import limits as room
from loadstone.host.ceiling_file import Bound, Ceiling, Level
from loadstone.selftest import ceiling_search, processes, streams, truth
from loadstone.selftest.ceiling_search import LoadStep
from loadstone.selftest.processes import ClientRun, Server
from loadstone.selftest.timing import EDGE, FULL, HOLD, PROBES, RISE, SETTLE, TOKENS, Pace
from loadstone.units import S_PER_NS

IN_FLIGHT = 64
# One-token responses/s up to which a server with a delay before its first token still has enough requests in flight.
EASY = 20_000
# TTFT and gap of the servers. They are equal in the first, so that a stream brings events evenly without end.
STEADY, INSTANT, SLOW = ("10ms", "10ms"), ("0s", "0s"), ("1s", "2s")
# Flags of runs with whole responses; the truth is matched by request id.
RESPONSES = ("--output-len", str(TOKENS), "--request-id", "selftest-")


class TestBench(Struct, frozen=True):
    """What is measured, and with what. `remote`: servers on another machine, whose timing is not ours to set."""

    pace: Pace
    cores: processes.CoreSplit
    flags: tuple[str, ...]
    remote: list[Server]

    @contextlib.contextmanager
    def servers(self, ttft: str, itl: str) -> Iterator[list[Server]]:
        """Start servers with this timing, or yield the remote ones."""
        if self.remote:
            yield self.remote
            return
        with processes.start_servers(ttft, itl, self.cores.servers) as servers:
            yield servers

    def run(self, servers: Sequence[Server], seconds: float, *flags: str) -> ClientRun:
        """Run the client for about so many `seconds`."""
        return processes.run_client(servers, self.cores.client, seconds, *self.flags, *flags)


class CeilingSearch(Struct, frozen=True):
    """The result of the search for the most events/s.

    best, bound: the best step and what limits it; None if none was sustained.
    lowest_target: events/s of the lowest load tried.
    events_per_stream: per second.
    think_time: s before the first event of a response, by the server's plan.
    """

    best: LoadStep | None
    bound: Bound | None
    lowest_target: float
    events_per_stream: float
    think_time: float


def measure_ceiling(
    urls: Sequence[str] = (),
    pace: Pace = FULL,
    transport: Literal["wire", "aiohttp"] = "wire",
    notice: Notice = lambda _: None,
) -> Ceiling:
    """Measure the ceiling against servers on this machine, or the exact ones at `urls`.

    FULL takes at most three minutes, QUICK half a minute. Raise UsageError if there is no second core, no exact server,
    or no load was sustained.
    """
    remote = [processes.check_server(url) for url in urls]
    cores = processes.CoreSplit(None, None) if remote else processes.split_cores()
    # The ceiling is that of one process.
    bench = TestBench(pace, cores, ("--transport", transport, "--workers", "1"), remote)
    against = "the servers given" if remote else f"servers here ({describe_cores(cores)})"
    notice(f"testing one client process against {against}; about {pace.seconds + pace.runs:.0f} s")

    # Events: the search, then the errors at fractions of what it found, with the same servers.
    with bench.servers(*STEADY) as servers:
        search = _search_ceiling(bench, servers, notice)
        best, bound = search.best, search.bound
        if best is None or bound is None:
            text = f"not even {search.lowest_target:,.0f} events/s were held"
            raise UsageError(f"{text}: end what else runs on this machine and try again")
        notice(f"ceiling: {bound.value:,.0f} events/s ({ceiling_search.LIMITS[bound.limit]})")
        if bound.limit in ("others", "unknown"):
            notice("something else ran on these cores: try again when the machine is quiet, the ceiling is higher then")
        targets = ceiling_search.error_levels(bound.value, search.events_per_stream)
        levels = list(_measure_levels(bench, servers, targets, notice))

    return Ceiling(
        identity=ceiling_file.identity(transport, machine.arrival_clock(Config(transport=transport))),
        measured_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        quick=not pace.judged,
        server=", ".join(urls) or f"{len(servers)} on this machine, {describe_cores(cores)}",
        events=bound,
        beside=best.requests,
        levels=levels,
        requests=_measure_requests(bench, search.think_time, notice),
        streams=_measure_streams(bench, bound.value / search.events_per_stream, notice),
    )


def describe_cores(cores: processes.CoreSplit) -> str:
    """Return which cores servers and client run on."""
    if cores.servers is None or cores.client is None:
        return "not pinned: this system cannot"
    return f"cores {','.join(map(str, cores.servers))}; client on {','.join(map(str, cores.client))}"


def _search_ceiling(bench: TestBench, servers: list[Server], notice: Notice) -> CeilingSearch:
    """Find the most events/s that are sustained."""
    pace = bench.pace
    max_streams = room.by_open_files() or 10**9

    # An easy load: events/s of one stream, and an estimate of the ceiling from the CPU per event.
    first = _run_staircase(bench, servers, PROBES, pace.probe)
    row = next((row for row in first.truth if row.planned), None)
    each = truth.events_per_stream(first.truth, truth.transit_time(_pairs(first)))
    if row is None or each is None:
        raise ServerError("no answer of the server was whole enough to learn from: is it an exact one?")
    easy = _load_step(first, 0, 0.0, (RISE + SETTLE, RISE + pace.probe * len(PROBES) - EDGE))
    cpu = "not known" if easy.cpu.client is None else f"{easy.cpu.client:.0%}"
    notice(f"an easy load: {easy.events:,.0f} events/s, client CPU {cpu}")

    # Coarse steps around the estimate, then rounds of finer ones around the best.
    steps = tried = _staircase_steps(first, PROBES, pace.probe, each)
    numbers = ceiling_search.coarse_steps(ceiling_search.estimate_ceiling(easy), each, max_streams)
    seconds = pace.stair
    for turn in range(1 + pace.rounds):
        new = _staircase_steps(_run_staircase(bench, servers, numbers, seconds), numbers, seconds, each)
        best = ceiling_search.best_held(new)
        held = f"{best.events:,.0f}" if best else "none"
        notice(f"tried {numbers[0] * each:,.0f} to {numbers[-1] * each:,.0f} events/s, held {held}")
        tried = [*tried, *new]
        # Longer steps count more than shorter ones, which count only if no longer one was sustained.
        steps = new if best else steps
        bound = ceiling_search.event_ceiling(new, tried)
        if bound and bound.limit != "not reached" and (turn or not pace.judged):
            break
        numbers = ceiling_search.finer_steps(steps, tried, max_streams)
        seconds = pace.fine
    return CeilingSearch(
        best=ceiling_search.best_held(steps),
        bound=ceiling_search.event_ceiling(steps, tried),
        lowest_target=min(step.target for step in tried),
        events_per_stream=each,
        think_time=(row.planned[0] - row.received) * S_PER_NS,
    )


def _run_staircase(bench: TestBench, servers: list[Server], numbers: Sequence[int], seconds: float) -> ClientRun:
    """Run the client with these numbers of streams in turn, for so many `seconds` each."""
    stages = ",".join([f"{RISE}s@c1..c{numbers[0]}", *(f"{seconds}s@c{number}" for number in numbers)])
    return bench.run(servers, RISE + seconds * len(numbers), "--stages", stages, *RESPONSES, "--grace", "0")


def _staircase_steps(run: ClientRun, numbers: Sequence[int], seconds: float, each: float) -> list[LoadStep]:
    """Return the steps of a staircase; `each`: events/s of one stream."""
    steps: list[LoadStep] = []
    for index, number in enumerate(numbers):
        begin = RISE + seconds * index
        steps.append(_load_step(run, number, number * each, (begin + SETTLE, begin + seconds - EDGE)))
    return steps


def _pairs(run: ClientRun) -> list[truth.Pair]:
    """Return the requests that both client and server recorded."""
    return list(truth.pairs(run.records, {row.request_id: row for row in run.truth if row.request_id}))


def _load_step(run: ClientRun, streams: int, target: float, span: truth.Span) -> LoadStep:
    """Return rates and CPU of one window of a run."""
    cpu = ceiling_search.cpu_use(run.samples, run.started_at + span[0], run.started_at + span[1])
    events = truth.rate(truth.arrival_times(run.records), span)
    return LoadStep(streams, target, events, truth.rate(truth.send_times(run.records), span), cpu)


def _measure_levels(
    bench: TestBench, servers: list[Server], targets: Sequence[tuple[float, int]], notice: Notice
) -> Iterator[Level]:
    """Measure the errors at fractions of the ceiling, given with their numbers of streams.

    Each has a run of its own, with lag and verdict, if the pace is judged; else all are windows of one run.
    """
    pace = bench.pace
    for levels in [[target] for target in targets] if pace.judged else [targets]:
        # The load ramps gently from each number of streams to the next and stays there.
        stages: list[str] = []
        low = 1
        for _, high in levels:
            stages += [f"{pace.ramp}s@c{low}..c{high}", f"{pace.hold}s@c{high}"]
            low = high
        grace = () if pace.judged else ("--grace", "0")
        seconds = len(levels) * (pace.ramp + pace.hold)
        run = bench.run(servers, seconds, "--stages", ",".join(stages), *RESPONSES, *grace)
        pairs = _pairs(run)
        for index, (fraction, count) in enumerate(levels):
            begin = index * (pace.ramp + pace.hold) + pace.ramp
            span = (begin, begin + pace.hold - EDGE)
            step = _load_step(run, count, 0.0, span)
            errors = truth.errors(pairs, span)
            wrong_by = "-" if errors.ttft_mean is None else f"{errors.ttft_mean * 1e3:+.2f} ms"
            notice(f"at {fraction:.0%}: {step.events:,.0f} events/s, mean TTFT wrong by {wrong_by}")
            yield Level(
                share=fraction,
                streams=count,
                events=step.events,
                errors=errors,
                client_share=step.cpu.client,
                lag_p99=run.client.get("loop_lag_p99") if pace.judged else None,
                status=run.verdict["status"] if pace.judged else None,
                doubts=[doubt["what"] for doubt in run.verdict["doubts"]] if pace.judged else [],
            )


def _measure_requests(bench: TestBench, think_time: float, notice: Notice) -> Bound:
    """Measure the most one-token responses/s, sending as fast as they arrive."""
    seconds = bench.pace.asking
    in_flight = IN_FLIGHT + (round(think_time * EASY) if bench.remote else 0)
    with bench.servers(*INSTANT) as servers:
        flags = ("-c", str(in_flight), "--duration", f"{seconds}s", "--output-len", "1", "--grace", "5")
        run = bench.run(servers, seconds, *flags)
    step = _load_step(run, in_flight, 0.0, (0.2 * seconds, seconds - EDGE))
    bound = ceiling_search.request_ceiling(step.requests, step.cpu)
    notice(f"one-token answers: {bound.value:,.0f} requests/s ({ceiling_search.LIMITS[bound.limit]})")
    return bound


def _measure_streams(bench: TestBench, sustained: float, notice: Notice) -> Bound:
    """Measure how many streams are open at once.

    sustained: streams at the ceiling for events; remote servers, whose gaps are fixed, get at most half of them.
    """
    pace = bench.pace
    limits: dict[str, int | None] = {
        "open files": room.by_open_files(),
        "ports": room.by_ports(len(bench.remote or bench.cores.servers or [0])),
    }
    first = room.smallest(limits)
    target = min(pace.streams, first[1] if first else pace.streams)
    if bench.remote:
        target = min(target, max(1, int(sustained / 2)))
    with bench.servers(*SLOW) as servers:
        stages = ",".join([*streams.opening_stages(target, pace.opening), f"{HOLD}s@c{target}"])
        run = bench.run(servers, pace.opening + HOLD, "--stages", stages, *RESPONSES, "--grace", "0")
    count = streams.count_open(run.records, pace.opening + HOLD - EDGE)
    limits["memory"] = room.by_memory(ceiling_search.memory_growth(run.samples, run.started_at) / max(1, count))
    bound = streams.stream_ceiling(count, target, run.records, limits)
    notice(f"streams open at once: {count:,} ({bound.limit})")
    return bound
