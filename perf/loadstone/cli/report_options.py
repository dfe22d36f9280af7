"""The flags of `loadstone report`, which the commands that show saved results share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from loadstone.cli.options import SUMMARY
from loadstone.config.flags import Flag
from loadstone.config.output import LIMIT, PERCENTILES, join_limits, join_percentiles


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What `report` shows of runs, and what it recomputes them with."""

    view: Annotated[
        str,
        Flag(
            "format of the report: text (default), classic, md, csv, json, html, junit, vllm, vllm-sweep, parquet,"
            " leaderboard",
            name="as",
            metavar="VIEW",
        ),
    ] = "text"
    output: Annotated[
        str | None,
        Flag("write to a new file (vllm-sweep: folder) instead of stdout", short="-o", metavar="FILE"),
    ] = None
    summary: Annotated[bool, Flag(SUMMARY)] = False
    goodput: Annotated[
        dict[str, float],
        Flag("objectives that a good request meets: 'ttft<200ms, tpot<50ms'", LIMIT, many=True, join=join_limits),
    ] = field(default_factory=dict)
    tokenizer: Annotated[
        str | None, Flag("tokenizer that counts tokens of saved texts where the server did not", metavar="PATH")
    ] = None
    percentiles: Annotated[
        list[float] | None,
        Flag("percentiles to show, such as 50,75,99.9 (default: the run's)", PERCENTILES, join=join_percentiles),
    ] = None
    # Reports of finished runs write no JUnit XML beside: --as junit shows it.
    junit: ClassVar[str | None] = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the settings that replace those of the run."""
        changes = {"goodput": self.goodput, "percentiles": self.percentiles}
        return {name: value for name, value in changes.items() if value}
