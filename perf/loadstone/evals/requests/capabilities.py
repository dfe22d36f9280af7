"""Before an evaluation: what the server can do, from some twenty short requests over the run's own transport.

Log-probabilities are believed only if they are those of the prompt, all of them, and do not change with what follows:
a server that ignores `echo` would give each choice the same, and a score that is pure chance. What to make of it, which
mode over which API, is route.py's.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.openai import Chat, Completions
from loadstone.config.schema import Config
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.requests.client import MODELS, ClientResponse, EvalClient, open_clients
from loadstone.evals.requests.loglikelihood import LogprobMethod, MissingLogprobsError, body, score_continuation
from loadstone.records import Logprobs

CONTEXT, LIKELY, AFTER, UNLIKELY = "The capital of France is", " Paris", ", and", " xqzvwk"
# Most that the mean log-probability of a token may change with what follows: servers compute in 16 bits.
APART = 0.1
# Likeliest tokens to ask for: vLLM's and chat's limit, that of OpenAI's completions, the least.
TOPS = (20, 5, 1)
# Four texts that nobody writes, before the one that is looked for: OpenAI takes four, lm-eval's tasks have more.
STOPS = tuple(f"\u2063{letter}" for letter in "abcd")
STOPPED = (5, 4)
LENGTH = 24
_PATHS = {"chat": Chat.path, "completions": Completions.path}
_APIS = {"chat": Chat(), "completions": Completions()}


class ServerCapabilities(Struct, frozen=True, kw_only=True):
    """What a server was seen to do; `why` has a sentence for what it does not, by the name of the field.

    chat, completions: it answers there; template: False where there is no chat template.
    echo, prompt_logprobs, chat_prompt_logprobs: it tells the log-probabilities of all tokens of a prompt.
    letters: how many of the likeliest first tokens it tells, by API.
    plain: it leaves special tokens away when asked to; bos: it puts one before a text otherwise.
    tokenize, ids: it turns texts into token ids, and takes them for a prompt.
    context: tokens that prompt and answer may have together.
    stops: how many stop texts were honoured: 0, 4 or 5; None where nothing could be seen.
    knows: whether it finds that Paris is the capital of France, rather than xqzvwk.
    """

    chat: bool = False
    completions: bool = False
    template: bool | None = None
    echo: bool = False
    prompt_logprobs: bool = False
    chat_prompt_logprobs: bool = False
    letters: dict[str, int] = {}
    plain: bool = False
    bos: bool = False
    tokenize: bool = False
    ids: bool = False
    context: int | None = None
    stops: int | None = None
    knows: bool | None = None
    why: dict[str, str] = {}


async def probe_servers(config: Config) -> list[ServerCapabilities]:
    """The abilities of each server of a run, in the order of their addresses. Raises UsageError when nobody answers.
    Of other APIs than OpenAI's nothing is known, but that they generate."""
    if config.api not in _PATHS:
        return [ServerCapabilities(why=dict.fromkeys(("loglikelihood", "letters"), f"--api {config.api} has none"))]
    async with open_clients(config) as found:
        return [await probe(line) for line in found]


async def probe(client: EvalClient) -> ServerCapabilities:
    """All that can be seen of one server."""
    look = _Look(client)
    for step in (look.models, look.tokenizer, look.completions, look.chat, look.stops):
        await step()
    return msgspec.convert({**look.seen, "why": look.why}, ServerCapabilities)


class _Look:
    """What has been seen so far; each step asks for one thing more."""

    def __init__(self, line: EvalClient) -> None:
        self._line = line
        self.seen: dict[str, Any] = {"letters": {}}
        self.why: dict[str, str] = {}

    async def models(self) -> None:
        """vLLM and SGLang say in their list how long a prompt may be."""
        listed = (await self._line.get(MODELS)).json()
        rows = listed.get("data") if isinstance(listed, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("id") == self._line.model and type(row.get("max_model_len")) is int:
                self.seen["context"] = row["max_model_len"]

    async def tokenizer(self) -> None:
        heard = await self._line.post("/tokenize", {"prompt": CONTEXT + LIKELY, "add_special_tokens": False})
        found = token_ids(heard)
        self.seen["tokenize"] = bool(found)
        self._ids = found or []
        if not found:
            self.why["tokenize"] = f"/tokenize gives no tokens ({_said(heard)})"

    async def completions(self) -> None:
        spoken = await self._speaks("completions", {"prompt": CONTEXT})
        names = ("echo", "prompt_logprobs")
        if not spoken:
            self.why |= dict.fromkeys((*names, "letters completions"), self.why["completions"])
            return
        for name in names:
            await self._tells(name, LogprobMethod(name))  # type: ignore[arg-type]
        await self._letters("completions", CONTEXT)
        kind = next((name for name in names if self.seen[name]), None)
        if kind:
            await self._special(LogprobMethod(kind))  # type: ignore[arg-type]

    async def chat(self) -> None:
        asked = [{"role": "user", "content": CONTEXT}]
        spoken = await self._speaks("chat", {"messages": asked})
        self.seen["template"] = True if spoken else None
        if not spoken:
            if "template" in self.why["chat"]:
                self.seen["template"] = False
            self.why |= dict.fromkeys(("chat_prompt_logprobs", "letters chat"), self.why["chat"])
            return
        await self._tells("chat_prompt_logprobs", LogprobMethod("prompt_logprobs", "chat"))
        await self._letters("chat", asked)

    async def stops(self) -> None:
        """A piece of an answer, asked again with that piece as one of the stop texts."""
        api = next((api for api in ("completions", "chat") if self.seen.get(api)), None)
        if api is None:
            return
        text = await self._generated(api) or ""
        piece = text[len(text) // 2 :][:2]
        if not piece.strip():
            return
        cut = [await self._generated(api, stop=[*kept, piece]) for kept in (STOPS, STOPS[1:])]
        honoured = [number for number, again in zip(STOPPED, cut, strict=True) if again == text[: text.index(piece)]]
        if honoured or any(again is not None for again in cut):
            self.seen["stops"] = max(honoured, default=0)
        if not honoured:
            self.why["stops"] = f"an answer went on after the stop text {piece!r}, or it was refused"

    async def _generated(self, api: str, **fields: Any) -> str | None:
        asked = {"prompt": CONTEXT} if api == "completions" else {"messages": [{"role": "user", "content": CONTEXT}]}
        told = {**asked, "max_tokens": LENGTH, "temperature": 0, "stream": False, **fields}
        heard = await self._line.post(_PATHS[api], told)
        choices = heard.parse(_APIS[api]).choices() if heard.ok else []
        return (choices[0].text or "") if choices else None

    async def _speaks(self, api: str, asked: dict[str, Any]) -> bool:
        heard = await self._line.post(_PATHS[api], {**asked, "max_tokens": 1, "temperature": 0, "stream": False})
        reply = heard.parse(_APIS[api])
        failed = reply.failure is not None and reply.failure.kind != "empty"
        self.seen[api] = heard.ok and not failed
        if not self.seen[api]:
            self.why[api] = f"{_PATHS[api]} does not answer ({_said(heard)})"
        return bool(self.seen[api])

    async def _tells(self, name: str, way: LogprobMethod) -> None:
        """Whether log-probabilities of a prompt are told, and can be believed."""
        try:
            short, long = await self._told(way, LIKELY), await self._told(way, LIKELY + AFTER)
            value, _ = score_continuation(short, _context(way), LIKELY)
            if "knows" not in self.seen:
                other = await self._told(way, UNLIKELY)
                self.seen["knows"] = value > score_continuation(other, _context(way), UNLIKELY)[0]
            _same(short, long)
        except MissingLogprobsError as exc:
            self.seen[name], self.why[name] = False, str(exc)
        else:
            self.seen[name] = True

    async def _told(self, way: LogprobMethod, text: str, **over: Any) -> Logprobs:
        asked: Any = CONTEXT if way.api == "completions" else [{"role": "user", "content": CONTEXT}]
        wanted = EvalRequest(id="probe", mode="loglikelihood", prompt=asked, continuation=text)
        heard = await self._line.post(_PATHS[way.api], {**body(wanted, way), **over})
        if not heard.ok:
            raise MissingLogprobsError(f"it refuses the request ({heard.error})")
        reply = heard.parse(_APIS[way.api])
        usage = reply.usage.prompt if reply.usage else None
        return validate_logprobs(reply.logprobs(), usage, "echo" if way.kind == "echo" else "prompt_logprobs")

    async def _special(self, way: LogprobMethod) -> None:
        """What becomes of a text: whether a token is put before it, whether not when asked not to, and whether token
        ids are taken as they are."""
        as_is = await self._told(way, LIKELY)
        begun = CONTEXT.startswith(as_is.tokens[0].replace("\u2581", " ").strip())
        self.seen["bos"] = as_is.prompt != len(self._ids) if self._ids else not begun or not as_is.tokens[0]
        self.seen["plain"] = self.seen["bos"] and await self._shorter(way, as_is, add_special_tokens=False)
        if self._ids:
            self.seen["ids"] = await self._count(way, prompt=self._ids) == len(self._ids)

    async def _shorter(self, way: LogprobMethod, than: Logprobs, **over: Any) -> bool:
        count = await self._count(way, **over)
        return count is not None and count < than.prompt

    async def _count(self, way: LogprobMethod, **over: Any) -> int | None:
        try:
            return (await self._told(way, LIKELY, **over)).prompt
        except MissingLogprobsError:
            return None

    async def _letters(self, api: str, asked: Any) -> None:
        why = "it tells no likeliest tokens"
        for top in TOPS:
            wanted = EvalRequest(id="probe", mode="letters", prompt=asked, letters=["A"])
            fields = {**body(wanted, LogprobMethod("letters", api, top=top)), "stream": False}  # type: ignore[arg-type]
            heard = await self._line.post(_PATHS[api], fields)
            told = heard.parse(_APIS[api]).logprobs() if heard.ok else None
            if told is not None and told.top and len(told.top[0]) > 1:
                self.seen["letters"][api] = top
                return
            why = why if heard.ok else f"it refuses the request ({heard.error})"
        self.why[f"letters {api}"] = why


def token_ids(response: ClientResponse) -> list[int] | None:
    """What a `/tokenize` of vLLM, SGLang or llama.cpp says."""
    found = response.json() if response.ok else None
    tokens = found.get("tokens") if isinstance(found, dict) else None
    return tokens if isinstance(tokens, list) and all(type(token) is int for token in tokens) else None


def validate_logprobs(told: Logprobs | None, usage: int | None, field: str) -> Logprobs:
    """Log-probabilities, if they are those of a whole prompt. Raises UntoldError."""
    if told is None:
        raise MissingLogprobsError(f"it ignores `{field}`: the answer has no log-probabilities")
    if not told.prompt:
        raise MissingLogprobsError(
            f"it ignores `{field}`: it tells of {len(told.tokens)} generated tokens, none of the prompt's"
        )
    if usage is not None and usage != told.prompt:
        raise MissingLogprobsError(f"it tells of {told.prompt} tokens of a prompt that has {usage}")
    if any(value is None or value > 0 for value in told.values[1 : told.prompt]):
        raise MissingLogprobsError("it leaves out log-probabilities of the prompt's tokens")
    return told


def _same(short: Logprobs, long: Logprobs) -> None:
    """The tokens that two prompts begin with have the same log-probabilities. Raises UntoldError."""
    count = 1
    while count < min(short.prompt, long.prompt) and short.tokens[count] == long.tokens[count]:
        count += 1
    pairs = list(zip(short.values[1:count], long.values[1:count], strict=True))
    apart = [abs(one - other) for one, other in pairs if one is not None and other is not None]
    if apart and sum(apart) / len(apart) > APART:
        raise MissingLogprobsError(
            f"the same tokens have other log-probabilities when more text follows, by {max(apart):.2g}: "
            "they are not those of the tokens they are told of"
        )


def _context(way: LogprobMethod) -> str | None:
    return CONTEXT if way.api == "completions" else None


def _said(heard: ClientResponse) -> str:
    return f"HTTP {heard.status}" if heard.ok or heard.status in (404, 405) else heard.error
