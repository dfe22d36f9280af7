"""What other programs read: results in the form of vLLM's benchmark, and records as Parquet.

Each is named with `report --as`. Views of people and of spreadsheets are in views/; these need the records too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from loadstone.records import Record
from loadstone.summary import Summary

if TYPE_CHECKING:
    from loadstone.metrics.columns import TokenCounter

# Writes a run as it reads the records; `TokenCounter` counts tokens of kept texts where the server did not.
Export: TypeAlias = "Callable[[Summary, Iterable[Record], TokenCounter | None, BinaryIO], None]"
DETAILED: dict[str, str] = {"vllm": "loadstone.report.exports.vllm:write"}
BINARY: dict[str, str] = {"parquet": "loadstone.report.exports.parquet:write"}
# By name: where the function is.
EXPORTS = {**DETAILED, **BINARY}
