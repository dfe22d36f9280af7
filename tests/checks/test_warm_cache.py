"""Whether the server has seen the prompts of a run before: by usage, by its metrics, and by what the run explains."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadstone.checks.rules import judge
from loadstone.checks.server import WARM_CACHE
from loadstone.metrics.cache_shares import cache_share
from loadstone.summary import Counts, Doubt, Metric, ServerSide, ServerWindow, Source, Summary, Window
from support.records import run_info

TOKENS = {"input_tokens": Metric("tokens", 100, mean=1000.0), "ttft": Metric("s", 100, mean=0.1)}


def summary(cached: float | None, shared: float | None = 0.0, prompts: int | None = 1000, warmup: int = 0,
            **config: Any) -> Summary:  # fmt: skip
    """A run of 100 measured requests of 1,000 tokens."""
    run = {
        "began": "now", "ended": "done", "config": {"dataset": "random", "concurrency": 4} | config,
        "schedule": {"loop": "closed", "prompts": prompts, "shared": shared},
    }  # fmt: skip
    return Summary(
        run=run_info(run),
        counts=Counts(None, 100, 100, 0, 0, 0, warmup, {}),
        duration=10.0,
        metrics=TOKENS,
        rates={"cached_share": cached},
        sources={},
        steady=None,
        client={},
        checks={},
    )


def scraped(run: Summary, *counts: dict[str, float]) -> Summary:
    pages = [
        Source(url=f"http://{number}", kinds=["vLLM"], scrapes=9, missed=0,
               whole=ServerWindow(0.0, 10.0, {}, count, {}), steady=None)
        for number, count in enumerate(counts)
    ]  # fmt: skip
    return msgspec.structs.replace(run, server=ServerSide(pages, [], [], []))


def by_turns(run: Summary, *cached: float) -> Summary:
    turns = [Window(f"turn {n}", 0.0, 9.0, 100, TOKENS, {"cached_share": share}) for n, share in enumerate(cached)]
    return msgspec.structs.replace(run, groups={"turn": turns})


def doubt(run: Summary) -> Doubt | None:
    return next((doubt for doubt in judge(run).doubts if doubt.what == WARM_CACHE), None)


@pytest.mark.parametrize(
    "run",
    [
        summary(0.99),
        summary(0.2),
        summary(0.7, shared=0.5),
        summary(0.9, prompts=50),
        summary(0.99, warmup=60, prompts=1000),
        scraped(summary(None), {"prefix_queries": 100_000.0, "prefix_hits": 90_000.0}),
        scraped(summary(None), {"prefix_queries": 90_000.0, "prefix_hits": 90_000.0}, {"prompt_tokens": 9.0}),
        by_turns(summary(0.9), 0.95, 0.97),
    ],
    ids=["all", "a fifth", "beyond a common prefix", "beyond repeats", "beyond the warm-up", "metrics", "two servers",
         "conversations"],
)  # fmt: skip
def test_a_cache_that_was_warm_before(run: Summary) -> None:
    found = doubt(run)
    assert found is not None
    assert found.severity == "suspect"
    assert "of the input was cached" in found.measured


@pytest.mark.parametrize(
    "run",
    [
        summary(None),
        summary(0.0),
        summary(0.15),
        summary(0.99, shared=None),
        summary(0.6, shared=0.5),
        summary(0.99, shared=1.0),
        summary(0.95, prompts=10),
        summary(0.99, warmup=1000, prompts=1000),
        scraped(summary(None), {"prefix_queries": 90_000.0, "prefix_hits": 9_000.0}),
        scraped(summary(None), {"prefix_queries": 0.0, "prefix_hits": 0.0}),
        scraped(summary(None), {"prompt_tokens": 9.0}),
        scraped(by_turns(summary(None), *()), {"prefix_queries": 9.0, "prefix_hits": 0.0}),
        by_turns(summary(0.9), 0.05, 0.97),
    ],
    ids=["unknown", "cold", "a chat template", "older runs", "a common prefix", "copies", "prompts sent again",
         "warmed on purpose", "metrics", "an idle cache", "no counters", "no turns", "histories"],
)  # fmt: skip
def test_what_the_run_explains(run: Summary) -> None:
    assert doubt(run) is None


def test_short_prompts_may_be_template_for_the_most_part() -> None:
    short = msgspec.structs.replace(summary(0.8), metrics={"input_tokens": Metric("tokens", 100, mean=80.0)})
    assert doubt(short) is None


def test_conversations_without_usage_say_nothing() -> None:
    turns = by_turns(summary(None), 0.0)
    unknown = [msgspec.structs.replace(turn, rates={}) for turn in turns.groups["turn"]]
    run = msgspec.structs.replace(turns, groups={"turn": unknown})
    assert cache_share(scraped(run, {"prefix_queries": 1000.0, "prefix_hits": 900.0})) is None


@pytest.mark.parametrize(
    ("dataset", "says", "not_said"),
    [
        ("random", "--seed 8", "others"),
        ("mooncake:trace.jsonl", "--seed 8", "others"),
        ("prompts.jsonl", "/reset_prefix_cache", "--seed"),
        ("sharegpt:x.json", "/flush_cache", "--seed"),
    ],
)
def test_the_advice_fits_the_dataset(dataset: str, says: str, not_said: str) -> None:
    found = doubt(summary(0.99, dataset=dataset, seed=7))
    assert found is not None
    assert says in found.advice
    assert not_said not in found.advice
