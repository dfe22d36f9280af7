"""What is settled before the first request: prompts, protocol, servers, models, plan, encoded requests.

Asks the servers who they are and what they serve; sends nothing else, except one probe of a model that is not listed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator

from msgspec import Struct

from loadstone import apis
from loadstone import dataset as readers
from loadstone.apis import base
from loadstone.config import secrets
from loadstone.config.parse import REPLAY
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.dataset import resolve, tokenizer
from loadstone.engine import preflight
from loadstone.engine import requests as jobs
from loadstone.engine.preflight import Server
from loadstone.engine.sender import Endpoint
from loadstone.errors import Notice, UsageError
from loadstone.host import timer
from loadstone.plugins import load_instance
from loadstone.records import Prompt
from loadstone.schedule import plan
from loadstone.schedule.plan import Load, Plan
from loadstone.transport import Options, address, in_process
from loadstone.transport.factory import choose_arrival_clock, open_transport, tls_context
from loadstone.units import NS_PER_S

# Settings that requests know by another name.
_SAMPLING = {"choices": "n", "sampling_seed": "seed"}
_PENALTIES = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_SAMPLED = ("top_p", "top_k", "min_p", *_PENALTIES, "min_tokens", "stop", "logprobs", "choices", "sampling_seed")


class PreparedRun(Struct, frozen=True):
    """A run that can begin. `models` and `servers` are in the order of their numbers in the plan."""

    config: Config
    api: base.API
    plan: Plan
    requests: jobs.PreparedRequests
    endpoints: list[Endpoint]
    models: list[str]
    servers: list[Server]


class EndpointSpec(Struct, frozen=True):
    """One of the servers before it is known: where requests go, where its list of models is, how it is called."""

    endpoint: Endpoint
    models_path: str
    url: str


@contextlib.asynccontextmanager
async def open_run(config: Config, notice: Notice, model: object | None = None) -> AsyncIterator[PreparedRun]:
    """Everything that a run needs, for as long as it lasts. `model`: an object to ask instead of a server. Raises
    UsageError for whatever is not fit."""
    api = find_api(config)
    prompts = read_prompts(config, notice)
    config = config.with_defaults(timed=all(prompt.at is not None for prompt in prompts))
    schedule = _plan(config, prompts, notice)
    async with open_endpoints(config, api, model) as ways:
        with _discreet(config):
            yield await _meet(config, api, prompts, schedule, ways, notice)


@contextlib.asynccontextmanager
async def open_endpoints(
    config: Config, api: base.API, model: object | None = None
) -> AsyncIterator[list[EndpointSpec]]:
    """The ways in, for as long as they are needed. What a class of somebody else's prints meanwhile goes to stderr:
    stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr) if config.own_model else contextlib.nullcontext():
        ways = endpoint_specs(config, api, model)
        try:
            yield ways
        finally:
            for entrance in ways:
                await entrance.endpoint.transport.close()


def find_api(config: Config) -> base.API:
    """The API asked for."""
    if (config.api == "template") != (config.body_template is not None):
        raise UsageError("--api template and --body-template go together: give both, with --text-path")
    if config.body_template is not None:
        from loadstone.apis.template import TemplateAPI

        return TemplateAPI(config.body_template, config.text_path, config.usage_path)
    return apis.check_api(load_instance("loadstone.apis", config.api, apis.APIS, "--api"), config.api)


def read_prompts(config: Config, notice: Notice) -> list[Prompt]:
    """The prompts, worded as asked for."""
    prompts = readers.read(config.dataset, _options(config), notice)
    if config.apply_chat_template:
        prompts = tokenizer.apply_template(prompts, config.tokenizer or "", config.chat_template_kwargs or {})
    if config.tokenize_prompt:
        prompts = tokenizer.tokenize(prompts, config.tokenizer or "")
    return prompts


def _options(config: Config) -> readers.Options:
    said = {name: getattr(config, name) for name in readers.Options.__struct_fields__ if hasattr(config, name)}
    return readers.Options(**said, count=_rows(config), in_order=not config.shuffle)


def _rows(config: Config) -> int | None:
    """How many rows the run will take; None where the dataset, or only time, will tell."""
    load = Load.of(config.with_defaults(timed=not is_generated(config.dataset)))
    if load.arrivals == REPLAY:
        return None if load.requests is None else load.requests + load.warmup + load.cooldown
    made = plan.make_plan(load, plan.DatasetShape([""]))
    timed = made.offsets is None and (load.warmup_time or load.cooldown_time)
    return None if timed or made.total is None else made.total + load.skip


def is_generated(dataset: str) -> bool:
    """Whether the prompts come from a generator, which makes as many as it is asked for."""
    return resolve.resolve(dataset, readers.READERS)[1] is None


def _plan(config: Config, prompts: list[Prompt], notice: Notice) -> Plan:
    instants = [prompt.at for prompt in prompts if prompt.at is not None]
    turns = [1 + len(prompt.later) for prompt in prompts]
    rows = plan.DatasetShape(
        [prompt.id for prompt in prompts], turns, instants if len(instants) == len(prompts) else None
    )
    made = plan.make_plan(Load.of(config), rows)
    if made.offsets is None and config.stop_saturated:
        raise UsageError("--stop-saturated is for open loops, whose load does not wait for the server: give --rate")
    if made.repeats:
        before = f" after {config.skip}" if config.skip else ""
        wanted = f"{made.total} requests" if made.total else "requests"
        notice(f"{len(prompts)} prompts for {wanted}{before}: prompts repeat, and prefix caches may help")
    if Load.of(config).arrivals == REPLAY:
        notice(f"replaying {made.total:,} requests recorded over {_span(made):,.0f} s")
    return made


def _span(made: Plan) -> float:
    instants = made.rows.recorded_at or [0]
    return (instants[-1] - instants[0]) / NS_PER_S


def endpoint_specs(config: Config, api: base.API, model: object | None = None) -> list[EndpointSpec]:
    """A way in to each of the servers, or to a model of one's own; nothing is sent yet."""
    if model is not None or config.own_model:
        return [_inside(config, model)]
    if not config.urls:
        raise UsageError("no server: give its address with --url http://HOST:PORT")
    path = api.path if config.stream and api.streams else api.path_unstreamed or api.path
    return [_entrance(config, url, path) for url in config.urls]


def _inside(config: Config, model: object | None) -> EndpointSpec:
    """The way to a model in this process."""
    if config.api not in ("chat", "completions"):
        raise UsageError(f"--api {config.api} is for servers: a model of your own is asked by chat or completions")
    if model is None:
        model = in_process.load_model(config.model or "", config.redacted())
    name = config.model or type(model).__name__
    return EndpointSpec(
        Endpoint(in_process.InProcessModel(model, name, timer.clock, config.batch_size), "/"), "/v1/models", name
    )


def _entrance(config: Config, url: str, path: str) -> EndpointSpec:
    target, base = address.parse_url(url)
    tls = tls_context(insecure=config.insecure, ca_file=config.ca_file) if target.secure else None
    arrivals = choose_arrival_clock(config.clock, config.transport, target)
    options = Options(clock=timer.clock, connect_timeout=config.connect_timeout, tls=tls, arrival_clock=arrivals)
    transport = open_transport(config.transport, target, options)
    listing = address.sibling_path(base, path, "/v1/models") if path else "/v1/models"
    return EndpointSpec(Endpoint(transport, address.join_path(base, path) or "/"), listing, hide_in_url(url))


async def _meet(
    config: Config, api: base.API, prompts: list[Prompt], schedule: Plan, ways: list[EndpointSpec], notice: Notice
) -> PreparedRun:
    headers, hint = (*api.headers, *secrets.request_headers(config)), secrets.key_hint(config)
    servers = [
        await preflight.query_server(at.endpoint.transport, at.url, at.models_path, headers, hint) for at in ways
    ]
    first, doors = ways[0], [at.endpoint for at in ways]
    chosen = [preflight.choose_model(servers[0], asked, first.url, api.names_model) for asked, _ in config.models]
    models = [model for model, _ in chosen]
    made = jobs.PreparedRequests(prompts, request_builder(config, api, doors, models))
    for entrance, server in zip(ways, servers, strict=True):
        for number, (model, _) in enumerate(chosen):
            await _try(entrance, server, api, made.get(0, number), model, notice)
    return PreparedRun(config, api, schedule, made, doors, models, servers)


def request_builder(config: Config, api: base.API, doors: list[Endpoint], models: list[str]) -> jobs.RequestBuilder:
    """What encodes the requests: the same bytes from the same configuration, in whatever process."""
    settings = [_settings(config, model) for model in models]
    return jobs.RequestBuilder(api, settings, doors[0].path, secrets.request_headers(config))


async def _try(
    entrance: EndpointSpec, server: Server, api: base.API, job: jobs.PreparedRequest, model: str, notice: Notice
) -> None:
    """A model that the server does not list, or an answer of which only the operator knows the form, is tried once."""
    listed = not model or model in (server.models or ())
    if not listed or api.probe_first:
        await preflight.probe(
            entrance.endpoint.transport, job.with_path(entrance.endpoint.path), api, entrance.url, server.models
        )
    if not listed:
        notice(f"{entrance.url} does not list a model {model!r}, but takes a request for it")


def _settings(config: Config, model: str) -> base.RequestSettings:
    given = {name: getattr(config, name) for name in _SAMPLED}
    sampling = {_SAMPLING.get(name, name): value for name, value in given.items() if value is not None}
    extra = dict(config.extra_body)
    if config.chat_template_kwargs is not None and not config.apply_chat_template:
        extra["chat_template_kwargs"] = config.chat_template_kwargs
    return base.RequestSettings(
        model=model,
        stream=config.stream,
        output_len=config.output_len if isinstance(config.output_len, int) else None,
        ignore_eos=config.ignore_eos,
        exact_length=config.match_output_length,
        usage=config.usage,
        temperature=config.temperature,
        sampling=sampling,
        extra_body=extra,
    )


@contextlib.contextmanager
def _discreet(config: Config) -> Iterator[None]:
    """The server's words in a refusal may quote the key."""
    try:
        yield
    except UsageError as exc:
        raise UsageError(secrets.hide_secrets(str(exc), secrets.find_secrets(config))) from exc
