"""What the check has looked at: the doubts with their advice first, then what was found in order. `loadstone check`."""

from __future__ import annotations

from loadstone.checks.rules import examine, judge
from loadstone.checks.finding import Finding
from loadstone.records import Summary

_HEAD = Finding("in order", None, "measured", "limit")


def render(summary: Summary) -> str:
    found = examine(summary)
    doubts = [f"{doubt.severity}: {doubt.what}: {doubt.measured} (limit {doubt.limit}): {doubt.advice}"
              for doubt in found if doubt.severity is not None]  # fmt: skip
    innocent = [_HEAD, *(finding for finding in found if finding.severity is None)]
    wide = [max(len(getattr(finding, name)) for finding in innocent) for name in ("what", "measured")]
    rows = [f"{row.what:<{wide[0]}}  {row.measured:<{wide[1]}}  {row.limit}" for row in innocent]
    status = (summary.verdict or judge(summary)).status
    return "\n".join([status, *doubts, "", *rows]) + "\n"
