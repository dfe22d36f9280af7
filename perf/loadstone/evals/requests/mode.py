"""Chooses how a task is answered: as requested, as far as the task and the server allow it.

A requested mode that is not possible is an error that gives the reason. If no mode is requested, the next possible one
is chosen, with a notice. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from loadstone.errors import ConfigError, ServerError
from loadstone.evals.requests.capabilities import ServerCapabilities
from loadstone.evals.requests.eval_request import AnswerMode, LogprobMethod
from loadstone.tasks.spec import HarnessTask, Mode, Task

OPENAI_APIS = ("chat", "completions")


def common_capabilities(servers: Sequence[ServerCapabilities]) -> ServerCapabilities:
    """Return the capabilities that all servers of a run have."""
    first = servers[0]
    flags = [name for name in ServerCapabilities.__struct_fields__ if isinstance(getattr(first, name), bool)]
    common = {name: all(getattr(server, name) for server in servers) for name in flags}
    common["bos"] = any(server.bos for server in servers)
    contexts = [server.context for server in servers if server.context is not None]
    stops = [server.stops for server in servers if server.stops is not None]
    letters = {api: min(server.letters.get(api, 0) for server in servers) for api in first.letters}
    return msgspec.structs.replace(
        first,
        **common,
        why={name: reason for server in reversed(servers) for name, reason in server.why.items()},
        letters={api: top for api, top in letters.items() if top},
        context=min(contexts, default=None),
        stops=min(stops, default=None),
    )


def choose(
    task: Task, requested: Mode | Literal["auto"], api: str | None, capabilities: ServerCapabilities
) -> AnswerMode:
    """Choose how a task is answered.

    api: the requested one; None leaves the choice open. A task of lm-eval is sent as a text then, as lm-eval does

    Raises UsageError.
    """
    if api is None and isinstance(task, HarnessTask) and capabilities.completions:
        api = "completions"
    if requested != "auto" and requested not in task.modes:
        others = " or ".join(f"--mode {mode}" for mode in task.modes)
        raise ConfigError(
            f"{task.name} cannot be answered by {requested}: leave --mode out, or say {others}", field="mode"
        )
    modes = (
        [task.default, *(mode for mode in task.modes if mode != task.default)] if requested == "auto" else [requested]
    )
    preferred = modes[0]
    for mode in modes:
        if available := available_modes(mode, api, capabilities):
            notices = [available[0].notice]
            if mode != preferred:
                reason = _missing(preferred, api, capabilities)
                notices.insert(0, f"{task.name} is answered by {mode}, as {reason}")
            return msgspec.structs.replace(available[0], notice="; ".join(filter(None, notices)) or None)
    raise ServerError(_refusal(task, preferred, api, capabilities))


def available_modes(mode: Mode, api: str | None, capabilities: ServerCapabilities) -> list[AnswerMode]:
    """Return all ways in which the server can answer in a mode, the best first.

    api: the only one to consider; None for all
    """
    if mode == "generation":
        # Every API generates; of OpenAI's, those that were seen to answer.
        if api is not None and api not in OPENAI_APIS:
            return [AnswerMode("generation", api, stops=capabilities.stops)]
        apis = [each for each in OPENAI_APIS if api in (None, each) and getattr(capabilities, each)]
        return [AnswerMode("generation", each, stops=capabilities.stops) for each in apis]
    if mode == "letters":
        return [
            AnswerMode("letters", each, LogprobMethod("letters", each, top=capabilities.letters[each]))
            for each in ("completions", "chat")
            if api in (None, each) and each in capabilities.letters
        ]
    ids = capabilities.tokenize and capabilities.ids
    methods = []
    if capabilities.echo:
        methods.append(LogprobMethod("echo", plain=capabilities.plain, ids=ids))
    if capabilities.prompt_logprobs:
        methods.append(LogprobMethod("prompt_logprobs", plain=capabilities.plain, ids=ids))
    if capabilities.chat_prompt_logprobs:
        methods.append(LogprobMethod("prompt_logprobs", "chat"))
    return [
        AnswerMode("loglikelihood", method.api, method, _doubt(method, capabilities))
        for method in methods
        if api in (None, method.api)
    ]


def _doubt(method: LogprobMethod, capabilities: ServerCapabilities) -> str | None:
    """Return why log-likelihoods may differ from those of others, or be wrong."""
    doubts = []
    if method.api == "completions" and capabilities.bos and not method.plain and not method.ids:
        doubts.append("the server puts a token before each text and cannot turn that off, as lm-eval does")
    if capabilities.knows is False:
        doubts.append(
            "the server finds ' xqzvwk' likelier than ' Paris' as the capital of France: is it the right model?"
        )
    return "; ".join(doubts) or None


def _refusal(task: Task, mode: Mode, api: str | None, capabilities: ServerCapabilities) -> str:
    """Return the error for a mode that is not possible, with what to do instead."""
    reason = _missing(mode, api, capabilities)
    possible = [other for other in task.modes if other != mode and available_modes(other, api, capabilities)]
    if possible:
        return f"--mode {mode} of {task.name} is not possible: {reason}; say --mode {possible[0]}"
    apis = [other for other in OPENAI_APIS if other != api and available_modes(mode, other, capabilities)]
    if api and apis:
        advice = f"say --api {apis[0]}"
    else:
        advice = f"ask a server that can, or take a task with a mode other than {mode}"
    return f"{task.name} cannot be answered by {mode} here: {reason}; {advice}"


# Fields of ServerCapabilities.why with the reasons why a mode is not possible over an API.
_REASONS = {
    ("generation", "chat"): ("chat",),
    ("generation", "completions"): ("completions",),
    ("letters", "chat"): ("letters chat",),
    ("letters", "completions"): ("letters completions",),
    ("loglikelihood", "chat"): ("chat_prompt_logprobs",),
    ("loglikelihood", "completions"): ("echo", "prompt_logprobs"),
}


def _missing(mode: Mode, api: str | None, capabilities: ServerCapabilities) -> str:
    """Return in words what the server lacks for a mode."""
    apis = OPENAI_APIS[::-1] if api is None else (api,)
    names = [name for each in apis for name in _REASONS.get((mode, each), (mode,))]
    reasons = dict.fromkeys(capabilities.why[name] for name in names if name in capabilities.why)
    return "the server does not do it: " + "; ".join(reasons) if reasons else f"--api {api} has no {mode}"
