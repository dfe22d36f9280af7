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
from loadstone.evals.requests.answers import Answer
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.requests.capabilities import token_ids
from loadstone.evals.requests.client import EvalClient, lines
from loadstone.evals.requests.loglikelihood import moved

FILE = "tokens.jsonl"
AT_ONCE = 16


class Cut(Struct, frozen=True):
    """A line of tokens.jsonl: the ids of a request, and how many of them are the context's. `lost`: how many were cut
    off at the beginning, as the model takes no more. `windows`: a text with nothing before it that is too long for one
    request, in several: of each ids and context; together they score every token once."""

    id: str
    tokens: list[int]
    context: int
    lost: int = 0
    windows: list[tuple[list[int], int]] = []


def known(folder: Path) -> dict[str, Cut]:
    """The cuts of an evaluation by id of the request; a line that was being written when the program was killed is
    passed over."""
    path, found = folder / FILE, {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            cut = msgspec.json.decode(line, type=Cut)
        except msgspec.MsgspecError:
            continue
        found[cut.id] = cut
    return found


def apply(wanted: Iterable[EvalRequest], cuts: Mapping[str, Cut]) -> list[EvalRequest]:
    """Requests with their token ids, where these are known; one of several windows becomes as many requests."""
    return [made for one in wanted for made in _applied(one, cuts.get(one.id))]


def _applied(wanted: EvalRequest, cut: Cut | None) -> list[EvalRequest]:
    if cut is None:
        return [wanted]
    parts = cut.windows or [(cut.tokens, cut.context)]
    return [
        msgspec.structs.replace(wanted, id=_part(wanted.id, number), tokens=tokens, context=context)
        for number, (tokens, context) in enumerate(parts)
    ]


def _part(name: str, number: int) -> str:
    return f"{name}~{number}" if number else name


def joined(answers: Mapping[str, Answer], cuts: Mapping[str, Cut]) -> dict[str, Answer]:
    """The answers with those to the windows of one text added up; one that has failed fails all."""
    found = dict(answers)
    for cut in cuts.values():
        names = [_part(cut.id, number) for number in range(len(cut.windows))]
        if len(names) > 1 and any(name in answers for name in names):
            found[cut.id] = _sum([answers.get(name, Answer(failure="unsent")) for name in names])
    return found


def _sum(parts: Sequence[Answer]) -> Answer:
    if failed := next((part for part in parts if not part.good), None):
        return failed
    pairs = [pair for part in parts for pair in part.responses if isinstance(pair, tuple)]
    whole = math.fsum(value for value, _ in pairs), all(greedy for _, greedy in pairs)
    return msgspec.structs.replace(parts[0], responses=[whole])


async def tokenised(
    wanted: Sequence[EvalRequest], config: Config, folder: Path, limit: int | None
) -> tuple[list[EvalRequest], dict[str, Cut]]:
    """The requests as token ids, by the tokenizer of the run's first server, and the cuts, for `joined`. Raises
    UsageError."""
    async with lines(config) as found:
        cuts = await cut(wanted, folder, found[0], limit)
    return apply(wanted, cuts), cuts


async def cut(wanted: Sequence[EvalRequest], folder: Path, line: EvalClient, limit: int | None) -> dict[str, Cut]:
    """The cuts of all requests that want a likelihood after a text; those not known yet are asked for and written down.
    `limit`: tokens that prompt and answer may have together. What has nothing before it and gets no token there by the
    server's own rule is left out. Raises UsageError when `/tokenize` fails."""
    found, tokenizer = known(folder), Tokenizer(line)
    missing = [one for one in wanted if one.id not in found and one.continuation is not None and _text(one)]
    with (folder / FILE).open("ab") as file:
        for begin in range(0, len(missing), AT_ONCE * 8):
            cuts = await tokenizer.cuts(missing[begin : begin + AT_ONCE * 8], limit)
            file.writelines(msgspec.json.encode(one) + b"\n" for one in cuts)
            found |= {one.id: one for one in cuts}
    return found


def _text(wanted: EvalRequest) -> bool:
    return isinstance(wanted.asked, str)


class Tokenizer:
    """A server's tokenizer. Contexts come several times, and are asked for once."""

    def __init__(self, line: EvalClient) -> None:
        self._line = line
        self._places = asyncio.Semaphore(AT_ONCE)
        self._contexts: dict[str, asyncio.Task[list[int]]] = {}
        self._prefix: list[int] | None = None

    async def cuts(self, wanted: Sequence[EvalRequest], limit: int | None) -> list[Cut]:
        """The cuts of some requests."""
        found = await asyncio.gather(*(self._cut(one, limit) for one in wanted))
        self._contexts.clear()
        return [one for one in found if one is not None]

    async def _cut(self, wanted: EvalRequest, limit: int | None) -> Cut | None:
        context, text = moved(str(wanted.asked), wanted.continuation or "")
        if not context:
            prefix = await self.prefix()
            own = await self.ids(text)
            return _alone(wanted.id, prefix, own[1:] if own[:1] == prefix else own, limit) if prefix else None
        whole, alone = await asyncio.gather(self.ids(context + text), self._once(context))
        return shortened(wanted.id, alone, whole[len(alone) :], limit)

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
            raise UsageError(f"{self._line.url}/tokenize gives no tokens for {text[:40]!r} ({heard.complaint})")
        return found

    async def _once(self, text: str) -> list[int]:
        if text not in self._contexts:
            self._contexts[text] = asyncio.ensure_future(self.ids(text))
        return await self._contexts[text]


def _alone(name: str, prefix: list[int], text: list[int], limit: int | None) -> Cut:
    """A text with nothing before it but the prefix."""
    parts = windows(prefix, text, limit - 2) if limit is not None and len(text) > limit - 2 else []
    return Cut(name, [] if parts else prefix + text, len(prefix), 0, parts)


def windows(prefix: list[int], text: list[int], size: int) -> list[tuple[list[int], int]]:
    """A long text in pieces of at most `size` tokens that are scored, each after a token of context, the last after as
    many as there is room for: lm_eval.utils.get_rolling_token_windows and make_disjoint_window."""
    found = [(prefix + text[:size], len(prefix))]
    for done in range(size, len(text), size):
        end = min(done + size, len(text))
        begin = end - size - 1
        found.append((text[begin:end], done - begin))
    return found


def shortened(name: str, context: list[int], text: list[int], limit: int | None) -> Cut | None:
    """Without the beginning that does not fit, as one token is generated; None where nothing of the context is left."""
    whole = context + text
    lost = 0 if limit is None else max(0, len(whole) - (limit - 1))
    return Cut(name, whole[lost:], len(context) - lost, lost) if len(context) > lost else None
