"""The report of a run: tables, pages and files made from a Summary. Views are pure functions.

page.py: the page model (`Page`, `Table`, `Chart`), drawn by terminal.py, markdown.py and html.py. run_tables.py and
run_page.py: the report of a run. output.py writes results to stdout or a file. exports/: formats of other tools.
Imports rooms to its left only; comparisons, sweeps and evaluations have their pages in their own rooms.
"""

from __future__ import annotations

from collections.abc import Callable

from loadstone.summary import Summary

View = Callable[[Summary], str]

# Built-in views by name: where their function is. `text` is terminal.render. `html` has charts if its caller passes
# their data as well.
VIEWS: dict[str, str] = {
    "classic": "loadstone.report.classic:render",
    "csv": "loadstone.report.summary_csv:render",
    "html": "loadstone.report.run_page:render",
    "json": "loadstone.report.json:render",
    "junit": "loadstone.report.junit:render",
    "md": "loadstone.report.markdown:render",
}
# What other tools call these views.
OTHER_NAMES: dict[str, str] = {
    **dict.fromkeys(("table", "console", "stdout", "plain", "txt"), "text"),
    **dict.fromkeys(("markdown", "github"), "md"),
    **dict.fromkeys(("jsonl", "yaml"), "json"),
    **dict.fromkeys(("xml", "junitxml", "junit-xml"), "junit"),
    **dict.fromkeys(("excel", "xlsx"), "csv"),
    "evalscope": "classic",
}
