"""IFEval's scorer: which of an item's instructions an answer follows, strictly and loosely.

`checks` has the instructions, `counting` and `languages` what they ask about a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadstone.errors import UsageError
from loadstone.samples import Sample
from loadstone.scorers.ifeval.checks import build_check


def score_ifeval(text: str, sample: Sample) -> dict[str, float | list[float]]:
    """lm-eval's four metrics: whether all instructions are followed, and of each of them whether it is, strictly, by
    the text as it is, and loosely, by any of its variants. Raises UsageError for a row that is not IFEval's."""
    checks = build_checks(sample.doc, sample.doc_id)
    found: dict[str, float | list[float]] = {}
    for name, texts in (("strict", [text]), ("loose", loose_variants(text))):
        each = [float(any(variant.strip() and check(variant) for variant in texts)) for check in checks]
        found |= {f"prompt_level_{name}_acc": float(all(each)), f"inst_level_{name}_acc": each}
    return found


def loose_variants(text: str) -> list[str]:
    """The text; without its first line, its last, or both; and these without asterisks: 8 in all."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cut, *(part.replace("*", "") for part in cut)]


def build_checks(doc: dict[str, Any], number: int = 0) -> list[Callable[[str], bool]]:
    """The checks of a row, in its order."""
    try:
        names, arguments = doc["instruction_id_list"], doc["kwargs"]
        if len(names) != len(arguments):
            raise ValueError(f"{len(names)} instructions have {len(arguments)} kwargs")
        return [build_check(name, given or {}) for name, given in zip(names, arguments, strict=True)]
    except KeyError as exc:
        raise UsageError(f"item {number} is not a row of IFEval: {exc} is missing or unknown") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise UsageError(f"item {number} is not a row of IFEval: {exc}") from exc


def whole(text: str, _: Sample) -> str:
    """The answer as it is."""
    return text
