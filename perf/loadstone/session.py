"""A load test from configuration to results: prompts, server, plan, run, files. `loadstone run`, as a function.

Prints nothing: it hands notices and progress to whoever called. Everything that a report needs is in the run folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone import apis, describe, jobs, keys, plan, preflight, readers, store
from loadstone.alarm import Waiter
from loadstone.config import Config
from loadstone.flight import Flight, Limits
from loadstone.guards import interrupts, quiet_gc, watched
from loadstone.health import Health
from loadstone.jobs import Job
from loadstone.plan import Plan
from loadstone.plugins import find
from loadstone.progress import Progress
from loadstone.records import Failure, Prompt, Record, Summary, UsageError
from loadstone.results import finish
from loadstone.runner import Runner
from loadstone.transport import Options, Transport
from loadstone.transport.choose import open_transport, tls_context

Notice = Callable[[str], None]
Live = Callable[[Progress], Awaitable[None]]


class Result(Struct, frozen=True):
    """What a run leaves behind."""

    summary: Summary
    folder: Path


class _Setup(Struct):
    """What has been settled before the first request."""

    config: Config
    api: apis.API
    prompts: list[Prompt]
    plan: Plan
    jobs: list[Job]
    model: str
    server: preflight.Server


async def load_test(config: Config, *, notice: Notice = lambda _: None, live: Live | None = None) -> Result:
    """Run `config` against `config.url` and write the run folder. Raises UsageError before anything is sent when the
    configuration, the prompts or the server are not fit; nothing is written then."""
    config = config.check()
    path = Path(config.output) if config.output else store.default_path(config.label)
    store.check_free(path)
    api = find("loadstone.apis", config.api, apis.APIS, "--api")
    prompts = _prompts(config, notice)
    transport, base = _transport(config)
    try:
        with _discreet(config):
            setup = await _prepare(config, api, prompts, transport, base, notice)
        folder = store.Folder(path)
        await _run(setup, folder, transport, notice, live)
    finally:
        await transport.close()
    return Result(finish(folder, config.tokenizer), folder.path)


def _prompts(config: Config, notice: Notice) -> list[Prompt]:
    options = readers.Options(
        prompt_field=config.prompt_field,
        seed=config.seed,
        count=None if config.requests is None else config.requests + config.warmup,
        input_len=config.input_len,
        output_len=config.output_len,
        range_ratio=config.range_ratio,
        tokenizer=config.tokenizer,
    )
    return readers.read(config.dataset, options, notice)


def _transport(config: Config) -> tuple[Transport, str]:
    if config.url is None:
        raise UsageError("no server: give its address with --url http://HOST:PORT")
    target, base = jobs.locate(config.url)
    tls = tls_context(insecure=config.insecure, ca_file=config.ca_file) if target.secure else None
    options = Options(clock=describe.clock, connect_timeout=config.connect_timeout, tls=tls)
    return open_transport(config.transport, target, options), base


async def _prepare(
    config: Config, api: apis.API, prompts: list[Prompt], transport: Transport, base: str, notice: Notice
) -> _Setup:
    headers, url = keys.request_headers(config), str(config.shown()["url"])
    listing = jobs.sibling(base, api.path, "/v1/models")
    server = await preflight.look(transport, url, listing, headers, keys.hint(config))
    model, listed = preflight.choose_model(server, config.model, url)
    settings = apis.Settings(
        model=model,
        stream=config.stream,
        output_len=config.output_len,
        ignore_eos=config.ignore_eos,
        usage=config.usage,
        temperature=config.temperature,
        extra_body=config.extra_body,
    )
    made = jobs.make(prompts, api, settings, jobs.path_at(base, api.path), headers)
    if not listed:
        await preflight.probe(transport, made[0], url, server.models)
        notice(f"{url} does not list a model {model!r}, but takes a request for it")
    schedule = plan.make(config.load, len(prompts))
    if schedule.repeats:
        notice(f"{len(prompts)} prompts for {schedule.total} requests: prompts repeat, and prefix caches may help")
    return _Setup(config, api, prompts, schedule, made, model, server)


async def _run(setup: _Setup, folder: store.Folder, transport: Transport, notice: Notice, live: Live | None) -> None:
    config = setup.config
    folder.write_lines(store.SCHEDULE, plan.lines(setup.plan, setup.prompts))
    head = describe.run(config, setup.plan, setup.model, setup.server, len(setup.prompts))
    folder.write_json(store.RUN, head)
    recorder, progress = folder.recorder(), Progress(setup.plan, config.duration)
    secrets = keys.secrets(config)

    def keep(record: Record) -> None:
        recorder.add(_scrubbed(record, secrets))
        if live is not None:
            progress.add(record)
        if recorder.error is not None and not runner.stopping:
            runner.stop(f"cannot write records: {recorder.error.strerror}")

    waiter = Waiter(asyncio.get_running_loop())
    runner = progress.runner = _runner(setup, transport, keep, waiter)
    try:
        with quiet_gc(), interrupts(runner, config.grace, notice):
            async with watched(live(progress) if live else None):
                client = await _fly(runner)
    finally:
        recorder.close()
        waiter.close()
    folder.write_json(store.RUN, head | {"ended": runner.ended, "ended_at": describe.now(), "client": client})


def _runner(setup: _Setup, transport: Transport, keep: Callable[[Record], None], waiter: Waiter) -> Runner:
    config = setup.config
    return Runner(
        setup.plan,
        setup.jobs,
        setup.api,
        transport,
        keep,
        clock=describe.clock,
        limits=Limits(ttft=config.ttft_timeout, idle=config.idle_timeout, whole=config.timeout),
        duration=config.duration,
        grace=config.grace,
        keep_text=_keeps_text(config),
        wait=waiter.until,
    )


async def _fly(runner: Runner) -> dict[str, float | None]:
    """Run to the end; returns how the client fared meanwhile."""
    health = Health()
    health.start()
    try:
        await runner.run()
    finally:
        client = health.stop(runner.lags)
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


@contextlib.contextmanager
def _discreet(config: Config) -> Iterator[None]:
    """The server's words in a refusal may quote the key."""
    try:
        yield
    except UsageError as exc:
        raise UsageError(keys.without(str(exc), keys.secrets(config))) from exc
