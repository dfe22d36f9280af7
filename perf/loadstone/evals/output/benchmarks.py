"""The benchmarks as their specs describe them: a table of names, and a document with every prompt, as Markdown.

Tasks of a benchmark that differ in name and configuration alone are told together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.report.page import Table
from loadstone.tasks.spec import Benchmark, Data, Task

HEAD = """\
# Benchmarks

Every benchmark, from its specification itself (`make golden`): what is asked, with which worked examples, how answers
are read and counted, and where the data are looked for. Files are those of the original distribution, in a folder
called as the benchmark; the layout of the Hugging Face hub is found too. An example is the first item of our own small
set, without worked examples, as it is put by default and, where that differs, in the other ways.
"""


class Example(Struct, frozen=True):
    """A question as it is put, for an answer in words or, with `choices`, for the likelihood of these."""

    text: str
    choices: Sequence[str] = ()


ANSWERS = {
    "generation": "in words",
    "loglikelihood": "by the log-likelihood of each choice",
    "letters": "by the log-probability of each letter as first token",
}
DRAWN = "drawn as lm-eval draws them from"
SAMPLING_TEXTS = {"first": "the first of", "random": DRAWN, "spare": DRAWN}


def table(benchmarks: Sequence[Benchmark]) -> Table:
    """Names of benchmarks, groups and tasks with what they are; tasks of large groups are counted only."""
    rows = [row for benchmark in benchmarks for row in _rows(benchmark)]
    return Table("tasks", ["name", "what", "answers", "shots", "tasks"], rows)


def document(benchmarks: Sequence[Benchmark], examples: Mapping[str, Sequence[Example]]) -> str:
    """All benchmarks as Markdown. `examples`: by name of the task, a question as it is put."""
    return "\n".join([HEAD, *(line for benchmark in benchmarks for line in _chapter(benchmark, examples))])


def _rows(benchmark: Benchmark) -> Iterator[list[str]]:
    for group in benchmark.groups:
        inside = [task for task in benchmark.tasks if task.name in _members(group.name, benchmark)]
        yield [group.name, group.title, _modes(inside), _shots_of(inside), str(len(inside))]
    if len(benchmark.tasks) <= MAX_LISTED:
        yield from ([task.name, task.title, _modes([task]), str(task.shots), "1"] for task in benchmark.tasks)


# Tasks of a benchmark that are still named one by one.
MAX_LISTED = 12


def _members(name: str, benchmark: Benchmark) -> set[str]:
    """Tasks in a group, through groups in it."""
    inner = {group.name: group.tasks for group in benchmark.groups}
    return {name} if name not in inner else {each for part in inner[name] for each in _members(part, benchmark)}


def _modes(tasks: Sequence[Task]) -> str:
    return ", ".join(dict.fromkeys(mode for task in tasks for mode in (task.default, *task.modes)))


def _shots_of(tasks: Sequence[Task]) -> str:
    return ", ".join(dict.fromkeys(str(task.shots) for task in tasks))


def _chapter(benchmark: Benchmark, examples: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    title = next((group.title for group in benchmark.groups), benchmark.tasks[0].title)
    yield f"## {benchmark.name}\n"
    licence = f" Licence of the data: {benchmark.licence}." if benchmark.licence else ""
    yield f"{title}.{licence}\n"
    if benchmark.groups:
        yield f"Groups: {', '.join(f'`{group.name}`' for group in benchmark.groups)}.\n"
    for tasks in _alike(benchmark):
        yield f"### {_together(tasks)}\n"
        config = tasks[0].data.config if len(tasks) == 1 else None
        yield from (f"- {what}: {text}" for what, text in _facts(tasks[0], config).items() if text)
        yield ""
        shown = next((examples[task.name] for task in tasks if task.name in examples), ())
        yield from (line for example in shown for line in _shown(example, len(shown) > 1))


def _shown(example: Example, several: bool) -> Iterator[str]:
    if several:
        yield "By likelihood:\n" if example.choices else "In words:\n"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", example.text)), default=0))
    yield f"{fence}text\n{example.text}\n{fence}\n"
    if example.choices:
        yield f"It goes on with one of: {', '.join(f'`{choice}`' for choice in example.choices)}.\n"


def _alike(benchmark: Benchmark) -> list[list[Task]]:
    """Tasks whose facts are the same."""
    found: dict[str, list[Task]] = {}
    for task in benchmark.tasks:
        found.setdefault(str(_facts(task)), []).append(task)
    return list(found.values())


def _together(tasks: Sequence[Task]) -> str:
    names = [f"`{task.name}`" for task in tasks]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} tasks)"


def _facts(task: Task, config: str | None = None) -> dict[str, str]:
    """What there is to know of a task but its name; its configuration where that is given."""
    return {
        "answered": ", or ".join(ANSWERS[mode] for mode in dict.fromkeys([task.default, *task.modes])),
        "prompt": _templates(task),
        "worked examples": _examples(task),
        "stops at": ", ".join(f"`{stop!r}`" for stop in task.generation.stop) if task.generation else "",
        "most tokens": f"{task.generation.max_tokens:,}" if task.generation else "",
        "settings": ", ".join(f"{name} {value}" for name, value in _settings(task)),
        "read and counted": _counted(task),
        "passes": str(task.repeats) if task.repeats > 1 else "",
        "data": _data(task.data, config),
        "source": task.source,
    }


def _templates(task: Task) -> str:
    named = {"in words": task.generation and task.generation.template,
             "likelihood": task.likelihood and task.likelihood.template}  # fmt: skip
    said = [f"{name} `{template}`" for name, template in named.items() if template]
    return f"{'; '.join(said)}; version {task.version:g}"


def _examples(task: Task) -> str:
    if task.draw == "fixed":
        return f"{task.shots} of {len(task.fixed_shots)} fixed ones"
    data = task.data
    place = f"`{data.shots_split}`" if data.shots_split else ", ".join(map(_plainly(data), data.shots_files))
    if not place or task.max_shots == 0:
        return "none"
    most = f", at most {task.max_shots}" if task.max_shots is not None and task.max_shots != task.shots else ""
    return f"{task.shots or 'none by default; if asked for'}{most}, {SAMPLING_TEXTS[task.draw]} {place}"


def _settings(task: Task) -> list[tuple[str, object]]:
    return list(task.generation.settings.items()) if task.generation else []


def _counted(task: Task) -> str:
    said = []
    if task.generation:
        names = ", ".join(f"`{each.name}`" for each in task.generation.filters)
        run = " by running the programs" if task.generation.code else ""
        said.append(f"in words through {names}, by `{task.generation.headline}`{run}")
    if task.likelihood:
        said.append(f"choices by {', '.join(f'`{name}`' for name in task.likelihood.metrics)}")
    return "; ".join(said)


def _data(data: Data, config: str | None) -> str:
    files = ", ".join(map(_plainly(data), data.files))
    said = f"`{data.path}`"
    if data.config:
        said += f", configuration `{config}`" if config else ", a configuration each"
    return f"{said}, split `{data.split}`" + (f"; files {files}" if files else "")


def _plainly(data: Data) -> Callable[[str], str]:
    """Names of files with `{config}` for the configuration."""
    return lambda name: f"`{name.replace(data.config, '{config}') if data.config else name}`"
