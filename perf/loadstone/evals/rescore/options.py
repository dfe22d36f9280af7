"""How saved answers are scored again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loadstone.config.flags import Flag


@dataclass(frozen=True, kw_only=True)
class RescoreOptions:
    """How to score."""

    task: Annotated[
        str | None,
        Flag(
            "score as this task, or `target` to compare with the targets (default: from the file's name)",
            metavar="NAME",
        ),
    ] = None
    extractor: Annotated[
        str | None, Flag("extracts the answer: a name, regex:PATTERN or FILE.py:NAME", metavar="NAME")
    ] = None
    scorer: Annotated[
        str | None, Flag("compares the answer with the target: a name or FILE.py:NAME", metavar="NAME")
    ] = None
    data: Annotated[
        str | None,
        Flag("folder with the dataset of a run, or bundled, when scoring a run", name="data-dir", metavar="DIR"),
    ] = None
    allow_code: Annotated[bool, Flag("run programs that the model wrote", name="allow-code-execution")] = False
    only: Annotated[str | None, Flag("doc_ids to score, such as 3,5-9", metavar="IDS")] = None
