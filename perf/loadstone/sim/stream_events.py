"""The seam to the protocols: a `Format` reads requests and words answers, `StreamEvents` are the events of one stream.

Pure. When an event is sent, and what a fault makes of it, is `answer`'s; each family of protocols has a file in
`formats`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, Page
from loadstone.sim.logprobs import LogprobOptions
from loadstone.sim.settings import Settings

LAST_CHUNK = b"0\r\n\r\n"
BAD_UTF8 = b"\xff\xfe"
SSE_CONTENT_TYPE = b"text/event-stream; charset=utf-8"


def http_chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse_events(*datas: bytes) -> bytes:
    """Server-sent events without names, as one HTTP chunk."""
    return http_chunk(b"".join([b"data: %b\n\n" % data for data in datas]))


DONE_EVENT = sse_events(b"[DONE]")
ERROR_EVENTS = sse_events(
    b'{"error": {"message": "%b", "type": "InternalServerError", "param": null, "code": 500}}'
    % ENGINE_DEAD_MESSAGE.encode(),
    b"[DONE]",
)


class ResponseFacts(Struct):
    """What an answer tells besides its events.

    texts: of every choice, where the answer comes in one piece.
    cached: prompt tokens that needed no work, None where the server does not say; to be set before they are told.
    """

    request: ParsedRequest
    id: str
    created: int
    model: str
    texts: list[str] = []
    cached: int | None = None


class StreamEvents:
    """The events of one streamed answer as bytes, each framed as an HTTP chunk; what does not change is built once.

    `choice` counts the answers of the request from 0; `done` is the number of tokens of that answer so far.
    """

    __slots__ = ("facts", "request")

    def __init__(self, facts: ResponseFacts) -> None:
        self.facts, self.request = facts, facts.request

    def opening(self) -> bytes:
        """What comes before the first text."""
        return b""

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """An event with text that is not the last of its choice."""
        raise NotImplementedError

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """The last text of a choice, with the finish reason where that is told beside it."""
        return self.text(choice, piece, token_count)

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        """An event that ends inside its JSON."""
        raise NotImplementedError

    def ending(self) -> bytes:
        """What follows the last text, up to `closing`."""
        return b""

    def closing(self) -> bytes:
        """What says that the stream is over."""
        return DONE_EVENT

    def engine_error(self) -> bytes:
        """The engine has died in mid-stream."""
        return ERROR_EVENTS


class Format:
    """A protocol as the server speaks it. `id_prefix`: of the ids it gives; `content_type`: content type of its streams."""

    id_prefix: str = ""
    content_type: bytes = SSE_CONTENT_TYPE

    def select(self, data: dict[str, Any]) -> Format:  # noqa: ARG002 - for those that share their path
        """The protocol of this body: several servers have the same path."""
        return self

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        """What the body asks for. Raises asks.Refused."""
        raise NotImplementedError

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        """The events of a streamed answer."""
        raise NotImplementedError

    def body(self, facts: ResponseFacts) -> bytes:
        """The body of an answer in one piece."""
        raise NotImplementedError

    def error_page(self, page: Page) -> Page:
        """An error page as this protocol words it; it is given as vLLM's."""
        return page


# A prompt: its texts in their order, or its token ids.
PromptContent = tuple[str, ...] | tuple[int, ...]


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
    finish_reason: str
    prompts: tuple[PromptContent, ...]
    include_usage: bool = True
    continuous_usage: bool = False
    logprob_options: LogprobOptions | None = None
    stop: tuple[str, ...] = ()
    reply_tokens: tuple[tuple[str, ...], ...] = ()
