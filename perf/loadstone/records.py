"""The data of a run: prompts and request records, and their JSON form.

Plain frozen structs. Nothing here computes, reads a clock or opens a file. Times in a Record are integer nanoseconds of
the monotonic clock since the run began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from loadstone.errors import DataError
from loadstone.text import to_utf8_nested

# Version of records.jsonl, summary.json and run.json. History: 1 (0.1.0) the first; fields added since have defaults,
# so that files without them are read (`logprobs`, `attempt`, `superseded`, `Counts.retried`,
# `resent`, `Counts.resent`, `summarized`, `unterminated`).
FORMAT = 1

Phase = Literal["warmup", "measure", "cooldown"]


class FailureCause(StrEnum):
    """What kind of failure ended a request."""

    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    STATUS = "status"
    PROTOCOL = "protocol"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    SERVER = "server"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    OTHER = "other"  # a cause that this version does not know

    @classmethod
    def _missing_(cls, value: object) -> FailureCause:  # noqa: ARG003
        return cls.OTHER


class Resource(StrEnum):
    """What this machine ran out of when it opened a connection."""

    OPEN_FILES = "open_files"
    LOCAL_PORTS = "local_ports"


# Words for a lack in the messages of records that have no `resource`.
_FORMER_WORDS = {"too many open files": Resource.OPEN_FILES, "no local port is free": Resource.LOCAL_PORTS}
# The clock of arrival times: this program's at each read, or the kernel's at each packet.
ArrivalClock = Literal["user", "kernel"]


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a request did not succeed.

    resource: what this machine lacked, if that was the reason.
    """

    kind: FailureCause
    message: str
    resource: Resource | None = None

    @property
    def lacking(self) -> Resource | None:
        """Return what this machine lacked. Records from before `resource` say it in their message."""
        if self.resource is not None or self.kind is not FailureCause.CONNECT:
            return self.resource
        return next((resource for words, resource in _FORMER_WORDS.items() if words in self.message), None)


class Usage(Struct, frozen=True):
    """Token counts that the server reported; None for those that it did not."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


class Prompt(Struct, frozen=True, kw_only=True):
    """One row of a dataset: the prompt and its own settings.

    id: name of the row.
    text, messages, tokens: the prompt as text, chat messages or token ids; one of them is set.
    documents: documents that `rerank` ranks by the text, or that `embeddings` embeds in one request instead of it.
    body: fields of the request body; they override all flags.
    headers: headers of this request alone.
    output_len: output tokens to ask for; for a trace, the number generated when it was recorded.
    input_len: tokens of the prompt, if known.
    at: ns since the first request of a recorded trace.
    later: the turns that follow in this conversation; each adds its text or messages to the history.
    think: seconds between the end of the turn before and this turn.
    """

    id: str
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    tokens: list[int] | None = None
    documents: list[str] | None = None
    body: dict[str, Any] = {}
    headers: dict[str, str] = {}
    output_len: int | None = None
    input_len: int | None = None
    at: int | None = None
    later: list[Prompt] = []
    think: float = 0.0


class Pieces(Struct, frozen=True):
    """The output events of one response, as differences.

    times: ns since the event before; the first counts from `Record.first`, so it is 0.
    chars: characters of output text in each event; 0 for a token whose text the server holds back.
    tokens: tokens in each event, where the server counts them in every event, else None.
    """

    times: list[int]
    chars: list[int]
    tokens: list[int] | None = None


class Logprobs(Struct, frozen=True):
    """Log-probabilities of tokens as the server reported them, in the order of the text.

    The tokens are those of the prompt, if the server reports them, then the generated ones. The lists have one value
    for each token.

    tokens: text of each token.
    values: log-probability; None where there is none, as for the first token of a prompt.
    best: whether no other token was likelier; None if unknown.
    offsets: where each token begins in the text that was sent, in characters; None if unknown.
    prompt: how many of the tokens are the prompt's.
    top: for each generated token, the likeliest tokens and their log-probabilities.
    """

    tokens: list[str]
    values: list[float | None]
    best: list[bool | None]
    offsets: list[int] | None = None
    prompt: int = 0
    top: list[dict[str, float]] = []


class Choice(Struct, frozen=True):
    """One of several choices of a response (n > 1)."""

    text: str | None = None
    reasoning: str | None = None
    finish: str | None = None


class Record(Struct, frozen=True, kw_only=True):
    """One request, from its schedule to its end. `reports/README.md` explains each field.

    sent: when the bytes that were answered went to the kernel. If the request was resent, this is the second send, so
        TTFT and latency are those of the connection that answered; the times from the schedule include the first send.
    resent: how many times the transport sent the request again after a keep-alive race; written only if it did.
    retried: True if `resent` is set. Earlier versions wrote this field alone.
    summarized: True if the reasoning is a summary of tokens that the server hides; written only if it is.
    unterminated: True if the body had no end after its last event, and the client ended the exchange; likewise.
    """

    index: int
    phase: Phase = "measure"
    worker: int = 0
    prompt: str
    conversation: str | None = None
    turn: int | None = None
    abandoned: int = 0
    stage: int | None = None
    model: str | None = None
    server: int | None = None
    request_id: str | None = None
    streamed: bool = True
    asked: int | None = None
    scheduled: int
    sent: int | None = None
    connect: int | None = None
    first_byte: int | None = None
    first: int | None = None
    first_answer: int | None = None
    last: int | None = None
    end: int
    pieces: Pieces | None = None
    reads: int = 0
    clock: ArrivalClock = "user"
    retried: bool = False
    status: int | None = None
    finish: str | None = None
    usage: Usage | None = None
    text: str | None = None
    reasoning: str | None = None
    tools: list[dict[str, Any]] | None = None
    choices: list[Choice] | None = None
    logprobs: Logprobs | None = None
    attempt: int = 0
    superseded: bool = False
    resent: int | UnsetType = UNSET
    summarized: bool | UnsetType = UNSET
    unterminated: bool | UnsetType = UNSET
    error: Failure | None = None


_record_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)


def to_line(record: Record) -> bytes:
    """Return the record as one line of JSON, with its newline and U+FFFD for what UTF-8 cannot encode."""
    try:
        return _record_encoder.encode(record) + b"\n"
    except UnicodeEncodeError:
        return _record_encoder.encode(to_utf8_nested(msgspec.to_builtins(record))) + b"\n"


def from_line(line: bytes) -> Record:
    """Decode a line of `to_line`. Raises msgspec.ValidationError or msgspec.DecodeError for any other line."""
    return _record_decoder.decode(line)


def from_lines(lines: Iterable[bytes], name: str = "records") -> Iterator[Record]:
    """Yield the records of a JSONL file, without a last line that a kill cut short.

    Raises DataError for any other bad line. name: name of the file, for the error.
    """
    bad: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        if bad:
            raise DataError(f"{name}, line {bad[0]} is not a record: {bad[1]}", file=name, line=bad[0])
        if not line.strip():
            continue
        try:
            record = from_line(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            bad = (number, str(exc))
            if line.endswith(b"\n"):
                continue
            return
        yield record
    if bad:
        raise DataError(f"{name}, line {bad[0]} is not a record: {bad[1]}", file=name, line=bad[0])


Message = dict[str, Any]


def messages(prompt: Prompt) -> list[Message]:
    """Return a prompt as chat messages."""
    if prompt.messages is not None:
        return prompt.messages
    return [{"role": "user", "content": prompt.text or ""}]


def next_prompt(
    previous: Prompt, answer: str | Message, turn: Prompt, following: list[Message] | None = None
) -> Prompt:
    """Return the prompt of `turn`, with the history of `previous` and the answer to it, a text or a message.

    following: the messages of the turn, if they are not as the dataset has them.
    """
    message = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
    history = [*messages(previous), message, *(messages(turn) if following is None else following)]
    return msgspec.structs.replace(turn, text=None, messages=history)
