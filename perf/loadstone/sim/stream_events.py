"""The seam to the protocols: a `Format` reads requests and words answers, `StreamEvents` are the events of one stream.

Pure. When an event is sent, and what a fault makes of it, is `answer`'s; each family of protocols has a file in
`formats`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.sim.bodies import ENGINE_DEAD, Page
from loadstone.sim.logprobs import Scores
from loadstone.sim.settings import Settings

END = b"0\r\n\r\n"
BAD_UTF8 = b"\xff\xfe"
SSE = b"text/event-stream; charset=utf-8"


def frame(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def events(*datas: bytes) -> bytes:
    """Server-sent events without names, as one HTTP chunk."""
    return frame(b"".join([b"data: %b\n\n" % data for data in datas]))


DONE = events(b"[DONE]")
ERROR = events(
    b'{"error": {"message": "%b", "type": "InternalServerError", "param": null, "code": 500}}' % ENGINE_DEAD.encode(),
    b"[DONE]",
)


class ResponseFacts(Struct):
    """What an answer tells besides its events.

    texts: of every choice, where the answer comes in one piece.
    cached: prompt tokens that needed no work, None where the server does not say; to be set before they are told.
    """

    ask: ParsedRequest
    id: str
    created: int
    model: str
    texts: list[str] = []
    cached: int | None = None


class StreamEvents:
    """The events of one streamed answer as bytes, each framed as an HTTP chunk; what does not change is built once.

    `choice` counts the answers of the request from 0; `done` is the number of tokens of that answer so far.
    """

    __slots__ = ("ask", "facts")

    def __init__(self, facts: ResponseFacts) -> None:
        self.facts, self.ask = facts, facts.ask

    def opening(self) -> bytes:
        """What comes before the first text."""
        return b""

    def text(self, choice: int, piece: bytes, done: int) -> bytes:
        """An event with text that is not the last of its choice."""
        raise NotImplementedError

    def last(self, choice: int, piece: bytes, done: int) -> bytes:
        """The last text of a choice, with the finish reason where that is told beside it."""
        return self.text(choice, piece, done)

    def broken(self, choice: int, piece: bytes) -> bytes:
        """An event that ends inside its JSON."""
        raise NotImplementedError

    def ending(self) -> bytes:
        """What follows the last text, up to `closing`."""
        return b""

    def closing(self) -> bytes:
        """What says that the stream is over."""
        return DONE

    def death(self) -> bytes:
        """The engine has died in mid-stream."""
        return ERROR


class Format:
    """A protocol as the server speaks it. `prefix`: of the ids it gives; `kind`: content type of its streams."""

    prefix: str = ""
    kind: bytes = SSE

    def pick(self, data: dict[str, Any]) -> Format:  # noqa: ARG002 - for those that share their path
        """The protocol of this body: several servers have the same path."""
        return self

    def ask(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        """What the body asks for. Raises asks.Refused."""
        raise NotImplementedError

    def chunks(self, facts: ResponseFacts) -> StreamEvents:
        """The events of a streamed answer."""
        raise NotImplementedError

    def whole(self, facts: ResponseFacts) -> bytes:
        """The body of an answer in one piece."""
        raise NotImplementedError

    def refusal(self, page: Page) -> Page:
        """An error page as this protocol words it; it is given as vLLM's."""
        return page


# A prompt: its texts in their order, or its token ids.
Content = tuple[str, ...] | tuple[int, ...]


class ParsedRequest(Struct, frozen=True):
    """A request that will be answered: `choices` answers of `tokens` tokens each; no tokens where nothing is generated.

    prompts: what was asked, `prompt_tokens` in all. finish: `stop` or `length`.
    usage, continuous: whether a stream tells its tokens, and in every event, where a protocol leaves that open.
    scores: what is to be told of log-probabilities. stop: texts that end an answer.
    said: the tokens of each choice where they are known, else some of the server's own.
    """

    format: Format
    stream: bool
    tokens: int
    choices: int
    prompt_tokens: int
    finish: str
    prompts: tuple[Content, ...]
    usage: bool = True
    continuous: bool = False
    scores: Scores | None = None
    stop: tuple[str, ...] = ()
    said: tuple[tuple[str, ...], ...] = ()
