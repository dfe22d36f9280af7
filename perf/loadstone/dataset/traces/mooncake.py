"""Mooncake traces: rows of `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, one for 512 input tokens.

Equal ids become equal text, so that a server's prefix cache hits as often as the recorded one; `hit_ratio` computes how
often that is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.source import Options, RowPosition, Source, uses
from loadstone.dataset.synthetic.text import BLOCK, Segment, text_generator
from loadstone.dataset.traces.replay import scale_length, select_window
from loadstone.records import Prompt

BLOCK_TOKENS = 512


class MooncakeRequest(Struct, frozen=True):
    """A recorded request; fields that are not named here are ignored.

    timestamp: ms. input_length, output_length: tokens. hash_ids: one for each block of BLOCK_TOKENS input tokens.
    """

    timestamp: Annotated[float, Meta(ge=0)]
    input_length: Annotated[int, Meta(ge=1)]
    output_length: Annotated[int, Meta(ge=0)]
    hash_ids: list[Annotated[int, Meta(ge=0)]]


@uses("scale_lengths")
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Yield prompts at their recorded times, in order of time. Raises DataError."""
    kept = requests(source, options)
    texts = text_generator(source, options)
    for at, (position, request) in kept:
        blocks = segments(request, options.scale_lengths)
        yield Prompt(
            id=position.id,
            text=texts.generate(blocks),
            input_len=sum(segment.length for segment in blocks),
            output_len=scale_length(request.output_length, options.scale_lengths),
            at=at,
        )
    texts.report_misses()


def requests(source: Source, options: Options) -> list[tuple[int, tuple[RowPosition, MooncakeRequest]]]:
    """Return (ns, (position, request)) of the window that the run replays. Raises DataError."""
    timed = []
    for position, row in rows(source):
        request = _request(position, row)
        timed.append((round(request.timestamp * 1e6), (position, request)))
    return select_window(timed, source, options)


def segments(request: MooncakeRequest, scale: float = 1.0) -> list[Segment]:
    """Return a segment for each block: all are 512 tokens long, times the scale; the last has the remaining tokens."""
    rest = request.input_length - BLOCK_TOKENS * (len(request.hash_ids) - 1)
    sizes = [BLOCK_TOKENS] * (len(request.hash_ids) - 1) + [rest]
    return [
        Segment(BLOCK, number, scale_length(size, scale)) for number, size in zip(request.hash_ids, sizes, strict=True)
    ]


def hit_ratio(requests: Iterable[MooncakeRequest], scale: float = 1.0, page: int | None = None) -> float | None:
    """Return the fraction of input tokens that an unlimited prefix cache would hit; None without requests.

    It follows from `hash_ids` alone: a hit is a leading block with which an earlier request began, in the same order.

    page: None counts the trace's whole blocks only. The size of a server's own cache block (vLLM: 16 tokens) counts
    what that server can report: its whole blocks, of a shared last block too, but not a prompt's last token.
    """
    children: dict[tuple[int, int, int], int] = {}  # a tree: (node, id, length) -> child node
    hits = total = 0
    for request in requests:
        blocks = segments(request, scale)
        node = known = 0
        for block in blocks:
            step = (node, block.number, block.length)
            whole = page is not None or block.length == scale_length(BLOCK_TOKENS, scale)
            known += block.length * (whole and step in children)
            node = children.setdefault(step, len(children) + 1)
        length = sum(block.length for block in blocks)
        hits += known if page is None else min(known, length - 1) // page * page
        total += length
    return hits / total if total else None


def _request(position: RowPosition, value: object) -> MooncakeRequest:
    """Return the request in a row. Raises DataError."""
    try:
        request = msgspec.convert(value, MooncakeRequest)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise position.error(f"not a row of a Mooncake trace ({exc})") from exc
    blocks = math.ceil(request.input_length / BLOCK_TOKENS)
    if len(request.hash_ids) != blocks:
        raise position.error(
            f"{len(request.hash_ids)} hash_ids, where an input_length of {request.input_length} takes"
            f" {blocks}, one for each {BLOCK_TOKENS} tokens"
        )
    return request
