"""What is known of a request's question put into what it asks for: the recorded answer, token by token. Pure.

How the tokens are timed and worded is as ever: `answer`, `batched`, `formats`.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from loadstone.sim import bodies, logprobs
from loadstone.sim.bodies import Page
from loadstone.sim.recorded_answers import RecordedAnswer, RecordedAnswers
from loadstone.sim.stream_events import ParsedRequest


class AnswerLookup:
    """The recorded answers, and how often each question has been asked."""

    def __init__(self, book: RecordedAnswers) -> None:
        self._book = book
        self._asked: Counter[str] = Counter()

    def apply(self, ask: ParsedRequest) -> ParsedRequest | Page:
        """What to answer: as recorded, an error page for a row that fails, or the ask itself where nothing is known."""
        row = self._row(ask)
        if row is None:
            return ask
        if row.kind == "failing":
            return bodies.ENGINE_DEAD_PAGE
        if ask.logprob_options is not None and (
            ask.logprob_options.echo or ask.logprob_options.prompt_logprobs is not None
        ):
            return msgspec.structs.replace(
                ask, logprob_options=msgspec.structs.replace(ask.logprob_options, known=_known(row))
            )
        turn = self._asked[row.id]
        self._asked[row.id] += ask.choices
        return _said(ask, [row.text(turn + choice) for choice in range(ask.choices)])

    def _row(self, ask: ParsedRequest) -> RecordedAnswer | None:
        """Of requests with several prompts nothing is known."""
        if len(ask.prompts) != 1 or not all(isinstance(text, str) for text in ask.prompts[0]):
            return None
        return self._book.find("\n".join(map(str, ask.prompts[0])))


def _known(row: RecordedAnswer) -> logprobs.KnownTexts:
    """Log-likelihoods know right and wrong only."""
    if row.kind != "wrong":
        return tuple((answer, logprobs.LIKELY) for answer in row.answers)
    held = tuple((answer, logprobs.UNLIKELY) for answer in row.answers)
    return (*held, *((row.wrong_answer(answer), logprobs.LIKELY) for answer in row.answers))


def _said(ask: ParsedRequest, texts: list[tuple[str, str]]) -> ParsedRequest:
    """Choices end with the longest of them: the others have tokens without text behind them. An answer without text has
    one such token, its end, as with vLLM."""
    parts = [logprobs.split_tokens(_stopped(text, ask.stop)) for text, _ in texts]
    length = max(1, *(len(part) for part in parts))
    finish = texts[0][1]
    if ask.finish_reason == "length" and ask.tokens < length:
        length, finish = ask.tokens, "length"
    said = tuple(tuple((part + [""] * length)[:length]) for part in parts)
    return msgspec.structs.replace(ask, tokens=length, finish_reason=finish, reply_tokens=said)


def _stopped(text: str, stop: tuple[str, ...]) -> str:
    """A stop text ends an answer and is not part of it."""
    return text[: min((text.find(end) for end in stop if end in text), default=len(text))]
