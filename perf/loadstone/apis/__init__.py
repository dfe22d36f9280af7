"""The seam to a protocol: what a prompt looks like as a request, and what an event of the answer means.

An API is a stateless object with a path, a body builder and two decoders. `reply.py` puts the events of one answer
together; sockets and clocks are somebody else's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from msgspec import Struct

from loadstone.records import Prompt, Usage


class Settings(Struct, frozen=True, kw_only=True):
    """What every request of a run asks for beside its prompt."""

    model: str
    stream: bool = True
    output_len: int | None = None
    ignore_eos: bool = False
    usage: str = "final"
    temperature: float | None = None
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
    """What one event adds to one choice. `output`: it stands for at least one token, even if its text is held back."""

    index: int = 0
    answer: str = ""
    reasoning: str = ""
    tools: list[ToolCall] | None = None
    finish: str | None = None
    output: bool = False


class Event(Struct, gc=False):
    """One event of a stream, or a whole answer. `done`: the stream ends; `error`: what the server complains of."""

    deltas: list[Delta] = []
    usage: Usage | None = None
    error: str | None = None
    done: bool = False


class BadEventError(Exception):
    """An event that the protocol does not allow; the text says what is wrong with it."""


class API(Protocol):
    """One request protocol. `event` and `whole` raise BadEventError on bytes they cannot read, and nothing else."""

    path: str

    def body(self, prompt: Prompt, settings: Settings) -> dict[str, Any]: ...

    def event(self, data: bytes) -> Event: ...

    def whole(self, data: bytes) -> Event: ...


APIS: dict[str, str] = {
    "chat": "loadstone.apis.openai:Chat",
    "completions": "loadstone.apis.openai:Completions",
}
"""Built-in protocols by name: where their class is."""


def load(place: str) -> API:
    """The API at `module:Class`."""
    module, _, name = place.partition(":")
    api: API = getattr(import_module(module), name)()
    return api
