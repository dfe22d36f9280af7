"""What a protocol is: the base class `API`, the settings of a request, and the events of a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from loadstone.apis.logprobs import ReportedLogprobs
from loadstone.apis.sse import ServerSentEvents
from loadstone.records import Prompt, Usage


class Settings(Struct, frozen=True, kw_only=True):
    """What every request of a run asks for beside its prompt. None: not said, the server's default holds.

    match: generate exactly `output_len` tokens, neither fewer nor more (`--match-output-length`).
    sampling: `top_p top_k min_p presence_penalty frequency_penalty repetition_penalty min_tokens stop seed logprobs n`
    under these names, those that were given; each API knows where its protocol wants them.
    """

    model: str
    stream: bool = True
    output_len: int | None = None
    ignore_eos: bool = False
    match: bool = False
    usage: str = "final"
    temperature: float | None = None
    sampling: dict[str, Any] = {}
    extra_body: dict[str, Any] = {}


class Function(Struct, omit_defaults=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, omit_defaults=True, gc=False):
    """A tool call, or a piece of one: `arguments` come in pieces to be joined."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class Delta(Struct, gc=False):
    """What one event adds to one choice. `output`: it stands for at least one token, even if its text is held back.
    `told`: of log-probabilities, as the server has it."""

    index: int = 0
    answer: str = ""
    reasoning: str = ""
    tools: list[ToolCall] | None = None
    finish: str | None = None
    output: bool = False
    told: ReportedLogprobs | None = None


class Event(Struct, gc=False):
    """One event of a stream, or a whole answer. `usage`: what this event tells, laid over what was told before.
    `done`: the stream ends; `error`: what the server complains of."""

    deltas: list[Delta] = []
    usage: Usage | None = None
    error: str | None = None
    done: bool = False


class BadEventError(Exception):
    """An event that the protocol does not allow; the text says what is wrong with it."""


class Splitter(Protocol):
    """Bytes of a stream as they come, cut anywhere, to the data of each complete event. `clean`: between two events;
    `rest`: what has come of an event that is not complete."""

    clean: bool

    def feed(self, chunk: bytes) -> list[bytes]: ...

    @property
    def rest(self) -> bytes: ...


class API:
    """One request protocol; subclass it. `event` and `whole` raise BadEventError on bytes they cannot read, and nothing
    else. An object holds no state unless `fresh` gives a new one for each answer.

    path: where requests go, empty if the URL says it all; path_whole: where those go that want their answer in one
    piece, if elsewhere.
    headers: what every request of the protocol carries.
    streams: whether the protocol can stream at all.
    names_model: whether a request says which model it is for.
    guessed: whether somebody told where things stand in an answer, so that one is looked at before a run.
    splitter: what cuts a stream into events; server-sent events by default.
    """

    path: str = ""
    path_whole: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    streams: bool = True
    names_model: bool = True
    guessed: bool = False
    splitter: Callable[[], Splitter] = ServerSentEvents

    def body(self, prompt: Prompt, settings: Settings) -> dict[str, Any]:
        """The JSON body of a request."""
        raise NotImplementedError

    def event(self, data: bytes) -> Event:
        """What one event of a stream says."""
        raise NotImplementedError

    def whole(self, data: bytes) -> Event:
        """What the body of an answer in one piece says."""
        raise NotImplementedError

    def fresh(self) -> API:
        """The decoder of one answer: itself, or a new object where events only make sense after those before them."""
        return self

    def lacking(self) -> str | None:
        """What a stream that has ended should have told and did not; None when nothing is missed."""
        return None
