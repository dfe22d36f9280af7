"""How long each part of a self-test takes, so that all of it fits into half a minute, or three. Pure."""

from __future__ import annotations

from msgspec import Struct

from loadstone.selftest import ceiling_search

TOKENS = 128
# Seconds between the tokens of an answer, and before the first.
GAP = 0.01
# Streams of the easy load that comes first.
PROBES = (50, 200)
# Seconds: to the first stair; after a change of the load, and before one, that are not looked at; with all open.
RISE, SETTLE, EDGE, HOLD = 0.4, 0.1, 0.02, 2.0


class Pace(Struct, frozen=True):
    """Seconds of each part; rounds: of finer stairs, at most. streams: to be opened. judged: each level is a run of its
    own that goes to its end, to have a verdict; else they are stretches of one run."""

    probe: float
    stair: float
    fine: float
    rounds: int
    ramp: float
    hold: float
    asking: float
    opening: float
    streams: int
    judged: bool

    @property
    def seconds(self) -> float:
        """The most that is planned, without what each of `runs` takes to begin and to end."""
        probe = RISE + len(PROBES) * self.probe
        stairs = RISE + len(ceiling_search.STAIRS) * self.stair + self.rounds * (RISE + ceiling_search.FINE * self.fine)
        levels = len(ceiling_search.LEVELS) * (self.ramp + self.hold + (TOKENS * GAP if self.judged else 0.0))
        return probe + stairs + levels + self.asking + self.opening + HOLD

    @property
    def runs(self) -> int:
        return 4 + self.rounds + (len(ceiling_search.LEVELS) if self.judged else 1)


QUICK = Pace(
    probe=0.5,
    stair=0.5,
    fine=0.0,
    rounds=0,
    ramp=0.4,
    hold=1.2,
    asking=0.8,
    opening=1.0,
    streams=2_000,
    judged=False,
)
FULL = Pace(
    probe=1.5,
    stair=1.5,
    fine=3.0,
    rounds=2,
    ramp=1.3,
    hold=8.0,
    asking=6.0,
    opening=5.0,
    streams=10_000,
    judged=True,
)
