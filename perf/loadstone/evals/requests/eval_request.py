"""One request of an evaluation: its id, how it is answered, and what is sent.

The text of an id is a key in requests-N.jsonl, tokens.jsonl, cached.jsonl and the records of runs: an evaluation that
is continued looks its earlier requests up by it. That text must therefore not change. It is only ever made, and never
parsed: whoever reads a file finds the request by a dictionary of the texts.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from loadstone.tasks.spec import Mode

Form = Literal["text", "messages"]
Message = dict[str, Any]


class RequestId(Struct, frozen=True):
    """The id of one request, unique in the evaluation, and the same for the same settings.

    task, doc_id: of the sample
    number: of the request among those of its sample, from 0; None if the sample has only one
    attempt: pass, from 0
    window: number of the token window if a long text is sent in several, from 0
    """

    task: str
    doc_id: int
    number: int | None = None
    attempt: int = 0
    window: int = 0

    def __str__(self) -> str:
        """Return the id as text: `TASK:DOC_ID/NUMBER#ATTEMPT~WINDOW`, without the parts that have their first value.

        Different ids have different texts, whatever characters the name of the task has: no part after it has a `:`.
        """
        number = "" if self.number is None else f"/{self.number}"
        attempt = f"#{self.attempt}" if self.attempt else ""
        window = f"~{self.window}" if self.window else ""
        return f"{self.task}:{self.doc_id}{number}{attempt}{window}"


class LogprobMethod(Struct, frozen=True):
    """How log-probabilities are requested from a server.

    kind: field that requests them, or `letters` for the likeliest first tokens
    api: API that the requests go to
    plain: the server omits special tokens on request, as lm-eval sends none
    ids: texts are sent as the token ids of the server's `/tokenize`
    top: number of likeliest first tokens to request
    """

    kind: Literal["echo", "prompt_logprobs", "letters"]
    api: Literal["chat", "completions"] = "completions"
    plain: bool = False
    ids: bool = False
    top: int = 20


class AnswerMode(Struct, frozen=True):
    """How the requests of a task are answered.

    mode: generation, loglikelihood or letters
    api: API that the requests go to
    method: how log-probabilities are requested; None for a generation. Its key in eval.json is `way`
    notice: what the operator should know about it
    stops: how many stop texts the server was seen to honor; None if unknown
    """

    mode: Mode
    api: str
    method: LogprobMethod | None = msgspec.field(default=None, name="way")
    notice: str | None = None
    stops: int | None = None

    @property
    def form(self) -> Form:
        """Return the form of the prompts."""
        return "text" if self.api == "completions" else "messages"

    @property
    def sends_token_ids(self) -> bool:
        """Return True if texts are sent as the token ids of the server's own tokenizer."""
        return self.method is not None and self.method.ids


class EvalRequest(Struct, frozen=True, kw_only=True):
    """One request of an evaluation, from one of Loadstone's tasks or from an instance of lm-eval.

    answer_mode: how it is answered
    prompt: the context, as a text (completions) or as messages (chat)
    settings: of a generation: `max_tokens`, `stop`, `temperature` and other fields of the request
    continuation: text whose log-likelihood after the context is requested, with its delimiter
    letters: texts whose log-probability as first token is requested, with their delimiter
    later: further user turns, each sent after the answer to the one before; the conversation counts as a whole
    tokens: token ids of context and continuation, sent instead of the text if the server tokenized it
    context_tokens: how many of `tokens` belong to the context
    """

    id: RequestId
    answer_mode: AnswerMode
    prompt: str | list[Message]
    settings: dict[str, Any] = {}
    continuation: str | None = None
    letters: list[str] = []
    later: list[str] = []
    tokens: list[int] | None = None
    context_tokens: int | None = None
