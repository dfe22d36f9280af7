"""How many worker processes a load is given."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone.config.stages import parse_stages
from loadstone.schedule.plan import Load
from loadstone.schedule.worker_count import choose_workers, peak_load


@pytest.mark.parametrize(
    ("load", "output_len", "cores", "local", "ceiling", "wanted"),
    [
        ({"concurrency": 1}, None, 16, False, None, 1),
        ({"concurrency": 8}, None, 16, False, None, 1),
        ({"concurrency": 64}, 1, 16, False, None, 1),
        ({"concurrency": 256}, 128, 16, False, None, 1),
        ({"concurrency": 1_000}, None, 16, False, None, 3),
        ({"concurrency": 4_000}, None, 16, False, None, 11),
        ({"concurrency": 4_000}, None, 16, False, 100_000.0, 5),
        ({"concurrency": 4_000}, None, 4, False, None, 4),
        ({"concurrency": 4_000}, None, 4, True, None, 2),
        ({"concurrency": 4_000}, None, 2, True, None, 1),
        ({"concurrency": 4_000}, None, 1, True, None, 1),
        ({"rate": 10.0}, 256, 16, False, None, 1),
        ({"rate": 500.0}, 256, 16, False, None, 7),
        ({"rate": 500.0, "concurrency": 32}, 256, 16, False, None, 1),
        ({"rate": 10_000.0}, 1, 16, False, None, 5),
        ({"stages": parse_stages("10s@2,10s@2..500")}, 256, 16, False, None, 7),
        ({"stages": parse_stages("10s@c8,10s@c8..c1000,10s@c8")}, None, 16, False, None, 3),
        ({"concurrency": 20}, 4_000, 16, False, 100.0, 2),
    ],
)
def test_workers(
    load: dict[str, Any], output_len: int | None, cores: int, local: bool, ceiling: float | None, wanted: int
) -> None:
    assert choose_workers(Load(**load), output_len, cores, local, ceiling) == wanted


@pytest.mark.parametrize(("recorded", "speed", "wanted"), [(None, 1.0, 1), (100.0, 1.0, 2), (100.0, 4.0, 6)])
def test_a_replay_is_as_busy_as_its_trace(recorded: float | None, speed: float, wanted: int) -> None:
    assert choose_workers(Load(arrivals="replay", speed=speed), 256, 16, False, None, recorded) == wanted


def test_what_is_expected_of_a_load() -> None:
    """50 tokens a second and stream, and a request as much work as 8 events."""
    assert peak_load(Load(concurrency=10), 495) == (10.0, pytest.approx(10 * 503 / 10))
    assert peak_load(Load(rate=100.0), 95) == (pytest.approx(200.0), pytest.approx(10_300))
    assert peak_load(Load(rate=100.0, concurrency=20), 95) == (20.0, pytest.approx(1_030))
