"""Token counts that figures may use: what the server reported, as far as it can be true.

Records keep what the server reported. Servers and gateways also report 0 where they do not know a count, negative
numbers and nonsense; all figures take such a count as not reported. This is the only place that decides it.
"""

from __future__ import annotations

from typing import NamedTuple

from loadstone.records import Record, Usage

# More tokens than any model takes or generates in one request. No prompt has 0: servers send that for unknown.
MAX_INPUT = 100_000_000
MAX_OUTPUT = 10_000_000
_NO_USAGE = Usage()


class OutputTokens(NamedTuple):
    """The output of one response.

    tokens: number of tokens; None if it is unknown.
    hidden: how many of them no event carried: reasoning that the server keeps to itself, or only summarizes.
    rejected: the count that the server reported, if it cannot be true.
    """

    tokens: int | None
    hidden: int = 0
    rejected: int | None = None

    @property
    def visible(self) -> int | None:
        """Return the number of tokens that events carried; None if it is unknown."""
        return None if self.tokens is None else self.tokens - self.hidden


def output_tokens(record: Record) -> OutputTokens:
    """Return the output tokens of a response by the server's count.

    A count of 0 beside output is none, as is a negative or absurd one. Reasoning is hidden if its tokens were counted
    and no text of it came, or only a summary. xAI counts it beside the completion, where it exceeds that: then none of
    the completion is hidden.
    """
    usage = record.usage or _NO_USAGE
    tokens, reasoning = usage.completion, usage.reasoning
    if tokens is None:
        return OutputTokens(None)
    if not 0 <= tokens <= MAX_OUTPUT or (tokens == 0 and _has_output(record)):
        return OutputTokens(None, 0, tokens)
    hidden = 0
    if reasoning is not None and 0 < reasoning <= tokens and record.streamed:
        unseen = record.first_answer is not None and record.first_answer == record.first and not record.reasoning
        summarized = record.summarized is True and record.first_answer is not None
        hidden = reasoning if unseen or summarized else 0
        events = len(record.pieces.times) if record.pieces else 0
        if hidden and unseen and record.finish == "stop" and tokens - hidden == events + 1:
            hidden += 1  # the stop token has no event either
    return OutputTokens(tokens, hidden)


def is_buffered(record: Record) -> bool:
    """Return True if several events, or several tokens, of a stream came in one read: no time between was measured."""
    pieces = record.pieces
    if pieces is None or not pieces.times or record.first != record.last:
        return False
    return len(pieces.times) > 1 or (output_tokens(record).visible or 0) > 1


def _has_output(record: Record) -> bool:
    """Return True if a response had any text or tool call."""
    if record.pieces is not None:
        return any(record.pieces.chars)
    return bool(record.text or record.reasoning or record.tools)
