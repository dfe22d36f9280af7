"""Golden files: committed text that what is rendered must equal byte for byte; `pytest --golden` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EXAMPLE = TESTS.parent / "reports" / "example"
Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite the golden files instead of comparing with them")


@pytest.fixture(autouse=True)
def _unscraped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the tests leave the server's metrics alone, which would take one more process each, but for those of
    test_scraping.py."""

    async def find(*_: object) -> list[object]:
        return []

    if not request.node.nodeid.startswith("tests/test_scraping.py"):
        monkeypatch.setattr("loadstone.server_metrics.discovery.find", find)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(name, text)` compares with tests/golden/NAME; example/FILE is in reports/, docs/FILE where it says; of
    the text report, only words."""
    rewrite: bool = request.config.getoption("--golden")

    def compare(name: str, text: str) -> None:
        homes = {"example": EXAMPLE.parent, "docs": TESTS.parent}
        path = homes.get(name.partition("/")[0], TESTS / "golden") / name
        if rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        assert path.exists(), f"{path} is missing; make golden writes it"
        committed = path.read_bytes().decode()
        if name == "example/report.txt":
            assert words(committed) == words(text), f"{path} differs; make golden rewrites it"
        else:
            assert committed == text, f"{path} differs; make golden rewrites it"

    return compare


def words(page: str) -> list[str]:
    """Return the words of a page that rich laid out: its releases differ in the space between columns and in rules."""
    return re.sub("[─━]+", " ", page).split()
