"""An evaluation from settings to results: data, probe, requests, runs, answers, scores. `loadstone eval` as a function.

Prints nothing: it hands notices and progress to whoever called. All that comes of it is in the evaluation's folder, and
what is there already is not asked again.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone import mappings, samples, store
from loadstone.config import Config
from loadstone.evals import (
    answers,
    bridge,
    choice,
    inference,
    items,
    journal,
    line,
    papers,
    posts,
    probe,
    programs,
    reporting,
    results,
    tokenising,
)  # fmt: skip
from loadstone.evals import settings as given
from loadstone.evals.alone import alone
from loadstone.evals.answers import Answer
from loadstone.evals.choice import Choice
from loadstone.evals.inference import Placed
from loadstone.evals.journal import Journal
from loadstone.evals.layout import About, sanitized
from loadstone.evals.papers import Paper
from loadstone.evals.selection import chosen
from loadstone.evals.settings import Eval
from loadstone.evals.tokenising import Cut
from loadstone.records import Summary, UsageError
from loadstone.session import Live
from loadstone.setup import Notice
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Group, Task


class Evaluated(Struct, frozen=True, kw_only=True):
    """What an evaluation of one model leaves behind. `results`: None where nothing was scored; `runs`: of this time."""

    folder: Path
    journal: Journal
    results: samples.Evaluation | None = None
    runs: list[Summary] = []


class Sitting(Struct, frozen=True, kw_only=True):
    """An evaluation that can begin, or go on. `load`: as its requests are sent; `placed`: all of them, in order;
    `cuts`: as token ids, those that are."""

    settings: Eval
    load: Config
    folder: Path
    groups: list[Group]
    papers: list[Paper]
    placed: list[Placed]
    cuts: dict[str, Cut]
    journal: Journal


def meant(config: Eval | Mapping[str, Any] | str | os.PathLike[str]) -> list[Eval]:
    """An evaluation for each model, checked, with a folder of its own where there are several. Raises UsageError."""
    if isinstance(config, Eval):
        return [config.check()]
    if not isinstance(config, Mapping):
        config, where = mappings.read(Path(config)), str(config)
    else:
        where = "the configuration"
    return apart([each.check() for each in given.from_mapping(config, where)])


def apart(each: list[Eval]) -> list[Eval]:
    """Several models have a folder each, below the one that was given."""
    if len(each) == 1:
        return each
    load = each[0].load
    root = Path(load.output) if load.output else store.default_path(load.label or "eval")
    names = [str(root / sanitized(one.load.model or "")) for one in each]
    if len(set(names)) < len(names):
        raise UsageError(f"the folders of two models have the same name: {', '.join(names)}; evaluate them apart")
    return [
        msgspec.structs.replace(one, load=msgspec.structs.replace(one.load, output=name))
        for one, name in zip(each, names, strict=True)
    ]


async def evaluate(
    settings: Eval, *, served: Config | None = None, notice: Notice = lambda _: None, live: Live | None = None
) -> Evaluated:
    """Ask what has no answer yet, and score what has. `served`: the load with the address of a server that was started
    for it. Raises UsageError before anything is sent when settings, data or server are not fit for it."""
    settings, began = settings.check(), time.monotonic()
    load = settings.load
    folder = Path(load.output) if load.output else store.default_path(load.label or "eval")
    with alone(folder):
        return await _evaluate(await ready(settings, folder, served, notice), began, notice, live)


async def _evaluate(sitting: Sitting, began: float, notice: Notice, live: Live | None) -> Evaluated:
    runs = [] if sitting.settings.stage == "score" else await _ask(sitting, notice, live)
    found = _answers(sitting)
    told = _told(sitting, found, runs)
    journal.write(sitting.folder, told)
    if told.interrupted or sitting.settings.stage == "infer":
        return Evaluated(folder=sitting.folder, journal=told, runs=runs)
    scored = _score(sitting, found, time.monotonic() - began)
    reporting.write(store.Folder(sitting.folder, new=False), sitting.load.html)
    return Evaluated(folder=sitting.folder, journal=told, results=scored, runs=runs)


async def ready(settings: Eval, folder: Path, served: Config | None, notice: Notice) -> Sitting:
    """Everything that is settled before the first request. Raises UsageError."""
    if settings.dry_run:
        raise UsageError("--dry-run asks nothing: loadstone.evals.dry.look(settings) tells what would be asked")
    load = settings.load if served is None else msgspec.structs.replace(settings.load, url=served.url)
    selection = select(settings, notice)
    tasks = selection.tasks
    before = journal.before(folder, settings)
    if settings.stage == "score" and before is None:
        raise UsageError(f"{folder} is no evaluation: leave out --stage score to make one")
    model, choices, seen = (
        (before.model, before.choices, before.abilities) if before else await _look(load, settings, tasks, notice)
    )
    load = msgspec.structs.replace(load, model=model or None, provider=None)
    made = [papers.paper(task, choices[task.name], settings, notice) for task in tasks]
    if not settings.predict_only and settings.stage != "infer":
        programs.demand(made, settings.allow_code)
    _fit(made, seen.get("context"), notice)
    placed, cuts = await _placed(made, load, folder, seen, settings)
    inference.check_same(folder, posts.lines(placed, load))
    told = Journal(
        model=model,
        settings=before.settings if before and settings.stage == "score" else msgspec.to_builtins(settings.shown()),
        choices=choices,
        abilities=seen,
        tasks=[journal.asked(paper, posts.digest(placed, paper, load)) for paper in made],
        groups=[group.name for group in selection.groups],
        began=before.began if before else journal.now(),
    )
    journal.write(folder, told)
    return Sitting(
        settings=settings,
        load=load,
        folder=folder,
        groups=selection.groups,
        papers=made,
        placed=placed,
        cuts=cuts,
        journal=told,
    )


def select(settings: Eval, notice: Notice) -> Selection:
    """The tasks that are meant, ours and lm-eval's. Raises UsageError."""
    ours = chosen(settings.tasks, settings.data)
    if ours.absent:
        first, left = ours.absent[0], len(ours.absent)
        notice(f"the small sets have no questions of {left} of the tasks, such as {first}: they are left out")
    found = bridge.added(ours, settings.include_path)
    papers.check_samples(settings.samples, found.tasks)
    return found


def _fit(made: Sequence[Paper], context: int | None, notice: Notice) -> None:
    """A server that says how much it takes may refuse each request that could come to more."""
    for paper in made:
        most = paper.settings.get("max_tokens") if paper.choice.mode == "generation" else None
        if context is not None and isinstance(most, int) and most >= context:
            told = (
                f"{paper.task.name}: answers may have {most:,} tokens, but the server takes {context:,} with the prompt"
            )
            notice(f"{told}: give a lower --output-len")


async def _look(
    load: Config, settings: Eval, tasks: Sequence[Task], notice: Notice
) -> tuple[str, dict[str, Choice], dict[str, Any]]:
    """The model's name, how each task is answered, and what the server was seen to do."""
    async with line.lines(load) as found:
        model, listed = found[0].model, (await found[0].get(line.MODELS)).json()
    seen = choice.together(await probe.survey(load))
    known = [row.get("id") for row in listed.get("data") or ()] if isinstance(listed, dict) else []
    if known and model not in known and settings.api in (None, *choice.SPOKEN) and not (seen.chat or seen.completions):
        names = ", ".join(map(str, known[:5]))
        raise UsageError(f"{load.urls[0]} does not answer for a model {model!r}; it lists {names}: give --model")
    choices = {task.name: choice.choose(task, settings.mode, settings.api, seen) for task in tasks}
    for told in dict.fromkeys(each.notice for each in choices.values() if each.notice):
        notice(told)
    return model, choices, msgspec.to_builtins(seen)


async def _placed(
    made: Sequence[Paper], load: Config, folder: Path, seen: Mapping[str, Any], settings: Eval
) -> tuple[list[Placed], dict[str, Cut]]:
    """All requests with the way they go, as token ids where the server's tokenizer is asked."""
    placed = [(one, paper.choice) for paper in made for one in paper.wanted()]
    cut = [one for one, way in placed if way.way is not None and way.way.ids]
    if not cut:
        return placed, {}
    if settings.stage == "score":
        cuts = tokenising.known(folder)
    else:
        _, cuts = await tokenising.tokenised(cut, load, folder, seen.get("context"))
    return [(part, way) for one, way in placed for part in tokenising.apply([one], cuts)], cuts


def _answers(sitting: Sitting) -> dict[str, Answer]:
    found = answers.read(sitting.folder, {one.id: one for one, _ in sitting.placed})
    return tokenising.joined(found, sitting.cuts)


async def _ask(sitting: Sitting, notice: Notice, live: Live | None) -> list[Summary]:
    """Send what has no answer yet; what the cache knows need not be sent."""
    folder, load = sitting.folder, sitting.load
    for left in inference.close(folder, load):
        notice(f"{left} was not finished: its answers count")
    wanted = {one.id: one for one, _ in sitting.placed}
    found = answers.read(folder, wanted)
    missing = [placed for placed in sitting.placed if not _good(found.get(placed[0].id))]
    with posts.Cached(sitting.settings.cache, load, sitting.journal.model) as cached:
        missing = cached.take(missing, folder)
        if found or len(missing) < len(wanted):
            notice(f"{len(wanted) - len(missing):,} of {len(wanted):,} requests are answered already")
        runs = await inference.infer(missing, load, folder, notice, live) if missing else []
        cached.keep(sitting.placed, answers.records(folder))
    return [run.summary for run in runs]


def _good(answer: Answer | None) -> bool:
    return answer is not None and answer.good


def _told(sitting: Sitting, found: Mapping[str, Answer], runs: Sequence[Summary]) -> Journal:
    counts, failures = journal.counted((one.id for one, _ in sitting.placed), found)
    usages = (record.usage for run, record in answers.records(sitting.folder) if run is not None)
    return msgspec.structs.replace(
        sitting.journal,
        ended=journal.now(),
        interrupted=any(run.run.get("ended") != "done" for run in runs),
        runs=[path.name for path in answers.runs(sitting.folder)],
        counts=counts,
        failures=failures,
        spent=journal.spent(usages, sitting.settings),
    )


def _score(sitting: Sitting, found: Mapping[str, Answer], took: float) -> samples.Evaluation:
    settings, now = sitting.settings, datetime.datetime.now()
    about = About(
        model=sitting.journal.model,
        arguments={"base_url": sitting.journal.settings["load"]["url"]},
        limit=settings.limit,
        gen=settings.gen,
        seed=None,
        system=settings.system,
        multiturn=settings.multiturn,
        cache=settings.cache,
        began=now.timestamp() - took,
        took=took,
    )
    timings = {(run, record.index): items.timing(record) for run, record in answers.records(sitting.folder) if run}
    return results.finish(
        store.Folder(sitting.folder, new=False),
        about,
        [(paper.setup(not settings.predict_only), answers.answered(paper.items, found)) for paper in sitting.papers],
        sitting.groups,
        results.stamp(now),
        run_code=None if settings.predict_only else programs.judged(sitting.papers, found),
        timings=timings,
        target=settings.target,
    )
