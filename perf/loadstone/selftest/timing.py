"""Set how long each phase of a self-test takes: half a minute in all with --quick, else three. Pure."""

from __future__ import annotations

from msgspec import Struct

from loadstone.selftest import ceiling_search

# Tokens of a response.
TOKENS = 128
# Seconds between the tokens of a response, and before the first.
GAP = 0.01
# Streams of the easy load that comes first.
PROBES = (50, 200)
# Seconds of the ramp to the first step.
RISE = 0.4
# Seconds that are not evaluated: after a change of the load, and before one.
SETTLE, EDGE = 0.1, 0.02
# Seconds with all streams open.
HOLD = 2.0


class Pace(Struct, frozen=True):
    """Hold the seconds of each phase.

    rounds: maximum number of rounds of finer steps.
    streams: to be opened.
    judged: True if each level is a complete run of its own, which has a verdict; else all are windows of one run.
    """

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
        """Return the maximum planned, without the start and end of each of `runs`."""
        probe = RISE + len(PROBES) * self.probe
        stairs = RISE + len(ceiling_search.STAIRS) * self.stair + self.rounds * (RISE + ceiling_search.FINE * self.fine)
        levels = len(ceiling_search.LEVELS) * (self.ramp + self.hold + (TOKENS * GAP if self.judged else 0.0))
        return probe + stairs + levels + self.asking + self.opening + HOLD

    @property
    def runs(self) -> int:
        """Return the maximum number of client runs."""
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
