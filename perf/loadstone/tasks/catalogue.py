"""What a list of names means: tasks, groups and benchmarks, built in, installed or of one's own, and wildcards.

Decides only: files of one's own are read, and lm-eval is asked for its tasks, by those who run them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from loadstone import plugins
from loadstone.errors import UsageError
from loadstone.tasks import BENCHMARKS, custom
from loadstone.tasks.spec import Benchmark, Data, Group, Task

GROUP = "loadstone.tasks"
LM_EVAL_PREFIX = "lm-eval:"
WILD = re.compile(r"[*?\[]")
Part = TypeVar("Part", Task, Group)
# Names of the categories in a file of one's own, in their order.
Categories = Callable[[Data], list[str]]


class Selection(Struct, frozen=True):
    """Tasks in the order asked for, each once; the groups that they were asked for by, inner ones too. `lm_eval_names`:
    names of lm-eval's tasks, without `lm-eval:`; `without_data`: of tasks that were left out for want of data."""

    tasks: list[Task]
    groups: list[Group]
    lm_eval_names: list[str] = []
    without_data: list[str] = []


def find(names: Sequence[str], categories: Categories | None = None) -> Selection:
    """What the names of a list mean. Raises UsageError, with the nearest name, for one that is not known.

    `categories` is asked about files of one's own, so that each category becomes a task, and the file their group.
    """
    parts: list[Task | Group] = []
    foreign: list[str] = []
    for name in names:
        if name.startswith(LM_EVAL_PREFIX):
            foreign.append(name.removeprefix(LM_EVAL_PREFIX))
        else:
            parts += _meant(name, categories)
    tasks = _once(part for part in parts if isinstance(part, Task))
    groups = _once(part for part in parts if isinstance(part, Group))
    return Selection(tasks, groups, list(dict.fromkeys(foreign)))


def benchmarks() -> list[Benchmark]:
    """All that are built in or installed, by name. Raises UsageError for one that cannot be loaded."""
    return [_benchmark(name) for name in _known()]


def _meant(name: str, categories: Categories | None) -> list[Task | Group]:
    kind, _, file = name.partition(":")
    if file and kind in custom.KINDS:
        made = custom.file_benchmark(kind, file, categories)
        return _called(made.name, [made])
    if ".py:" in name:
        return _parts(_benchmark(name))
    near = [_benchmark(known) for known in _known() if name == known or name.startswith(f"{known}_")]
    found = (not WILD.search(name) and _called(name, near)) or _called(name, benchmarks())
    if not found:
        raise _unknown(name)
    return found


def _known() -> list[str]:
    return sorted({*BENCHMARKS, *plugins.installed_plugins(GROUP)})


def _benchmark(name: str) -> Benchmark:
    """The benchmark of that name, which the data of its tasks know."""
    part = plugins.load_instance(GROUP, name, BENCHMARKS, "--tasks")
    if isinstance(part, Task):
        part = Benchmark(name=part.name, tasks=(part,))
    if not isinstance(part, Benchmark):
        raise UsageError(
            f"--tasks: {name} is of type {type(part).__name__}, not Benchmark or Task of loadstone.tasks.spec"
        )
    return replace(part, tasks=tuple(_known_as(task, part.name) for task in part.tasks))


def _known_as(task: Task, benchmark: str) -> Task:
    return replace(task, data=replace(task.data, benchmark=benchmark))


def _called(name: str, among: Sequence[Benchmark]) -> list[Task | Group]:
    """Tasks and groups of a name or wildcard: a group with its tasks, a benchmark without such a group with all."""
    found: list[Task | Group] = []
    for benchmark in among:
        inside = _inside(benchmark)
        if benchmark.name == name and name not in inside:
            return _parts(benchmark)
        for matched in [part for part in inside if part == name or fnmatchcase(part, name)]:
            found += _unfolded(inside[matched], benchmark)
    return found


def _unfolded(part: Task | Group, benchmark: Benchmark) -> Iterator[Task | Group]:
    """A group, and what is in it."""
    yield part
    if isinstance(part, Task):
        return
    inside = _inside(benchmark)
    for name in part.tasks:
        if name not in inside or name == part.name:
            raise UsageError(f"--tasks: group {part.name} of {benchmark.name} names {name!r}, which is not there")
        yield from _unfolded(inside[name], benchmark)


def _parts(benchmark: Benchmark) -> list[Task | Group]:
    return [*benchmark.groups, *benchmark.tasks]


def _inside(benchmark: Benchmark) -> dict[str, Task | Group]:
    return {part.name: part for part in _parts(benchmark)}


def _once(parts: Iterable[Part]) -> list[Part]:
    """Each the first time; two different ones of the same name are a mistake."""
    found: dict[str, Part] = {}
    for part in parts:
        before = found.setdefault(part.name, part)
        if isinstance(part, Task) and isinstance(before, Task) and before.data != part.data:
            raise UsageError(f"--tasks: there are two tasks called {part.name}, whose results would be one: rename one")
    return list(found.values())


def _unknown(name: str) -> UsageError:
    known = [part.name for benchmark in benchmarks() for part in _parts(benchmark)]
    near = difflib.get_close_matches(name, [*known, *_known()], 1)
    hint = f"did you mean {near[0]}? " if near else ""
    files = ", ".join(f"{kind}:FILE" for kind in custom.KINDS)
    return UsageError(
        f"no task {name!r}: {hint}give a name that `loadstone list tasks` shows, {files}, {LM_EVAL_PREFIX}NAME or"
        " FILE.py:NAME"
    )
