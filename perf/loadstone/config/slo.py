"""The grammar of objectives, the same for --goodput, --slo and --gate: names, units, and the sentences for mistakes.

Pure, without numpy. docs/objectives.md describes the grammar; metrics/slo.py judges figures by an objective.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.config.kinds import DECIMAL, SECONDS
from loadstone.errors import ConfigError

# Percentiles of a Metric, by their names in summary.json.
PERCENTILES = {
    "p1": 0.01,
    "p5": 0.05,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
}
# The flags that take objectives: of single requests, of the figures of a run, and of the new side of a comparison.
GOODPUT, SLO, GATE = "--goodput", "--slo", "--gate"
# Fraction of requests that meet their objectives, typed `goodput >= 99%`.
ATTAINMENT = "attainment"
# Unit of each metric, and the flags that take it. `share` is a fraction from 0 to 1.
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(("ttft", "tpot", "latency", "ttft_scheduled", "ttfat", "packet_time"), ("s", (GOODPUT, SLO, GATE))),
    "latency_scheduled": ("s", (GOODPUT, SLO)),
    **dict.fromkeys(("gap", "itl"), ("s", (SLO, GATE))),
    "error_rate": ("share", (SLO, GATE)),
    ATTAINMENT: ("share", (SLO, GATE)),
    **dict.fromkeys(("qps", "goodput"), ("/s", (GATE,))),
    **dict.fromkeys(("output_throughput", "total_throughput"), ("tokens/s", (GATE,))),
    "packets": ("events", (GATE,)),
    **dict.fromkeys(("input_tokens", "output_tokens"), ("tokens", (GATE,))),
}
# Names that other tools use.
ALIASES = {
    **dict.fromkeys(("e2el", "e2e", "e2e_latency", "request_latency"), "latency"),
    "request_throughput": "qps",
    "output_token_throughput": "output_throughput",
    "total_token_throughput": "total_throughput",
    "inter_token_latency": "itl",
    "time_to_first_token": "ttft",
    "time_per_output_token": "tpot",
}
# Statistics of a metric that is no fraction and no rate. A gate on a metric alone is on its mean.
STATISTICS = {SLO: ("mean", *PERCENTILES), GATE: ("mean", "p50", "p95", "p99")}
# Factors of the units that are typed, by the unit of the metric. A bare time is in ms, as in vLLM.
UNITS: dict[str, dict[str, float]] = {
    "s": {"": SECONDS["ms"], **SECONDS},
    "share": {"": 1.0, "%": 0.01},
    "/s": {"": 1.0, "/s": 1.0},
    "tokens/s": {"": 1.0, "/s": 1.0},
    "events": {"": 1.0},
    "tokens": {"": 1.0},
}
# Units of figures of a run as a whole, which have no statistics.
WHOLE = ("share", "/s", "tokens/s")
# Examples of a limit, by the unit of the metric.
EXAMPLES = {"s": "a time such as 500ms", "share": "a fraction such as 1% or 0.01"}
FORMS = {
    GOODPUT: "METRIC<TIME such as 'ttft<200ms, tpot<50ms' or ttft:200ms",
    SLO: "METRIC.STATISTIC<LIMIT such as 'ttft.p99<500ms, tpot.p95<50ms, goodput(ttft<200ms)>=99%'",
    GATE: "METRIC.STATISTIC<=LIMIT such as 'ttft.p99<=+5%, output_throughput>=-2%, latency.mean<=5s'",
}
SCORE_FORM = "TASK>=LIMIT such as 'gsm8k>=80%' or, against the base in points, 'gsm8k>=-1%'"
# Default limit of the error rate: above it, percentiles describe the surviving requests only.
ERRORS = 0.01

_SEPARATORS = re.compile(r"(?:[\s,;&]|and(?=\s))+")
_TERM = re.compile(
    rf"(?P<name>\w[\w./-]*)\s*(?:\((?P<requests>[^()]*)\)\s*)?(?P<sense><=|>=|[<>≤≥:])\s*(?P<sign>[+-]?)"
    rf"(?P<number>{DECIMAL})(?:\s+(?P<spaced>{'|'.join(SECONDS)}|%|/s)(?!\w)|(?P<unit>[a-zA-Zµ%/]*))(?=[\s,;&]|$)"
)
_AT_LEAST = (">", ">=", "≥")
# What is shown of a term that is not valid: everything up to a comma that is outside brackets.
_WRONG = re.compile(r"(?:\([^()]*\)|[^,;])*")


class Objective(Struct, frozen=True):
    """A limit of one figure. `<` and `<=` are the same, and so are `>` and `>=`: a figure at its limit meets it.

    metric: one of METRICS, or a task or group of an evaluation
    figure: the statistic, empty for a fraction, a rate or a single request; of a task the name of its metric
    limit: in the unit of the metric; with `relative` the change against the base, as a fraction
    at_least: the limit is a lower one
    requests: what a request must meet, in seconds by metric, if `goodput(...)` names it
    text: as typed
    """

    metric: str
    figure: str
    limit: float
    at_least: bool = False
    relative: bool = False
    requests: dict[str, float] = {}
    text: str = ""

    @property
    def name(self) -> str:
        """Return the name of the figure, such as `ttft.p99`, `error_rate` or `goodput(ttft<200ms)`."""
        if self.requests:
            inner = ", ".join(f"{name}<{limit * 1e3:g}ms" for name, limit in self.requests.items())
            return f"goodput({inner})" + ("" if self.metric == ATTAINMENT else "/s")
        return f"{self.metric}.{self.figure}" if self.figure else self.metric

    def __str__(self) -> str:
        shown = self.name.removesuffix("/s") if self.requests else _shown(self.name)
        limit = f"{self.limit * 100:+.3g}%" if self.relative else format_value(self.metric, self.limit)
        return f"{shown} {'>=' if self.at_least else '<'} {limit}"


def parse(text: str, flag: str, scores: Collection[str] | None = None) -> tuple[Objective, ...]:
    """Parse objectives, separated by commas, semicolons, spaces or `and`.

    flag: GOODPUT, SLO or GATE: each takes some of the terms
    scores: tasks and groups of the evaluations that a gate is for

    Raises ConfigError.
    """
    form = FORMS[flag] if scores is None else SCORE_FORM
    objectives = []
    for term in _terms(text, flag, form):
        objectives.append(_metric_term(term, flag) if scores is None else _score_term(term, flag, scores))
    if not objectives:
        raise _error(flag, form, text)
    keys = [(objective.name, objective.at_least, objective.relative) for objective in objectives]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise _error(flag, f"one limit of {twice[0]}", text)
    return tuple(objectives)


def parse_goodput(value: str | Sequence[str] | Mapping[str, float | str]) -> dict[str, float]:
    """Parse what a request must meet to seconds by metric. Raises ConfigError.

    value: a text or several, such as `ttft<200ms, tpot<50ms`, `ttft:200ms` and `ttft:200` (ms, as in vLLM), or limits
        by metric, as numbers (seconds) or texts such as `200ms`
    """
    if isinstance(value, Mapping):
        numbers = {name: limit for name, limit in value.items() if not isinstance(limit, str)}
        check_goodput(numbers)
        texts = [f"{name}:{limit}" for name, limit in value.items() if isinstance(limit, str)]
        return {**numbers, **(parse_goodput(texts) if texts else {})}
    text = value if isinstance(value, str) else ", ".join(map(str, value))
    return {objective.metric: objective.limit for objective in parse(text, GOODPUT)}


def check_goodput(limits: Mapping[str, object]) -> None:
    """Raise ConfigError unless `limits` are times above 0, in seconds, by metric of single requests."""
    for name, limit in limits.items():
        if not isinstance(limit, int | float) or not 0 < limit < float("inf"):
            raise _error(GOODPUT, FORMS[GOODPUT], f"{name}:{limit}s")
        if GOODPUT not in METRICS.get(name, ("", ()))[1]:
            raise _unknown(GOODPUT, name, f"{name}:{limit:g}s")


def with_errors(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Return the objectives with a limit of the error rate, if they have none: refusing requests is not fast."""
    named = any(objective.metric == "error_rate" for objective in objectives)
    return (*objectives,) if named else (*objectives, Objective("error_rate", "", ERRORS))


def check_goodput_given(objectives: Sequence[Objective], goodput: Mapping[str, float]) -> None:
    """Raise ConfigError if an objective is on --goodput, and the run has none."""
    if not goodput and any(one.metric == ATTAINMENT and not one.requests for one in objectives):
        raise ConfigError("--slo goodput>=99% needs --goodput, or what a request must meet: goodput(ttft<200ms)>=99%")


def format_value(metric: str, value: float | None) -> str:
    """Format a value in the unit of a metric: fractions in percent, times in ms or s; `-` for None."""
    unit = METRICS.get(metric, ("share",))[0]
    if value is None:
        return "-"
    if unit == "share":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return f"{value * 1e3:.4g} ms" if value < 10 else f"{value:.4g} s"
    return f"{value:,.4g}{unit}" if unit == "/s" else f"{value:,.4g} {unit}"


def _terms(text: str, flag: str, form: str) -> Iterator[re.Match[str]]:
    """Yield the terms of a text. Raises ConfigError for the first that has another form."""
    at = 0
    while at < len(text):
        if separators := _SEPARATORS.match(text, at):
            at = separators.end()
        elif match := _TERM.match(text, at):
            yield match
            at = match.end()
        else:
            wrong = _WRONG.match(text, at)
            raise _error(flag, form, (wrong and wrong[0].strip()) or text)


def _metric_term(term: re.Match[str], flag: str) -> Objective:
    """Return the objective of a metric of requests or of a run."""
    text, typed = term[0], term["name"].lower().replace("-", "_")
    metric, _, figure = typed.partition(".")
    metric = ALIASES.get(metric, metric)
    if (
        metric == "goodput"
        and not term["sign"]
        and (flag == SLO or _unit(term) == "%" or (not _unit(term) and float(term["number"]) < 1))
    ):
        metric = ATTAINMENT
    if flag not in METRICS.get(metric, ("", ()))[1]:
        raise _unknown(flag, typed.partition(".")[0], text)

    # What limits the figure: objectives of its own, a statistic, and on which side.
    unit, requests = METRICS[metric][0], dict[str, float]()
    if term["requests"] is not None:
        if metric not in (ATTAINMENT, "goodput"):
            raise _error(flag, "objectives in brackets after goodput, such as goodput(ttft<200ms)>=99%", text)
        requests = {one.metric: one.limit for one in _inner(term["requests"], flag)}
    at_least = term["sense"] in _AT_LEAST
    if flag == GOODPUT and (figure or at_least):
        raise _error(flag, f"the longest {metric} of a request such as {metric}<200ms", text)
    if term["sense"] == ":" and flag != GOODPUT:
        raise _error(flag, FORMS[flag], text)
    if flag != GOODPUT:
        _check_statistic(metric, figure, flag, text)
    if (flag == SLO or metric == ATTAINMENT) and at_least != (metric == ATTAINMENT):
        wanted = "a lower limit such as goodput>=99%" if metric == ATTAINMENT else f"an upper limit of {typed}"
        raise _error(flag, wanted, text)
    limit = _limit(term, metric, unit, flag)
    return Objective(metric, figure, limit, at_least, bool(term["sign"]), requests, text)


def _inner(text: str, flag: str) -> tuple[Objective, ...]:
    """Return the objectives of single requests in the brackets of goodput(...)."""
    try:
        return parse(text, GOODPUT)
    except ConfigError as exc:
        raise ConfigError(f"{flag} goodput(...){str(exc).removeprefix(GOODPUT)}", field=flag[2:]) from exc


def _check_statistic(metric: str, figure: str, flag: str, text: str) -> None:
    """Raise ConfigError unless a metric has this statistic under this flag."""
    statistics = STATISTICS[flag]
    if METRICS[metric][0] in WHOLE:
        if figure:
            raise _error(flag, f"{_shown(metric)} without a statistic", text)
    elif (figure or flag == SLO) and figure not in statistics:
        raise _error(flag, f"a statistic of {metric} such as {metric}.p99 ({', '.join(statistics)})", text)


def _limit(term: re.Match[str], metric: str, unit: str, flag: str) -> float:
    """Return the limit, in the unit of the metric or, with a sign, as a fraction of the base."""
    text, typed, number = term[0], _unit(term), float(term["number"])
    example = EXAMPLES.get(unit, "a number such as 1000")
    shown = _shown(metric)
    if term["sign"]:
        if flag != GATE:
            raise _error(flag, f"{example} for {shown} (a change against a base is for --gate)", text)
        if unit == "share":
            raise _error(flag, f"{example} for {shown}, without a sign", text)
        if typed != "%":
            raise _error(flag, "a change against the base in percent, such as +5%", text)
        return float(f"{term['sign']}{number}") / 100
    if typed == "%" and unit != "share" and flag == GATE:
        raise _error(flag, "a change with its sign, such as +5% or -5%", text)
    if typed not in UNITS[unit]:
        raise _error(
            flag,
            f"{example} for {shown}" + (", or a change such as +5%" if flag == GATE and unit != "share" else ""),
            text,
        )
    limit = number * UNITS[unit][typed]
    if not limit and (flag != GATE or unit == "s"):
        raise _error(flag, f"{example} above 0 for {shown}", text)
    if unit == "share" and (limit > 1 or (flag == SLO and limit == 1)):
        raise _error(flag, f"{example} for {shown}, below 100%", text)
    return limit


def _score_term(term: re.Match[str], flag: str, scores: Collection[str]) -> Objective:
    """Return the objective of a task or group: its score, or with a sign the difference to the base in points."""
    text, typed, number = term[0], _unit(term), float(term["number"])
    fitting = [name for name in scores if term["name"] == name or term["name"].startswith(f"{name}.")]
    if not fitting:
        near = difflib.get_close_matches(term["name"].partition(".")[0], scores, 1)
        raise _error(flag, f"a task or group of these evaluations ({', '.join(scores)})", text, near)
    name = max(fitting, key=len)
    if term["requests"] is not None or term["sense"] == ":" or typed not in UNITS["share"]:
        raise _error(flag, SCORE_FORM, text)
    if term["sign"] and not typed:
        raise _error(flag, "a difference to the base in points, such as -1%", text)
    limit = number * UNITS["share"][typed]
    if limit > 1:
        raise _error(flag, f"a score of {name} up to 100% such as 80% or 0.8", text)
    signed = -limit if term["sign"] == "-" else limit
    figure = term["name"][len(name) + 1 :]
    return Objective(name, figure, signed, term["sense"] in _AT_LEAST, bool(term["sign"]), text=text)


def _shown(metric: str) -> str:
    """Return the name of a metric as it is typed."""
    return "goodput" if metric == ATTAINMENT else metric


def _unit(term: re.Match[str]) -> str:
    return (term["spaced"] or term["unit"] or "").replace("µ", "u")


def _unknown(flag: str, name: str, text: str) -> ConfigError:
    """Return the error for a metric that a flag does not take."""
    metric = ATTAINMENT if name == "goodput" else ALIASES.get(name, name)
    if metric in METRICS:
        flags = [other for other in METRICS[metric][1] if other != flag]
        return _error(flag, f"{FORMS[flag]} ({name} is for {' and '.join(flags)})", text)
    known = dict.fromkeys(_shown(other) for other, (_, flags) in METRICS.items() if flag in flags)
    near = difflib.get_close_matches(name, [*known, *ALIASES], 1)
    return _error(flag, FORMS[flag] if near else f"a metric ({', '.join(known)})", text, near)


def _error(flag: str, wanted: str, text: str, near: Sequence[str] = ()) -> ConfigError:
    hint = f": did you mean {near[0]}?" if near else ""
    return ConfigError(f"{flag} takes {wanted}, not {text.strip()!r}{hint}", field=flag[2:])
