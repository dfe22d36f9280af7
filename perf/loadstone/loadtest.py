"""A load test from configuration to results: prompts, server, schedule, run, files. `loadstone run` as a function.

It prints nothing: the caller gets notices and progress. Everything that a report needs is in the run folder.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex

import msgspec
from msgspec import Struct

from loadstone.apis.common import prompt_text
from loadstone.checks import resources
from loadstone.checks.rules import why_no_success
from loadstone.config import providers
from loadstone.config import secrets as keys
from loadstone.config.schema import Config
from loadstone.engine import prepare, run_folder, run_metadata
from loadstone.engine.lifecycle import watched
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.progress_digest import Progress
from loadstone.engine.workers import create_workers, interrupts
from loadstone.errors import ConfigError, Notice
from loadstone.host.client_health import worst_client
from loadstone.live.progress import RunProgress
from loadstone.results import write_results
from loadstone.schedule.plan import schedule_lines
from loadstone.server_metrics import discovery
from loadstone.server_metrics.process import MetricsPage, ScrapeProcess
from loadstone.summary import COMPLETE, END_REASONS, Digest, EndReason, HeldBack, Summary
from loadstone.units import NS_PER_S

# Shows the progress of a run until it is cancelled.
Live = Callable[[RunProgress], Awaitable[None]]


class Result(Struct, frozen=True):
    """The results of a run.

    summary: its figures.
    folder: its run folder.
    """

    summary: Summary
    folder: Path

    def exit_status(self, config: Config, notice: Notice) -> int:
        """Return the exit status of `loadstone run`: 0, 1 for a failed check (with a notice) or 130."""
        summary = self.summary
        if summary.run.ended is EndReason.INTERRUPTED:
            return 130
        counts = summary.counts
        if not counts.succeeded:
            notice(f"no request succeeded; {why_no_success(summary)}")
            return 1
        if counts.failed > config.max_error_rate * counts.completed:
            allowed = f"--max-error-rate {config.max_error_rate:g}"
            notice(f"{counts.failed} of {counts.completed} requests failed, above {allowed}")
            return 1
        return 0 if summary.run.ended in COMPLETE else 1


async def load_test(
    config: Config, *, model: object | None = None, notice: Notice = lambda _: None, live: Live | None = None
) -> Result:
    """Run a load test against `config.url` and write the run folder.

    config: what to run.
    model: an object with `predict`, used in place of a server (docs/extending.md).
    notice: called with sentences for the operator.
    live: called with the progress; shows it while the run goes on.

    Raises UsageError before anything is sent or written if the configuration, the prompts or the server do not fit.
    """
    config = (providers.resolve(config) if model is None else _for_model(config, model)).check()
    path = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(path)
    async with prepare.open_run(config, notice, model) as prepared:
        pages = await discovery.find_pages(prepared.config, prepared.api, notice)
        folder = run_folder.RunFolder(path)
        await _run(prepared, folder, pages, notice, live)
        if config.tokenizer is not None:
            _count_inputs(prepared, folder, config.tokenizer)
    return Result(write_results(folder, config.tokenizer, config.html), folder.path)


def _count_inputs(prepared: PreparedRun, folder: run_folder.RunFolder, tokenizer: str) -> None:
    """Write the tokens of the prompts, without a chat template, if the server did not count those of all successes."""
    uncounted = {
        record.prompt
        for record in run_folder.load_records(folder.path)
        if record.error is None and not (record.usage and record.usage.prompt)
    }
    if uncounted:
        from loadstone.dataset import tokenizer as tokenizers

        count = tokenizers.load(tokenizer).count
        prompts = (prompt for prompt in prepared.requests.all_prompts() if prompt.id in uncounted)
        tokens = {
            prompt.id: len(prompt.tokens) if prompt.tokens is not None else count(prompt_text(prompt))
            for prompt in prompts
        }
        folder.write_json(run_folder.INPUT_TOKENS, tokens)


def _most_in_flight(prepared: PreparedRun) -> int:
    """Return how many requests can be in flight at most; 0 if that depends on the server."""
    slots = prepared.config.concurrency or 0
    total = prepared.plan.total
    return slots if total is None else min(slots, total)


def _for_model(config: Config, model: object) -> Config:
    """Return the configuration for a model object, which has no URL and cannot be passed to other processes."""
    if config.url is not None or config.workers not in ("auto", 1):
        raise ConfigError("a model given as an object is asked in this process alone: leave out url and workers")
    return dataclasses.replace(config, model=config.model or type(model).__name__, workers=1, clock="user")


async def _run(
    prepared: PreparedRun, folder: run_folder.RunFolder, pages: list[MetricsPage], notice: Notice, live: Live | None
) -> None:
    """Run the load and write the records and run.json."""
    config, secrets = prepared.config, keys.find_secrets(prepared.config)
    folder.scrub = keys.scrubber(secrets)
    run_info = run_metadata.describe_run(prepared, write_plan(prepared, folder, secrets))
    folder.write_json(run_folder.RUN, run_info)
    workers = create_workers(prepared, folder, request_id_prefix(config))
    if advice := resources.open_files_advice(_most_in_flight(prepared), run_info.host.open_files, workers.size):
        notice(advice)
    progress = RunProgress(prepared.plan, config.duration, run_info)
    stop_conditions = None
    if config.stop_error_rate is not None or config.stop_saturated:
        from loadstone.live.stop_conditions import StopConditions

        stop_conditions = StopConditions(config, notice, workers.stop)

    def on_progress(update: Progress) -> None:
        progress.add(update)
        if stop_conditions is not None:
            stop_conditions.add(update)

    # Load, with the servers' metrics scraped beside it.
    scrape = ScrapeProcess(discovery.scrape_spec(config, pages, folder.path))
    if not await asyncio.to_thread(scrape.start):
        notice("the metrics of the server are not scraped: the process that scrapes them did not start")
    with interrupts(workers, config.grace, notice):
        try:
            async with watched(live(progress) if live else None):
                reported = on_progress if live or stop_conditions else None
                end = await workers.run(reported, on_start=scrape.set_origin)
        finally:
            if not await asyncio.to_thread(scrape.stop):
                notice("the process that scrapes the server's metrics ended before the run: its figures are incomplete")

    # End: of several processes the worst client counts.
    clients = [{"worker": result.worker, **result.client} for result in end.results]
    stop_reason = stop_conditions.reason if stop_conditions is not None else None
    held_back = None
    if config.rpm is not None or config.tpm is not None:
        requests, waited = (sum(result.delayed[index] for result in end.results) for index in range(2))
        held_back = HeldBack(requests, waited / NS_PER_S)
    ended = msgspec.structs.replace(
        run_info,
        ended=end.ended,
        ended_because=stop_reason or end.because or END_REASONS.get(end.ended, end.ended),
        unsent_turns=sum(result.unsent_turns for result in end.results),
        ended_at=run_metadata.now(),
        client=worst_client([result.client for result in end.results]),
        workers=clients if len(clients) > 1 else [],
        held_back=held_back,
    )
    folder.write_json(run_folder.RUN, ended)
    folder.merge()
    if config.export_raw is not None:
        folder.merge(run_folder.RAW)
        raw = folder.path / run_folder.RAW
        if left_out := sum(result.raw_left_out for result in end.results):
            notice(f"{raw} has no room for {left_out:,} more requests: it is limited to {run_folder.MAX_RAW >> 20} MiB")
        if error := next((result.raw_error for result in end.results if result.raw_error), None):
            notice(f"cannot write all of {raw}: {error}")


def write_plan(prepared: PreparedRun, folder: run_folder.RunFolder, secrets: list[str]) -> Digest:
    """Write the schedule, and the bodies if `--save-bodies` is set. Return the digests of both.

    Two runs with the same digests sent the same requests.
    """
    bodies = (
        keys.hide_secrets(line.decode(), secrets).encode() if secrets else line
        for line in prepared.requests.body_lines(prepared.plan)
    )
    schedule_digest = folder.write_lines(run_folder.SCHEDULE, schedule_lines(prepared.plan))
    if prepared.config.save_bodies:
        return Digest(schedule_digest, folder.write_lines(run_folder.BODIES, bodies))
    hasher = hashlib.sha256()
    for line in bodies:
        hasher.update(line)
    return Digest(schedule_digest, hasher.hexdigest())


def request_id_prefix(config: Config) -> str | None:
    """Return the prefix of request ids: the one that was set, or a random one, as server logs hold many runs."""
    return f"loadstone-{token_hex(4)}-" if config.request_id == "" else config.request_id
