"""Golden files: committed text that what is rendered must equal; `pytest --golden` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Callable

from support.paths import ROOT, TESTS

EXAMPLE = ROOT / "reports" / "example"
# Compares a text with the golden file of this name.
Golden = Callable[[str, str], None]


def compare(name: str, text: str, rewrite: bool = False) -> None:
    """Compare with tests/golden/NAME; example/FILE is in reports/, docs/FILE in docs/."""
    folders = {"example": EXAMPLE.parent, "docs": ROOT}
    path = folders.get(name.partition("/")[0], TESTS / "golden") / name
    if rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert path.exists(), f"{path} is missing; make golden writes it"
    committed = path.read_bytes().decode()
    if name == "example/report.txt":
        assert words(committed) == words(text), f"{path} differs; make golden rewrites it"
    else:
        assert committed == text, f"{path} differs; make golden rewrites it"


def words(page: str) -> list[str]:
    """Return the words of a page that rich laid out: its releases differ in the space between columns and in rules."""
    return re.sub("[─━]+", " ", page).split()
