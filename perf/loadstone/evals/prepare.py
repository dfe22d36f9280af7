"""Prepares an evaluation: its tasks, what the server can do, how each task is answered, and every request.

Only the probe of the server sends anything. What eval.json already holds is not determined again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.config.unused import UnusedNotice
from loadstone.engine import prepare as run_prepare
from loadstone.engine.unused import request_reasons
from loadstone.errors import ConfigError, Notice, ServerError
from loadstone.evals.data import selection
from loadstone.evals.lm_eval import harness
from loadstone.evals.output import eval_json
from loadstone.evals.output.eval_json import EvalState
from loadstone.evals.requests import capabilities, client, lines, mode, send, tokenize
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest
from loadstone.evals.requests.task_run import TaskRun, build_task_run
from loadstone.evals.scoring import programs
from loadstone.evals.settings import Eval
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Group, Task


class PreparedEval(Struct, frozen=True, kw_only=True):
    """An evaluation that can start, or be continued.

    load: settings of the runs that send its requests
    requests: all of them, in order, as they are sent
    state: what eval.json holds
    """

    settings: Eval
    load: Config
    folder: Path
    groups: list[Group]
    task_runs: list[TaskRun]
    requests: list[EvalRequest]
    state: EvalState


def select_tasks(settings: Eval, notice: Notice) -> Selection:
    """Return the tasks to evaluate, Loadstone's own and those of lm-eval. Raises UsageError."""
    own = selection.find_tasks(settings.tasks, settings.data)
    if own.without_data:
        first, count = own.without_data[0], len(own.without_data)
        notice(f"the small sets have no questions of {count} of the tasks, such as {first}: they are left out")
    selected = harness.add_tasks(own, settings.include_path)
    known = [task.name for task in selected.tasks]
    for name in settings.samples:
        if name not in known:
            raise ConfigError(
                f"--samples names {name}, which is none of the tasks asked: {', '.join(known[:8])}", field="samples"
            )
    return selected


async def prepare(settings: Eval, folder: Path, served: Config | None, notice: Notice) -> PreparedEval:
    """Determine everything that is fixed before the first request, and write eval.json. Raises UsageError.

    served: settings with the address of a server that was started for the evaluation
    """
    if settings.dry_run:
        raise ConfigError(
            "--dry-run sends nothing: loadstone.evals.dry_run.forecast(settings) returns what would be sent",
            field="dry_run",
        )
    # The tasks, and what an earlier evaluation in this folder has determined.
    load = settings.load if served is None else dataclasses.replace(settings.load, url=served.url)
    selected = select_tasks(settings, notice)
    earlier = eval_json.read_previous(folder, settings)
    if settings.stage == "score" and earlier is None:
        raise ConfigError(f"{folder} is no evaluation: leave out --stage score to make one", field="stage")
    # The model, and how each task is answered.
    if earlier is not None:
        model, modes, abilities = earlier.model, earlier.routes, earlier.abilities
    else:
        model, modes, abilities = await _probe(load, settings, selected.tasks, notice)
    if settings.stage != "score":
        names = {each.api for each in modes.values()}
        apis = {api: run_prepare.find_api(dataclasses.replace(load, api=api)) for api in sorted(names)}
        if unused := request_reasons(load, apis):
            notice(UnusedNotice(unused))
    load = dataclasses.replace(load, model=model or None, provider=None)

    # The requests. Those of an evaluation that is continued must be the same as before.
    task_runs = [build_task_run(task, modes[task.name], settings, notice) for task in selected.tasks]
    if not settings.predict_only and settings.stage != "infer":
        programs.check_allowed(task_runs, settings.allow_code)
    _check_lengths(task_runs, abilities.get("context"), notice)
    requests = [request for task_run in task_runs for request in task_run.requests()]
    if settings.stage == "score":
        requests = tokenize.apply(requests, tokenize.read(folder))
    else:
        requests = await tokenize.tokenize_requests(requests, load, folder, abilities.get("context"))
    send.check_unchanged(folder, send.rows(requests, load))

    # Scoring does not change what eval.json holds of the settings with which the requests were sent.
    digests = lines.digests(requests, [run.task.name for run in task_runs], load)
    state = EvalState(
        model=model,
        settings=earlier.settings if earlier and settings.stage == "score" else msgspec.to_builtins(settings.shown()),
        routes=modes,
        abilities=abilities,
        tasks=list(map(eval_json.task_entry, task_runs, digests)),
        groups=[group.name for group in selected.groups],
        began=earlier.began if earlier else eval_json.now(),
    )
    eval_json.write(folder, state)
    return PreparedEval(
        settings=settings,
        load=load,
        folder=folder,
        groups=selected.groups,
        task_runs=task_runs,
        requests=requests,
        state=state,
    )


def _check_lengths(task_runs: Sequence[TaskRun], context: int | None, notice: Notice) -> None:
    """Report tasks whose answers may be longer than the server's context: it may refuse all their requests."""
    for task_run in task_runs:
        if context is None or task_run.answer_mode.mode != "generation":
            continue
        limit = task_run.settings.get("max_tokens")
        if isinstance(limit, int) and limit >= context:
            notice(
                f"{task_run.task.name}: answers may have {limit:,} tokens, but the server takes {context:,} with the"
                " prompt: give a lower --output-len"
            )


async def _probe(
    load: Config, settings: Eval, tasks: Sequence[Task], notice: Notice
) -> tuple[str, dict[str, AnswerMode], dict[str, Any]]:
    """Return the name of the model, how each task is answered, and the capabilities of the server."""
    async with client.open_clients(load, notice) as clients:
        model = clients[0].model
        listing = (await clients[0].get(client.MODELS)).json()
    common = mode.common_capabilities(await capabilities.probe_servers(load))

    # A model that is not listed may still work; it is an error only if nothing answered.
    known = [row.get("id") for row in listing.get("data") or ()] if isinstance(listing, dict) else []
    answers = common.chat or common.completions
    if known and model not in known and settings.api in (None, *mode.OPENAI_APIS) and not answers:
        names = ", ".join(map(str, known[:5]))
        raise ServerError(f"{load.urls[0]} does not answer for a model {model!r}; it lists {names}: give --model")
    modes = {task.name: mode.choose(task, settings.mode, settings.api, common) for task in tasks}
    for text in dict.fromkeys(each.notice for each in modes.values() if each.notice):
        notice(text)
    return model, modes, msgspec.to_builtins(common)
