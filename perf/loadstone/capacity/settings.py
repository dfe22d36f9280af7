"""The settings of a capacity plan, each with its flag: the demand, what the fleet must satisfy, and its cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from loadstone.capacity.demand import Demand
from loadstone.capacity.plan import Requirements
from loadstone.config import flags, kinds
from loadstone.config.flags import Flag
from loadstone.config.kinds import Kind
from loadstone.config.slo import Objective
from loadstone.errors import ConfigError

# Ten years: growth compounded for longer says nothing.
MAX_MONTHS = 120
# Months to plan ahead if the demand grows.
MONTHS = 12
# Months of each period of growth.
_PERIODS = {"month": 1, "quarter": 3, "year": 12}


def _parse_growth(text: str) -> float:
    """Parse growth such as `10%/month` or `-5%/quarter` to the factor of one month, compounded. Raises ValueError."""
    match = re.fullmatch(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))%\s*(?:/|per|a)\s*(\w+)", text.strip())
    if match is None or match[2] not in _PERIODS or not (factor := 1 + float(match[1]) / 100) > 0:
        raise ValueError(text)
    return float(factor ** (1 / _PERIODS[match[2]]))


def _join(parts: list[Any]) -> list[Any]:
    """Return the numbers of texts and of lists of a file as one list."""
    return [value for part in parts for value in (part if isinstance(part, list) else [part])]


_NUMBERS = Kind("a number or several such as 10,40,160", lambda text: [float(part) for part in text.split(",")])
_COUNTS = Kind("a whole number or several such as 1,4", lambda text: [int(part) for part in text.split(",")])
_FACTOR = Kind("a factor such as 2.5", lambda text: float(text.removesuffix("x")), "X", text=r"^[\d.]+x?$")
_GROWTH = Kind(
    f"a percentage above -100% and a period ({', '.join(_PERIODS)}) such as 10%/month",
    _parse_growth,
    "P/PERIOD",
    text=".+",
)


@dataclass(frozen=True, kw_only=True)
class DemandSettings:
    """The demand, as request rates or as users who think."""

    GROUP: ClassVar = "demand (averages; request lengths are those of the sweep)"

    rate: Annotated[
        float | list[float] | None,
        Flag(
            "requests per second: 40, or several: 10,40,160",
            _NUMBERS,
            metavar="R[,R...]",
            above=0,
            join=_join,
            excludes=(("users", "each is the demand"),),
        ),
    ] = None
    users: Annotated[
        float | list[float] | None,
        Flag(
            "users who send a request, read the answer and repeat; with --think",
            _NUMBERS,
            metavar="N[,N...]",
            above=0,
            join=_join,
            needs=(("think",), "say how long a user waits from an answer to the next request, such as 20s"),
        ),
    ] = None
    think: Annotated[
        float | None,
        Flag(
            "time from an answer to the user's next request: 20s",
            kinds.TIME,
            least=0,
            needs=(("users",), "it is how long users think"),
        ),
    ] = None
    peak: Annotated[float, Flag("ratio of peak to mean demand: 2.5 (default: 1)", _FACTOR, least=1)] = 1.0
    growth: Annotated[float | None, Flag("compound growth of the demand: 10%/month, 50%/year", _GROWTH, above=0)] = None
    months: Annotated[
        int | None,
        Flag(
            "months to plan ahead (default: 12 with --growth)",
            least=0,
            most=MAX_MONTHS,
            needs=(("growth",), "say by how much the demand grows, such as 10%/month"),
        ),
    ] = None
    input_len: Annotated[
        float | None, Flag("mean input tokens; a warning follows if the sweep's differ", metavar="N", above=0)
    ] = None
    output_len: Annotated[
        float | None, Flag("mean output tokens; a warning follows if the sweep's differ", metavar="N", above=0)
    ] = None

    @property
    def demands(self) -> tuple[Demand, ...]:
        """Return the demands."""
        if self.users is None:
            return tuple(Demand(rate=rate) for rate in _each(self.rate))
        return tuple(Demand(users=count, think=self.think or 0.0) for count in _each(self.users))


@dataclass(frozen=True, kw_only=True)
class RequirementSettings:
    """What the fleet must satisfy."""

    GROUP: ClassVar = "requirements"

    slo: Annotated[
        str | None,
        Flag("objectives to meet: 'ttft.p99<500ms tpot.p95<50ms' (default: the sweep's)", metavar="TERMS"),
    ] = None
    headroom: Annotated[
        float, Flag("fraction of the capacity to keep free: 20% (default: 0)", kinds.FRACTION, metavar="P", least=0)
    ] = 0.0
    spare: Annotated[int, Flag("extra replicas, such as 1 for N+1 (default: 0)", least=0)] = 0


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """What a replica is, and what it costs."""

    GROUP: ClassVar = "cost"

    price: Annotated[
        float | list[float] | None,
        Flag(
            "price of a replica per hour: 2.50, or one for each sweep",
            _NUMBERS,
            metavar="X[,X...]",
            above=0,
            join=_join,
        ),
    ] = None
    currency: Annotated[str, Flag("currency of the price (default: USD)", metavar="NAME")] = "USD"
    gpus: Annotated[
        int | list[int] | None,
        Flag(
            "GPUs of a replica, or one number for each sweep (default: the sweep's)",
            _COUNTS,
            metavar="N[,N...]",
            least=1,
            join=_join,
        ),
    ] = None


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class PlanSettings(CostSettings, RequirementSettings, DemandSettings):
    """The settings of a capacity plan."""

    def check(self) -> None:
        """Check the settings. Raises ConfigError."""
        flags.check(self)
        if not self.demands:
            raise ConfigError("plan takes a demand: either --rate 40 (requests/s) or --users 500 --think 20s")
        if self.headroom >= 1:
            raise ConfigError(f"--headroom takes a fraction below 100%, not {self.headroom:g}", field="headroom")

    def requirements(self, objectives: Sequence[Objective]) -> Requirements:
        """Return what the plan must satisfy.

        objectives: those of the settings, or of the sweep.
        """
        return Requirements(
            objectives=tuple(objectives),
            demands=self.demands,
            peak=self.peak,
            growth=1.0 if self.growth is None else self.growth,
            months=MONTHS if self.growth is not None and self.months is None else self.months or 0,
            headroom=self.headroom,
            spare=self.spare,
            currency=self.currency,
            input_tokens=self.input_len,
            output_tokens=self.output_len,
        )

    def for_each_sweep(self, name: str, sweeps: int) -> list[Any]:
        """Return the values of `price` or `gpus` for each sweep; one value is that of all. Raises ConfigError."""
        values = _each(getattr(self, name)) or [None]
        if len(values) not in (1, sweeps):
            sentence = f"--{name} takes one value, or one for each of the {sweeps} sweeps, not {len(values)}"
            raise ConfigError(sentence, field=name)
        return values if len(values) > 1 else values * sweeps


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
