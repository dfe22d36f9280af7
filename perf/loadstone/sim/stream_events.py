"""The interface of the protocols: a `Format` parses requests and builds bodies, `StreamEvents` the events of a stream.

Pure. response.py decides when an event is sent and how a fault changes it. Each family of protocols has a file in
formats/.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, Page
from loadstone.sim.logprobs import LogprobOptions
from loadstone.sim.settings import Settings

# The chunk that ends a chunked HTTP body.
LAST_CHUNK = b"0\r\n\r\n"
# Two bytes that are invalid anywhere in UTF-8.
BAD_UTF8 = b"\xff\xfe"
SSE_CONTENT_TYPE = b"text/event-stream; charset=utf-8"


def http_chunk(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse_events(*datas: bytes) -> bytes:
    """Return server-sent events without names, as one HTTP chunk."""
    return http_chunk(b"".join([b"data: %b\n\n" % data for data in datas]))


DONE_EVENT = sse_events(b"[DONE]")
ERROR_EVENTS = sse_events(
    b'{"error": {"message": "%b", "type": "InternalServerError", "param": null, "code": 500}}'
    % ENGINE_DEAD_MESSAGE.encode(),
    b"[DONE]",
)


class ResponseFacts(Struct):
    """What a response contains besides its text.

    id: of the response.
    created: Unix time, s.
    texts: of every choice; empty for a stream.
    cached: prompt tokens from the cache; None if the server does not report them. A stream sets it before its first
        event that contains it.
    """

    request: ParsedRequest
    id: str
    created: int
    model: str
    texts: list[str] = []
    cached: int | None = None


class StreamEvents:
    """The events of one stream as bytes, each framed as an HTTP chunk. Constant parts are built once.

    choice: number of the choice, from 0.
    piece: text of the event, escaped for JSON.
    token_count: tokens of this choice so far, those of the event included.
    """

    __slots__ = ("facts", "request")

    def __init__(self, facts: ResponseFacts) -> None:
        self.facts = facts
        self.request = facts.request

    def opening(self) -> bytes:
        """Return what comes before the first text."""
        return b""

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """Return an event with text that is not the last of its choice."""
        raise NotImplementedError

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """Return the last text of a choice, with the finish reason if the protocol has it there."""
        return self.text(choice, piece, token_count)

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        """Return an event whose JSON is cut off."""
        raise NotImplementedError

    def ending(self) -> bytes:
        """Return what follows the last text, up to `closing`."""
        return b""

    def closing(self) -> bytes:
        """Return what marks the end of the stream."""
        return DONE_EVENT

    def engine_error(self) -> bytes:
        """Return the error that a server sends when its engine dies in mid-stream."""
        return ERROR_EVENTS


class Format:
    """A protocol of the server.

    id_prefix: of the ids of its responses.
    content_type: of its streams.
    """

    id_prefix: str = ""
    content_type: bytes = SSE_CONTENT_TYPE

    def select(self, data: dict[str, Any]) -> Format:  # noqa: ARG002 - for protocols with a common path
        """Return the protocol of this body, where several servers use the same path."""
        return self

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        """Parse a body. Raises request.RefusedRequest."""
        raise NotImplementedError

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        """Return the events of a streamed response."""
        raise NotImplementedError

    def body(self, facts: ResponseFacts) -> bytes:
        """Return the body of a whole response."""
        raise NotImplementedError

    def error_page(self, page: Page) -> Page:
        """Convert vLLM's error page to the form of this protocol."""
        return page


# A prompt: its texts in order, or its token ids.
PromptContent = tuple[str, ...] | tuple[int, ...]


class ParsedRequest(Struct, frozen=True):
    """A valid request.

    tokens: to generate for each choice; 0 for embeddings and the like.
    choices: over all prompts.
    prompt_tokens: of all prompts together.
    finish_reason: `stop` or `length`.
    include_usage: a stream ends with its token counts, where the protocol leaves that open.
    continuous_usage: every event has the token counts.
    logprob_options: which log-probabilities to return, None for none.
    stop: texts that end the output.
    reply_tokens: of each choice, from a recorded answer; empty for the server's own words.
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
