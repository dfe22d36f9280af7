"""Describe the benchmarks from their specifications: a table of names, and a Markdown document with every prompt.

Tasks of a benchmark that differ only in name and configuration share one entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.report.page import Table
from loadstone.tasks.spec import Benchmark, Data, Task

HEAD = """\
# Benchmarks

Every benchmark, generated from its specification (`make golden`): the prompt, the few-shot examples, how answers are
extracted and scored, and where the data is looked up. Files are those of the original distribution, in a folder named
as the benchmark; the layout of the Hugging Face Hub works too. Each example is the first item of the small bundled set,
without few-shot examples, in the default answer mode and, where the prompt differs, in the other modes.
"""
# Tasks of a benchmark that the table names one by one; of larger ones it names the groups.
MAX_LISTED = 12
ANSWERS = {
    "generation": "generated text",
    "loglikelihood": "the log-likelihood of each choice",
    "letters": "the log-probability of each letter as first token",
}
_SAMPLED = "sampled as in lm-eval from"
SAMPLING_TEXTS = {"first": "the first of", "random": _SAMPLED, "spare": _SAMPLED}


class Example(Struct, frozen=True):
    """A prompt: for generated text or, with `choices`, for the likelihood of these continuations."""

    text: str
    choices: Sequence[str] = ()


def table(benchmarks: Sequence[Benchmark]) -> Table:
    """Return the table of benchmarks, groups and tasks; tasks of large benchmarks are only counted."""
    rows = []
    for benchmark in benchmarks:
        for group in benchmark.groups:
            names = _members(group.name, benchmark)
            tasks = [task for task in benchmark.tasks if task.name in names]
            shots = ", ".join(dict.fromkeys(str(task.shots) for task in tasks))
            rows.append([group.name, group.title, _modes(tasks), shots, str(len(tasks))])
        if len(benchmark.tasks) <= MAX_LISTED:
            rows += [[task.name, task.title, _modes([task]), str(task.shots), "1"] for task in benchmark.tasks]
    return Table("tasks", ["name", "title", "modes", "shots", "tasks"], rows)


def document(benchmarks: Sequence[Benchmark], examples: Mapping[str, Sequence[Example]]) -> str:
    """Return all benchmarks as Markdown. examples: prompts by the name of their task."""
    return "\n".join([HEAD, *(line for benchmark in benchmarks for line in _chapter(benchmark, examples))])


def _members(name: str, benchmark: Benchmark) -> set[str]:
    """Return the tasks of a group, those of groups in it included."""
    groups = {group.name: group.tasks for group in benchmark.groups}
    return {name} if name not in groups else {task for inner in groups[name] for task in _members(inner, benchmark)}


def _modes(tasks: Sequence[Task]) -> str:
    return ", ".join(dict.fromkeys(mode for task in tasks for mode in (task.default, *task.modes)))


def _chapter(benchmark: Benchmark, examples: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Yield the lines of a benchmark."""
    title = next((group.title for group in benchmark.groups), benchmark.tasks[0].title)
    yield f"## {benchmark.name}\n"
    licence = f" Licence of the data: {benchmark.licence}." if benchmark.licence else ""
    yield f"{title}.{licence}\n"
    if benchmark.groups:
        yield f"Groups: {', '.join(f'`{group.name}`' for group in benchmark.groups)}.\n"
    # Tasks with the same facts share an entry.
    entries: dict[str, list[Task]] = {}
    for task in benchmark.tasks:
        entries.setdefault(str(_facts(task)), []).append(task)
    for tasks in entries.values():
        names = [f"`{task.name}`" for task in tasks]
        yield f"### {', '.join(names) if len(names) <= 3 else f'{names[0]} to {names[-1]} ({len(tasks)} tasks)'}\n"
        config = tasks[0].data.config if len(tasks) == 1 else None
        yield from (f"- {fact}: {text}" for fact, text in _facts(tasks[0], config).items() if text)
        yield ""
        prompts = next((examples[task.name] for task in tasks if task.name in examples), ())
        for prompt in prompts:
            yield from _example_lines(prompt, len(prompts) > 1)


def _example_lines(example: Example, several: bool) -> Iterator[str]:
    """Yield an example, with a heading if there are several; the fence is longer than any in the text."""
    if several:
        yield "Log-likelihood of choices:\n" if example.choices else "Generated text:\n"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", example.text)), default=0))
    yield f"{fence}text\n{example.text}\n{fence}\n"
    if example.choices:
        yield f"Continuations: {', '.join(f'`{choice}`' for choice in example.choices)}.\n"


def _facts(task: Task, config: str | None = None) -> dict[str, str]:
    """Return the facts of a task except its name. config: of the data, if the entry is for this task alone."""
    generation, likelihood = task.generation, task.likelihood
    templates = {"generation": generation and generation.template, "likelihood": likelihood and likelihood.template}
    prompt = "; ".join(f"{name} `{template}`" for name, template in templates.items() if template)
    scoring = []
    if generation:
        names = ", ".join(f"`{each.name}`" for each in generation.filters)
        programs = ", by running the programs" if generation.code else ""
        scoring.append(f"generated text through {names} by `{generation.headline}`{programs}")
    if likelihood:
        scoring.append(f"choices by {', '.join(f'`{name}`' for name in likelihood.metrics)}")
    return {
        "answer": ", or ".join(ANSWERS[mode] for mode in dict.fromkeys([task.default, *task.modes])),
        "prompt": f"{prompt}; version {task.version:g}",
        "few-shot examples": _few_shot(task),
        "stop sequences": ", ".join(f"`{stop!r}`" for stop in generation.stop) if generation else "",
        "maximum tokens": f"{generation.max_tokens:,}" if generation else "",
        "settings": ", ".join(f"{name} {value}" for name, value in generation.settings.items()) if generation else "",
        "scoring": "; ".join(scoring),
        "passes": str(task.repeats) if task.repeats > 1 else "",
        "data": _data(task.data, config),
        "source": task.source,
    }


def _few_shot(task: Task) -> str:
    """Describe the number and origin of a task's few-shot examples."""
    if task.draw == "fixed":
        return f"{task.shots} of {len(task.fixed_shots)} fixed ones"
    data = task.data
    origin = f"`{data.shots_split}`" if data.shots_split else _file_names(data, data.shots_files)
    if not origin or task.max_shots == 0:
        return "none"
    most = f", at most {task.max_shots}" if task.max_shots is not None and task.max_shots != task.shots else ""
    return f"{task.shots or 'none by default; with --num-fewshot'}{most}, {SAMPLING_TEXTS[task.draw]} {origin}"


def _data(data: Data, config: str | None) -> str:
    """Describe where the data is."""
    path = f"`{data.path}`"
    if data.config:
        path += f", configuration `{config}`" if config else ", one configuration for each task"
    files = _file_names(data, data.files)
    return f"{path}, split `{data.split}`" + (f"; files {files}" if files else "")


def _file_names(data: Data, names: Sequence[str]) -> str:
    """Return names of files, with `{config}` in place of the configuration."""
    plain = [name.replace(data.config, "{config}") if data.config else name for name in names]
    return ", ".join(f"`{name}`" for name in plain)
