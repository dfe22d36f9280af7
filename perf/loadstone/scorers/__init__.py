"""How an answer is scored: extractors take the answer out of a response, scorers compare it with the target.

`base` has the two types, `EXTRACTORS` and `SCORERS` below have the names. `letter` reads multiple-choice answers,
`number` (GSM8K), `boxed` (MATH) and `math_equivalence` read numbers and formulas, `code` reads programs, `ifeval`
checks instructions, and `choice` scores log-likelihoods.

All functions are pure and fast on any input. Each has at least 30 labelled cases in tests/scorers/cases. This room
imports the root modules only (`samples`, `errors`); it reads no files, sends nothing and has no clock.
"""

from __future__ import annotations

# Extractors and scorers by the name that `loadstone score --extractor NAME --scorer NAME` takes, as `module:attribute`.
# Both options also take `FILE.py:NAME` and an entry point of the group loadstone.scorers, --extractor `regex:PATTERN`.
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
