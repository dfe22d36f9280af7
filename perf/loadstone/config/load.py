"""Settings of the load: how many requests are sent, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.config.parse import ARRIVALS, REPLAY, parse_count_or_time
from loadstone.errors import ConfigError

# Rates that a clock in nanoseconds can follow: a request in eleven days, and ten million a second.
SLOWEST, FASTEST = 1e-6, 1e7


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast requests are sent, whatever they are."""

    GROUP: ClassVar = "load"

    concurrency: Annotated[
        int | None,
        Flag(
            "requests or conversations in flight (default: 8); with --rate, their maximum (default: none)",
            short="-c",
            least=1,
        ),
    ] = None
    rate: Annotated[
        float | None,
        Flag(
            "requests per second, sent on schedule whether or not responses arrive",
            metavar="R",
            above=0,
            why="to send without a rate, leave it out and give -c N",
            excludes=(("stages", "stages have rates of their own"),),
        ),
    ] = None
    rpm: Annotated[float | None, Flag("maximum requests per minute, for any kind of load", metavar="N", above=0)] = None
    tpm: Annotated[float | None, Flag("maximum tokens per minute, of prompts and answers", metavar="N", above=0)] = None
    # Arrivals of an open loop.
    arrivals: Annotated[
        str | None, Flag("arrival process: constant, poisson (default), gamma, or replay (default for a trace)")
    ] = None
    burstiness: Annotated[
        float | None,
        Flag(
            "shape of gamma arrivals: below 1 is bursty, 1 is poisson, above 1 is more even",
            metavar="G",
            least=0.01,
            why="gaps would be 0 or hours",
        ),
    ] = None
    rescale: Annotated[bool, Flag("do not rescale random arrivals so that their number meets the rate")] = True
    # Ends.
    grace: Annotated[
        float,
        Flag("time for requests in flight to finish after --duration or Ctrl-C (default: 30)", kinds.TIME, least=0),
    ] = 30.0
    stop_error_rate: Annotated[
        float | None,
        Flag("stop if a larger fraction of the last 50 requests fails", kinds.FRACTION, least=0, most=1),
    ] = None
    workers: Annotated[
        int | Literal["auto"],
        Flag("processes that send the load (auto: as many as it needs)", kinds.WORKERS, least=1),
    ] = "auto"
    seed: Annotated[int, Flag("seed of arrivals, order and generated prompts (default: 0)", least=0)] = 0


@dataclass(frozen=True, kw_only=True)
class Load(Pace):
    """How many requests a run sends, which of them it measures, and traces."""

    GROUP: ClassVar = "load"

    requests: Annotated[
        int | None,
        Flag(
            "requests or conversations to measure (default: 100, or as many as --duration allows)",
            short="-n",
            least=1,
            most=10**18,
            excludes=(("stages", "stages end by time"),),
        ),
    ] = None
    duration: Annotated[
        float | None,
        Flag(
            "stop sending after this time",
            kinds.TIME,
            above=0,
            excludes=(("stages", "stages have times of their own"),),
        ),
    ] = None
    stages: Annotated[
        str | None,
        Flag(
            "load over time: 30s@2,60s@2..16 (rates, with a ramp) or 30s@c4,60s@c4..c64exp (concurrencies)",
            metavar="LIST",
        ),
    ] = None
    warmup: Annotated[
        int | str,
        Flag("requests, or a time such as 10s, before the measurement (default: 0)", kinds.COUNT_OR_TIME, least=0),
    ] = 0
    cooldown: Annotated[
        int | str,
        Flag("requests, or a time, after the measurement (default: 0)", kinds.COUNT_OR_TIME, least=0),
    ] = 0
    # Replay of a trace.
    speed: Annotated[float | None, Flag("replay a trace X times as fast (default: 1)", above=0)] = None
    trace_from: Annotated[
        float | None, Flag("start of the window of the trace to replay", kinds.TIME, name="from", least=0)
    ] = None
    trace_to: Annotated[
        float | None, Flag("end of the window of the trace to replay", kinds.TIME, name="to", above=0)
    ] = None
    # Clients that give up.
    cancel_share: Annotated[
        float,
        Flag(
            "fraction of requests that the client cancels (default: 0)",
            kinds.FRACTION,
            least=0,
            most=1,
            needs=(("cancel_after",), "say after how long a request is cancelled, such as 500ms"),
        ),
    ] = 0.0
    cancel_after: Annotated[
        float | None,
        Flag(
            "time from sending a request to cancelling it",
            kinds.TIME,
            above=0,
            needs=(("cancel_share",), "say how many requests are cancelled, such as 0.1"),
        ),
    ] = None
    # An early end: the rest of a run that fails is of no use.
    stop_saturated: Annotated[
        bool, Flag("stop an open loop that the server does not keep up with, after 7 seconds or more")
    ] = False

    def check_load(self) -> None:
        """Check arrivals and texts, so that a mistake is found before anything is done. Raises ConfigError."""
        if self.rate is not None and not SLOWEST <= self.rate <= FASTEST:
            text = f"--rate takes {SLOWEST:g} to {FASTEST:,.0f} requests per second, not {self.rate:g}"
            raise ConfigError(text, field="rate")
        # The settings of the arrivals have to fit together.
        steady = next((name for name in ("rate", "stages") if getattr(self, name) is not None), None)
        if self.arrivals not in (None, REPLAY, *ARRIVALS):
            raise ConfigError(
                f"--arrivals takes {', '.join(ARRIVALS)} or {REPLAY}, not {self.arrivals}", field="arrivals"
            )
        if self.burstiness is not None and self.arrivals not in (None, "gamma"):
            raise ConfigError(f"--burstiness shapes --arrivals gamma, not {self.arrivals}", field="burstiness")
        process = next((name for name in ("arrivals", "burstiness") if getattr(self, name) is not None), None)
        if self.arrivals != REPLAY and process and not steady:
            text = f"--{process} says how requests arrive at a rate: give --rate or --stages with it"
            raise ConfigError(text, field=process)
        if self.arrivals == REPLAY and steady:
            raise ConfigError(f"--arrivals replay takes the recorded times, so leave out --{steady}", field="arrivals")

        # Parse the texts that are parsed again where they are used.
        for name, value in (("warmup", self.warmup), ("cooldown", self.cooldown)):
            parse_count_or_time(name, value)
        if self.stages:
            from loadstone.config.stages import parse_stages  # it needs numpy, for which --help does not wait

            parse_stages(self.stages)
