"""The results of a run in the form of `vllm bench serve --save-result --save-detailed`: its keys, order, units, types.

Formulas are those of vllm/benchmarks/serve.py (0.32), over the measured requests in the order of the plan. Unknown
values are null where vLLM's own tools accept that. Pure; docs/exports.md lists the differences of the two programs.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.metrics.columns import TokenCounter
from loadstone.records import Record
from loadstone.summary import Summary
from loadstone.units import NS_PER_S, Array

# What is left out without --save-detailed.
DETAILS = ("input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors")
POINTS = (50, 90, 95, 99)
# APIs without output tokens: vLLM writes a shorter result for them.
POOLING = ("embeddings", "rerank")
_BACKENDS = {
    "chat": "openai-chat",
    "completions": "openai",
    "responses": "openai-responses",
    "embeddings": "openai-embeddings",
    "rerank": "vllm-rerank",
}
_BURSTINESS = {None: 1.0, "poisson": 1.0, "constant": "inf"}


class Row(Struct, frozen=True):
    """One request in seconds and tokens, like vLLM's RequestFuncOutput. None for what a success does not report."""

    index: int
    ok: bool
    input_len: int | None
    output_len: int | None
    ttft: float | None
    itl: Array
    latency: float
    start: float
    queue: float
    text: str
    error: str


def write(summary: Summary, records: Iterable[Record], count: TokenCounter | None, file: BinaryIO) -> None:
    """Write the JSON object, on one line as vLLM does."""
    file.writelines(_portions(result(summary, records, count)))


def result(summary: Summary, records: Iterable[Record], count: TokenCounter | None = None) -> dict[str, Any]:
    """Return the JSON object; arrays of gaps are numpy arrays."""
    measured = (record for record in records if record.phase == "measure" and not record.superseded)
    rows = sorted((_row(record, count) for record in measured), key=lambda row: row.index)
    head = _head(summary, len(rows))
    body = _pooled if summary.run.config.api in POOLING else _generated
    # vLLM's own --metadata are keys of the result too, which its other keys override.
    return _with_metadata(head | body(rows, summary), summary.run.config.metadata)


def _with_metadata(result: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    """Return the result with the metadata after the number of prompts, as vLLM places it."""
    ordered: dict[str, Any] = {}
    for key, value in result.items():
        ordered[key] = value
        if key == "num_prompts":
            ordered |= {name: text for name, text in metadata.items() if name not in result}
    return ordered


def _portions(result: dict[str, Any]) -> Iterator[bytes]:
    """Yield the JSON key by key, so that the gaps of a long run are never all in one text."""
    for place, (key, value) in enumerate(result.items()):
        yield (b", " if place else b"{") + msgspec.json.encode(key) + b": "
        if key == "itls":
            for number, gaps in enumerate(value):
                yield (b", " if number else b"[") + msgspec.json.encode(gaps.tolist())
            yield b"]" if value else b"[]"
        else:
            yield msgspec.json.encode(value)
    yield b"}"


def _head(summary: Summary, requests: int) -> dict[str, Any]:
    run, config = summary.run, summary.run.config
    backend = _BACKENDS.get(config.api or "", config.api)
    model = run.model
    return {
        "date": _date(run.began),
        "endpoint_type": backend,
        "backend": backend,
        "label": config.label,
        "model_id": model,
        "tokenizer_id": config.tokenizer or model,
        "num_prompts": requests,
        "request_rate": _rate(config),
        "burstiness": _BURSTINESS.get(config.arrivals or "poisson", config.burstiness),
        "max_concurrency": config.concurrency,
    }


def _date(began: str | None) -> str | None:
    return None if began is None else datetime.datetime.fromisoformat(began).strftime("%Y%m%d-%H%M%S")


def _rate(config: Config) -> float | str | None:
    """Return the request rate; None if it was not one number."""
    if config.stages or config.arrivals == "replay":
        return None
    return config.rate or "inf"


def _row(record: Record, count: TokenCounter | None) -> Row:
    """Convert a record. A failed request keeps its place, with zeros for what did not happen, as in vLLM."""
    ok, sent = record.error is None, record.scheduled if record.sent is None else record.sent
    done = record.last if record.streamed else record.end
    gaps = record.pieces.times[1:] if record.pieces else []
    first = None if record.first is None else (record.first - sent) / NS_PER_S
    usage = record.usage
    return Row(
        index=record.index,
        ok=ok,
        input_len=usage.prompt if usage and usage.prompt is not None else None if ok else 0,
        output_len=_output(record, count) if ok else 0,
        ttft=first if ok else first or 0.0,
        itl=np.array(gaps, dtype=np.float64) / NS_PER_S,
        latency=(done - sent) / NS_PER_S if ok and done is not None else 0.0,
        start=sent / NS_PER_S,
        queue=(sent - record.scheduled) / NS_PER_S,
        text=record.text or "",
        error=f"{record.error.kind}: {record.error.message}" if record.error else "",
    )


def _output(record: Record, count: TokenCounter | None) -> int | None:
    if record.usage is not None and record.usage.completion is not None:
        return record.usage.completion
    return None if count is None or record.text is None else count(record.text) + count(record.reasoning or "")


def _generated(rows: Sequence[Row], summary: Summary) -> dict[str, Any]:
    done = [row for row in rows if row.ok]
    incoming, outgoing = _sum([row.input_len for row in done]), _sum([row.output_len for row in done])
    both = None if incoming is None or outgoing is None else incoming + outgoing
    seconds = summary.duration
    tokens, requests = _peaks(done)
    return {
        "duration": seconds,
        "completed": len(done),
        "failed": len(rows) - len(done),
        "total_input_tokens": incoming,
        "total_output_tokens": outgoing,
        "request_throughput": _over(len(done), seconds),
        "request_goodput": summary.rates.get("goodput"),
        "output_throughput": _over(outgoing, seconds),
        "total_token_throughput": _over(both, seconds),
        "input_lens": [row.input_len for row in rows],
        "output_lens": [row.output_len for row in rows],
        "ttfts": [row.ttft for row in rows],
        "itls": [row.itl for row in rows],
        "latencies": [row.latency for row in rows],
        "start_times": [row.start for row in rows],
        "queue_times": [row.queue for row in rows],
        "generated_texts": [row.text for row in rows],
        "errors": [row.error for row in rows],
        "max_output_tokens_per_s": tokens,
        "max_concurrent_requests": requests,
        "rtfx": 0.0,
        **_times("ttft", _known([row.ttft for row in done])),
        **_times("tpot", _known([_tpot(row) for row in done])),
        **_times("itl", np.concatenate([row.itl for row in done]) if done else np.empty(0)),
        **_times("e2el", _known([row.latency for row in done])),
    }


def _pooled(rows: Sequence[Row], summary: Summary) -> dict[str, Any]:
    """Return the result of embeddings and rerank. The number of sequences of a request is not in its record."""
    done = [row for row in rows if row.ok]
    incoming, seconds = _sum([row.input_len for row in done]), summary.duration
    return {
        "duration": seconds,
        "completed": len(done),
        "total_input_tokens": incoming,
        "total_input_sequences": None,
        "request_throughput": _over(len(done), seconds),
        "input_sequence_throughput": None,
        "total_token_throughput": _over(incoming, seconds),
        "input_lens": [row.input_len for row in rows],
        "latencies": [row.latency for row in rows],
        "queue_times": [row.queue for row in rows],
        "errors": [row.error for row in rows],
        **_times("e2el", _known([row.latency for row in done])),
    }


def _tpot(row: Row) -> float | None:
    if row.output_len is None or row.output_len < 2 or row.ttft is None:
        return None
    return (row.latency - row.ttft) / (row.output_len - 1)


def _peaks(done: Sequence[Row]) -> tuple[float, int]:
    """Return the events in the busiest second, and the most requests within one second, as vLLM counts both.

    The first are not tokens, and the second are more requests than were ever in flight together.
    """
    if not done:
        return 0.0, 0
    begin = min(row.start for row in done)
    seconds = int(np.ceil(max(row.start + row.latency for row in done) - begin)) + 1
    events, touched = np.zeros(seconds), np.zeros(seconds + 1)
    for row in done:
        at = row.start - begin
        if row.ttft is not None:
            times = (at + row.ttft + np.concatenate([[0.0], np.cumsum(row.itl)])).astype(np.int64)
            np.add.at(events, times[times < seconds], 1)
        touched[int(at)] += 1
        touched[int(at + row.latency) + 1] -= 1
    return float(events.max()), int(np.cumsum(touched).max())


def _times(name: str, seconds: Array) -> dict[str, float | None]:
    """Return the statistics of times in ms; None if nothing was measured."""
    keys = [f"{what}_{name}_ms" for what in ("mean", "median", "std", *(f"p{point}" for point in POINTS))]
    if not len(seconds):
        return dict.fromkeys(keys)
    values = [np.mean(seconds), np.median(seconds), np.std(seconds), *np.percentile(seconds, POINTS)]
    return dict(zip(keys, (float(value) * 1e3 for value in values), strict=True))


def _known(values: Sequence[float | None]) -> Array:
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _sum(values: Sequence[int | None]) -> int | None:
    """Return the sum; None if any value is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _over(value: float | None, seconds: float | None) -> float | None:
    return None if value is None or not seconds else value / seconds
