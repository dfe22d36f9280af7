"""What a flag or setting that a command does not know is called here: of other tools, of other commands, or misspelled.

The tables are in foreign_load.py and foreign_evals.py. Pure; read only after a mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import NamedTuple

from loadstone.config import foreign_evals, foreign_load

# Tables by the commands that they are for.
_TABLES: dict[tuple[str, ...], str] = {
    ("eval",): foreign_evals.EVAL,
    ("serve",): foreign_evals.SERVE,
    ("report",): foreign_evals.REPORT,
    ("compare",): foreign_evals.COMPARE,
    ("plan",): foreign_evals.PLAN,
    ("run", "sweep"): foreign_load.WORKLOAD,
    ("run", "sweep", "eval"): foreign_load.SERVER_AND_LOAD,
}
# Other tools' names for commands.
COMMANDS = {
    **dict.fromkeys(("bench", "benchmark", "perf", "profile", "test", "load", "load-test", "attack", "latency"), "run"),
    **dict.fromkeys(("throughput", "start", "analyze", "serving", "bench-serve", "bench_serving"), "run"),
    **dict.fromkeys(("search", "tune", "grid", "serve_workload", "knee"), "sweep"),
    **dict.fromkeys(("evaluate", "evals", "evaluation", "lm-eval", "lm_eval", "accuracy", "simple_evaluate"), "eval"),
    **dict.fromkeys(("server", "mock", "mock-server", "mock_server", "sim", "simulate"), "serve"),
    **dict.fromkeys(("show", "export", "view", "summary", "summarize", "plot", "html"), "report"),
    **dict.fromkeys(("diff", "cmp", "ab", "benchstat"), "compare"),
    **dict.fromkeys(("rescore", "review", "grade"), "score"),
    **dict.fromkeys(("validate", "verify", "doctor"), "check"),
    **dict.fromkeys(("capacity", "size", "sizing", "cost"), "plan"),
    **dict.fromkeys(("locust", "master", "worker", "distributed", "cluster"), "swarm"),
    **dict.fromkeys(("calibrate", "self-test", "ceiling"), "selftest"),
    **dict.fromkeys(("ls", "tasks", "datasets", "apis", "views", "ls-tasks"), "list"),
}
# A flag of ours in a row, and the long names of short flags.
_FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
_LONG = {"-n": "--requests", "-c": "--concurrency", "-o": "--output"}
# Length of a flag, dashes included, up to which its beginning says too little; similarity of a misspelled flag.
MIN_ABBREVIATION = 4
SIMILARITY = 0.75


class ForeignFlag(NamedTuple):
    """A row of the table.

    flags: spellings that the tools document; none where there are only guesses
    guesses: spellings that no tool documents, but people type
    tools: tools that have the flag, or the command of ours
    commands: commands of ours that the row is for
    ours: what to type instead, empty if there is none; it may name another command, as `loadstone sweep --slo` does
    note: how the value converts or, without `ours`, what to do
    """

    flags: tuple[str, ...]
    guesses: tuple[str, ...]
    tools: tuple[str, ...]
    commands: tuple[str, ...]
    ours: str
    note: str

    @property
    def advice(self) -> str:
        """Return what to type or to do, without a full stop."""
        return "; ".join(part for part in (self.ours and f"use {self.ours}", self.note) if part)

    @property
    def targets(self) -> list[tuple[str, str]]:
        """Return every flag that `ours` names, with the commands that are to have it."""
        other = re.match(r"loadstone (\w+)", self.ours)
        owners = (other[1],) if other else self.commands
        return [(owner, flag) for owner in owners for flag in _FLAG.findall(self.ours)]


@cache
def table() -> tuple[ForeignFlag, ...]:
    """Return all rows, those for one command first."""
    rows = []
    for commands, text in _TABLES.items():
        # A line that begins with a space continues the one before it.
        for line in text.strip().replace("\n ", " ").splitlines():
            spellings, tools, ours, note = (cell.strip() for cell in line.split(" |"))
            flags, _, guesses = spellings.partition("~")
            names = tuple(tools.split(", ")) if tools else ()
            rows.append(ForeignFlag(tuple(flags.split()), tuple(guesses.split()), names, commands, ours, note))
    return tuple(rows)


@cache
def rows_by_spelling() -> Mapping[str, tuple[ForeignFlag, ...]]:
    """Return the rows that have a flag, by its spelling as `normal` returns it."""
    rows: dict[str, tuple[ForeignFlag, ...]] = {}
    for row in table():
        for spelling in dict.fromkeys(map(normal, row.flags + row.guesses)):
            rows[spelling] = (*rows.get(spelling, ()), row)
    return rows


def normal(flag: str) -> str:
    """Return one spelling of a flag or setting: two dashes, lower case, no value. A short flag keeps its case."""
    name = flag.partition("=")[0]
    if re.fullmatch(r"-[A-Za-z]{1,2}", name):
        return name
    return "--" + name.lower().replace("_", "-").lstrip("-")


def suggest(
    command: str, flag: str, known: Collection[str], elsewhere: Mapping[str, Collection[str]] | None = None
) -> str:
    """Return what to type instead of a flag or setting that a command does not know; empty if nothing is near.

    flag: as it was typed, with or without `=VALUE`. Without dashes it is a setting of a file, and so is the answer.
    known: flags or settings of the command
    elsewhere: flags of all commands, by command
    """
    name = normal(flag)
    spellings = {normal(word): word for word in known}
    rows = rows_by_spelling().get(name, ())
    here = next((row for row in rows if command in row.commands), None)
    if here is not None:
        is_setting = not flag.startswith("-") and not here.ours.startswith("loadstone ")
        advice = here.advice.replace(f"use loadstone {command} ", "use ")
        return _FLAG.sub(_as_setting, advice) if is_setting else advice
    if name in spellings:
        return f"did you mean {spellings[name]}?"
    for owner, flags in (elsewhere or {}).items():
        if name in flags:
            return f"it is a flag of `loadstone {owner}`"

    # Shortened, as argparse's abbreviations are, or misspelled.
    begun = [known for known in spellings if known.startswith(name)] if len(name) > MIN_ABBREVIATION else []
    near = difflib.get_close_matches(name, begun or spellings, 1, 0.0 if begun else SIMILARITY)
    if near:
        return f"did you mean {spellings[near[0]]}?"
    others = sorted((row for row in rows if row.ours), key=lambda row: "run" not in row.commands)
    return f"it is for `loadstone {others[0].commands[0]}`: {others[0].advice}" if others else ""


def _as_setting(match: re.Match[str]) -> str:
    return _LONG.get(match[0], match[0]).lstrip("-")
