"""The ids of an evaluation's requests: `TASK:DOC_ID`, followed by what separates the requests of one item.

The ids are keys in requests-N.jsonl, tokens.jsonl and the records of runs: an evaluation that is continued looks its
earlier requests up by them. Their text must therefore not change.
"""

from __future__ import annotations

import re

from msgspec import Struct

_PATTERN = re.compile(
    r"(?P<item>.+?)(?:/(?P<number>\d+))?(?:#(?P<attempt>\d+))?(?:~(?P<window>\d+))?(?:\.(?P<turn>\d+))?", re.DOTALL
)


class RequestId(Struct, frozen=True):
    """The id of one request. `str(RequestId.parse(text))` is the text again.

    item: `TASK:DOC_ID`
    number: of the request among those of its item, from 0; None if the item has only one
    attempt: pass, from 0
    window: number of the token window if a long text is sent in several, from 0
    turn: turn of a conversation, from 1
    """

    item: str
    number: int | None = None
    attempt: int = 0
    window: int = 0
    turn: int = 1

    @classmethod
    def parse(cls, text: str) -> RequestId:
        """Parse the text of an id. What is not one as a whole is taken as the item."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            return cls(text)
        number = match["number"]
        return cls(
            item=match["item"],
            number=None if number is None else int(number),
            attempt=int(match["attempt"] or 0),
            window=int(match["window"] or 0),
            turn=int(match["turn"] or 1),
        )

    def __str__(self) -> str:
        """Return the text of the id. Parts that have their first value are left out."""
        number = "" if self.number is None else f"/{self.number}"
        attempt = f"#{self.attempt}" if self.attempt else ""
        window = f"~{self.window}" if self.window else ""
        turn = f".{self.turn}" if self.turn > 1 else ""
        return f"{self.item}{number}{attempt}{window}{turn}"
