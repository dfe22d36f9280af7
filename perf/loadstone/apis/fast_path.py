"""A fast path around the splitter and the decoder, for events of a stream that differ only in a piece of text.

Nearly all events of a response do. Once one event has been decoded, the bytes before and after its text are a template:
a read with the same bytes around a plain string (no quote, escape or control character) is one event, the same JSON
with another text. If a read holds several events, each is matched by itself. All other reads take the normal path. The
fast path saves a quarter of the CPU time of an event, half if several come in one read; it changes no result.
"""

from __future__ import annotations

from loadstone.apis.base import Delta, Event

# Integers: `b'"' in data` makes CPython raise and swallow a TypeError first, which takes longer than the search.
QUOTE, BACKSLASH = b'"\\'
# How many templates a stream may have, one after the other: for reasoning and answer, and two that did not match long.
MAX_LEARNED = 4


class EventTemplate:
    """The bytes around the text in the events of one stream.

    usable: whether an event can be parsed without those before it; otherwise there is no fast path.
    reasoning: whether the text is reasoning.
    index: number of the choice that the text belongs to.
    """

    __slots__ = ("_begin", "_end", "_head", "_learnable", "_tail", "index", "reasoning")

    def __init__(self, usable: bool = True) -> None:
        self._head: bytes | None = None
        self._tail = b""
        self._begin = self._end = 0
        self._learnable = MAX_LEARNED if usable else 0
        self.reasoning = False
        self.index = 0

    def text(self, chunk: bytes) -> str | None:
        """Return the text of a chunk that fits the template; None for any other, or if there is no template yet."""
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
        """Return the delta of an event with this text that fits the template."""
        return Delta(self.index, *(("", text) if self.reasoning else (text, "")), output=True)

    def learn(self, data: bytes, event: Event) -> None:
        """Take the template from the data of a decoded event, if the event adds one plain text and nothing else."""
        if not self._learnable or len(event.deltas) != 1 or event.usage or event.error:
            return
        delta = event.deltas[0]
        text = delta.answer or delta.reasoning
        if (
            not text
            or delta.finish
            or delta.tools
            or delta.logprobs
            or delta.error
            or (delta.answer and delta.reasoning)
            or BACKSLASH in data
        ):
            return
        self._learnable -= 1
        quoted = b'"%b"' % text.encode()
        head, separator, tail = data.partition(quoted)
        if separator and quoted not in tail and b"\n" not in data:  # no escapes, and only once: this is the text
            self._head, self._tail = b'data: %b"' % head, b'"%b\n\n' % tail
            self._begin, self._end = len(self._head), -len(self._tail)
            self.reasoning, self.index = not delta.answer, delta.index
