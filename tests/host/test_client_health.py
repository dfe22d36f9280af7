"""The client's own figures: what lag is, and that a block of the loop is seen for what it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from loadstone.host import client_health, limits
from loadstone.host.client_health import INTERVAL, ClientHealth, sample_lags


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (-1, []),
        (0, [0]),
        (INTERVAL - 1, [INTERVAL - 1]),
        (INTERVAL, [INTERVAL, 0]),
        (3 * INTERVAL + 7, [3 * INTERVAL + 7, 2 * INTERVAL + 7, INTERVAL + 7, 7]),
    ],
)
def test_what_fell_due_during_a_block_is_late_as_well(now: int, found: list[int]) -> None:
    assert list(sample_lags(0, now)) == found
    assert list(sample_lags(1000, 1000 + now)) == found


def watched(block: float, send_lags: list[int]) -> dict[str, float | None]:
    async def work() -> dict[str, float | None]:
        watch = ClientHealth()
        watch.start()
        await asyncio.sleep(0.03)
        time.sleep(block)
        await asyncio.sleep(0)
        return watch.stop(send_lags)

    return asyncio.run(work())


def test_a_block_of_the_loop() -> None:
    found = watched(0.1, [])
    assert (found["loop_lag_max"] or 0) > 0.08, "the samples that fell due at its start waited for its end"
    assert 0.02 < (found["loop_lag_mean"] or 0) < (found["loop_lag_max"] or 0)
    assert (found["loop_lag_p50"] or 0) <= (found["loop_lag_p99"] or 0) <= (found["loop_lag_p999"] or 0)


def test_send_lags_are_seconds() -> None:
    found = watched(0.0, [1_000_000, 3_000_000])
    assert (found["send_lag_mean"], found["send_lag_max"]) == (0.002, 0.003)
    assert watched(0.0, [])["send_lag_p99"] is None


def test_what_the_system_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client_health, "_SCHEDSTAT", tmp_path / "none")
    monkeypatch.setattr(limits, "_PORTS", tmp_path / "none")
    monkeypatch.setattr(client_health, "_ASLEEP", None)
    found = watched(0.0, [])
    assert [found[name] for name in ("run_queue_share", "core_wait_mean", "asleep")] == [None, None, None]
    assert found["cpu_share"] is not None
    assert limits.local_ports() is None


def test_local_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "range").write_text("32768\t60999\n")
    monkeypatch.setattr(limits, "_PORTS", tmp_path / "range")
    assert limits.local_ports() == [32768, 60999]


def test_counters_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client_health, "_SCHEDSTAT", tmp_path / "schedstat")
    (tmp_path / "schedstat").write_text("5000000000 2500000000 1000\n")
    assert client_health._run_queue() == (2.5, 1000.0)
    assert list(map(client_health._added, (1.0, 3.0, None), (1.5, 2.0, 1.0))) == [0.5, 0.0, None]
