"""Views: a Summary as text. Each is a pure function; opening files and computing statistics is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from loadstone.records import Summary

View = Callable[[Summary], str]

VIEWS: dict[str, str] = {
    "classic": "loadstone.views.classic:render",
    "csv": "loadstone.views.csv:render",
    "html": "loadstone.views.report:render",
    "json": "loadstone.views.json:render",
    "junit": "loadstone.views.junit:render",
    "md": "loadstone.views.markdown:render",
}
"""Built-in views by name: where their function is. `text` is drawn by console.py from views/tables.py.
`html` has charts where its caller hands it their traces too."""
