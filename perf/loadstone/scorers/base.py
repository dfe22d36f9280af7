"""The types of extractors and scorers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadstone.samples import Sample

# (text of the answer, item) -> what the model answers, or None where the text does not say.
Extractor = Callable[[str, Sample], str | None]
# (what was extracted, item) -> metrics by name, 1.0 for right and 0.0 for wrong, or shares of it; a list where an item
# has several parts.
Scorer = Callable[[str, Sample], Mapping[str, float | list[float]]]
