"""Fixtures of all tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import golden as golden_files
from support.golden import Golden
from support.servers import clean

# A busy machine must not fail a test by its slowness.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite the golden files instead of comparing with them")


@pytest.fixture(autouse=True)
def _no_scraping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the server's metrics alone, which would take one more process a run, but in tests marked `scrapes`."""

    async def find(*_: object) -> list[object]:
        return []

    if request.node.get_closest_marker("scrapes") is None:
        monkeypatch.setattr("loadstone.server_metrics.discovery.find_pages", find)


@pytest.fixture(autouse=True)
def _clean_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, without the user's settings and keys, in tests marked `clean_folder`."""
    if request.node.get_closest_marker("clean_folder"):
        clean(monkeypatch, tmp_path)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return a function that compares a text with the golden file of a name."""
    return partial(golden_files.compare, rewrite=request.config.getoption("--golden"))
