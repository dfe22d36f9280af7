"""Views: a Summary as text. Each is a pure function; opening files and computing statistics is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from loadstone.summary import Summary

View = Callable[[Summary], str]

# Built-in views by name: where their function is. `text` is drawn by console.py from views/tables.py. `html` has charts
# where its caller hands it their traces too.
VIEWS: dict[str, str] = {
    "classic": "loadstone.report.classic:render",
    "csv": "loadstone.report.summary_csv:render",
    "html": "loadstone.report.run_page:render",
    "json": "loadstone.report.json:render",
    "junit": "loadstone.report.junit:render",
    "md": "loadstone.report.markdown:render",
}
