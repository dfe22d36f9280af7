"""The base class of all protocols, `API`, with the settings of a request and the events of a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from loadstone.apis.sse import ServerSentEvents
from loadstone.records import Prompt, Usage

# Chat's field with the maximum number of output tokens, and its newer name, which OpenAI's reasoning models insist on.
MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"


class RequestSettings(Struct, frozen=True, kw_only=True):
    """What every request of a run has in common. None: not set, so the server's default applies.

    model: name of the model.
    stream: whether to ask for a streamed response.
    output_len: maximum number of output tokens.
    ignore_eos: whether to generate past the end-of-sequence token.
    exact_length: generate exactly `output_len` tokens, neither fewer nor more (`--match-output-length`).
    usage: how often to ask for token counts: `off`, `final` or `each` event.
    temperature: sampling temperature.
    sampling: those of `top_p top_k min_p presence_penalty frequency_penalty repetition_penalty min_tokens stop seed
        logprobs n` that were set. Each API knows where its protocol wants them.
    extra_body: fields that override those of the body; null removes one.
    max_tokens_field: chat's name of the field with the maximum number of output tokens.
    """

    model: str
    stream: bool = True
    output_len: int | None = None
    ignore_eos: bool = False
    exact_length: bool = False
    usage: str = "final"
    temperature: float | None = None
    sampling: dict[str, Any] = {}
    extra_body: dict[str, Any] = {}
    max_tokens_field: str = MAX_TOKENS


class ToolFunction(Struct, omit_defaults=True, gc=False):
    """The function of a tool call.

    name: name of the function.
    arguments: its arguments as JSON text, or a piece of that text. Some servers send an object instead.
    """

    name: str | None = None
    arguments: Any = None

    @property
    def text(self) -> str:
        """Return the arguments as JSON text."""
        value = self.arguments
        return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


class ToolCall(Struct, omit_defaults=True, gc=False):
    """A tool call, or a piece of one: `arguments` come in pieces to be joined."""

    index: int | None = None
    id: str | None = None
    type: Any = None
    function: ToolFunction | None = None


class ReportedLogprobs(Struct, gc=False):
    """The logprobs of one choice in one event, as the server sent them.

    generated: value of `choices[].logprobs`.
    prompt: value of `prompt_logprobs`, wherever in the event it is.
    """

    generated: Any = None
    prompt: Any = None


class Delta(Struct, gc=False):
    """What one event adds to one choice.

    index: number of the choice.
    answer: text of the answer.
    reasoning: text of the reasoning.
    tools: tool calls, or pieces of them.
    finish: finish reason.
    output: whether the event stands for at least one token, even if the server holds its text back.
    logprobs: log-probabilities in the server's form.
    error: what the server says about a choice that it gave up.
    summary: whether the reasoning is a summary of tokens that the server hides.
    """

    index: int = 0
    answer: str = ""
    reasoning: str = ""
    tools: list[ToolCall] | None = None
    finish: str | None = None
    output: bool = False
    logprobs: ReportedLogprobs | None = None
    error: str | None = None
    summary: bool = False


class Event(Struct, gc=False):
    """One event of a stream, or a whole response.

    deltas: what it adds, one for each choice.
    usage: the counts that this event reports; they replace those of earlier events.
    error: the server's error message.
    done: whether the stream ends with this event.
    """

    deltas: list[Delta] = []
    usage: Usage | None = None
    error: str | None = None
    done: bool = False


class BadEventError(Exception):
    """An event that the protocol does not allow; the text says what is wrong with it."""


class Splitter(Protocol):
    """Splits the bytes of a stream, cut anywhere, into the data of each complete event.

    at_boundary: whether the bytes so far end between two events.
    """

    at_boundary: bool

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes, in order."""
        ...

    @property
    def remainder(self) -> bytes:
        """Return the bytes so far of an event that is not complete."""
        ...


class API:
    """One request protocol; subclass it. An object holds no state unless `new_parser` returns a new one.

    path: where requests go; empty if the URL is the whole address.
    path_unstreamed: where requests go that are not streamed, if elsewhere.
    headers: headers that every request of the protocol carries.
    streams: whether the protocol can stream at all.
    names_model: whether a request names its model.
    marks_end: whether `Event.done` marks the last event of a stream, so that nothing of the response is missing if the
        connection stays open after it.
    probe_first: whether the user described the form of the response, so that a probe checks it before the run.
    splitter: splits a stream into events; server-sent events by default.
    unused: fields of RequestSettings that change nothing in a request of the protocol. What it cannot express at all,
        `build_body` refuses.
    """

    path: str = ""
    path_unstreamed: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    streams: bool = True
    names_model: bool = True
    marks_end: bool = True
    probe_first: bool = False
    splitter: Callable[[], Splitter] = ServerSentEvents
    unused: tuple[str, ...] = ()

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        """Return the JSON body of a request. Raises UsageError if the protocol cannot express it."""
        raise NotImplementedError

    def parse_event(self, data: bytes) -> Event:
        """Parse one event of a stream. Raises BadEventError, and nothing else, if it cannot be read."""
        raise NotImplementedError

    def parse_response(self, data: bytes) -> Event:
        """Parse the body of a response that was not streamed. Raises BadEventError, and nothing else."""
        raise NotImplementedError

    def new_parser(self) -> API:
        """Return the parser of one response: this object, or a new one if an event needs those before it."""
        return self

    def missing(self) -> str | None:
        """Return what a stream that has ended should have contained and did not, as a message, or None."""
        return None
