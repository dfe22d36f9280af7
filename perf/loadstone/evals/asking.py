"""From an item to what is sent: the question as a text or as messages, a request for each answer that is wanted."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.tasks.spec import Mode


class Wanted(Struct, frozen=True, kw_only=True):
    """One request of an evaluation, whoever made it: a task of ours, or an instance of lm-eval's.

    id: unlike any other in the evaluation, and the same each time it is put together from the same settings.
    asked: the context, as a text (completions) or as messages (chat).
    settings: of a generation: `max_tokens`, `stop`, `temperature` and whatever else the request is to say.
    continuation: of which the log-likelihood is wanted after the context, with its delimiter; letters: those of which
    the log-probability as first token is wanted, with their delimiter.
    tokens: ids of context and continuation, which go instead of the text where a tokenizer is asked; context: how many
    of them are the context's.
    """

    id: str
    mode: Mode
    asked: str | list[dict[str, Any]]
    settings: dict[str, Any] = {}
    continuation: str | None = None
    letters: list[str] = []
    tokens: list[int] | None = None
    context: int | None = None
