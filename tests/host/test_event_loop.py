"""Test the event loop that everything runs on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from loadstone.host import event_loop


async def limit() -> tuple[int, int]:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
def test_open_files_are_raised_to_what_the_system_allows() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        expected = event_loop.OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, event_loop.OPEN_FILES)
        assert event_loop.run(limit()) == (max(256, expected), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_uvloop_it_is_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(kind()) == "asyncio"
