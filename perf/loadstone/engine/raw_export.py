"""Keep responses as their bytes came, for a bug report: `raw.jsonl`, with a line for each request (--export-raw).

A response is known to have failed only when it is over, so the pieces of all requests in flight are kept until then,
within limits. Keys are hidden, as everywhere; a line says so. Nothing here runs unless --export-raw is given.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loadstone.config.redact import HIDDEN, hide_header, hide_in_url
from loadstone.config.secrets import BEGINNING, hide_secrets
from loadstone.engine.run_folder import MAX_RAW, Recorder
from loadstone.records import Record
from loadstone.transport import Headers, Request

if TYPE_CHECKING:
    from loadstone.engine.in_flight import InFlightRequest

# Bytes that are kept: of a request and of the body of its response, and of all responses in flight.
MAX_BODY = 4 << 20
MAX_HELD = 256 << 20
# Requests that --export-raw keeps beside the failed ones, to compare them with.
OTHERS = 5
# A text of JSON, also one that the end cuts off, and whether it is a name. It always matches, so a search is linear.
_TEXT = re.compile(rb'"((?:[^"\\]|\\.|\\\Z)*)(?:"|\Z)(\s*:)?', re.DOTALL)


class Capture:
    """The response of one request as it comes.

    pieces: (ns, bytes) of each piece of the body. left_out: bytes that were not kept.
    """

    __slots__ = ("left_out", "message", "origin", "pieces", "size")

    def __init__(self, message: Request, origin: str) -> None:
        self.message = message
        self.origin = origin
        self.pieces: list[tuple[int, bytes]] = []
        self.size = 0
        self.left_out = 0


class RawExport:
    """Writes the responses of one process.

    left_out: requests that did not fit into the file any more.
    """

    def __init__(self, path: Path, which: str | int, secrets: Sequence[str], workers: int = 1) -> None:
        """Create the file.

        which: "failed", "all", or a number of requests beside the failed ones.
        secrets: texts that must not be written, longest first.
        workers: number of processes of the run, each of which has its part of the limits.
        """
        self.left_out = 0
        self._recorder = Recorder(path)
        self._secrets = list(secrets)
        self._all = which == "all"
        self._others = -(-(OTHERS if which in ("failed", "all") else int(which)) // workers)
        self._room = MAX_RAW // workers
        self._max_held = MAX_HELD // workers
        self._held = 0
        self._captures: dict[InFlightRequest, Capture] = {}

    @property
    def error(self) -> OSError | None:
        """Return what kept the file from being written."""
        return self._recorder.error

    def watch(self, request: InFlightRequest, message: Request, origin: str) -> None:
        """Begin to keep the response of a request.

        message: what is sent. origin: address of the server, which the path follows.
        """
        capture = self._captures[request] = Capture(message, origin)
        exchange = request.exchange
        sink = exchange.sink

        def keep(data: bytes, at: int) -> bool | None:
            nonlocal sink
            fits = capture.size + len(data) <= MAX_BODY and self._held + len(data) <= self._max_held
            if fits and not capture.left_out:
                capture.pieces.append((at, bytes(data)))
                capture.size += len(data)
                self._held += len(data)
            else:
                capture.left_out += len(data)
            # The sink may name its successor.
            exchange.sink = sink
            over = sink(data, at)
            sink, exchange.sink = exchange.sink, keep
            return over

        exchange.sink = keep

    def finish(self, request: InFlightRequest, record: Record) -> None:
        """Write the response of a request that is over, if it is one that is asked for."""
        capture = self._captures.pop(request, None)
        if capture is None:
            return
        self._held -= capture.size
        if record.error is None and not self._all:
            if self._others <= 0:
                return
            self._others -= 1
        line = msgspec.json.encode(self._line(capture, request, record)) + b"\n"
        if len(line) > self._room:
            self.left_out += 1
            return
        self._room -= len(line)
        self._recorder.add_line(line)

    def close(self) -> None:
        """Write the rest and close the file."""
        self._recorder.close()

    def _line(self, capture: Capture, request: InFlightRequest, record: Record) -> dict[str, Any]:
        """Return the line of a request. Times are ns since it was sent."""
        exchange, message = request.exchange, capture.message
        sent = exchange.sent
        bodies, hidden = hide_in_pieces([data for _, data in capture.pieces], self._secrets)
        pieces = [
            {"at": at - (sent or at), **_encoded(data)} for (at, _), data in zip(capture.pieces, bodies, strict=True)
        ]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.headers]
        error = record.error
        return {
            "index": record.index,
            "attempt": record.attempt,
            "worker": record.worker,
            "error": error and {"kind": error.kind, "message": hide_secrets(error.message, self._secrets)},
            "sent": record.sent,
            "resent": exchange.resent,
            "request": {
                "method": message.method,
                "url": hide_secrets(hide_in_url(capture.origin + message.path), self._secrets),
                "headers": self._headers((*message.headers, *message.own_headers)),
                "body": _encoded(hide_in_pieces([message.body[:MAX_BODY]], self._secrets)[0][0]),
            },
            "response": exchange.status
            and {
                "status": exchange.status,
                "headers": self._headers(headers),
                "first_byte": None if exchange.first_byte is None or sent is None else exchange.first_byte - sent,
                "end": None if exchange.end is None or sent is None else exchange.end - sent,
                "pieces": pieces,
                "left_out_bytes": capture.left_out,
                "keys_hidden": hidden,
            },
            "not_http": _encoded(hide_in_pieces([exchange.garbage], self._secrets)[0][0]) if exchange.garbage else None,
        }

    def _headers(self, headers: Headers | list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, hide_secrets(hide_header(name, value), self._secrets)) for name, value in headers]


def hide_in_pieces(pieces: list[bytes], secrets: Sequence[str]) -> tuple[list[bytes], bool]:
    """Return the pieces of a body with secrets hidden, also those that several pieces share, and True if any was.

    Where a secret is spelled over several events, as a model would repeat it token by token, nothing of the body is
    returned.
    """
    body = b"".join(pieces)
    spans: list[tuple[int, int]] = []
    for secret in secrets:
        for form in {secret.encode(), msgspec.json.encode(secret)[1:-1]}:
            start = body.find(form[:BEGINNING])
            while start >= 0:
                end = start + min(len(form), BEGINNING)
                while end - start < len(form) and body[end : end + 1] == form[end - start : end - start + 1]:
                    end += 1
                spans.append((start, end))
                start = body.find(form[:BEGINNING], end)
    if not spans:
        long = [secret.encode() for secret in secrets if len(secret) >= BEGINNING]
        texts: dict[bytes, list[bytes]] = {}
        name = b""
        for text, colon in _TEXT.findall(body) if long else ():
            if colon:
                name = text
            else:
                texts.setdefault(name, []).append(text)
        if any(secret[:BEGINNING] in b"".join(values) for values in texts.values() for secret in long):
            return [HIDDEN.encode() if number == 0 else b"" for number in range(len(pieces))], True
        return pieces, False

    # Merge spans that overlap, then cut each out of the pieces it touches; its first piece gets the mark.
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    result = []
    offset = 0
    for piece in pieces:
        kept = bytearray()
        position = offset
        stop = offset + len(piece)
        for start, end in merged:
            if end <= offset or start >= stop:
                continue
            kept += body[position : max(start, position)]
            kept += HIDDEN.encode() if start >= offset else b""
            position = min(end, stop)
        kept += body[position:stop]
        result.append(bytes(kept))
        offset = stop
    return result, True


def _encoded(data: bytes) -> dict[str, str]:
    """Return bytes as text if they are UTF-8, else in base64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
