"""Mooncake traces: rows of `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, one for 512 input tokens.

Equal ids become equal text, so that a server's prefix cache sees what the recorded one saw; `hit_ratio` says how much
that is. The stretch of the trace that a run replays is recorded.py's affair, and the texts are texts.py's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.dataset.synthetic.text import BLOCK, Segment, text_generator
from loadstone.dataset.traces.replay import scale_length, select_window
from loadstone.errors import UsageError
from loadstone.records import Prompt

BLOCK_TOKENS = 512


class MooncakeRequest(Struct, frozen=True):
    """A request of the trace, as it was recorded; fields that are not named here are ignored."""

    timestamp: Annotated[float, Meta(ge=0)]
    input_length: Annotated[int, Meta(ge=1)]
    output_length: Annotated[int, Meta(ge=0)]
    hash_ids: list[Annotated[int, Meta(ge=0)]]


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts at their recorded times, in order of time. Raises UsageError."""
    kept = requests(source, options)
    texts = text_generator(source, options)
    for at, (where, row) in kept:
        made = segments(row, options.scale_lengths)
        yield Prompt(
            id=where.id,
            text=texts.generate(made),
            input_len=sum(part.length for part in made),
            output_len=scale_length(row.output_length, options.scale_lengths),
            at=at,
        )
    texts.report_misses()


def requests(source: Source, options: Options) -> list[tuple[int, tuple[RowPosition, MooncakeRequest]]]:
    """(ns, (place, row)) of the stretch that the run replays. Raises UsageError."""
    found = ((where, _row(where, row)) for where, row in rows(source))
    return select_window(((round(row.timestamp * 1e6), (where, row)) for where, row in found), source, options)


def segments(row: MooncakeRequest, scale: float = 1.0) -> list[Segment]:
    """A part for each block; all are as long as the scale makes 512 tokens, but the last has what is left."""
    rest = row.input_length - BLOCK_TOKENS * (len(row.hash_ids) - 1)
    sizes = [BLOCK_TOKENS] * (len(row.hash_ids) - 1) + [rest]
    return [Segment(BLOCK, number, scale_length(size, scale)) for number, size in zip(row.hash_ids, sizes, strict=True)]


def hit_ratio(asked: Iterable[MooncakeRequest], scale: float = 1.0, page: int | None = None) -> float | None:
    """The share of input tokens that a prefix cache without limits would know, from `hash_ids` alone: leading blocks
    that an earlier request began with in the same order. None where nothing is asked.

    page: None counts the trace's whole blocks only. The size of a server's own cache block (vLLM: 16 tokens) counts
    what that server can report: its whole blocks, of a shared last part too, but not a prompt's last token.
    """
    seen: dict[tuple[int, int, int], int] = {}  # a tree: (node, id, length) -> the node below
    hits = total = 0
    for row in asked:
        node = known = 0
        for part in segments(row, scale):
            step = (node, part.number, part.length)
            whole = page is not None or part.length == scale_length(BLOCK_TOKENS, scale)
            known += part.length * (whole and step in seen)
            node = seen.setdefault(step, len(seen) + 1)
        length = sum(part.length for part in segments(row, scale))
        hits += known if page is None else min(known, length - 1) // page * page
        total += length
    return hits / total if total else None


def _row(where: RowPosition, value: object) -> MooncakeRequest:
    try:
        row = msgspec.convert(value, MooncakeRequest)
    except msgspec.ValidationError as exc:
        raise UsageError(f"{where}: not a row of a Mooncake trace ({exc})") from exc
    blocks = math.ceil(row.input_length / BLOCK_TOKENS)
    if len(row.hash_ids) != blocks:
        raise UsageError(
            f"{where}: {len(row.hash_ids)} hash_ids, where an input_length of {row.input_length} takes {blocks},"
            f" one for each {BLOCK_TOKENS} tokens"
        )
    return row
