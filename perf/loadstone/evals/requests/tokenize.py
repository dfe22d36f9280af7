"""Contexts and continuations as token ids of the server's own tokenizer, as lm-eval sends them.

The context has the tokens that it has alone, the continuation those that follow when both are one text, and what is too
long loses its beginning: as in lm-eval 0.4.13 (TemplateLM._encode_pair, TemplateAPI.batch_loglikelihood_requests). What
was asked is kept in the evaluation's folder, so that its records can be judged without a server.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.requests.capabilities import token_ids
from loadstone.evals.requests.client import EvalClient, open_clients
from loadstone.evals.requests.loglikelihood import move_spaces

FILE = "tokens.jsonl"
AT_ONCE = 16


class TokenizedRequest(Struct, frozen=True):
    """A line of tokens.jsonl: the ids of a request, and how many of them are the context's. `lost`: how many were cut
    off at the beginning, as the model takes no more. `windows`: a text with nothing before it that is too long for one
    request, in several: of each ids and context; together they score every token once."""

    id: str
    tokens: list[int]
    context: int
    lost: int = 0
    windows: list[tuple[list[int], int]] = []


def read(folder: Path) -> dict[str, TokenizedRequest]:
    """The cuts of an evaluation by id of the request; a line that was being written when the program was killed is
    passed over."""
    path, found = folder / FILE, {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            cut = msgspec.json.decode(line, type=TokenizedRequest)
        except msgspec.MsgspecError:
            continue
        found[cut.id] = cut
    return found


def apply(requests: Iterable[EvalRequest], tokenized: Mapping[str, TokenizedRequest]) -> list[EvalRequest]:
    """Requests with their token ids, where these are known; one of several windows becomes as many requests."""
    return [made for one in requests for made in _applied(one, tokenized.get(one.id))]


def _applied(wanted: EvalRequest, cut: TokenizedRequest | None) -> list[EvalRequest]:
    if cut is None:
        return [wanted]
    parts = cut.windows or [(cut.tokens, cut.context)]
    return [
        msgspec.structs.replace(wanted, id=_part(wanted.id, number), tokens=tokens, context_tokens=context)
        for number, (tokens, context) in enumerate(parts)
    ]


def _part(name: str, number: int) -> str:
    return f"{name}~{number}" if number else name


def join_windows(responses: Mapping[str, Response], tokenized: Mapping[str, TokenizedRequest]) -> dict[str, Response]:
    """The answers with those to the windows of one text added up; one that has failed fails all."""
    found = dict(responses)
    for cut in tokenized.values():
        names = [_part(cut.id, number) for number in range(len(cut.windows))]
        if len(names) > 1 and any(name in responses for name in names):
            found[cut.id] = _sum([responses.get(name, Response(failure="unsent")) for name in names])
    return found


def _sum(parts: Sequence[Response]) -> Response:
    if failed := next((part for part in parts if not part.ok), None):
        return failed
    pairs = [pair for part in parts for pair in part.values if isinstance(pair, tuple)]
    whole = math.fsum(value for value, _ in pairs), all(greedy for _, greedy in pairs)
    return msgspec.structs.replace(parts[0], values=[whole])


async def tokenize_requests(
    requests: Sequence[EvalRequest], config: Config, folder: Path, limit: int | None
) -> tuple[list[EvalRequest], dict[str, TokenizedRequest]]:
    """The requests as token ids, by the tokenizer of the run's first server, and the cuts, for `joined`. Raises
    UsageError."""
    async with open_clients(config) as found:
        cuts = await tokenize_missing(requests, folder, found[0], limit)
    return apply(requests, cuts), cuts


async def tokenize_missing(
    requests: Sequence[EvalRequest], folder: Path, client: EvalClient, limit: int | None
) -> dict[str, TokenizedRequest]:
    """The cuts of all requests that want a likelihood after a text; those not known yet are asked for and written down.
    `limit`: tokens that prompt and answer may have together. What has nothing before it and gets no token there by the
    server's own rule is left out. Raises UsageError when `/tokenize` fails."""
    found, tokenizer = read(folder), Tokenizer(client)
    missing = [one for one in requests if one.id not in found and one.continuation is not None and _text(one)]
    with (folder / FILE).open("ab") as file:
        for begin in range(0, len(missing), AT_ONCE * 8):
            cuts = await tokenizer.tokenize(missing[begin : begin + AT_ONCE * 8], limit)
            file.writelines(msgspec.json.encode(one) + b"\n" for one in cuts)
            found |= {one.id: one for one in cuts}
    return found


def _text(wanted: EvalRequest) -> bool:
    return isinstance(wanted.prompt, str)


class Tokenizer:
    """A server's tokenizer. Contexts come several times, and are asked for once."""

    def __init__(self, client: EvalClient) -> None:
        self._line = client
        self._places = asyncio.Semaphore(AT_ONCE)
        self._contexts: dict[str, asyncio.Task[list[int]]] = {}
        self._prefix: list[int] | None = None

    async def tokenize(self, requests: Sequence[EvalRequest], limit: int | None) -> list[TokenizedRequest]:
        """The cuts of some requests."""
        found = await asyncio.gather(*(self._cut(one, limit) for one in requests))
        self._contexts.clear()
        return [one for one in found if one is not None]

    async def _cut(self, wanted: EvalRequest, limit: int | None) -> TokenizedRequest | None:
        context, text = move_spaces(str(wanted.prompt), wanted.continuation or "")
        if not context:
            prefix = await self.prefix()
            own = await self.ids(text)
            return _alone(wanted.id, prefix, own[1:] if own[:1] == prefix else own, limit) if prefix else None
        whole, alone = await asyncio.gather(self.ids(context + text), self._once(context))
        return truncate(wanted.id, alone, whole[len(alone) :], limit)

    async def prefix(self) -> list[int]:
        """The token before a text that has nothing before it: what the tokenizer puts before an empty one, or what it
        says that it begins or, failing that, ends texts with. Empty where nothing tells."""
        if self._prefix is None:
            info = (await self._line.get("/tokenizer_info")).json()
            told = info if isinstance(info, dict) else {}
            name = told.get("bos_token") or told.get("eos_token")
            self._prefix = await self.ids(name) if isinstance(name, str) else await self.ids("", special=True)
        return self._prefix[:1]

    async def ids(self, text: str, special: bool = False) -> list[int]:
        """The ids of a text. Raises UsageError."""
        async with self._places:
            heard = await self._line.post("/tokenize", {"prompt": text, "add_special_tokens": special})
        found = token_ids(heard)
        if found is None:
            raise UsageError(f"{self._line.url}/tokenize gives no tokens for {text[:40]!r} ({heard.error})")
        return found

    async def _once(self, text: str) -> list[int]:
        if text not in self._contexts:
            self._contexts[text] = asyncio.ensure_future(self.ids(text))
        return await self._contexts[text]


def _alone(name: str, prefix: list[int], text: list[int], limit: int | None) -> TokenizedRequest:
    """A text with nothing before it but the prefix."""
    parts = split_windows(prefix, text, limit - 2) if limit is not None and len(text) > limit - 2 else []
    return TokenizedRequest(name, [] if parts else prefix + text, len(prefix), 0, parts)


def split_windows(prefix: list[int], text: list[int], size: int) -> list[tuple[list[int], int]]:
    """A long text in pieces of at most `size` tokens that are scored, each after a token of context, the last after as
    many as there is room for: lm_eval.utils.get_rolling_token_windows and make_disjoint_window."""
    found = [(prefix + text[:size], len(prefix))]
    for done in range(size, len(text), size):
        end = min(done + size, len(text))
        begin = end - size - 1
        found.append((text[begin:end], done - begin))
    return found


def truncate(name: str, context: list[int], text: list[int], limit: int | None) -> TokenizedRequest | None:
    """Without the beginning that does not fit, as one token is generated; None where nothing of the context is left."""
    whole = context + text
    lost = 0 if limit is None else max(0, len(whole) - (limit - 1))
    return TokenizedRequest(name, whole[lost:], len(context) - lost, lost) if len(context) > lost else None
