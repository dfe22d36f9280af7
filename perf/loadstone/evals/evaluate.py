"""Runs an evaluation from settings to results: `loadstone eval` as a function.

Prints nothing: notices and progress go to the caller. Everything it produces is in the evaluation's folder, and what is
already there is not requested again.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone import samples
from loadstone.config import files
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import ConfigError, Notice
from loadstone.evals.lock import exclusive
from loadstone.evals.output import eval_json, items_csv, report, results
from loadstone.evals.output.eval_json import EvalState
from loadstone.evals.output.items_csv import Timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata, sanitize
from loadstone.evals.prepare import PreparedEval, prepare
from loadstone.evals.requests import answers, lines, send, tokenize
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.eval_request import RequestId
from loadstone.evals.scoring import programs
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.evals.settings import Eval, from_mapping
from loadstone.loadtest import Live
from loadstone.records import Record, Usage
from loadstone.summary import EndReason, Summary


class Evaluated(Struct, frozen=True, kw_only=True):
    """The result of the evaluation of one model.

    folder: its files
    journal: what eval.json holds
    results: None if nothing was scored
    runs: summaries of the runs that were just made
    """

    folder: Path
    journal: EvalState
    results: samples.Evaluation | None = None
    runs: list[Summary] = []


def resolve_settings(config: Eval | Mapping[str, Any] | str | os.PathLike[str]) -> list[Eval]:
    """Return the validated settings of an evaluation, one for each model. Raises UsageError.

    config: settings, or the path of a file with them
    """
    if isinstance(config, Eval):
        return [config.check()]
    if isinstance(config, Mapping):
        fields, where, file = config, "the configuration", None
    else:
        fields, where, file = files.read(Path(config)), str(config), str(config)
    return separate_folders([each.check() for each in from_mapping(fields, where, file)])


def separate_folders(evaluations: list[Eval]) -> list[Eval]:
    """Give the evaluation of each model its own folder below the given one, if there are several."""
    if len(evaluations) == 1:
        return evaluations
    first = evaluations[0]
    root = Path(first.output) if first.output else run_folder.default_path(first.label or "eval")
    names = [str(root / sanitize(each.model or "")) for each in evaluations]
    if len(set(names)) < len(names):
        raise ConfigError(f"the folders of two models have the same name: {', '.join(names)}; evaluate them apart")
    return [dataclasses.replace(each, output=name) for each, name in zip(evaluations, names, strict=True)]


async def evaluate(
    settings: Eval, *, served: Config | None = None, notice: Notice = lambda _: None, live: Live | None = None
) -> Evaluated:
    """Send the requests that have no answer yet, and score the answers.

    served: settings with the address of a server that was started for the evaluation
    notice: called with sentences for the operator
    live: progress display

    Raises UsageError before anything is sent if settings, data or server are not fit for the evaluation.
    """
    started = time.monotonic()
    settings = settings.check()
    folder = Path(settings.output) if settings.output else run_folder.default_path(settings.label or "eval")
    with exclusive(folder):
        prepared = await prepare(settings, folder, served, notice)
        # Send what is missing, and read the records of all runs, also of earlier ones.
        runs = [] if settings.stage == "score" else await _send_missing(prepared, notice, live)
        collected = _collect(prepared)

        # Write what happened before scoring: if that fails, the evaluation can be scored later.
        counts, failures = eval_json.count_requests((request.id for request in prepared.requests), collected.responses)
        state = msgspec.structs.replace(
            prepared.state,
            ended=eval_json.now(),
            interrupted=any(run.run.ended != EndReason.DONE for run in runs),
            runs=[path.name for path in answers.runs(folder)],
            counts=counts,
            failures=failures,
            spent=eval_json.total_cost(collected.usages, prepared.settings),
        )
        eval_json.write(folder, state)
        if state.interrupted or settings.stage == "infer":
            return Evaluated(folder=folder, journal=state, runs=runs)

        evaluation = _score(prepared, collected, time.monotonic() - started)
        report.write(run_folder.RunFolder(folder, new=False), prepared.load.html)
        return Evaluated(folder=folder, journal=state, results=evaluation, runs=runs)


class _Collected(Struct, frozen=True):
    """What the records of all runs hold.

    responses: by id of the request
    usages: token counts of every record
    timings: by (run, index) of the record
    """

    responses: dict[RequestId, Response]
    usages: list[Usage | None]
    timings: dict[tuple[str, int], Timing]


def _collect(prepared: PreparedEval) -> _Collected:
    """Read the records of all runs once."""
    usages, timings = list[Usage | None](), dict[tuple[str, int], Timing]()

    def add(run: str | None, record: Record) -> None:
        if run is not None:
            usages.append(record.usage)
            timings[run, record.index] = items_csv.timing(record)

    responses = answers.read(prepared.folder, prepared.requests, add)
    return _Collected(tokenize.join_windows(responses, prepared.requests), usages, timings)


async def _send_missing(prepared: PreparedEval, notice: Notice, live: Live | None) -> list[Summary]:
    """Send the requests that neither the folder nor the cache has an answer to."""
    folder, load = prepared.folder, prepared.load
    for path in send.finish_killed_runs(folder, load):
        notice(f"{path} was not finished: its answers count")
    requests = prepared.requests
    responses = answers.read(folder, requests)
    answered = {request_id for request_id, response in responses.items() if response.ok}
    missing = [request for request in requests if request.id not in answered]
    with lines.EvalCache(prepared.settings.cache, load, prepared.state.model) as cache:
        missing = cache.take_known(missing, folder)
        if responses or len(missing) < len(requests):
            notice(f"{len(requests) - len(missing):,} of {len(requests):,} requests are answered already")
        runs = await send.infer(missing, load, folder, notice, live) if missing else []
        cache.store(requests, answers.records(folder))
    return [run.summary for run in runs]


def _score(prepared: PreparedEval, collected: _Collected, seconds: float) -> samples.Evaluation:
    """Score all responses and write the results.

    seconds: how long the evaluation took
    """
    settings, now = prepared.settings, datetime.datetime.now()
    about = EvalMetadata(
        model=prepared.state.model,
        arguments={"base_url": prepared.state.settings["load"]["url"]},
        limit=settings.limit,
        gen=settings.gen,
        seed=None,
        system=settings.system,
        multiturn=settings.multiturn,
        cache=settings.cache,
        began=now.timestamp() - seconds,
        took=seconds,
    )
    task_runs, responses = prepared.task_runs, collected.responses
    return results.write_results(
        run_folder.RunFolder(prepared.folder, new=False),
        about,
        [
            (TaskSetup.of(task_run, not settings.predict_only), answers.item_responses(task_run.items, responses))
            for task_run in task_runs
        ],
        prepared.groups,
        results.file_time(now),
        run_code=None if settings.predict_only else programs.run_programs(task_runs, responses),
        timings=collected.timings,
        target=settings.target,
    )
