"""Applies a recorded answer to a request whose question is known. Pure.

The tokens are timed and sent as those of any other request.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from loadstone.sim import bodies, logprobs
from loadstone.sim.bodies import Page
from loadstone.sim.recorded_answers import RecordedAnswer, RecordedAnswers
from loadstone.sim.stream_events import ParsedRequest


class AnswerLookup:
    """The recorded answers, and how many choices each question has been given so far."""

    def __init__(self, answers: RecordedAnswers) -> None:
        self._answers = answers
        self._turns: Counter[str] = Counter()

    def apply(self, parsed: ParsedRequest) -> ParsedRequest | Page:
        """Return the request with its recorded answer, or the error page of a question whose kind is `failing`.

        A request whose question is unknown, or that has several prompts, is returned unchanged. A request for the
        log-probabilities of its prompt gets those of the known answers.
        """
        if len(parsed.prompts) != 1 or not all(isinstance(text, str) for text in parsed.prompts[0]):
            return parsed
        answer = self._answers.find("\n".join(map(str, parsed.prompts[0])))
        if answer is None:
            return parsed
        if answer.kind == "failing":
            return bodies.ENGINE_DEAD_PAGE
        options = parsed.logprob_options
        if options is not None and (options.echo or options.prompt_logprobs is not None):
            options = msgspec.structs.replace(options, known=_known_texts(answer))
            return msgspec.structs.replace(parsed, logprob_options=options)
        turn = self._turns[answer.id]
        self._turns[answer.id] += parsed.choices
        return _with_texts(parsed, [answer.text(turn + choice) for choice in range(parsed.choices)])


def _known_texts(answer: RecordedAnswer) -> logprobs.KnownTexts:
    """Return the log-probabilities of right and wrong answers; other kinds than `wrong` count as right."""
    if answer.kind != "wrong":
        return tuple((text, logprobs.LIKELY) for text in answer.answers)
    right = tuple((text, logprobs.UNLIKELY) for text in answer.answers)
    return (*right, *((answer.wrong_answer(text), logprobs.LIKELY) for text in answer.answers))


def _with_texts(parsed: ParsedRequest, texts: list[tuple[str, str]]) -> ParsedRequest:
    """Return the request with the tokens of these texts (text, finish reason), one per choice.

    All choices have as many tokens as the longest one; shorter ones end with tokens without text. An empty text is one
    such token, as the end token of vLLM.
    """
    token_lists = []
    for text, _ in texts:
        # A stop text ends the answer and is not part of it.
        end = min((text.find(stop) for stop in parsed.stop if stop in text), default=len(text))
        token_lists.append(logprobs.split_tokens(text[:end]))
    length = max(1, *(len(tokens) for tokens in token_lists))
    finish_reason = texts[0][1]
    if parsed.finish_reason == "length" and parsed.tokens < length:
        length, finish_reason = parsed.tokens, "length"
    padded = tuple(tuple((tokens + [""] * length)[:length]) for tokens in token_lists)
    return msgspec.structs.replace(parsed, tokens=length, finish_reason=finish_reason, reply_tokens=padded)
