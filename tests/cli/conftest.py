"""One simulated server for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.servers import Sim


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with Sim() as server:
        yield server
