"""How an answer is read and judged: extractors take the answer out of a text, scorers hold it against the target.

Both are plain functions, pure and quick; what they see of the item is its Sample. Each scorer has at least 30 labelled
cases as data in tests/scorers/.
"""

from __future__ import annotations

EXTRACTORS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:extract_letter",
    "letters": "loadstone.scorers.letter:extract_letters",
    "continued": "loadstone.scorers.code:complete_prompt",
    "program": "loadstone.scorers.code:extract_program",
    "whole": "loadstone.scorers.match:whole",
    "stripped": "loadstone.scorers.match:strip_whitespace",
    "first_line": "loadstone.scorers.match:first_line",
    "last_line": "loadstone.scorers.match:last_line",
    "the_answer_is": "loadstone.scorers.match:the_answer_is",
    "gsm8k_strict": "loadstone.scorers.number:gsm8k_strict",
    "gsm8k_cot_strict": "loadstone.scorers.number:gsm8k_cot_strict",
    "gsm8k_flexible": "loadstone.scorers.number:gsm8k_flexible",
    "last_number": "loadstone.scorers.number:last_number",
    "boxed": "loadstone.scorers.boxed:boxed",
    "boxed_number": "loadstone.scorers.boxed:boxed_number",
    "minerva": "loadstone.scorers.boxed:minerva",
    "math_answer": "loadstone.scorers.boxed:math_answer",
    "bbh": "loadstone.scorers.bbh:bbh_strict",
    "option": "loadstone.scorers.bbh:option",
    "ordered_words": "loadstone.scorers.bbh:ordered_words",
    "brackets": "loadstone.scorers.bbh:brackets",
}
# By the name that `loadstone score --extractor NAME --scorer NAME` takes: `module:attribute`. Also `FILE.py:NAME`, an
# entry point in the group loadstone.scorers, and for extractors `regex:PATTERN`.
SCORERS: dict[str, str] = {
    "letter": "loadstone.scorers.letter:score_letter",
    "letters": "loadstone.scorers.letter:score_letters",
    "overlap": "loadstone.scorers.bleu_rouge:score_overlap",
    "ifeval": "loadstone.scorers.ifeval:score_ifeval",
    "exact_match": "loadstone.scorers.match:strict_match",
    "loose_match": "loadstone.scorers.match:loose_match",
    "squad": "loadstone.scorers.match:squad",
    "aliases": "loadstone.scorers.match:aliases",
    "answered": "loadstone.scorers.match:has_words",
    "gsm8k": "loadstone.scorers.number:score_gsm8k",
    "bbh": "loadstone.scorers.bbh:score_bbh",
    "number": "loadstone.scorers.number:score_number",
    "mathematics": "loadstone.scorers.math_equivalence:score_math",
}
