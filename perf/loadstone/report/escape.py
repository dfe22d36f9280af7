"""Foreign text made safe to show: in HTML, in the texts of charts, and inside script elements of a web page.

Servers, models and datasets put anything into texts. What has no form on a page is replaced, what has a meaning to the
browser is escaped, and marks that turn the direction of writing are kept within the element that holds them.
"""

from __future__ import annotations

import html
import re

import msgspec

# Characters of one text that a page shows.
MOST = 4000
LABEL_MOST = 400
_NO_FORM = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def text(value: str, most: int = MOST) -> str:
    """HTML of plain text, for elements and attributes. What is cut says so."""
    return html.escape(_whole(value, most), quote=True)


def label(value: str) -> str:
    """Text for a chart, whose library reads a few tags and entities in it. It joins several texts on one line, where no
    element isolates them: marks of direction are left out."""
    plain = _TURNS.sub("", _whole(value, LABEL_MOST))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def script(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    json = msgspec.json.encode(value).decode()
    return re.sub("[<>&\u2028\u2029]", lambda found: _SCRIPT[found[0]], json)


def _whole(value: str, most: int) -> str:
    if len(value) > most:
        value = f"{value[:most]}… ({len(value):,} characters)"
    return _NO_FORM.sub("\ufffd", value)
