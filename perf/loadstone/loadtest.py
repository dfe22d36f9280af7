"""A load test from configuration to results: prompts, server, plan, run, files. `loadstone run`, as a function.

Prints nothing: it hands notices and progress to whoever called. Everything that a report needs is in the run folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.checks import resources
from loadstone.checks.rules import why_no_success
from loadstone.config import providers
from loadstone.config import secrets as keys
from loadstone.config.schema import Config
from loadstone.engine import prepare, run_folder, run_metadata, worker_pool
from loadstone.engine.lifecycle import interrupts, watched
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.worker_messages import Progress
from loadstone.engine.worker_pool import RunEnd
from loadstone.errors import Notice, UsageError
from loadstone.host.client_health import worst_client
from loadstone.live.progress import RunProgress
from loadstone.live.stop_conditions import StopConditions
from loadstone.results import write_results
from loadstone.schedule.plan import schedule_lines
from loadstone.server_metrics import discovery
from loadstone.server_metrics.process import MetricsPage, ScrapeProcess
from loadstone.summary import Summary
from loadstone.units import NS_PER_S

Live = Callable[[RunProgress], Awaitable[None]]
# In words, where nobody had a special reason.
ENDS = {
    "done": "everything that was planned has been sent",
    "duration": "the time given by --duration was over",
    "stages": "the stages were over",
    "interrupted": "interrupted by the operator",
}


class Result(Struct, frozen=True):
    """What a run leaves behind."""

    summary: Summary
    folder: Path

    def exit_status(self, config: Config, notice: Notice) -> int:
        """Return the exit status of `loadstone run`: 0, 1 for a failed check (said in a notice) or 130."""
        summary = self.summary
        if summary.run.get("ended") == "interrupted":
            return 130
        counts = summary.counts
        if not counts.succeeded:
            notice(f"no request succeeded; {why_no_success(summary)}")
            return 1
        if counts.failed > config.max_error_rate * counts.completed:
            allowed = f"--max-error-rate {config.max_error_rate:g}"
            notice(f"{counts.failed} of {counts.completed} requests failed, above {allowed}")
            return 1
        return 0 if str(summary.run.get("ended")) in ("done", "duration", "stages") else 1


async def load_test(
    config: Config, *, model: object | None = None, notice: Notice = lambda _: None, live: Live | None = None
) -> Result:
    """Run `config` against `config.url` and write the run folder. `model`: an object with `predict` to ask instead of
    a server (docs/own-models.md). Raises UsageError before anything is sent when the configuration, the prompts or the
    server are not fit; nothing is written then."""
    config = (providers.resolve(config) if model is None else _inside(config, model)).check()
    path = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(path)
    async with prepare.open_run(config, notice, model) as made:
        places = await discovery.find_pages(made.config, discovery.api_paths(made.api), notice)
        folder = run_folder.RunFolder(path)
        await _run(made, folder, places, notice, live)
    return Result(write_results(folder, config.tokenizer, config.html), folder.path)


def _inside(config: Config, model: object) -> Config:
    """The run of an object, which has no address, and cannot be given to other processes."""
    if config.url is not None or config.workers not in ("auto", 1):
        raise UsageError("a model given as an object is asked in this process alone: leave out url and workers")
    return msgspec.structs.replace(config, model=config.model or type(model).__name__, workers=1, clock="user")


async def _run(
    made: PreparedRun, folder: run_folder.RunFolder, places: list[MetricsPage], notice: Notice, live: Live | None
) -> None:
    config, secrets = made.config, keys.find_secrets(made.config)
    head = run_metadata.describe_run(made) | {"digest": write_plan(made, folder, secrets)}
    folder.write_json(run_folder.RUN, head)
    team = worker_pool.create_workers(made, folder, request_id_prefix(config))
    if short := resources.open_files_advice(config.concurrency or 0, head["host"]["open_files"], team.size):
        notice(short)
    progress, watchers = RunProgress(made.plan, config.duration, head), StopConditions(config, notice, team.stop)

    def hear(pulse: Progress) -> None:
        progress.add(pulse)
        watchers.add(pulse)

    lookout = ScrapeProcess(discovery.scrape_spec(config, places, folder.path))
    if not await asyncio.to_thread(lookout.start):
        notice("the metrics of the server are not scraped: the process that asks for them has not begun")
    with interrupts(team, config.grace, notice):
        async with _stopping(lookout), watched(live(progress) if live else None):
            ending = await team.run(hear if live or watchers.any else None, lookout.set_origin)
    folder.write_json(run_folder.RUN, head | _end(ending, watchers.reason) | _held_back(config, ending))
    folder.merge()


@contextlib.asynccontextmanager
async def _stopping(lookout: ScrapeProcess) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.to_thread(lookout.stop)


def _end(ending: RunEnd, because: str | None) -> dict[str, Any]:
    """What run.json says when the run is over. Of several processes the worst counts."""
    clients = [{"worker": outcome.worker, **outcome.client} for outcome in ending.results]
    end = {
        "ended": ending.ended,
        "ended_because": because or ending.because or ENDS.get(ending.ended, ending.ended),
        "unsent_turns": sum(outcome.unsent_turns for outcome in ending.results),
        "ended_at": run_metadata.now(),
        "client": worst_client([outcome.client for outcome in ending.results]),
    }
    return end | ({"workers": clients} if len(clients) > 1 else {})


def _held_back(config: Config, ending: RunEnd) -> dict[str, Any]:
    """How many requests the limits a minute held back, and for how many seconds all together."""
    if config.rpm is None and config.tpm is None:
        return {}
    requests, waited = (sum(outcome.delayed[place] for outcome in ending.results) for place in range(2))
    return {"held_back": {"requests": requests, "seconds": waited / NS_PER_S}}


def write_plan(prepared: PreparedRun, folder: run_folder.RunFolder, secrets: list[str]) -> dict[str, str]:
    """The schedule, and the bodies if wanted; the digests of both tell whether two runs sent the same."""
    bodies = (
        keys.hide_secrets(line.decode(), secrets).encode() if secrets else line
        for line in prepared.requests.body_lines(prepared.plan)
    )
    return {
        "schedule": folder.write_lines(run_folder.SCHEDULE, schedule_lines(prepared.plan)),
        "bodies": folder.write_lines(run_folder.BODIES, bodies)
        if prepared.config.save_bodies
        else run_folder.digest(bodies),
    }


def request_id_prefix(config: Config) -> str | None:
    """What ids begin with: as given, or, as server logs hold many runs, unlike those of any other run."""
    return f"loadstone-{token_hex(4)}-" if config.request_id == "" else config.request_id
