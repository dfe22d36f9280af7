"""Escape foreign text for HTML, for the texts of charts, and for script elements of a web page.

Servers, models and datasets put anything into texts. Characters that no page can hold are replaced, those with a
meaning in HTML are escaped, and marks that change the direction of writing stay within their element.
"""

from __future__ import annotations

import html
import re

import msgspec

# Most characters of a text, and of a text in a chart.
MOST = 4000
LABEL_MOST = 400
_NO_FORM = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def text(value: str, limit: int = MOST) -> str:
    """Escape plain text for elements and attributes. A text that is cut says so."""
    return html.escape(_shorten(value, limit), quote=True)


def label(value: str) -> str:
    """Escape text for a chart, whose library reads a few tags and entities in it.

    It joins several texts on a line, where no element isolates them, so marks of direction are left out.
    """
    plain = _TURNS.sub("", _shorten(value, LABEL_MOST))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def script(value: object) -> str:
    """Encode JSON for a script element: nothing in it can end the element or open a comment."""
    json = msgspec.json.encode(value).decode()
    return re.sub("[<>&\u2028\u2029]", lambda match: _SCRIPT[match[0]], json)


def _shorten(value: str, limit: int) -> str:
    if len(value) > limit:
        value = f"{value[:limit]}… ({len(value):,} characters)"
    return _NO_FORM.sub("\ufffd", value)
