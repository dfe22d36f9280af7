"""Flags that several commands share beside their settings, and the typed form of what was given."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeVar

from loadstone.config.flags import Flag, check, from_mapping, settings_of
from loadstone.config.output import LIMIT, PERCENTILES, join_limits, join_percentiles

# Help text of `--summary`, which several commands have.
SUMMARY = "add the report as Markdown to the job summary of GitHub Actions (the file in $GITHUB_STEP_SUMMARY)"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown of a run, and where else it is written."""

    GROUP: ClassVar = "results"

    view: Annotated[
        str,
        Flag("format of the report: text (default), classic, md, csv, json, html, junit", name="as", metavar="VIEW"),
    ] = "text"
    summary: Annotated[bool, Flag(SUMMARY)] = False
    junit: Annotated[str | None, Flag("write the checks to a new file as JUnit XML", metavar="FILE")] = None
    quiet: Annotated[bool, Flag("show no progress")] = False
    config: Annotated[
        str | None,
        Flag(
            "TOML, YAML or JSON file with these settings by their long names, or the run.json of a run to repeat;"
            " flags take precedence",
            metavar="FILE",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FileOption:
    """Where settings are read from."""

    config: Annotated[
        str | None,
        Flag("TOML, YAML or JSON file with these settings by their long names; flags take precedence", metavar="FILE"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What `report` shows of runs, and what it recomputes them with."""

    view: Annotated[
        str,
        Flag(
            "format of the report: text (default), classic, md, csv, json, html, junit, vllm, vllm-sweep, parquet,"
            " leaderboard",
            name="as",
            metavar="VIEW",
        ),
    ] = "text"
    output: Annotated[
        str | None,
        Flag("write to a new file (vllm-sweep: folder) instead of stdout", short="-o", metavar="FILE"),
    ] = None
    summary: Annotated[bool, Flag(SUMMARY)] = False
    goodput: Annotated[
        dict[str, float],
        Flag("objectives that a good request meets: 'ttft<200ms, tpot<50ms'", LIMIT, many=True, join=join_limits),
    ] = field(default_factory=dict)
    tokenizer: Annotated[
        str | None, Flag("tokenizer that counts tokens of saved texts where the server did not", metavar="PATH")
    ] = None
    percentiles: Annotated[
        list[float] | None,
        Flag("percentiles to show, such as 50,75,99.9 (default: the run's)", PERCENTILES, join=join_percentiles),
    ] = None
    # Reports of finished runs write no JUnit XML beside: --as junit shows it.
    junit: ClassVar[str | None] = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the settings that replace those of the run."""
        changes = {"goodput": self.goodput, "percentiles": self.percentiles}
        return {name: value for name, value in changes.items() if value}


def read_options(cls: type[T], options: Namespace) -> T:
    """Return the options of a dataclass from parsed flags. Raises ConfigError."""
    fields = {name: value for name, value in vars(options).items() if name in settings_of(cls)}
    made = from_mapping(cls, fields, options.command)
    check(made)
    return made
