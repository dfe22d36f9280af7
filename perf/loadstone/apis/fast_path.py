"""A short cut past splitter and decoder for the events of a stream that differ in nothing but a piece of text.

Nearly all events of an answer do. Once one has been decoded, the bytes before and after its text are a template: a
read with the same bytes around a plain string (no quote, escape or control character) is one event, the same JSON with
another text. Where a read holds several events, each is looked at by itself. Any other does not match, and goes the
long way. Saves a quarter of the CPU of an event, half where several come in one read; changes no result.
"""

from __future__ import annotations

from loadstone.apis.base import Delta, Event

# Integers: `b'"' in data` makes CPython raise and swallow a TypeError first, which takes longer than the search.
QUOTE, BACKSLASH = b'"\\'
# Events that a stream's template may be taken from: reasoning and answer, and two that did not last.
MAX_LEARNED = 4


class EventTemplate:
    """What surrounds the text in the events of one stream. `reasoning` and `index` tell of whose text it is.

    usable: whether an event can be understood without those before it; otherwise there is no short cut.
    """

    __slots__ = ("_begin", "_end", "_head", "_lessons", "_tail", "index", "reasoning")

    def __init__(self, usable: bool = True) -> None:
        self._head: bytes | None = None
        self._tail = b""
        self._begin = self._end = 0
        self._lessons = MAX_LEARNED if usable else 0
        self.reasoning = False
        self.index = 0

    def text(self, chunk: bytes) -> str | None:
        """The text of a chunk that fits the template; None for every other, and before there is one."""
        if self._head is None or not chunk.startswith(self._head) or not chunk.endswith(self._tail):
            return None
        middle = chunk[self._begin : self._end]
        if QUOTE in middle or BACKSLASH in middle:
            return None
        try:
            text = middle.decode()
        except UnicodeDecodeError:
            return None
        return text if text and text.isprintable() else None

    def delta(self, text: str) -> Delta:
        """What an event that fits adds."""
        return Delta(self.index, *(("", text) if self.reasoning else (text, "")), output=True)

    def learn(self, data: bytes, event: Event) -> None:
        """Take the template from the data of a decoded event, if it brings one plain text and nothing else."""
        if not self._lessons or len(event.deltas) != 1 or event.usage or event.error:
            return
        delta = event.deltas[0]
        text = delta.answer or delta.reasoning
        if (
            not text
            or delta.finish
            or delta.tools
            or delta.logprobs
            or (delta.answer and delta.reasoning)
            or BACKSLASH in data
        ):
            return
        self._lessons -= 1
        quoted = b'"%b"' % text.encode()
        head, found, tail = data.partition(quoted)
        if found and quoted not in tail and b"\n" not in data:  # no escapes and found once: here the text stands
            self._head, self._tail = b'data: %b"' % head, b'"%b\n\n' % tail
            self._begin, self._end = len(self._head), -len(self._tail)
            self.reasoning, self.index = not delta.answer, delta.index
