"""Server-sent events: bytes in, the data of each complete event out.

Follows the WHATWG parsing rules (html.spec.whatwg.org, 9.2.6): CR, LF or CRLF end a line, a leading BOM is dropped,
comments and the fields `id` and `retry` are skipped, data lines are joined by LF, and an event that is cut off is not
an event. What the data means is left to the API; an event that is named `error` is marked.
"""

from __future__ import annotations

import re

CR = 0x0D  # an integer, as searching for b"\r" makes CPython raise and swallow a TypeError first
_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


# Event names that mark an error, such as `event: error`.
_ERROR_NAME = re.compile(rb"error|exception", re.IGNORECASE)
# Bytes of a line that is no field which are kept.
_MAX_STRAY = 65_536


class ErrorEvent(bytes):
    """The data of an event whose name says that it is an error."""


class ServerSentEvents:
    """A splitter for one stream. Feed it the bytes as they come, cut anywhere.

    at_boundary: whether the bytes so far end between two events.
    stray: the first line that begins with `{` or `[` and so is no field, cut after 64 KiB.
    """

    __slots__ = ("_after_cr", "_data", "_head", "_is_error", "_line", "at_boundary", "stray")

    def __init__(self) -> None:
        self.at_boundary = True
        self.stray = b""
        self._is_error = False
        self._line = bytearray()
        self._data: list[bytes] = []
        self._after_cr = False
        self._head: bytes | None = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes, in order.

        Nearly all chunks hold whole one-line events and nothing else: these take a fast path.
        """
        if self.at_boundary and chunk[:6] == b"data: " and chunk[-2:] == b"\n\n" and CR not in chunk:
            self._head = None
            if chunk.find(b"\n") == len(chunk) - 2:
                return [chunk[6:-2]]
            events = chunk[6:-2].split(b"\n\ndata: ")
            if chunk.count(b"\n") == 2 * len(events):
                return events
        return self._by_line(chunk)

    @property
    def remainder(self) -> bytes:
        """Return the bytes so far of an event that is not complete; empty between events."""
        return b"\n".join([*self._data, bytes(self._line)]) if self._data or self._line else b""

    def _by_line(self, chunk: bytes) -> list[bytes]:
        if self._head is not None:
            chunk = self._skip_bom(chunk)
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        *ended, partial = _LINE_END.split(chunk)
        events = [event for line in ended if (event := self._end_line(line)) is not None]
        self._line += partial
        self.at_boundary = not (self._line or self._data or self._after_cr or self._head or self._is_error)
        return events

    def _skip_bom(self, chunk: bytes) -> bytes:
        head = (self._head or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _end_line(self, rest: bytes) -> bytes | None:
        line = bytes(self._line) + rest if self._line else rest
        self._line.clear()
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            elif field == b"event":
                self._is_error = _ERROR_NAME.search(value) is not None
            elif line[:1] in (b"{", b"[") and not self.stray:
                self.stray = line[:_MAX_STRAY]
            return None
        is_error, self._is_error = self._is_error, False
        if not self._data:
            return None
        event = b"\n".join(self._data)
        self._data.clear()
        return ErrorEvent(event) if is_error else event


class JSONLines:
    """A splitter for a stream of lines of JSON. Feed it the bytes as they come, cut anywhere.

    at_boundary: whether the bytes so far end between two lines.
    """

    __slots__ = ("_parts", "at_boundary")

    def __init__(self) -> None:
        self.at_boundary = True
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, in order, without blank ones."""
        ended, mark, partial = chunk.rpartition(b"\n")
        if mark:
            ended = b"".join((*self._parts, ended))
            self._parts.clear()
        if partial:
            self._parts.append(partial)
        self.at_boundary = not self._parts
        return [line for part in ended.split(b"\n") if (line := part.strip())] if mark else []

    @property
    def remainder(self) -> bytes:
        """Return the bytes so far of a line that is not complete."""
        return b"".join(self._parts)
