"""Which settings a run does not use, and why: by its protocol, its connections and its load. Pure.

Protocols and transports declare it, a dataset reports it while it is read. Only settings that differ from their default
are named. `prepare.open_run` joins the reasons to one notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadstone.apis import API
from loadstone.config.parse import REPLAY
from loadstone.config.schema import Config
from loadstone.records import Prompt
from loadstone.schedule.plan import Plan
from loadstone.transport.factory import SERVER_UNUSED, TLS_ONLY


def request_reasons(config: Config, apis: Mapping[str, API], model: object | None = None) -> dict[str, str]:
    """Return the settings that neither the protocols nor the connections use, each with the reason.

    apis: the protocols of the requests, by name. model: an object to ask instead of a server.
    """
    reasons: dict[str, str] = {}
    if model is not None or config.own_model:
        from loadstone.transport import in_process  # only a run without a server needs it

        unused = in_process.UNUSED if config.scrape_urls else (*in_process.UNUSED, *in_process.CONNECTION)
        reasons = dict.fromkeys(unused, "the model runs in this process")
        if config.clock == "kernel":
            reasons["clock"] = "the model runs in this process"
    else:
        first = next(iter(apis.values()))
        in_none = [name for name in first.unused if all(name in api.unused for api in apis.values())]
        reasons = dict.fromkeys(in_none, f"a request of --api {' or '.join(apis)} does not depend on it")
        reasons |= dict.fromkeys(SERVER_UNUSED, "it is for a local model, and a server decides on its own batches")
        if not any(url.lower().startswith("https:") for url in (*config.urls, *config.scrape_urls)):
            reasons |= dict.fromkeys(TLS_ONLY, "no URL begins with https://")
    if not config.stream:
        reasons["usage"] = "an unstreamed response has its token counts in any case"
    if len(config.urls) < 2:
        reasons["balance"] = "there are no several --url"
    return {name: reason for name, reason in reasons.items() if getattr(config, name) != getattr(Config(), name)}


def load_reasons(config: Config, plan: Plan, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the settings that the plan of these prompts does not use, each with the reason.

    config: as the user gave it, without the defaults that depend on the dataset.
    """
    reasons: dict[str, str] = {}
    conversations = any(prompt.later for prompt in prompts)
    lengths = isinstance(config.output_len, int) or any(
        turn.output_len is not None for prompt in prompts for turn in (prompt, *prompt.later)
    )
    if plan.offsets is None:
        fixed = "the load is a number of requests in flight"
        reasons = {"arrivals": fixed, "burstiness": fixed, "rescale": fixed}
        if config.stages:
            reasons["concurrency"] = "the stages have concurrencies of their own"
    elif plan.load.arrivals in ("constant", REPLAY):
        reasons["rescale"] = "the arrivals are not random"
    if len(config.urls) > 1 and not conversations:
        reasons["balance"] = "there are no conversations"
    if len(prompts) == 1:
        reasons["shuffle"] = "there is one prompt"
    if not lengths:
        reasons["match_output_length"] = "neither the prompts nor --output-len have a length"
    return {name: reason for name, reason in reasons.items() if getattr(config, name) != getattr(Config(), name)}
