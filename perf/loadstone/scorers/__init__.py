"""How an answer is read and judged: extractors take the answer out of a text, scorers hold it against the target.

Both are plain functions, pure and quick; what they see of the item is its Sample. Each scorer has at least 30 labelled
cases as data in tests/scorers/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadstone.samples import Sample

Extractor = Callable[[str, Sample], str | None]
"""(text of the answer, item) -> what the model answers, or None where the text does not say."""
Scorer = Callable[[str, Sample], Mapping[str, float | list[float]]]
"""(what was extracted, item) -> metrics by name, 1.0 for right and 0.0 for wrong, or shares of it;
a list where an item has several parts."""

EXTRACTORS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:letter",
    "letters": "loadstone.scorers.letter:letters",
}
SCORERS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:right",
    "letters": "loadstone.scorers.letter:all_right",
    "overlap": "loadstone.scorers.overlap:truthful",
}
"""By the name that `loadstone score --extractor NAME --scorer NAME` takes: `module:attribute`. Also `FILE.py:NAME`, an
entry point in the group loadstone.scorers, and for extractors `regex:PATTERN`."""
