"""How an answer is read and judged: extractors take the answer out of a text, scorers hold it against the target.

Both are plain functions, pure and quick; what they see of the item is its Sample. Each scorer has at least 30 labelled
cases as data in tests/scorers/.
"""

from __future__ import annotations

EXTRACTORS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:letter",
    "letters": "loadstone.scorers.letter:letters",
    "continued": "loadstone.scorers.code:continued",
    "program": "loadstone.scorers.code:program",
    "whole": "loadstone.scorers.match:whole",
    "stripped": "loadstone.scorers.match:stripped",
    "first_line": "loadstone.scorers.match:first_line",
    "last_line": "loadstone.scorers.match:last_line",
    "the_answer_is": "loadstone.scorers.match:the_answer_is",
    "gsm8k_strict": "loadstone.scorers.number:strict",
    "gsm8k_cot_strict": "loadstone.scorers.number:cot_strict",
    "gsm8k_flexible": "loadstone.scorers.number:flexible",
    "last_number": "loadstone.scorers.number:last_number",
    "boxed": "loadstone.scorers.boxed:boxed",
    "boxed_number": "loadstone.scorers.boxed:boxed_number",
    "minerva": "loadstone.scorers.boxed:minerva",
    "math_answer": "loadstone.scorers.boxed:math_answer",
    "bbh": "loadstone.scorers.bbh:strict",
    "option": "loadstone.scorers.bbh:option",
    "ordered_words": "loadstone.scorers.bbh:ordered",
    "brackets": "loadstone.scorers.bbh:brackets",
}
# By the name that `loadstone score --extractor NAME --scorer NAME` takes: `module:attribute`. Also `FILE.py:NAME`, an
# entry point in the group loadstone.scorers, and for extractors `regex:PATTERN`.
SCORERS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:right",
    "letters": "loadstone.scorers.letter:all_right",
    "overlap": "loadstone.scorers.bleu_rouge:truthful",
    "ifeval": "loadstone.scorers.ifeval:follow",
    "exact_match": "loadstone.scorers.match:strict",
    "loose_match": "loadstone.scorers.match:loose",
    "squad": "loadstone.scorers.match:squad",
    "aliases": "loadstone.scorers.match:aliases",
    "answered": "loadstone.scorers.match:answered",
    "gsm8k": "loadstone.scorers.number:gsm8k",
    "bbh": "loadstone.scorers.bbh:same",
    "number": "loadstone.scorers.number:numeric",
    "mathematics": "loadstone.scorers.math_equivalence:equal",
}
