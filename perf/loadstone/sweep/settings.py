"""The settings of a sweep: its own, and those of its runs, some of which have a list of values.

They come from the command line, a file or a saved run. Which of the values of a setting are points is decided here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from loadstone.config import kinds, loading
from loadstone.config.flags import Flag, convert, from_mapping, settings_of
from loadstone.config.kinds import Kind
from loadstone.config.providers import resolve
from loadstone.config.schema import Config, flag
from loadstone.errors import ConfigError
from loadstone.sweep import grid

LoadField = Literal["concurrency", "rate"]
# Values of the settings that vary, by field.
Lists = dict[str, list[Any]]
_SEARCH = (("slo", "auto"), "it is for loads that are found on the way")


def parse_vary(text: str) -> Lists:
    """Parse `FLAG=LIST` to the field of a setting and its values. Raises ConfigError."""
    typed, equals, values = text.partition("=")
    if not equals or not values:
        raise ConfigError(f"--vary takes FLAG=VALUE,VALUE such as temperature=0,1, not {text!r}", field="vary")
    return _join_vary([{typed.strip(): values}])


def _join_vary(parts: list[Any]) -> Lists:
    """Return the lists of several --vary, with the names of fields. Raises ConfigError."""
    settings = settings_of(Config).values()
    by_name = {name.replace("_", "-"): setting for setting in settings for name in (setting.field, setting.name)}
    lists: Lists = {}
    for typed, listed in (item for part in parts for item in part.items()):
        setting = by_name.get(typed.lstrip("-").replace("_", "-"))
        if setting is None or not setting.flag.vary:
            sentence = f"--vary takes a flag of `loadstone run` that points can differ in, not {typed!r}"
            raise ConfigError(sentence, field="vary")
        if setting.field in lists:
            raise ConfigError(f"--vary {setting.name} is given twice: give one list", field="vary")
        try:
            values = grid.parse_values(listed, setting.kind) if isinstance(listed, str) else listed
        except ValueError as exc:
            raise ConfigError(f"--vary {setting.name}: {exc}", field="vary") from exc
        lists[setting.field] = [convert(setting, value) for value in values]
    return lists


@dataclass(frozen=True, kw_only=True)
class Points:
    """How lists of values become points, and how often each point is run."""

    GROUP: ClassVar = "sweep (docs/sweeps.md; every number, length, time and choice may be a list)"

    vary: Annotated[
        dict[str, list[Any]],
        Flag(
            "list of values for any flag: 'dataset=a.jsonl,b.jsonl'; repeatable",
            Kind("FLAG=VALUE,VALUE such as temperature=0,1", parse_vary, "FLAG=LIST"),
            repeat=True,
            join=_join_vary,
        ),
    ] = field(default_factory=dict)
    grid: Annotated[
        bool, Flag("run every combination (default)", excludes=(("zip", "each says how lists are combined"),))
    ] = False
    zip: Annotated[bool, Flag("run the first values, then the second ones ...")] = False
    repeat: Annotated[int, Flag("runs of each point (default: 1)", least=1)] = 1
    rest: Annotated[float, Flag("pause before each run except the first (default: 0)", kinds.TIME, least=0)] = 0.0
    gpus: Annotated[int | None, Flag("GPUs of the server, to report tokens/s per GPU as well", least=1)] = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search, whose loads are found on the way and not listed."""

    GROUP: ClassVar = "search (starts at -c or --rate, else at 1)"

    auto: Annotated[
        LoadField | None,
        Flag(
            "double this load until the server saturates, then refine the knee (default: concurrency)",
            bare="concurrency",
            excludes=(("slo", "the one finds the knee, the other the highest load within objectives"),),
        ),
    ] = None
    slo: Annotated[
        str | None,
        Flag(
            "find the highest load that meets 'ttft.p99<500ms tpot.p95<50ms'",
            metavar="TERMS",
            excludes=(
                ("duration", "the search decides how long a load is probed, and --probe-max limits it"),
                ("repeat", "the search decides how often a load is run, and --probe-max limits it"),
            ),
        ),
    ] = None
    search: Annotated[
        LoadField | None,
        Flag("load that --slo searches over (default: rate)", needs=(("slo",), "it is the load of its search")),
    ] = None
    within: Annotated[
        float | None,
        Flag(
            "largest gap between neighbouring loads (default: --slo 5%, --auto 25%)",
            kinds.FRACTION,
            metavar="P",
            above=0,
            most=10,
            needs=_SEARCH,
        ),
    ] = None
    at_least: Annotated[float | None, Flag("lowest load to try", above=0, needs=_SEARCH)] = None
    at_most: Annotated[float | None, Flag("highest load to try", above=0, needs=_SEARCH)] = None
    max_points: Annotated[
        int | None, Flag("maximum number of loads (default: --slo 40, --auto 16)", least=1, needs=_SEARCH)
    ] = None
    probe_max: Annotated[
        int | str | None,
        Flag(
            "maximum requests, or time such as 10m, to decide one load (default: 20000)",
            kinds.COUNT_OR_TIME,
            least=1,
            needs=_SEARCH,
        ),
    ] = None


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class SweepSettings(Search, Points):
    """The settings of a sweep beside those of its runs."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig(SweepSettings, Config):
    """All settings of a sweep that have one value."""

    @property
    def run(self) -> Config:
        """Return the settings that all runs share."""
        return Config(**{each.name: getattr(self, each.name) for each in dataclasses.fields(Config)})


def load_sweep(options: Mapping[str, Any]) -> tuple[SweepConfig, Lists]:
    """Return the checked settings of parsed flags and their file, and the lists. Raises ConfigError."""
    with loading.located(options.get("config")):
        settings = loading.merge_settings(SweepConfig, options)
        # In a file it may be a mapping, by names of flags.
        vary = _join_vary([convert(settings_of(Points)["vary"], settings.pop("vary", {}))])
        for name in vary.keys() & settings.keys():
            if (name in options) == ("vary" in options):
                raise ConfigError(f"--{flag(name)} is given twice: leave it out beside --vary {flag(name)}", field=name)
        # A flag takes precedence over the file.
        by_flag = "vary" in options
        settings = {name: value for name, value in settings.items() if name not in vary or not by_flag}
        fixed, lists = split(settings)
        lists |= {name: values for name, values in vary.items() if name not in settings}
        config = resolve(from_mapping(SweepConfig, fixed, "sweep"))
        config.check()
    return config, lists


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Lists]:
    """Split settings into those with one value and those with a list of them, in their order.

    A list is a `ValueList` of the command line, or in a file a list, or a text as on the command line. Raises
    ConfigError.
    """
    fixed, lists = dict[str, Any](), Lists()
    for name, value in settings.items():
        setting = settings_of(Config).get(name)
        if setting is None or not setting.flag.vary:
            fixed[name] = value
            continue
        try:
            text = isinstance(value, str) and setting.kind.lists
            values = grid.parse_list(value, setting.kind) if text else value
        except ValueError as exc:
            raise ConfigError(f"--{setting.name} {exc}", field=name) from exc
        # A list is one value of a setting whose type is one, such as --stop.
        if isinstance(values, grid.ValueList) or (isinstance(values, list) and not setting.takes_list):
            lists[name] = [convert(setting, each) for each in values]
        else:
            fixed[name] = values
    return fixed, lists
