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

SPOKEN = ("chat", "completions")


class AnswerMode(Struct, frozen=True):
    """How a task is answered: its mode, over which API, and of log-probabilities in which way. `notice`: what the
    operator should know of it; `stops`: how many stop texts the server was seen to heed, None where nobody knows."""

    mode: Mode
    api: str
    way: LogprobMethod | None = None
    notice: str | None = None
    stops: int | None = None

    @property
    def form(self) -> Literal["text", "messages"]:
        """As what the questions are put."""
        return "text" if self.api == "completions" else "messages"


def together(seen: Sequence[ServerCapabilities]) -> ServerCapabilities:
    """What all servers of a run can do: what one cannot, all cannot."""
    names = [name for name in ServerCapabilities.__struct_fields__ if isinstance(getattr(seen[0], name), bool)]
    shared = {name: all(getattr(one, name) for one in seen) for name in names}
    shared["bos"] = any(one.bos for one in seen)
    contexts = [one.context for one in seen if one.context is not None]
    tops = {api: min(one.letters.get(api, 0) for one in seen) for api in seen[0].letters}
    stops = [one.stops for one in seen if one.stops is not None]
    return msgspec.structs.replace(
        seen[0],
        **shared,
        why={name: why for one in reversed(seen) for name, why in one.why.items()},
        letters={api: top for api, top in tops.items() if top},
        context=min(contexts, default=None),
        stops=min(stops, default=None),
    )


def choose(task: Task, asked: Mode | Literal["auto"], api: str | None, seen: ServerCapabilities) -> AnswerMode:
    """The way of a task. `api`: the one asked for; None leaves it open, and a task of lm-eval's is put as a text then,
    as lm-eval does. Raises UsageError in a sentence."""
    if api is None and isinstance(task, HarnessTask) and seen.completions:
        api = "completions"
    if asked != "auto" and asked not in task.modes:
        raise UsageError(f"{task.name} cannot be answered by {asked}: leave --mode out, or say {_or(task.modes)}")
    modes = [asked] if asked != "auto" else [task.default, *(mode for mode in task.modes if mode != task.default)]
    for mode in modes:
        if made := routes(mode, api, seen):
            route = made[0]
            told = "" if mode == modes[0] else f"{task.name} is answered by {mode}, as {_lacks(modes[0], api, seen)}"
            return msgspec.structs.replace(route, notice="; ".join(filter(None, (told, route.notice))) or None)
    raise UsageError(_refusal(task, modes[0], api, seen))


def routes(mode: Mode, api: str | None, seen: ServerCapabilities) -> list[AnswerMode]:
    """All that the server can do of a mode, the best first."""
    if mode == "generation":
        return _generation(api, seen)
    if mode == "letters":
        return [
            AnswerMode("letters", one, LogprobMethod("letters", one, top=seen.letters[one]))
            for one in ("completions", "chat")
            if api in (None, one) and one in seen.letters
        ]
    texts = [LogprobMethod("echo")] * seen.echo + [LogprobMethod("prompt_logprobs")] * seen.prompt_logprobs
    found = [msgspec.structs.replace(way, plain=seen.plain, ids=seen.tokenize and seen.ids) for way in texts]
    found += [LogprobMethod("prompt_logprobs", "chat")] * seen.chat_prompt_logprobs
    return [AnswerMode("loglikelihood", way.api, way, _doubt(way, seen)) for way in found if api in (None, way.api)]


def _generation(api: str | None, seen: ServerCapabilities) -> list[AnswerMode]:
    """Any API generates; of OpenAI's two, the one that was seen to answer."""
    if api is not None and (api not in SPOKEN or getattr(seen, api)):
        return [AnswerMode("generation", api, stops=seen.stops)]
    return [AnswerMode("generation", one, stops=seen.stops) for one in SPOKEN if api is None and getattr(seen, one)]


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
    able = [other for other in task.modes if other != mode and routes(other, api, seen)]
    if able:
        return f"--mode {mode} of {task.name} is not possible: {_lacks(mode, api, seen)}; say --mode {able[0]}"
    other = next((one for one in SPOKEN if one != api and routes(mode, one, seen)), None) if api else None
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
    apis = SPOKEN[::-1] if api is None else (api,)
    told = [seen.why[name] for one in apis for name in names.get((mode, one), (mode,)) if name in seen.why]
    return "the server does not do it: " + "; ".join(dict.fromkeys(told)) if told else f"--api {api} has no {mode}"


def _or(modes: Sequence[str]) -> str:
    return " or ".join(f"--mode {mode}" for mode in modes)
