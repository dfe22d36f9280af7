"""Flags that several commands share beside their settings, and the typed form of what was given."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

from loadstone.config.flags import Flag, check, from_mapping, settings_of

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


def read_options(cls: type[T], options: Namespace) -> T:
    """Return the options of a dataclass from parsed flags. Raises ConfigError."""
    fields = {name: value for name, value in vars(options).items() if name in settings_of(cls)}
    made = from_mapping(cls, fields, options.command)
    check(made)
    return made
