"""The types of extractors and scorers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadstone.samples import Sample

# (response text, sample) -> the answer in it, or None if the text states no answer.
Extractor = Callable[[str, Sample], str | None]
# (extracted answer, sample) -> metrics by name, from 0.0 (wrong) to 1.0 (right). A value is a list if the sample has
# several items that count separately, such as the instructions of IFEval.
Scorer = Callable[[str, Sample], Mapping[str, float | list[float]]]
