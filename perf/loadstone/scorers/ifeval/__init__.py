"""The scorer of IFEval: which instructions of an item a response follows, strictly and loosely.

`checks` has one function for each instruction, `counting` and `languages` what they need to know of a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadstone.errors import DataError
from loadstone.samples import Sample
from loadstone.scorers.ifeval.checks import build_check


def score_ifeval(text: str, sample: Sample) -> dict[str, float | list[float]]:
    """Return lm-eval's four metrics: for the whole item, and as a list for its instructions, strict and loose.

    Strict scores check the text as it is, loose ones take the best of its variants. Raises DataError if the sample is
    not a row of IFEval.
    """
    checks = build_checks(sample.doc, sample.doc_id)
    metrics: dict[str, float | list[float]] = {}
    for name, texts in (("strict", [text]), ("loose", loose_variants(text))):
        followed = [float(any(variant.strip() and check(variant) for variant in texts)) for check in checks]
        metrics[f"prompt_level_{name}_acc"] = float(all(followed))
        metrics[f"inst_level_{name}_acc"] = followed
    return metrics


def loose_variants(text: str) -> list[str]:
    """Return eight texts: without the first line, the last line, both or neither, and each also without asterisks."""
    lines = text.split("\n")
    shortened = [text, *("\n".join(kept).strip() for kept in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*shortened, *(variant.replace("*", "") for variant in shortened)]


def build_checks(doc: dict[str, Any], number: int = 0) -> list[Callable[[str], bool]]:
    """Return the checks of a row in its order. Raises DataError, with the item's number, for a row of another kind."""
    try:
        names, arguments = doc["instruction_id_list"], doc["kwargs"]
        if len(names) != len(arguments):
            raise ValueError(f"{len(names)} instructions have {len(arguments)} kwargs")
        return [build_check(name, kwargs or {}) for name, kwargs in zip(names, arguments, strict=True)]
    except KeyError as exc:
        raise DataError(f"item {number} is not a row of IFEval: {exc} is missing or unknown") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise DataError(f"item {number} is not a row of IFEval: {exc}") from exc
