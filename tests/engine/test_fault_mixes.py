"""Mixes of faults: the server saw each request that has a row, and each that was resent once more; nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.servers import Capture, Sim, loadstone
from support.servers import records as rows_of

pytestmark = pytest.mark.clean_folder
# Faults that cost no time. A refused connection is not seen by the server.
FAULTS = (
    *("reset", "reset-mid", "truncate", "truncate-clean", "bad-json", "bad-utf8", "empty", "error-event"),
    *("400", "429", "500", "503"),
)


@pytest.mark.parametrize("seed", range(50))
def test_the_server_saw_as_many_requests_as_there_are_rows_and_resends(seed: int, capsys: Capture) -> None:
    chance = random.Random(seed)
    mix = [f"{name}:{chance.uniform(0.02, 0.12):.3f}" for name in chance.sample(FAULTS, chance.randint(2, 6))]
    flags: list[object] = ["--transport", chance.choice(["wire", "aiohttp"]), "--seed", seed]
    if chance.random() < 0.3:
        flags += ["--retries", 1, "--retry-longest", "1ms"]
    if chance.random() < 0.3:
        flags += ["--no-stream"]
    with Sim(*mix, ttft="1ms", itl="100us", default_tokens=3) as sim:
        load = ("-n", 30, "-c", chance.choice([1, 4, 10]))
        done = loadstone(
            capsys, "run", "--url", sim.url, *load, "-o", "run", "--quiet", "--no-scrape", "--no-html", *flags
        )
        seen = len(sim.truth)
    assert done.status in (0, 1)
    rows = rows_of(Path("run"))
    assert sorted({row.index for row in rows}) == list(range(30))
    assert seen == len(rows) + sum(row.resent or 0 for row in rows if row.resent)
    assert all(row.error is not None for row in rows if row.superseded)
