"""Plans of any size: they are made at once, written in part, or refused before they fill the memory."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.config.stages import parse_stages
from loadstone.engine import prepare
from loadstone.engine.requests import PreparedRequests
from loadstone.errors import ConfigError
from loadstone.records import Prompt
from loadstone.schedule import plan as planning
from loadstone.schedule.partition import split_plan
from loadstone.schedule.plan import MAX_LINES, DatasetShape, Load, make_plan, schedule_lines

HUGE = 10**18
ROWS = DatasetShape(["a", "b", "c"])


@pytest.mark.parametrize(
    "load",
    [
        {"concurrency": 4, "requests": HUGE},
        {"concurrency": 4, "requests": HUGE, "duration": 2.0, "warmup": 10, "cooldown": 10},
        {"concurrency": 4, "requests": HUGE, "skip": HUGE},
        {"concurrency": 4, "requests": HUGE, "shuffle": True},
    ],
)
def test_a_closed_loop_of_any_length(load: dict[str, Any]) -> None:
    plan = make_plan(Load(**load), ROWS)
    assert plan.requests == HUGE + load.get("warmup", 0) + load.get("cooldown", 0)
    assert plan.row(HUGE - 1) in (0, 1, 2)
    for part in split_plan(plan, 2):
        assert part.count(plan.total or 0) >= HUGE // 2
        assert part.position(HUGE // 4) < HUGE
    lines = [json.loads(line) for line in schedule_lines(plan)]
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == {"more": (plan.total or 0) - MAX_LINES}


def test_every_body_once_however_often_it_is_sent() -> None:
    rows = [Prompt(id=word, text=word) for word in ("a", "b", "c")]
    requests = PreparedRequests(rows, Chat(), [base.RequestSettings(model="m")], "/", ())
    for skip in (0, 1, HUGE + 2):
        plan = make_plan(Load(concurrency=1, requests=HUGE, skip=skip, shuffle=True), ROWS)
        assert sorted(json.loads(line)["prompt"] for line in requests.body_lines(plan)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "load",
    [
        {"rate": 50.0, "requests": HUGE},
        {"rate": 1e6, "duration": 3600.0},
        {"rate": 1e6, "duration": 3600.0, "requests": HUGE},
        {"rate": 1.0, "requests": 10, "warmup": HUGE},
        {"rate": 1e6, "requests": 10, "warmup_time": 3600.0},
        {"stages": parse_stages("2h@1000000")},
        {"stages": parse_stages("10s@1,2h@1..1000000")},
    ],
)
def test_an_open_loop_that_is_too_large_is_refused(load: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"requests, and a plan holds up to 10,000,000: give ") as refused:
        make_plan(Load(**load), ROWS)
    assert "--rate" in str(refused.value) or "stages" in str(refused.value)


def test_an_open_loop_is_as_long_as_its_time() -> None:
    plan = make_plan(Load(rate=50.0, requests=HUGE, duration=2.0), ROWS)
    assert plan.total == 100


def test_the_times_of_arrivals_that_are_not_written_are_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_LINES", 5)
    plans = [make_plan(Load(rate=rate, requests=8, arrivals="constant"), ROWS) for rate in (1.0, 1.0, 2.0)]
    first, again, faster = ([json.loads(line) for line in schedule_lines(plan)] for plan in plans)
    assert len(first) == 6
    assert first == again
    assert first[-1]["more"] == faster[-1]["more"] == 3
    assert first[-1]["offsets"] != faster[-1]["offsets"]


@pytest.mark.parametrize(
    ("config", "prompts"),
    [
        ({"requests": HUGE, "concurrency": 1, "duration": 0.01}, 100),
        ({"requests": 20, "concurrency": 1, "duration": 60.0}, 20),
        ({"requests": 20, "concurrency": 1, "warmup": "5"}, 25),
        ({"requests": HUGE, "concurrency": 1}, 50),
        ({"requests": HUGE, "concurrency": 1, "skip": 3}, 53),
    ],
)
def test_no_more_prompts_are_made_than_can_be_sent(
    config: dict[str, Any], prompts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if prompts in (50, 53):
        monkeypatch.setattr(prepare, "MAX_GENERATED", 50)
    made = prepare.read_prompts(Config(dataset="random", input_len=2, output_len=2, **config), lambda _: None)
    assert len(made) == prompts


def test_a_small_plan_is_written_whole() -> None:
    lines = [json.loads(line) for line in islice(schedule_lines(make_plan(Load(concurrency=1, requests=7), ROWS)), 99)]
    assert [line["index"] for line in lines] == list(range(7))
