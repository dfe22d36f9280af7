"""Advice that fits the machine and the run: a table of situations, each with what must and must not be said."""

from __future__ import annotations

import re
from typing import Any

import pytest

from loadstone.checks.rules import judge
from loadstone.summary import Counts, Metric, Summary
from support.records import run_info

LATE = {"run_queue_share": 0.3, "loop_lag_mean": 0.02, "loop_lag_p99": 0.06, "send_lag_mean": 0.02, "cpu_share": 0.2}
BUSY = {"cpu_share": 0.97, "loop_lag_mean": 0.02, "run_queue_share": 0.0}
SLOW = {"send_lag_mean": 0.02, "loop_lag_mean": 0.02, "cpu_share": 0.1, "run_queue_share": 0.0}
LOCAL, REMOTE = "http://127.0.0.1:8000", "http://gpu:8000"
LINUX, MAC = "Linux-6.1-x86_64", "macOS-15.1-arm64"


def advice(client: dict[str, float], cores: int, allowed: list[int] | None, system: str = LINUX, workers: int = 1,
           **config: Any) -> str:  # fmt: skip
    """All advice on a run with this client."""
    metric = Metric("s", 1000, mean=0.1, p50=0.1, p99=0.15)
    run = {
        "began": "now", "ended": "done", "config": {"url": LOCAL} | config,
        "host": {"cores": cores, "allowed_cores": allowed, "system": system},
        "workers": [{"worker": number} for number in range(workers)] if workers > 1 else [],
    }  # fmt: skip
    summary = Summary(
        run=run_info(run),
        counts=Counts(None, 1000, 1000, 0, 0, 0, 0, {}),
        duration=10.0,
        metrics={"ttft": metric, "ttft_scheduled": metric},
        rates={},
        sources={},
        steady=None,
        client=dict(client),
        checks={},
    )
    doubts = judge(summary).doubts
    assert doubts
    return " | ".join(doubt.advice for doubt in doubts)


@pytest.mark.parametrize("client", [LATE, BUSY, SLOW], ids=["waits", "busy", "slow"])
@pytest.mark.parametrize("url", [LOCAL, REMOTE])
@pytest.mark.parametrize(
    ("cores", "allowed"),
    [(1, None), (1, [0]), (2, [1]), (2, [0]), (8, [5]), (8, [2, 3]), (64, [0, 1, 2, 3]), (2, [0, 1])],
)
def test_no_core_that_the_client_may_not_use(
    cores: int, allowed: list[int] | None, url: str, client: dict[str, float]
) -> None:
    text = advice(client, cores, allowed, url=url, concurrency=64)
    named = {int(core) for cores in re.findall(r"taskset -c ([\d,]+)", text) for core in cores.split(",")}
    assert named <= set(allowed or range(cores))
    if len(allowed or range(cores)) == 1:
        assert not named
        assert "--workers" not in text


@pytest.mark.parametrize(
    ("rate", "said"), [(0.1, False), (1.0, False), (2.0, False), (50.0, True)], ids=["0.1", "1", "2", "50"]
)
@pytest.mark.parametrize("client", [SLOW, BUSY], ids=["slow", "busy"])
def test_a_lower_rate_only_where_there_is_one(rate: float, said: bool, client: dict[str, float]) -> None:
    assert ("lower --rate" in advice(client, 2, [1], rate=rate)) == said
    assert "per client" not in advice(client, 2, [1], rate=rate)


@pytest.mark.parametrize(("streams", "said"), [(1, False), (2, True), (64, True)])
def test_fewer_streams_only_where_there_are_several(streams: int, said: bool) -> None:
    assert ("fewer streams" in advice(SLOW, 2, [1], concurrency=streams)) == said


@pytest.mark.parametrize("system", [MAC, "Windows-11"])
def test_no_taskset_where_there_is_none(system: str) -> None:
    assert "taskset -c" not in advice(LATE, 8, None, system=system)


def test_workers_only_as_long_as_there_are_cores() -> None:
    assert "--workers 3" in advice(BUSY, 8, list(range(8)), workers=2, url=REMOTE) or "--workers 4" in advice(
        BUSY, 8, list(range(8)), workers=2, url=REMOTE
    )
    assert "--workers" not in advice(BUSY, 4, list(range(4)), workers=4, url=REMOTE)
    assert "--workers" not in advice(BUSY, 2, [0, 1], url=LOCAL)
