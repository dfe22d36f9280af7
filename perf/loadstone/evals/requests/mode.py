"""Which way a task is answered: what was asked for, as far as the task and the server can do it.

Pure. A mode that was asked for and cannot be had is an error that says what was seen; without one, the next is taken,
and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.evals.requests.capabilities import ServerCapabilities
from loadstone.evals.requests.loglikelihood import LogprobMethod
from loadstone.tasks.spec import HarnessTask, Mode, Task

OPENAI_APIS = ("chat", "completions")


class AnswerMode(Struct, frozen=True):
    """How a task is answered: its mode, over which API, and of log-probabilities in which way. `notice`: what the
    operator should know of it; `stops`: how many stop texts the server was seen to heed, None where nobody knows."""

    mode: Mode
    api: str
    method: LogprobMethod | None = msgspec.field(default=None, name="way")  # the key in eval.json
    notice: str | None = None
    stops: int | None = None

    @property
    def form(self) -> Literal["text", "messages"]:
        """As what the questions are put."""
        return "text" if self.api == "completions" else "messages"


def common_capabilities(servers: Sequence[ServerCapabilities]) -> ServerCapabilities:
    """What all servers of a run can do: what one cannot, all cannot."""
    names = [name for name in ServerCapabilities.__struct_fields__ if isinstance(getattr(servers[0], name), bool)]
    shared = {name: all(getattr(one, name) for one in servers) for name in names}
    shared["bos"] = any(one.bos for one in servers)
    contexts = [one.context for one in servers if one.context is not None]
    tops = {api: min(one.letters.get(api, 0) for one in servers) for api in servers[0].letters}
    stops = [one.stops for one in servers if one.stops is not None]
    return msgspec.structs.replace(
        servers[0],
        **shared,
        why={name: why for one in reversed(servers) for name, why in one.why.items()},
        letters={api: top for api, top in tops.items() if top},
        context=min(contexts, default=None),
        stops=min(stops, default=None),
    )


def choose(
    task: Task, requested: Mode | Literal["auto"], api: str | None, capabilities: ServerCapabilities
) -> AnswerMode:
    """The way of a task. `api`: the one asked for; None leaves it open, and a task of lm-eval's is put as a text then,
    as lm-eval does. Raises UsageError in a sentence."""
    if api is None and isinstance(task, HarnessTask) and capabilities.completions:
        api = "completions"
    if requested != "auto" and requested not in task.modes:
        raise UsageError(f"{task.name} cannot be answered by {requested}: leave --mode out, or say {_or(task.modes)}")
    modes = (
        [requested] if requested != "auto" else [task.default, *(mode for mode in task.modes if mode != task.default)]
    )
    for mode in modes:
        if made := available_modes(mode, api, capabilities):
            route = made[0]
            told = (
                ""
                if mode == modes[0]
                else f"{task.name} is answered by {mode}, as {_lacks(modes[0], api, capabilities)}"
            )
            return msgspec.structs.replace(route, notice="; ".join(filter(None, (told, route.notice))) or None)
    raise UsageError(_refusal(task, modes[0], api, capabilities))


def available_modes(mode: Mode, api: str | None, capabilities: ServerCapabilities) -> list[AnswerMode]:
    """All that the server can do of a mode, the best first."""
    if mode == "generation":
        return _generation(api, capabilities)
    if mode == "letters":
        return [
            AnswerMode("letters", one, LogprobMethod("letters", one, top=capabilities.letters[one]))
            for one in ("completions", "chat")
            if api in (None, one) and one in capabilities.letters
        ]
    texts = [LogprobMethod("echo")] * capabilities.echo + [
        LogprobMethod("prompt_logprobs")
    ] * capabilities.prompt_logprobs
    found = [
        msgspec.structs.replace(way, plain=capabilities.plain, ids=capabilities.tokenize and capabilities.ids)
        for way in texts
    ]
    found += [LogprobMethod("prompt_logprobs", "chat")] * capabilities.chat_prompt_logprobs
    return [
        AnswerMode("loglikelihood", way.api, way, _doubt(way, capabilities)) for way in found if api in (None, way.api)
    ]


def _generation(api: str | None, seen: ServerCapabilities) -> list[AnswerMode]:
    """Any API generates; of OpenAI's two, the one that was seen to answer."""
    if api is not None and (api not in OPENAI_APIS or getattr(seen, api)):
        return [AnswerMode("generation", api, stops=seen.stops)]
    return [
        AnswerMode("generation", one, stops=seen.stops) for one in OPENAI_APIS if api is None and getattr(seen, one)
    ]


def _doubt(way: LogprobMethod, seen: ServerCapabilities) -> str | None:
    """What may set log-likelihoods apart from others', or from the truth."""
    doubts = []
    if way.api == "completions" and seen.bos and not way.plain and not way.ids:
        doubts.append("the server puts a token before each text and cannot be told not to, as lm-eval tells it")
    if seen.knows is False:
        doubts.append(
            "the server finds ' xqzvwk' likelier than ' Paris' as the capital of France: is it the right model?"
        )
    return "; ".join(doubts) or None


def _refusal(task: Task, mode: Mode, api: str | None, seen: ServerCapabilities) -> str:
    able = [other for other in task.modes if other != mode and available_modes(other, api, seen)]
    if able:
        return f"--mode {mode} of {task.name} is not possible: {_lacks(mode, api, seen)}; say --mode {able[0]}"
    other = next((one for one in OPENAI_APIS if one != api and available_modes(mode, one, seen)), None) if api else None
    advice = f"say --api {other}" if other else f"ask a server that can, or take a task with a mode other than {mode}"
    return f"{task.name} cannot be answered by {mode} here: {_lacks(mode, api, seen)}; {advice}"


def _lacks(mode: Mode, api: str | None, seen: ServerCapabilities) -> str:
    """What was seen to be missing for a mode, in words."""
    names = {
        ("generation", "chat"): ("chat",),
        ("generation", "completions"): ("completions",),
        ("letters", "chat"): ("letters chat",),
        ("letters", "completions"): ("letters completions",),
        ("loglikelihood", "chat"): ("chat_prompt_logprobs",),
        ("loglikelihood", "completions"): ("echo", "prompt_logprobs"),
    }
    apis = OPENAI_APIS[::-1] if api is None else (api,)
    told = [seen.why[name] for one in apis for name in names.get((mode, one), (mode,)) if name in seen.why]
    return "the server does not do it: " + "; ".join(dict.fromkeys(told)) if told else f"--api {api} has no {mode}"


def _or(modes: Sequence[str]) -> str:
    return " or ".join(f"--mode {mode}" for mode in modes)
