"""The events of one streamed answer as bytes, each framed as one HTTP chunk. Pure.

Everything but the words is built once per request: an event is two concatenations. The shape is vLLM 0.32's, key for
key.
"""

from __future__ import annotations

from loadstone.sim.asks import Ask
from loadstone.sim.pages import ENGINE_DEAD, FINGERPRINT, encode, usage

END = b"0\r\n\r\n"
BAD_UTF8 = b"\xff\xfe"


def frame(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


DONE = frame(b"data: [DONE]\n\n")
ERROR = frame(
    b'data: {"error": {"message": "%b", "type": "InternalServerError", "param": null, "code": 500}}\n\n'
    % ENGINE_DEAD.encode()
)


class Chunks:
    """`choice` counts the answers of the request from 0; `done` is the number of tokens of that answer so far."""

    __slots__ = ("_ask", "_heads", "_last", "_middle", "_prefixes", "_start", "_suffix")

    def __init__(self, ask: Ask, name: str, created: int, model: str) -> None:
        kind = "chat.completion.chunk" if ask.chat else "text_completion"
        body = encode({"id": name, "object": kind, "created": created, "model": model})
        opening = b'"delta":{"content":"' if ask.chat else b'"text":"'
        closing = b'"},' if ask.chat else b'",'
        more = b'"token_ids":null}]' if ask.chat else b'"prompt_token_ids":null,"token_ids":null}]'
        stop = b"" if ask.chat else b'"stop_reason":null,'
        self._ask = ask
        self._start = b"data: " + body[:-1] + b',"choices":['
        self._prefixes = [self._start + b'{"index":%d,%b' % (n, opening) for n in range(ask.choices)]
        self._middle = closing + b'"logprobs":null,"finish_reason":null,' + stop + more
        self._last = closing + b'"logprobs":null,"finish_reason":"%b","stop_reason":null,%b' % (
            ask.finish.encode(),
            more,
        )
        self._suffix = self._middle + b"}\n\n\r\n"
        self._heads: list[dict[int, bytes]] = [{} for _ in range(ask.choices)]

    def roles(self) -> bytes:
        """The role-only chunk of each choice; completions have none."""
        if not self._ask.chat:
            return b""
        delta = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
        more = self._usage(0) + b',"prompt_token_ids":null,"prompt_text":null}\n\n'
        return b"".join([frame(self._start + b'{"index":%d,%b%b' % (n, delta, more)) for n in range(self._ask.choices)])

    def text(self, choice: int, piece: bytes, done: int) -> bytes:
        """A content chunk that is not the last."""
        if self._ask.continuous:
            return frame(self._prefixes[choice] + piece + self._middle + self._usage(done) + b"}\n\n")
        heads = self._heads[choice]
        head = heads.get(len(piece)) or self._head(choice, len(piece))
        return head + piece + self._suffix

    def _head(self, choice: int, size: int) -> bytes:
        prefix = self._prefixes[choice]
        whole = len(prefix) + size + len(self._suffix) - 2
        self._heads[choice][size] = head = b"%x\r\n%b" % (whole, prefix)
        return head

    def last(self, choice: int, piece: bytes, done: int) -> bytes:
        """The chunk with the finish reason; with the fingerprint too when no usage chunk follows."""
        mark = b"" if self._ask.usage else b',"system_fingerprint":"%b"' % FINGERPRINT.encode()
        return frame(self._prefixes[choice] + piece + self._last + self._usage(done) + mark + b"}\n\n")

    def broken(self, choice: int, piece: bytes) -> bytes:
        """An event that ends inside its JSON."""
        return frame(self._prefixes[choice] + piece + b"\n\n")

    def usage(self) -> bytes:
        """The usage chunk, if it was asked for."""
        if not self._ask.usage:
            return b""
        total = encode(usage(self._ask.prompt_tokens, self._ask.tokens * self._ask.choices))
        mark = FINGERPRINT.encode()
        return frame(self._start + b'],"usage":%b,"system_fingerprint":"%b"}\n\n' % (total, mark))

    def _usage(self, done: int) -> bytes:
        if not self._ask.continuous:
            return b""
        details = {"completion_tokens_details": None} if self._ask.chat else {}
        return b',"usage":' + encode(usage(self._ask.prompt_tokens, done) | details)
