"""Figures from what servers report of their tokens, and from streams that did not come as they were sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadstone.metrics.columns import build
from loadstone.metrics.request_slo import meets
from loadstone.metrics.token_counts import MAX_INPUT, MAX_OUTPUT, OutputTokens, output_tokens
from loadstone.records import Pieces, Record, Usage, from_line, to_line
from loadstone.results import measure
from loadstone.summary import Summary
from support.records import MS, run_info, streamed, whole


def of(*records: Record, **config: Any) -> Summary:
    return measure(records, run_info({"config": config}))


@pytest.mark.parametrize("count", [-1441, -1, 0, MAX_OUTPUT + 1, 2**62])
def test_output_that_cannot_be_true_is_not_reported(count: int) -> None:
    record = streamed(0, 10, 20, 30, usage=Usage(10, count))
    assert output_tokens(record) == OutputTokens(None, 0, count)
    summary = of(record)
    assert [summary.metrics[name].n for name in ("output_tokens", "tpot")] == [0, 0]
    assert (summary.rates["output_throughput"], summary.sources["output"]) == (None, "unknown")
    assert (summary.checks["rejected_output"], summary.checks["rejected_output_count"]) == (1.0, count)
    again = from_line(to_line(record))  # the record keeps what the server said
    assert again.usage == Usage(10, count)


@pytest.mark.parametrize("count", [-5, 0, MAX_INPUT + 1])
def test_input_that_cannot_be_true_is_not_reported(count: int) -> None:
    summary = of(streamed(0, 10, 20, usage=Usage(count, 2)))
    assert (summary.metrics["input_tokens"].n, summary.rates["input_throughput"]) == (0, None)
    assert (summary.sources["input"], summary.checks["rejected_input"]) == ("unknown", 1.0)


@pytest.mark.parametrize(("cached", "n"), [(-1, 0), (0, 1), (10, 1), (11, 0)])
def test_a_prompt_has_no_more_cached_tokens_than_tokens(cached: int, n: int) -> None:
    assert of(streamed(0, 10, 20, usage=Usage(10, 2, cached))).metrics["cached_tokens"].n == n


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"usage": Usage(10, 0), "pieces": Pieces([0, MS], [0, 0])}, 0),  # no text: 0 is true
        ({"usage": Usage(10, 1)}, 1),
        ({"usage": None}, None),
        ({"usage": Usage(10, None)}, None),
    ],
)
def test_output_that_can_be_true_is_believed(fields: dict[str, Any], tokens: int | None) -> None:
    assert output_tokens(streamed(0, 10, 11, **fields)) == OutputTokens(tokens)


def test_a_whole_answer_of_no_tokens_is_believed_only_without_text() -> None:
    assert output_tokens(whole(0, 10, usage=Usage(5, 0))).tokens == 0
    assert output_tokens(whole(0, 10, usage=Usage(5, 0), text="yes")).rejected == 0


def test_the_tokenizer_counts_where_the_servers_count_cannot_be_true() -> None:
    columns = build(
        [streamed(0, 10, 20, usage=Usage(10, 0), text="a b c", reasoning="d")], lambda text: len(text.split())
    )
    assert columns.requests.output_tokens.tolist() == [4.0]
    assert columns.token_source["output"] == "tokenizer"


HIDDEN = Usage(10, 104, None, 100)


@pytest.mark.parametrize(
    ("fields", "tpot"),
    [
        # 100 tokens before the first event, then 4 with it and after it, of which a stop token has no event.
        ({"usage": HIDDEN, "finish": "stop"}, 10),
        ({"usage": HIDDEN}, 20 / 3),
        ({"usage": Usage(10, 3, None, 0)}, 10),
        ({"usage": Usage(10, 3, None, None)}, 10),
        # The reasoning was streamed: its tokens are in the events.
        ({"usage": Usage(10, 3, None, 2), "first_answer": 520 * MS}, 10),
        # A summary came, whose pieces are not the tokens: they end before the answer begins.
        ({"usage": Usage(10, 102, None, 100), "first_answer": 510 * MS, "summarized": True}, 10),
        # xAI counts reasoning beside the completion.
        ({"usage": Usage(10, 3, None, 100)}, 10),
        # Nothing but reasoning, hidden: one visible token at most.
        ({"usage": Usage(10, 101, None, 100)}, None),
    ],
)
def test_hidden_reasoning_is_in_neither_side_of_tpot(fields: dict[str, Any], tpot: float | None) -> None:
    record = streamed(0, 500, 510, 520, **fields)
    summary = of(record)
    assert summary.metrics["tpot"].mean == (None if tpot is None else pytest.approx(tpot / 1000))
    assert summary.metrics["output_tokens"].mean == record.usage.completion  # type: ignore[union-attr]
    for limit, met in ((0.004, tpot is None), (0.02, True)):
        assert meets(record, "tpot", limit) == met
        judged = of(record, goodput={"tpot": limit})
        assert judged.rates["attainment"] == float(met)


def test_itl_of_an_answer_with_hidden_reasoning_is_that_of_its_events() -> None:
    summary = of(streamed(0, 500, 510, 520, usage=Usage(10, 103, None, 100)))
    assert summary.metrics["itl"].mean == pytest.approx(0.010)
    assert summary.metrics["itl"].note is None


def buffered(latency: int = 300, events: int = 5, **fields: Any) -> Record:
    return streamed(0, *[latency] * events, reads=1, **fields)


def test_an_answer_that_came_in_one_read_has_no_times_between_its_events() -> None:
    summary = of(*[buffered(index=index) for index in range(25)])
    assert [summary.metrics[name].n for name in ("tpot", "gap", "itl", "packet_time")] == [0, 0, 0, 0]
    assert [summary.metrics[name].n for name in ("ttft", "latency", "output_tokens")] == [25, 25, 25]
    assert summary.rates["output_throughput"] == pytest.approx(25 * 5 / 0.3)
    assert (summary.checks["buffered"], summary.checks["shared_reads"]) == (1.0, None)


@pytest.mark.parametrize(("limit", "met"), [(0.080, True), (0.0751, True), (0.0749, None), (0.02, None)])
def test_a_buffered_answer_meets_a_tpot_that_its_latency_allows(limit: float, met: bool | None) -> None:
    record = buffered()  # 300 ms for 4 tokens after the first: 75 ms at most
    assert meets(record, "tpot", limit) is met
    assert of(record, goodput={"tpot": limit}).rates["attainment"] == (None if met is None else 1.0)
    assert meets(record, "packet_time", limit) is met


def test_of_other_answers_events_may_share_a_read() -> None:
    summary = of(buffered(), streamed(0, 10, 10, 20, 30, index=1))
    assert summary.metrics["tpot"].n == 1
    assert (summary.checks["buffered"], summary.checks["shared_reads"]) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("tokens", "fewer", "multiple"),
    [
        (lambda events: events, 0.0, None),
        (lambda events: events + 1, 0.0, None),
        (lambda events: 2 * events, 0.0, 2.0),
        (lambda events: 2 * (events + 1), 0.0, 2.0),
        (lambda events: 3 * events, 0.0, 3.0),
        (lambda events: events // 2, 1.0, None),
        (lambda events: 2 * events - events % 2, 0.0, None),  # two tokens in each event, and a rest in the last
        (lambda events: int(2.3 * events), 0.0, None),  # speculative decoding
    ],
)
def test_tokens_against_events(tokens: Any, fewer: float, multiple: float | None) -> None:
    records = [
        streamed(0, *range(10, 10 + events), index=events, usage=Usage(10, tokens(events))) for events in range(4, 40)
    ]
    checks = of(*records).checks
    assert checks["fewer_tokens"] == fewer
    assert checks["token_multiple"] == multiple


def test_answers_of_one_length_say_nothing_about_several_tokens_in_an_event() -> None:
    records = [streamed(0, *range(10, 74), index=index, usage=Usage(10, 128), asked=128) for index in range(50)]
    assert of(*records).checks["token_multiple"] is None


def test_finish_reasons_are_counted() -> None:
    reasons = ["stop", "length", "length", "tool_calls", None, "content_filter"]
    records = [streamed(0, 10, 20, index=index, finish=finish) for index, finish in enumerate(reasons)]
    warmup = streamed(0, 10, index=9, finish="stop", phase="warmup")
    assert of(*records, warmup).counts.finishes == {
        "length": 2,
        "stop": 1,
        "tool_calls": 1,
        "none": 1,
        "content_filter": 1,
    }


def test_answers_of_nothing_but_reasoning_are_counted() -> None:
    thought = streamed(0, 10, 20, first_answer=None)
    assert of(thought, streamed(0, 10, 20, index=1)).checks["reasoning_only"] == 0.5
    assert of(whole(0, 10)).checks["reasoning_only"] is None


@pytest.mark.parametrize(
    ("concurrency", "requests", "spread"), [(32, 100, 0.0), (32, 100, 0.3), (8, 20, 0.0), (4, 9, 0.1), (16, 400, 0.5)]
)
def test_the_rates_of_a_window_count_requests_as_they_count_tokens(
    concurrency: int, requests: int, spread: float
) -> None:
    """Slots that begin together end together: counted by their ends, a whole round would fall out of the window."""
    random = np.random.default_rng(concurrency)
    free = [0.0] * concurrency
    records = []
    for index in range(requests):
        slot = int(np.argmin(free))
        latency = 2200 * (1 + spread * random.uniform(-1, 1))
        begin, end = free[slot], free[slot] + latency
        times = np.linspace(begin + 200, end, 32).astype(int)
        records.append(streamed(int(begin), *times.tolist(), index=index))
        free[slot] = float(times[-1])
    summary = of(*records)
    assert summary.steady is not None
    rates = summary.steady.rates
    assert rates["qps"] == pytest.approx(concurrency / 2.2, rel=0.08)
    assert rates["output_throughput"] == pytest.approx(rates["qps"] * 32, rel=0.12)
    assert summary.rates["qps"] == pytest.approx(requests / (summary.duration or 0))
