"""The common state of all responses of a server: parsed settings, counters, truth rows, response heads.

Pure, except for the date in the head and the file of recorded answers.
"""

from __future__ import annotations

import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from loadstone.errors import DataError
from loadstone.sim import faults, recorded_answers
from loadstone.sim.answer_lookup import AnswerLookup
from loadstone.sim.bodies import Page
from loadstone.sim.metrics import Counters
from loadstone.sim.recorded_answers import RecordedAnswers
from loadstone.sim.settings import Settings
from loadstone.sim.timing import Timing, distribution
from loadstone.sim.truth import TruthRow


class ServerState:
    """The common state of a server's responses. Raises UsageError for invalid settings.

    slow_head_delay: of the fault slow-head, ns.
    answers: the recorded answers, None without --answers.
    truth_rows: of finished requests, the latest `truth_limit`.
    created: Unix time of the start, s.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        ttft, itl = distribution(str(settings.ttft)), distribution(str(settings.itl))
        self.timing = Timing(ttft, itl, settings.tokens_per_chunk, settings.seed)
        self.faults = faults.parse(settings.faults, settings.seed)
        self.slow_head_delay = round(settings.slow * 1e9)
        self.answers = None if settings.answers is None else AnswerLookup(load_answers(settings))
        self.counters = Counters()
        self.truth_rows: deque[TruthRow] = deque(maxlen=settings.truth_limit)
        self.created = int(time.time())
        self._date_line = (0, b"")  # Unix time, and the header lines of that second
        self._stream_heads: dict[tuple[bool, bytes], tuple[int, bytes]] = {}

    def head(
        self, status: int, content_type: bytes | None, length: int | None, keep: bool, headers: bytes = b""
    ) -> bytes:
        """Return status line and headers in uvicorn's order. `length`: of the body, None for a chunked one."""
        size = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        type_line = b"content-type: %b\r\n" % content_type if content_type else b""
        lines = (size, type_line) if length is not None else (type_line, size)
        status_line = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
        now = int(time.time())
        if now != self._date_line[0]:
            date = formatdate(now, usegmt=True).encode()
            self._date_line = (now, b"date: %b\r\nserver: loadstone\r\n" % date)
        end = b"\r\n" if keep else b"connection: close\r\n\r\n"
        return b"".join((status_line, self._date_line[1], headers, *lines, end))

    def stream_head(self, keep: bool, content_type: bytes) -> bytes:
        """Return the head of a stream of this content type, which is built once a second."""
        now = int(time.time())
        built_at, head = self._stream_heads.get((keep, content_type), (0, b""))
        if built_at != now:
            head = self.head(200, content_type, None, keep)
            self._stream_heads[keep, content_type] = (now, head)
        return head

    def page_bytes(self, page: Page, keep: bool) -> bytes:
        """Return a page with its head."""
        return self.head(page.status, page.content_type, len(page.body), keep, page.headers) + page.body


def load_answers(settings: Settings) -> RecordedAnswers:
    """Load the recorded answers and assign their kinds, which are written to a file if one is given.

    Raises DataError if a file cannot be read or written.
    """
    path = Path(settings.answers or "")
    try:
        answers = recorded_answers.parse(path.read_bytes().splitlines(), str(path))
        fractions = {kind: getattr(settings, f"answer_{kind}") for kind in recorded_answers.KINDS}
        answers.assign_kinds(fractions, settings.seed)
        if settings.planted is not None:
            Path(settings.planted).write_bytes(b"".join(answers.kinds_jsonl()))
    except OSError as exc:
        raise DataError(
            f"cannot open {exc.filename} of --answers or --planted: {exc.strerror}", file=exc.filename
        ) from exc
    return answers
