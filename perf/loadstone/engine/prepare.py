"""Prepare a load test: prompts, API, servers, models, plan, encoded requests.

Asks the servers for their models. Sends nothing else, except one probe of a model that is not listed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from loadstone import apis, dataset
from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.config import refusals, secrets
from loadstone.config.parse import REPLAY
from loadstone.config.providers import DEFAULT_API, default_max_tokens_field
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.config.unused import UnusedNotice
from loadstone.dataset import context, resolve
from loadstone.dataset.ranking import DOCUMENTS, with_documents
from loadstone.engine import preflight
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.sender import Endpoint
from loadstone.engine.unused import load_reasons, request_reasons
from loadstone.errors import ConfigError, Notice, UsageError
from loadstone.host import timer
from loadstone.plugins import load_instance
from loadstone.records import Prompt
from loadstone.schedule.plan import DatasetShape, Load, Plan, make_plan
from loadstone.summary import ServerInfo
from loadstone.transport import Options, Transport, address
from loadstone.transport.factory import choose_arrival_clock, open_transport, proxy_variable, tls_context
from loadstone.units import NS_PER_S

# Settings that requests know by another name.
_SAMPLING = {"choices": "n", "sampling_seed": "seed"}
_PENALTIES = ("presence_penalty", "frequency_penalty", "repetition_penalty")
# Protocols that rank documents.
RERANKS = ("rerank", "tei-rerank")
# Owners of models by the lists of servers that take `max_tokens`.
_TAKES_MAX_TOKENS = ("vllm", "sglang", "llamacpp", "library", "transformers", "loadstone")
# Settings that go into the body of each request, where they are given.
_SAMPLED = ("top_p", "top_k", "min_p", *_PENALTIES, "min_tokens", "stop", "logprobs", "choices", "sampling_seed")


# Prompts that a generator makes at most: they are in memory, and a longer run repeats them.
MAX_GENERATED = 100_000
# Requests a second that no run exceeds.
MAX_RATE = 10_000


class PreparedRun(Struct, frozen=True):
    """A run that can start. `models`, `endpoints` and `servers` are in the order of their numbers in the plan."""

    config: Config
    api: base.API
    plan: Plan
    requests: PreparedRequests
    endpoints: list[Endpoint]
    models: list[str]
    servers: list[ServerInfo] = []


@contextlib.asynccontextmanager
async def open_run(config: Config, notice: Notice, model: object | None = None) -> AsyncIterator[PreparedRun]:
    """Prepare everything that a run needs, and close the connections at the end.

    model: an object to ask instead of a server. Raises UsageError for whatever cannot work.
    """
    api = find_api(config)
    unused: dict[str, str] = {}  # settings, with the reason

    def collect(text: str) -> None:
        if isinstance(text, UnusedNotice):
            unused.update(text.reasons)
        else:
            notice(text)

    prompts = read_prompts(config, collect)
    given = config
    config = config.with_defaults(timed=all(prompt.at is not None for prompt in prompts))

    # The plan, with a notice where prompts repeat or recorded times are replayed.
    load = Load.of(config)
    plan = make_plan(load, _shape(prompts))
    if plan.offsets is None and config.stop_saturated:
        raise ConfigError(
            "--stop-saturated is for open loops, whose load does not wait for the server: give --rate",
            field="stop_saturated",
        )
    if plan.repeats:
        before = f" after {config.skip}" if config.skip else ""
        requests = f"{plan.total} requests" if plan.total else "requests"
        notice(f"{len(prompts)} prompts for {requests}{before}: prompts repeat, and prefix caches may help")
    if load.arrivals == REPLAY:
        times = plan.rows.recorded_at or [0]
        span = (times[-1] - times[0]) / NS_PER_S
        notice(f"replaying {plan.total:,} requests recorded over {span:,.0f} s")
    for url in config.urls:
        if config.transport == "wire" and (variable := proxy_variable(address.parse_url(url)[0])) is not None:
            notice(f"{variable} is set and not used: --transport aiohttp goes through it, NO_PROXY names exceptions")
            break
    unused = (
        request_reasons(config, {config.api or DEFAULT_API: api}, model) | unused | load_reasons(given, plan, prompts)
    )
    if unused:
        notice(UnusedNotice(unused))

    async with open_endpoints(config, api, model) as endpoints:
        try:
            yield await _query_servers(config, api, prompts, plan, endpoints, notice)
        except UsageError as exc:  # the server's words in a refusal may quote the key
            raise exc.with_message(secrets.hide_secrets(str(exc), secrets.find_secrets(config))) from exc


@contextlib.asynccontextmanager
async def open_endpoints(config: Config, api: base.API, model: object | None = None) -> AsyncIterator[list[Endpoint]]:
    """Create the endpoints, and close their connections at the end.

    What a user's own class prints meanwhile goes to stderr: stdout is for results.
    """
    with contextlib.redirect_stdout(sys.stderr) if config.own_model else contextlib.nullcontext():
        endpoints = create_endpoints(config, api, model)
        try:
            yield endpoints
        finally:
            for endpoint in endpoints:
                await endpoint.transport.close()


def find_api(config: Config) -> base.API:
    """Return the API of a configuration. Raises UsageError."""
    if (config.api == "template") != (config.body_template is not None):
        raise ConfigError("--api template and --body-template go together: give both, with --text-path", field="api")
    if config.body_template is not None:
        from loadstone.apis.template import TemplateAPI

        return TemplateAPI(config.body_template, config.text_path, config.usage_path)
    name = config.api or DEFAULT_API
    api = load_instance("loadstone.apis", name, apis.APIS, "--api", apis.OTHER_NAMES)
    return apis.check_api(api, name)


def read_prompts(config: Config, notice: Notice) -> list[Prompt]:
    """Read the prompts, with their chat template or as token ids where the configuration says so."""
    # How many rows the run will take; None where that depends on the dataset or on time. A generator makes as many as
    # are needed, and has no recorded times.
    generated = resolve.resolve(config.dataset, dataset.READERS)[1] is None
    load = Load.of(config.with_defaults(timed=not generated))
    count: int | None = None
    if load.arrivals == REPLAY:
        count = None if load.requests is None else load.requests + load.warmup + load.cooldown
    else:
        plan = make_plan(load, DatasetShape([""]))
        timed = plan.offsets is None and (load.warmup_time or load.cooldown_time)
        count = None if timed or plan.total is None else plan.total + load.skip
    if count is not None and generated:
        # No more than the run can send: it would wait for prompts that it has no time to use.
        seconds = math.inf if load.duration is None else load.duration + load.warmup_time + load.cooldown_time
        count = load.skip + round(min(count - load.skip, MAX_GENERATED, max(1.0, seconds * MAX_RATE)))

    if config.trust_remote_code and config.tokenizer:
        from loadstone.dataset import tokenizer

        tokenizer.trust(config.tokenizer)
    settings = {name: getattr(config, name) for name in dataset.Options.__struct_fields__ if hasattr(config, name)}
    ranked = generated and config.api in RERANKS
    each = 1 + (config.documents or DOCUMENTS) if ranked else 1
    count = count * each if count is not None else None
    options = dataset.Options(**settings, count=count, in_order=not config.shuffle)
    prompts = dataset.read(config.dataset, options, notice)
    if ranked:
        prompts = with_documents(prompts, each - 1)
    if config.apply_chat_template or config.tokenize_prompt:
        from loadstone.dataset import tokenizer

        name = config.tokenizer or ""
        if config.apply_chat_template:
            prompts = tokenizer.apply_template(prompts, name, config.chat_template_kwargs or {})
        if config.tokenize_prompt:
            prompts = tokenizer.tokenize(prompts, name)
    return prompts


def create_endpoints(config: Config, api: base.API, model: object | None = None) -> list[Endpoint]:
    """Create an endpoint for each server, or for a model in this process. Sends nothing. Raises UsageError."""
    if model is not None or config.own_model:
        if config.api not in (None, "chat", "completions"):
            raise ConfigError(
                f"--api {config.api} is for servers: a model of your own is asked by chat or completions",
                field="api",
            )
        from loadstone.transport import in_process  # only a run without a server needs it

        if model is None:
            model = in_process.load_model(config.model or "", config.redacted())
        name = config.model or type(model).__name__
        transport: Transport = in_process.InProcessModel(model, name, timer.clock, config.batch_size)
        return [Endpoint(transport, "/", url=name)]
    if not config.urls:
        raise ConfigError("no server: give its address with --url http://HOST:PORT", field="url")
    own_path = api.path if config.stream and api.streams else api.path_unstreamed or api.path
    path = own_path if config.path is None else address.escape(f"/{config.path.lstrip('/')}")
    endpoints = []
    for url in config.urls:
        target, base_path = address.parse_url(url)
        tls = None
        if target.secure:
            tls = tls_context(
                insecure=config.insecure,
                ca_file=config.ca_file,
                client_cert=config.client_cert,
                client_key=config.client_key,
            )
        arrivals = choose_arrival_clock(config.clock, config.transport, target)
        options = Options(clock=timer.clock, connect_timeout=config.connect_timeout, tls=tls, arrival_clock=arrivals)
        transport = open_transport(config.transport, target, options)
        models_path = address.sibling_path(base_path, own_path, "/v1/models") if own_path else "/v1/models"
        path_here = (address.join_path(base_path, path) if config.path is None else _below(base_path, path)) or "/"
        endpoints.append(Endpoint(transport, path_here, models_path, hide_in_url(url), address.full_url(target, "")))
    return endpoints


def _below(base: str, path: str) -> str:
    """Return a path of --path below that of --url, with the query of both."""
    base, _, query = base.partition("?")
    path, _, more = path.partition("?")
    queries = "&".join(filter(None, (query, more)))
    return base + path + (f"?{queries}" if queries else "")


def _shape(prompts: Sequence[Prompt]) -> DatasetShape:
    """Return what a plan needs to know of the prompts."""
    recorded = [prompt.at for prompt in prompts if prompt.at is not None]
    return DatasetShape(
        [prompt.id for prompt in prompts],
        [1 + len(prompt.later) for prompt in prompts],
        recorded if len(recorded) == len(prompts) else None,
    )


def _fit_to_context(
    config: Config, prompts: list[Prompt], plan: Plan, length: int | None, notice: Notice
) -> tuple[list[Prompt], Plan]:
    """Return the prompts and the plan without bundled prompts that the model cannot take. Others are only named.

    length: tokens of the model's context, if the server says.
    """
    output_len = config.output_len if isinstance(config.output_len, int) else None
    if length is None or config.tokenizer is not None:
        return prompts, plan
    kept = context.fitting(prompts, length, output_len)
    left_out = len(prompts) - len(kept)
    if not left_out:
        return prompts, plan
    if not kept or config.dataset not in resolve.bundled():
        longest = "all" if not kept else f"{left_out:,} of {len(prompts):,}"
        notice(
            f"{longest} prompts may be longer than the model's context of {length:,} tokens: --max-input-len skips them"
        )
        return prompts, plan
    notice(f"{left_out} of {len(prompts)} prompts are left out: the model's context has {length:,} tokens")
    return kept, make_plan(plan.load, _shape(kept))


async def _query_servers(
    config: Config, api: base.API, prompts: list[Prompt], plan: Plan, endpoints: list[Endpoint], notice: Notice
) -> PreparedRun:
    """Query the servers, choose the models and encode the requests."""
    headers = (*api.headers, *secrets.request_headers(config))
    key_hint = secrets.key_hint(config)
    servers = [await preflight.query_server(endpoint, headers, key_hint, config.wait, notice) for endpoint in endpoints]
    models = [
        preflight.choose_model(servers[0], requested, endpoints[0], api.names_model)[0]
        for requested, _ in config.models
    ]
    prompts, plan = _fit_to_context(config, prompts, plan, servers[0].context, notice)
    requests = prepare_requests(config, api, endpoints, models, prompts)
    try:
        await _try_requests(config, api, requests, models, endpoints, servers, notice)
    except preflight.RefusedError as exc:
        if config.max_tokens_field is not None or not refusals.wants_newer_limit(exc.words):
            raise
        notice(f"{endpoints[0].url} asks for max_completion_tokens instead of max_tokens, and gets it")
        config = dataclasses.replace(config, max_tokens_field="max_completion_tokens")
        requests = prepare_requests(config, api, endpoints, models, prompts)
        await _try_requests(config, api, requests, models, endpoints, servers, notice)
    return PreparedRun(config, api, plan, requests, endpoints, models, servers)


async def _try_requests(
    config: Config,
    api: base.API,
    requests: PreparedRequests,
    models: list[str],
    endpoints: list[Endpoint],
    servers: list[ServerInfo],
    notice: Notice,
) -> None:
    """Try what a server may refuse, once: a model that it does not list, an API whose response form only the operator
    knows, and the field with the maximum number of tokens, unless the server is known to take it."""
    for endpoint, server in zip(endpoints, servers, strict=True):
        for number, model in enumerate(models):
            listed = not model or model in (server.models or ())
            first = requests.get(0, number)
            limited = server.owner not in _TAKES_MAX_TOKENS and b'"max_tokens":' in first.request.body
            unsure = limited and config.max_tokens_field is None and isinstance(api, Chat) and bool(config.urls)
            if not listed or api.probe_first or config.wait is not None or unsure:
                message = msgspec.structs.replace(first.request, path=endpoint.path)
                request = msgspec.structs.replace(first, request=message)
                await preflight.probe(endpoint, request, api, server.models, config, notice)
            if not listed:
                notice(f"{endpoint.url} does not list a model {model!r}, but takes a request for it")


def prepare_requests(
    config: Config,
    api: base.API,
    endpoints: list[Endpoint],
    models: list[str],
    prompts: Sequence[Prompt] | Mapping[int, Prompt],
) -> PreparedRequests:
    """Encode the requests of prompts: the same configuration gives the same bytes in any process."""
    sampling = {_SAMPLING.get(name, name): value for name in _SAMPLED if (value := getattr(config, name)) is not None}
    extra = dict(config.extra_body)
    if config.chat_template_kwargs is not None and not config.apply_chat_template:
        extra["chat_template_kwargs"] = config.chat_template_kwargs
    settings = [
        base.RequestSettings(
            model=model,
            stream=config.stream,
            output_len=config.output_len if isinstance(config.output_len, int) else None,
            ignore_eos=config.ignore_eos,
            exact_length=config.match_output_length,
            usage=config.usage,
            temperature=config.temperature,
            sampling=sampling,
            extra_body=extra,
            max_tokens_field=config.max_tokens_field or default_max_tokens_field(config),
        )
        for model in models
    ]
    return PreparedRequests(prompts, api, settings, endpoints[0].path, secrets.request_headers(config))
