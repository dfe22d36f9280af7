"""Sentences of Loadstone with the words of libraries and systems left out, which change with their releases."""

from __future__ import annotations

import re


def pattern(sentence: str) -> str:
    """Return the regular expression of a sentence in which each "…" stands for words that are not ours."""
    return ".+".join(re.escape(piece) for piece in sentence.split("…"))


def same(sentence: str, text: str) -> bool:
    """Return True if the text is the sentence, with other people's words for each "…"."""
    return re.fullmatch(pattern(sentence), text, re.DOTALL) is not None


def holds(text: str, sentence: str) -> bool:
    """Return True if the sentence is somewhere in the text, with other people's words for each "…"."""
    return re.search(pattern(sentence), text, re.DOTALL) is not None
