"""What all answers of one server share: its settings once read, its counters, the rows of truth, the response head.

Pure but for the date in the head, and the file of recorded answers.
"""

from __future__ import annotations

import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from loadstone.errors import UsageError
from loadstone.sim.answer_lookup import AnswerLookup
from loadstone.sim.bodies import Page
from loadstone.sim.faults import parse
from loadstone.sim.metrics import Counters
from loadstone.sim.recorded_answers import KINDS, RecordedAnswers
from loadstone.sim.recorded_answers import parse as parse_answers
from loadstone.sim.settings import Settings, duration, timing
from loadstone.sim.truth import TruthRow


def recorded(settings: Settings) -> RecordedAnswers:
    """The recorded answers, with what is planted in them, which is told in a file if that is wanted."""
    path = Path(settings.answers or "")
    try:
        book = parse_answers(path.read_bytes().splitlines(), str(path))
        book.assign_kinds({kind: getattr(settings, f"answer_{kind}") for kind in KINDS}, settings.seed)
        if settings.planted is not None:
            Path(settings.planted).write_bytes(b"".join(book.kinds_jsonl()))
    except OSError as exc:
        raise UsageError(f"cannot open {exc.filename} of --answers or --planted: {exc.strerror}") from exc
    return book


class ServerState:
    """What all answers of a server share. Raises UsageError for settings that cannot be."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.timing = timing(settings)
        self.faults = parse(settings.faults, settings.seed)
        self.slow_head_delay = duration(settings.slow)
        self.answers = None if settings.answers is None else AnswerLookup(recorded(settings))
        self.counters = Counters()
        self.truth_rows: deque[TruthRow] = deque(maxlen=settings.truth_limit)
        self.created = int(time.time())
        self._date_line = (0, b"")
        self._stream_heads: dict[tuple[bool, bytes], tuple[int, bytes]] = {}

    def head(
        self, status: int, content_type: bytes | None, length: int | None, keep: bool, headers: bytes = b""
    ) -> bytes:
        """Status line and headers in uvicorn's order; `length` None is a chunked body."""
        size = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        kind_line = b"content-type: %b\r\n" % content_type if content_type else b""
        lines = (size, kind_line) if length is not None else (kind_line, size)
        line = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
        end = b"\r\n" if keep else b"connection: close\r\n\r\n"
        return b"".join((line, self._date(), headers, *lines, end))

    def stream_head(self, keep: bool, content_type: bytes) -> bytes:
        """The head of a stream of this content type, made once a second."""
        now = int(time.time())
        made, head = self._stream_heads.get((keep, content_type), (0, b""))
        if made != now:
            head = self.head(200, content_type, None, keep)
            self._stream_heads[keep, content_type] = (now, head)
        return head

    def _date(self) -> bytes:
        now = int(time.time())
        if now != self._date_line[0]:
            date = formatdate(now, usegmt=True).encode()
            self._date_line = (now, b"date: %b\r\nserver: loadstone\r\n" % date)
        return self._date_line[1]

    def page_bytes(self, page: Page, keep: bool) -> bytes:
        return self.head(page.status, page.content_type, len(page.body), keep, page.headers) + page.body
