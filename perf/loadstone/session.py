"""A load test from configuration to results: prompts, server, plan, run, files. `loadstone run`, as a function.

Prints nothing: it hands notices and progress to whoever called. Everything that a report needs is in the run folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex

import msgspec
from msgspec import Struct

from loadstone import describe, keys, setup, store
from loadstone.alarm import Waiter
from loadstone.carrier import Carrier, Style
from loadstone.config import Config
from loadstone.flight import Flight, Limits
from loadstone.guards import interrupts, quiet_gc, watched
from loadstone.health import Health
from loadstone.plan import lines
from loadstone.progress import Progress
from loadstone.records import Failure, Record, Summary
from loadstone.results import finish
from loadstone.runner import Runner, Times
from loadstone.setup import Notice, Setup
from loadstone.watchers import Watchers

Live = Callable[[Progress], Awaitable[None]]
ENDS = {
    "done": "everything that was planned has been sent",
    "duration": "the time given by --duration was over",
    "stages": "the stages were over",
    "interrupted": "interrupted by the operator",
}
"""In words, where nobody had a special reason."""


class Result(Struct, frozen=True):
    """What a run leaves behind."""

    summary: Summary
    folder: Path


async def load_test(config: Config, *, notice: Notice = lambda _: None, live: Live | None = None) -> Result:
    """Run `config` against `config.url` and write the run folder. Raises UsageError before anything is sent when the
    configuration, the prompts or the server are not fit; nothing is written then."""
    config = config.check()
    path = Path(config.output) if config.output else store.default_path(config.label)
    store.check_free(path)
    async with setup.ready(config, notice) as made:
        folder = store.Folder(path)
        await _run(made, folder, notice, live)
    return Result(finish(folder, config.tokenizer), folder.path)


async def _run(made: Setup, folder: store.Folder, notice: Notice, live: Live | None) -> None:
    config, secrets = made.config, keys.secrets(made.config)
    head = describe.run(made) | {"digest": _write_plan(made, folder, secrets)}
    folder.write_json(store.RUN, head)
    recorder, progress = folder.recorder(), Progress(made.plan, config.duration)
    watchers = Watchers(config, notice)

    def keep(record: Record) -> None:
        recorder.add(_scrubbed(record, secrets))
        watchers.add(record)
        if live is not None:
            progress.add(record)
        if recorder.error is not None and not runner.stopping:
            runner.stop(f"cannot write records: {recorder.error.strerror}")

    waiter = Waiter(asyncio.get_running_loop())
    runner = progress.runner = watchers.runner = _runner(made, keep, waiter)
    try:
        with quiet_gc(), interrupts(runner, config.grace, notice):
            async with watched(live(progress) if live else None), watched(watchers.watch()):
                client = await _fly(runner)
    finally:
        recorder.close()
        waiter.close()
    because = watchers.because or ENDS.get(runner.ended, runner.ended)
    end = {"ended": runner.ended, "ended_because": because, "unsent_turns": runner.unsent}
    end |= {"ended_at": describe.now(), "client": client}
    folder.write_json(store.RUN, head | end)


def _write_plan(made: Setup, folder: store.Folder, secrets: list[str]) -> dict[str, str]:
    """The schedule, and the bodies if wanted; the digests of both tell whether two runs sent the same."""
    bodies = (keys.without(line.decode(), secrets).encode() if secrets else line for line in made.jobs.lines(made.plan))
    return {
        "schedule": folder.write_lines(store.SCHEDULE, lines(made.plan)),
        "bodies": folder.write_lines(store.BODIES, bodies) if made.config.save_bodies else store.digest(bodies),
    }


def _runner(made: Setup, keep: Callable[[Record], None], waiter: Waiter) -> Runner:
    config = made.config
    limits = Limits(
        ttft=config.ttft_timeout, idle=config.idle_timeout, whole=config.timeout, cancel=config.cancel_after
    )
    style = Style(limits=limits, keep_text=_keeps_text(config), request_ids=_request_ids(config))
    carrier = Carrier(made.plan, made.jobs, made.api, made.doors, keep, clock=describe.clock, style=style)
    return Runner(carrier, Times(duration=config.duration, grace=config.grace), waiter.until)


def _request_ids(config: Config) -> str | None:
    """What ids begin with: as given, or, as server logs hold many runs, unlike those of any other run."""
    return f"loadstone-{token_hex(4)}-" if config.request_id == "" else config.request_id


async def _fly(runner: Runner) -> dict[str, float | None]:
    """Run to the end; returns how the client fared meanwhile."""
    health = Health()
    health.start()
    try:
        await runner.run()
    finally:
        client = health.stop(runner.carrier.lags)
    return client


def _scrubbed(record: Record, secrets: list[str]) -> Record:
    if record.error is None:
        return record
    message = keys.without(record.error.message, secrets)
    return msgspec.structs.replace(record, error=Failure(record.error.kind, message))


def _keeps_text(config: Config) -> Callable[[Flight], bool] | None:
    """Texts are kept when asked for, or where only they can tell the number of tokens."""
    if config.save_text:
        return lambda _: True
    if config.tokenizer is not None:
        return lambda flight: flight.reply.usage is None
    return None
