"""Find a view by name and show a summary in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from loadstone.report import output as outputs

if TYPE_CHECKING:
    from loadstone.summary import Summary


def view_of(name: str, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """Return the view of a name. `others`: names that are valid too but handled elsewhere."""
    from loadstone.plugins import load_instance
    from loadstone.report import OTHER_NAMES, VIEWS, terminal

    if name == "text":
        return terminal.render
    view: Callable[[Summary], str] = load_instance(
        "loadstone.views", name, {"text": "", **VIEWS, **(others or {})}, "--as", OTHER_NAMES
    )
    return view


def show(
    summary: Summary,
    view: Callable[[Summary], str],
    output: str | None = None,
    page: Callable[[], str | None] = lambda: None,
) -> None:
    """Show a summary. `page`: returns the report with charts, for the view `html`."""
    from loadstone.report import run_page, terminal

    if view is terminal.render and output in (None, "-"):
        terminal.report(summary)
    else:
        outputs.write((page() if view is run_page.render else None) or view(summary), output)
