"""An evaluation from settings to results: `loadstone eval` as a function. It is made ready, asked, answered and scored.

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

from loadstone import samples
from loadstone.config import files
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import Notice, UsageError
from loadstone.evals import settings as given
from loadstone.evals.lock import exclusive
from loadstone.evals.output import eval_json as journal
from loadstone.evals.output import items_csv, report, results
from loadstone.evals.output.eval_json import EvalState
from loadstone.evals.output.items_csv import Timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata, sanitize
from loadstone.evals.prepare import PreparedEval, prepare
from loadstone.evals.requests import answers, lines, send, tokenize
from loadstone.evals.requests.answers import Response
from loadstone.evals.scoring import programs  # fmt: skip
from loadstone.evals.settings import Eval
from loadstone.loadtest import Live
from loadstone.records import Record, Usage
from loadstone.summary import Summary


class Evaluated(Struct, frozen=True, kw_only=True):
    """What an evaluation of one model leaves behind. `results`: None where nothing was scored; `runs`: of this time."""

    folder: Path
    journal: EvalState
    results: samples.Evaluation | None = None
    runs: list[Summary] = []


def resolve_settings(config: Eval | Mapping[str, Any] | str | os.PathLike[str]) -> list[Eval]:
    """An evaluation for each model, checked, with a folder of its own where there are several. Raises UsageError."""
    if isinstance(config, Eval):
        return [config.check()]
    if not isinstance(config, Mapping):
        config, where = files.read(Path(config)), str(config)
    else:
        where = "the configuration"
    return separate_folders([each.check() for each in given.from_mapping(config, where)])


def separate_folders(each: list[Eval]) -> list[Eval]:
    """Several models have a folder each, below the one that was given."""
    if len(each) == 1:
        return each
    load = each[0].load
    root = Path(load.output) if load.output else run_folder.default_path(load.label or "eval")
    names = [str(root / sanitize(one.load.model or "")) for one in each]
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
    folder = Path(load.output) if load.output else run_folder.default_path(load.label or "eval")
    with exclusive(folder):
        return await _evaluate(await prepare(settings, folder, served, notice), began, notice, live)


async def _evaluate(sitting: PreparedEval, began: float, notice: Notice, live: Live | None) -> Evaluated:
    runs = [] if sitting.settings.stage == "score" else await _ask(sitting, notice, live)
    found = _gathered(sitting)
    told = _told(sitting, found, runs)
    journal.write(sitting.folder, told)
    if told.interrupted or sitting.settings.stage == "infer":
        return Evaluated(folder=sitting.folder, journal=told, runs=runs)
    scored = _score(sitting, found, time.monotonic() - began)
    report.write(run_folder.RunFolder(sitting.folder, new=False), sitting.load.html)
    return Evaluated(folder=sitting.folder, journal=told, results=scored, runs=runs)


class _Gathered(Struct, frozen=True):
    """What the records of all runs hold: answers by request, what each cost, how long it took by (run, index)."""

    answers: dict[str, Response]
    usages: list[Usage | None]
    timings: dict[tuple[str, int], Timing]


def _gathered(sitting: PreparedEval) -> _Gathered:
    usages, timings = list[Usage | None](), dict[tuple[str, int], Timing]()

    def seen(run: str | None, record: Record) -> None:
        if run is not None:
            usages.append(record.usage)
            timings[run, record.index] = items_csv.timing(record)

    found = answers.read(sitting.folder, {one.id: one for one, _ in sitting.requests}, seen)
    return _Gathered(tokenize.join_windows(found, sitting.tokenized), usages, timings)


async def _ask(sitting: PreparedEval, notice: Notice, live: Live | None) -> list[Summary]:
    """Send what has no answer yet; what the cache knows need not be sent."""
    folder, load = sitting.folder, sitting.load
    for left in send.finish_killed_runs(folder, load):
        notice(f"{left} was not finished: its answers count")
    wanted = {one.id: one for one, _ in sitting.requests}
    found = answers.read(folder, wanted)
    missing = [routed for routed in sitting.requests if not _good(found.get(routed[0].id))]
    with lines.EvalCache(sitting.settings.cache, load, sitting.state.model) as cached:
        missing = cached.take_known(missing, folder)
        if found or len(missing) < len(wanted):
            notice(f"{len(wanted) - len(missing):,} of {len(wanted):,} requests are answered already")
        runs = await send.infer(missing, load, folder, notice, live) if missing else []
        cached.store(sitting.requests, answers.records(folder))
    return [run.summary for run in runs]


def _good(answer: Response | None) -> bool:
    return answer is not None and answer.ok


def _told(sitting: PreparedEval, found: _Gathered, runs: Sequence[Summary]) -> EvalState:
    counts, failures = journal.count_requests((one.id for one, _ in sitting.requests), found.answers)
    return msgspec.structs.replace(
        sitting.state,
        ended=journal.now(),
        interrupted=any(run.run.get("ended") != "done" for run in runs),
        runs=[path.name for path in answers.runs(sitting.folder)],
        counts=counts,
        failures=failures,
        spent=journal.total_cost(found.usages, sitting.settings),
    )


def _score(sitting: PreparedEval, found: _Gathered, took: float) -> samples.Evaluation:
    settings, now = sitting.settings, datetime.datetime.now()
    about = EvalMetadata(
        model=sitting.state.model,
        arguments={"base_url": sitting.state.settings["load"]["url"]},
        limit=settings.limit,
        gen=settings.gen,
        seed=None,
        system=settings.system,
        multiturn=settings.multiturn,
        cache=settings.cache,
        began=now.timestamp() - took,
        took=took,
    )
    return results.write_results(
        run_folder.RunFolder(sitting.folder, new=False),
        about,
        [
            (paper.setup(not settings.predict_only), answers.item_responses(paper.items, found.answers))
            for paper in sitting.task_runs
        ],
        sitting.groups,
        results.file_time(now),
        run_code=None if settings.predict_only else programs.run_programs(sitting.task_runs, found.answers),
        timings=found.timings,
        target=settings.target,
    )
