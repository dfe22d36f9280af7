"""An evaluation made ready: tasks, what the server can do, how each task is answered, every request of it.

Only the probe asks anything. What was settled before, and stands in eval.json, is not looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import Notice, UsageError
from loadstone.evals.data import selection
from loadstone.evals.output import eval_json as journal
from loadstone.evals.output.eval_json import EvalState
from loadstone.evals.requests import capabilities, client, lines, mode, send, tokenize
from loadstone.evals.requests import task_run as papers
from loadstone.evals.requests.mode import AnswerMode
from loadstone.evals.requests.send import PlannedRequest
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.requests.tokenize import TokenizedRequest
from loadstone.evals.scoring import programs
from loadstone.evals.settings import Eval
from loadstone.tasks.spec import Group, Task


class PreparedEval(Struct, frozen=True, kw_only=True):
    """An evaluation that can begin, or go on. `load`: as its requests are sent; `routed`: all of them, in order;
    `cuts`: as token ids, those that are."""

    settings: Eval
    load: Config
    folder: Path
    groups: list[Group]
    task_runs: list[TaskRun]
    requests: list[PlannedRequest]
    tokenized: dict[str, TokenizedRequest]
    state: EvalState


async def prepare(settings: Eval, folder: Path, served: Config | None, notice: Notice) -> PreparedEval:
    """Everything that is settled before the first request. Raises UsageError."""
    if settings.dry_run:
        raise UsageError("--dry-run asks nothing: loadstone.evals.dry.look(settings) tells what would be asked")
    load = settings.load if served is None else msgspec.structs.replace(settings.load, url=served.url)
    meant = selection.select_tasks(settings, notice)
    before = journal.read_previous(folder, settings)
    if settings.stage == "score" and before is None:
        raise UsageError(f"{folder} is no evaluation: leave out --stage score to make one")
    model, routes, seen = (
        (before.model, before.routes, before.abilities) if before else await _look(load, settings, meant.tasks, notice)
    )
    load = msgspec.structs.replace(load, model=model or None, provider=None)
    made = [papers.build_task_run(task, routes[task.name], settings, notice) for task in meant.tasks]
    if not settings.predict_only and settings.stage != "infer":
        programs.check_allowed(made, settings.allow_code)
    _fit(made, seen.get("context"), notice)
    routed, cuts = await _routed(made, load, folder, seen, settings)
    send.check_unchanged(folder, lines.request_lines(routed, load))
    told = EvalState(
        model=model,
        settings=before.settings if before and settings.stage == "score" else msgspec.to_builtins(settings.shown()),
        routes=routes,
        abilities=seen,
        tasks=list(map(journal.task_entry, made, lines.digests(routed, made, load))),
        groups=[group.name for group in meant.groups],
        began=before.began if before else journal.now(),
    )
    journal.write(folder, told)
    return PreparedEval(
        settings=settings,
        load=load,
        folder=folder,
        groups=meant.groups,
        task_runs=made,
        requests=routed,
        tokenized=cuts,
        state=told,
    )


def _fit(made: Sequence[TaskRun], context: int | None, notice: Notice) -> None:
    """A server that says how much it takes may refuse each request that could come to more."""
    for paper in made:
        most = paper.settings.get("max_tokens") if paper.answer_mode.mode == "generation" else None
        if context is not None and isinstance(most, int) and most >= context:
            told = (
                f"{paper.task.name}: answers may have {most:,} tokens, but the server takes {context:,} with the prompt"
            )
            notice(f"{told}: give a lower --output-len")


async def _look(
    load: Config, settings: Eval, tasks: Sequence[Task], notice: Notice
) -> tuple[str, dict[str, AnswerMode], dict[str, Any]]:
    """The model's name, how each task is answered, and what the server was seen to do."""
    async with client.open_clients(load) as found:
        model, listed = found[0].model, (await found[0].get(client.MODELS)).json()
    seen = mode.common_capabilities(await capabilities.probe_servers(load))
    known = [row.get("id") for row in listed.get("data") or ()] if isinstance(listed, dict) else []
    if (
        known
        and model not in known
        and settings.api in (None, *mode.OPENAI_APIS)
        and not (seen.chat or seen.completions)
    ):
        names = ", ".join(map(str, known[:5]))
        raise UsageError(f"{load.urls[0]} does not answer for a model {model!r}; it lists {names}: give --model")
    routes = {task.name: mode.choose(task, settings.mode, settings.api, seen) for task in tasks}
    for told in dict.fromkeys(each.notice for each in routes.values() if each.notice):
        notice(told)
    return model, routes, msgspec.to_builtins(seen)


async def _routed(
    made: Sequence[TaskRun], load: Config, folder: Path, seen: Mapping[str, Any], settings: Eval
) -> tuple[list[PlannedRequest], dict[str, TokenizedRequest]]:
    """All requests with the way they go, as token ids where the server's tokenizer is asked."""
    routed = [(one, paper.answer_mode) for paper in made for one in paper.requests()]
    cut = [one for one, way in routed if way.method is not None and way.method.ids]
    if not cut:
        return routed, {}
    if settings.stage == "score":
        cuts = tokenize.read(folder)
    else:
        _, cuts = await tokenize.tokenize_requests(cut, load, folder, seen.get("context"))
    return [(part, way) for one, way in routed for part in tokenize.apply([one], cuts)], cuts
