"""Newline-delimited JSON: bytes in, each complete line out. The same protocol as `sse.Events`.

LF or CRLF ends a line; a line that the stream breaks off is not one. What the lines mean is left to the API.
"""

from __future__ import annotations


class Lines:
    """A splitter for one stream. Feed it bytes as they come, cut anywhere. `clean`: between two lines."""

    __slots__ = ("_parts", "clean")

    def __init__(self) -> None:
        self.clean = True
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, in order; blank ones are passed over."""
        ended, mark, partial = chunk.rpartition(b"\n")
        if mark:
            ended = b"".join((*self._parts, ended))
            self._parts.clear()
        if partial:
            self._parts.append(partial)
        self.clean = not self._parts
        return [line for part in ended.split(b"\n") if (line := part.strip())] if mark else []

    @property
    def rest(self) -> bytes:
        """What has come of a line that is not complete."""
        return b"".join(self._parts)
