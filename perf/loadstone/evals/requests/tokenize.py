"""Turns contexts and continuations into token ids of the server's own tokenizer, as lm-eval sends them.

The context has the tokens that it has alone, the continuation those that follow if both are one text, and a prompt
that is too long loses its beginning: as in lm-eval 0.4.13 (TemplateLM._encode_pair,
TemplateAPI.batch_loglikelihood_requests). The ids are kept in the evaluation's folder, so that its records can be
scored without a server.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import ServerError
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.capabilities import token_ids
from loadstone.evals.requests.client import EvalClient, open_clients
from loadstone.evals.requests.eval_request import EvalRequest, RequestId
from loadstone.evals.requests.loglikelihood import move_spaces

FILE = "tokens.jsonl"
# Calls of /tokenize that are in flight together.
CONCURRENCY = 16
# Requests that are tokenized before their ids are written to the file.
BATCH = 128


class TokenizedRequest(Struct, frozen=True):
    """A line of tokens.jsonl: the token ids of a request.

    id: text of the request's id
    tokens: ids of context and continuation
    context: how many of them belong to the context
    lost: tokens cut off at the beginning, as the model takes no more
    windows: (ids, context) for a long text without context that is sent in several requests, which score each token
        once
    """

    id: str
    tokens: list[int]
    context: int
    lost: int = 0
    windows: list[tuple[list[int], int]] = []


def read(folder: Path) -> dict[str, TokenizedRequest]:
    """Read the token ids of an evaluation, by text of their ids. Incomplete lines of a killed program are skipped."""
    path, by_id = folder / FILE, {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            tokenized = msgspec.json.decode(line, type=TokenizedRequest)
        except (msgspec.MsgspecError, RecursionError):
            continue
        by_id[tokenized.id] = tokenized
    return by_id


def apply(requests: Iterable[EvalRequest], tokenized: Mapping[str, TokenizedRequest]) -> list[EvalRequest]:
    """Return the requests with their token ids, if known. A text of several windows becomes as many requests."""
    result: list[EvalRequest] = []
    for request in requests:
        ids = tokenized.get(str(request.id))
        if ids is None:
            result.append(request)
            continue
        for number, (tokens, context) in enumerate(ids.windows or [(ids.tokens, ids.context)]):
            window = msgspec.structs.replace(request.id, window=number)
            result.append(msgspec.structs.replace(request, id=window, tokens=tokens, context_tokens=context))
    return result


def join_windows(responses: Mapping[RequestId, Response], requests: Iterable[EvalRequest]) -> dict[RequestId, Response]:
    """Return the responses with those to the windows of one text added up. One that failed fails the whole text."""
    windows_of: dict[RequestId, list[RequestId]] = {}
    for request in requests:
        windows_of.setdefault(msgspec.structs.replace(request.id, window=0), []).append(request.id)
    joined = dict(responses)
    for first, ids in windows_of.items():
        if len(ids) < 2 or not any(each in responses for each in ids):
            continue
        windows = [responses.get(each, Response(failure="unsent")) for each in ids]
        failed = next((window for window in windows if not window.ok), None)
        if failed is not None:
            joined[first] = failed
            continue
        pairs = [pair for window in windows for pair in window.values if isinstance(pair, tuple)]
        whole = math.fsum(value for value, _ in pairs), all(greedy for _, greedy in pairs)
        joined[first] = msgspec.structs.replace(windows[0], values=[whole])
    return joined


async def tokenize_requests(
    requests: Sequence[EvalRequest], config: Config, folder: Path, limit: int | None
) -> list[EvalRequest]:
    """Return the requests with the token ids that the run's first server has for them, as `apply` does.

    limit: tokens that prompt and answer may have together; None if unknown

    Raises UsageError.
    """
    if not any(request.answer_mode.sends_token_ids for request in requests):
        return list(requests)
    async with open_clients(config) as clients:
        tokenized = await tokenize_missing(requests, folder, clients[0], limit)
    return apply(requests, tokenized)


async def tokenize_missing(
    requests: Sequence[EvalRequest], folder: Path, client: EvalClient, limit: int | None
) -> dict[str, TokenizedRequest]:
    """Tokenize the requests for the likelihood of a text that are not in tokens.jsonl yet, and write them there.

    Returns the ids of all. A text without context for which the server has no first token is left out.
    Raises ServerError if `/tokenize` fails.
    """
    by_id, tokenizer = read(folder), Tokenizer(client)
    missing = [
        request
        for request in requests
        if str(request.id) not in by_id and request.answer_mode.sends_token_ids and isinstance(request.prompt, str)
    ]
    with (folder / FILE).open("ab") as file:
        for begin in range(0, len(missing), BATCH):
            batch = await tokenizer.tokenize(missing[begin : begin + BATCH], limit)
            file.writelines(msgspec.json.encode(tokenized) + b"\n" for tokenized in batch)
            by_id |= {tokenized.id: tokenized for tokenized in batch}
    return by_id


class Tokenizer:
    """The tokenizer of a server. A context that several requests share is sent once."""

    def __init__(self, client: EvalClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._contexts: dict[str, asyncio.Task[list[int]]] = {}
        self._prefix: list[int] | None = None

    async def tokenize(self, requests: Sequence[EvalRequest], limit: int | None) -> list[TokenizedRequest]:
        """Tokenize some requests. Those that cannot be are left out."""
        results = await asyncio.gather(*(self._tokenize(request, limit) for request in requests))
        self._contexts.clear()
        return [tokenized for tokenized in results if tokenized is not None]

    async def _tokenize(self, request: EvalRequest, limit: int | None) -> TokenizedRequest | None:
        context, text = move_spaces(str(request.prompt), request.continuation or "")
        if context:
            whole, alone = await asyncio.gather(self.ids(context + text), self._context_ids(context))
            return truncate(str(request.id), alone, whole[len(alone) :], limit)

        # A text without context: it comes after the token with which the server starts texts.
        prefix = await self.prefix()
        ids = await self.ids(text)
        if not prefix:
            return None
        if ids[:1] == prefix:
            ids = ids[1:]
        windows = split_windows(prefix, ids, limit - 2) if limit is not None and len(ids) > limit - 2 else []
        return TokenizedRequest(str(request.id), [] if windows else prefix + ids, len(prefix), 0, windows)

    async def _context_ids(self, context: str) -> list[int]:
        if context not in self._contexts:
            self._contexts[context] = asyncio.ensure_future(self.ids(context))
        return await self._contexts[context]

    async def prefix(self) -> list[int]:
        """Return the token that comes before a text without context. The list is empty if there is none.

        It is the token with which the server says that texts begin or, failing that, end; or else what the tokenizer
        puts before an empty text.
        """
        if self._prefix is None:
            answer = (await self._client.get("/tokenizer_info")).json()
            info = answer if isinstance(answer, dict) else {}
            name = info.get("bos_token") or info.get("eos_token")
            self._prefix = await self.ids(name) if isinstance(name, str) else await self.ids("", special=True)
        return self._prefix[:1]

    async def ids(self, text: str, special: bool = False) -> list[int]:
        """Return the token ids of a text. Raises ServerError.

        special: include the special tokens that the tokenizer adds
        """
        async with self._slots:
            response = await self._client.post("/tokenize", {"prompt": text, "add_special_tokens": special})
        ids = token_ids(response)
        if ids is None:
            raise ServerError(f"{self._client.url}/tokenize gives no tokens for {text[:40]!r} ({response.error})")
        return ids


def split_windows(prefix: list[int], text: list[int], size: int) -> list[tuple[list[int], int]]:
    """Split a long text into (ids, context tokens) that score at most `size` tokens each.

    Each window after the first has one token of context, the last as many as fit. Source:
    lm_eval.utils.get_rolling_token_windows and make_disjoint_window.
    """
    windows = [(prefix + text[:size], len(prefix))]
    for scored in range(size, len(text), size):
        end = min(scored + size, len(text))
        begin = end - size - 1
        windows.append((text[begin:end], scored - begin))
    return windows


def truncate(name: str, context: list[int], text: list[int], limit: int | None) -> TokenizedRequest | None:
    """Cut off the beginning of a prompt that is too long, as one more token is generated.

    Returns None if nothing of the context is left.
    """
    whole = context + text
    lost = 0 if limit is None else max(0, len(whole) - (limit - 1))
    return TokenizedRequest(name, whole[lost:], len(context) - lost, lost) if len(context) > lost else None
