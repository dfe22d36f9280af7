"""Probes what a server can do, with some twenty short requests over the run's own transport.

Log-probabilities count only if they are those of the prompt, complete, and independent of the text that follows: a
server that ignores `echo` would return the same value for each choice, and the score would be pure chance. mode.py
decides what the capabilities mean for a task.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from loadstone.apis.openai import Chat, Completions
from loadstone.config.schema import Config
from loadstone.evals.requests.client import ABSENT, MODELS, ClientResponse, EvalClient, Refusal, open_clients
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, LogprobMethod, RequestId
from loadstone.evals.requests.loglikelihood import MissingLogprobsError, body, score_continuation
from loadstone.records import FailureCause, Logprobs

# A context, a likely continuation, text after it, and an unlikely continuation.
CONTEXT, LIKELY, AFTER, UNLIKELY = "The capital of France is", " Paris", ", and", " xqzvwk"
# Largest mean difference of a token's log-probability if more text follows: servers compute in 16 bits.
MAX_DIFFERENCE = 0.1
# Numbers of likeliest tokens to request: the limit of vLLM and of chats, of OpenAI's completions, and the least.
TOP_COUNTS = (20, 5, 1)
# Four stop texts that no model writes, sent before the one that is tested: OpenAI takes four, lm-eval's tasks use more.
STOPS = tuple(f"\u2063{letter}" for letter in "abcd")
# Stop texts of the two requests that test them.
STOP_COUNTS = (5, 4)
# Tokens of the answers on which stop texts are tested.
STOP_TEST_TOKENS = 24
# The id of the requests that probe a server; it is not sent.
PROBE = RequestId("probe", 0)
_PATHS = {"chat": Chat.path, "completions": Completions.path}
_APIS = {"chat": Chat(), "completions": Completions()}
_MESSAGES = [{"role": "user", "content": CONTEXT}]
_PROMPTS: dict[str, dict[str, Any]] = {"chat": {"messages": _MESSAGES}, "completions": {"prompt": CONTEXT}}
OpenAIAPI = Literal["chat", "completions"]


class ServerCapabilities(Struct, frozen=True, kw_only=True):
    """What a server was seen to do.

    chat, completions: it answers at this API
    template: False if it has no chat template
    echo, prompt_logprobs, chat_prompt_logprobs: it returns the log-probabilities of all tokens of a prompt this way
    letters: how many of the likeliest first tokens it returns, by API
    plain: it omits special tokens on request
    bos: it puts a special token before a text otherwise
    tokenize: it turns texts into token ids
    ids: it takes token ids as a prompt
    context: tokens of prompt and answer together, at most
    stops: how many stop texts it honored: 0, 4 or 5; None if that could not be seen
    knows: it finds Paris a likelier capital of France than xqzvwk
    why: the reason for each capability that it lacks, by the name of the field
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
    """Return the capabilities of each server of a run, in the order of their addresses.

    Of APIs other than OpenAI's only generation is known. Raises UsageError if a server does not answer.
    """
    if config.api not in (None, *_PATHS):
        return [ServerCapabilities(why=dict.fromkeys(("loglikelihood", "letters"), f"--api {config.api} has none"))]
    async with open_clients(config) as clients:
        return [await probe(client) for client in clients]


async def probe(client: EvalClient) -> ServerCapabilities:
    """Return the capabilities of one server."""
    probing = _Probe(client)
    for step in (probing.models, probing.tokenizer, probing.completions, probing.chat, probing.stops):
        await step()
    return msgspec.convert({**probing.results, "why": probing.why}, ServerCapabilities)


class _Probe:
    """The capabilities found so far; each step finds some more.

    results: fields of ServerCapabilities, by name
    why: reasons, by name of the field
    """

    def __init__(self, client: EvalClient) -> None:
        self._client = client
        self._ids: list[int] = []
        self.results: dict[str, Any] = {"letters": {}}
        self.why: dict[str, str] = {}

    async def models(self) -> None:
        """Read the maximum length of a prompt from the list of models, where vLLM and SGLang report it."""
        listed = (await self._client.get(MODELS)).json()
        rows = listed.get("data") if isinstance(listed, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("id") == self._client.model and type(row.get("max_model_len")) is int:
                self.results["context"] = row["max_model_len"]

    async def tokenizer(self) -> None:
        """Call `/tokenize`."""
        response = await self._client.post("/tokenize", {"prompt": CONTEXT + LIKELY, "add_special_tokens": False})
        self._ids = token_ids(response) or []
        self.results["tokenize"] = bool(self._ids)
        if not self._ids:
            self.why["tokenize"] = f"/tokenize gives no tokens ({_status(response)})"

    async def completions(self) -> None:
        """Check completions, and how they report log-probabilities."""
        answered, _ = await self._check_api("completions")
        if not answered:
            reason = self.why["completions"]
            self.why |= dict.fromkeys(("echo", "prompt_logprobs", "letters completions"), reason)
            return
        methods = {"echo": LogprobMethod("echo"), "prompt_logprobs": LogprobMethod("prompt_logprobs")}
        for name, method in methods.items():
            await self._check_prompt_logprobs(name, method)
        await self._check_letters("completions", CONTEXT)
        working = [method for name, method in methods.items() if self.results[name]]
        if working:
            await self._check_special_tokens(working[0])

    async def chat(self) -> None:
        """Check chats, and how they report log-probabilities."""
        answered, refusal = await self._check_api("chat")
        self.results["template"] = True if answered else None
        if not answered:
            if refusal is Refusal.NO_CHAT_TEMPLATE:
                self.results["template"] = False
            self.why |= dict.fromkeys(("chat_prompt_logprobs", "letters chat"), self.why["chat"])
            return
        await self._check_prompt_logprobs("chat_prompt_logprobs", LogprobMethod("prompt_logprobs", "chat"))
        await self._check_letters("chat", _MESSAGES)

    async def stops(self) -> None:
        """Request an answer again with a piece of it as one of the stop texts."""
        # A piece from the middle of an answer at temperature 0, which the same request would produce again.
        api = next((api for api in ("completions", "chat") if self.results.get(api)), None)
        if api is None:
            return
        text = await self._generate(api) or ""
        piece = text[len(text) // 2 :][:2]
        if not piece.strip():
            return
        # With four other stop texts before it, then with three: some servers only honor the first four.
        answers = [await self._generate(api, stop=[*others, piece]) for others in (STOPS, STOPS[1:])]
        expected = text[: text.index(piece)]
        honored = [count for count, answer in zip(STOP_COUNTS, answers, strict=True) if answer == expected]
        if honored or any(answer is not None for answer in answers):
            self.results["stops"] = max(honored, default=0)
        if not honored:
            self.why["stops"] = f"an answer went on after the stop text {piece!r}, or it was refused"

    async def _generate(self, api: str, **fields: Any) -> str | None:
        """Return the text of a short answer; None if there is none."""
        fields = {**_PROMPTS[api], "max_tokens": STOP_TEST_TOKENS, "temperature": 0, "stream": False, **fields}
        response = await self._client.post(_PATHS[api], fields)
        choices = response.parse(_APIS[api]).choices() if response.ok else []
        return (choices[0].text or "") if choices else None

    async def _check_api(self, api: OpenAIAPI) -> tuple[bool, Refusal | None]:
        """Check whether the server answers at an API. Return why it refused as well."""
        fields = {**_PROMPTS[api], "max_tokens": 1, "temperature": 0, "stream": False}
        response = await self._client.post(_PATHS[api], fields)
        failure = response.parse(_APIS[api]).failure
        answered = response.ok and (failure is None or failure.kind == FailureCause.EMPTY)
        self.results[api] = answered
        if not answered:
            self.why[api] = f"{_PATHS[api]} does not answer ({_status(response)})"
        return answered, response.refusal

    async def _check_prompt_logprobs(self, name: str, method: LogprobMethod) -> None:
        """Check whether the log-probabilities of a prompt are returned, and are those of its tokens."""
        context = CONTEXT if method.api == "completions" else None
        try:
            short = await self._prompt_logprobs(method, LIKELY)
            long = await self._prompt_logprobs(method, LIKELY + AFTER)
            likely, _ = score_continuation(short, context, LIKELY)
            if "knows" not in self.results:
                other = await self._prompt_logprobs(method, UNLIKELY)
                self.results["knows"] = likely > score_continuation(other, context, UNLIKELY)[0]

            # The tokens with which both prompts start must have the same log-probabilities.
            common = 1
            while common < min(short.prompt, long.prompt) and short.tokens[common] == long.tokens[common]:
                common += 1
            pairs = zip(short.values[1:common], long.values[1:common], strict=True)
            differences = [abs(one - other) for one, other in pairs if one is not None and other is not None]
            if differences and sum(differences) / len(differences) > MAX_DIFFERENCE:
                raise MissingLogprobsError(
                    f"the same tokens have other log-probabilities when more text follows, by {max(differences):.2g}: "
                    "they are not those of the tokens they are reported for"
                )
        except MissingLogprobsError as exc:
            self.results[name], self.why[name] = False, str(exc)
        else:
            self.results[name] = True

    async def _prompt_logprobs(self, method: LogprobMethod, text: str, **fields: Any) -> Logprobs:
        """Request the log-probabilities of the context and this text. Raises MissingLogprobsError."""
        prompt: Any = CONTEXT if method.api == "completions" else _MESSAGES
        how = AnswerMode("loglikelihood", method.api, method)
        request = EvalRequest(id=PROBE, answer_mode=how, prompt=prompt, continuation=text)
        response = await self._client.post(_PATHS[method.api], {**body(request), **fields})
        if not response.ok:
            raise MissingLogprobsError(f"it refuses the request ({response.error})")
        parser = response.parse(_APIS[method.api])
        prompt_tokens = parser.usage.prompt if parser.usage else None
        field = "echo" if method.kind == "echo" else "prompt_logprobs"
        return validate_logprobs(parser.logprobs(), prompt_tokens, field)

    async def _check_special_tokens(self, method: LogprobMethod) -> None:
        """Check whether a token is put before a text, whether that can be avoided, and whether token ids are taken."""
        default = await self._prompt_logprobs(method, LIKELY)
        first = default.tokens[0]
        if self._ids:
            bos = default.prompt != len(self._ids)
        else:
            bos = not first or not CONTEXT.startswith(first.replace("\u2581", " ").strip())
        self.results["bos"] = bos

        plain = await self._count_tokens(method, add_special_tokens=False) if bos else None
        self.results["plain"] = plain is not None and plain < default.prompt
        if self._ids:
            self.results["ids"] = await self._count_tokens(method, prompt=self._ids) == len(self._ids)

    async def _count_tokens(self, method: LogprobMethod, **fields: Any) -> int | None:
        """Return the number of tokens of a prompt that is sent with these fields; None if it is refused."""
        try:
            return (await self._prompt_logprobs(method, LIKELY, **fields)).prompt
        except MissingLogprobsError:
            return None

    async def _check_letters(self, api: OpenAIAPI, prompt: Any) -> None:
        """Find how many of the likeliest first tokens the server returns."""
        reason = "it returns no likeliest tokens"
        for top in TOP_COUNTS:
            how = AnswerMode("letters", api, LogprobMethod("letters", api, top=top))
            request = EvalRequest(id=PROBE, answer_mode=how, prompt=prompt, letters=["A"])
            fields = {**body(request), "stream": False}
            response = await self._client.post(_PATHS[api], fields)
            logprobs = response.parse(_APIS[api]).logprobs() if response.ok else None
            if logprobs is not None and logprobs.top and len(logprobs.top[0]) > 1:
                self.results["letters"][api] = top
                return
            if not response.ok:
                reason = f"it refuses the request ({response.error})"
        self.why[f"letters {api}"] = reason


def token_ids(response: ClientResponse) -> list[int] | None:
    """Return the token ids in a response of `/tokenize` (vLLM, SGLang, llama.cpp); None if it has none."""
    answer = response.json() if response.ok else None
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    return tokens if isinstance(tokens, list) and all(type(token) is int for token in tokens) else None


def validate_logprobs(logprobs: Logprobs | None, prompt_tokens: int | None, field: str) -> Logprobs:
    """Return the log-probabilities if they are those of a whole prompt. Raises MissingLogprobsError otherwise.

    prompt_tokens: tokens of the prompt by the server's count; None if unknown
    field: field of the request that asked for them
    """
    if logprobs is None:
        raise MissingLogprobsError(f"it ignores `{field}`: the answer has no log-probabilities")
    if not logprobs.prompt:
        raise MissingLogprobsError(
            f"it ignores `{field}`: it reports {len(logprobs.tokens)} generated tokens, none of the prompt's"
        )
    if prompt_tokens is not None and prompt_tokens != logprobs.prompt:
        raise MissingLogprobsError(f"it reports {logprobs.prompt} tokens of a prompt that has {prompt_tokens}")
    if any(value is None or value > 0 for value in logprobs.values[1 : logprobs.prompt]):
        raise MissingLogprobsError("it leaves out log-probabilities of the prompt's tokens")
    return logprobs


def _status(response: ClientResponse) -> str:
    """Return the status, with the server's error text if that says more."""
    return f"HTTP {response.status}" if response.ok or response.status in ABSENT else response.error
