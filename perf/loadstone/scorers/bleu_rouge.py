"""Overlap of an answer with reference texts: BLEU and ROUGE as lm-eval computes them for `truthfulqa_gen`.

BLEU is sacrebleu's sentence BLEU with the international tokenizer and exponential smoothing; ROUGE is rouge_score's
without a stemmer. Both libraries would add a dozen dependencies. The tests hold the results equal within 1e-6.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import exp, log
from unicodedata import category

from loadstone.samples import Sample

# Longest n-grams of BLEU, the usual BLEU-4.
ORDER = 4
# A word of ROUGE, in lower case: `don`, `42`.
WORD = re.compile(r"[a-z0-9]+")
# Patterns over the Unicode categories of a text, one letter for each character (N number, P punctuation, S symbol).
PUNCTUATION_AFTER = re.compile(r"([^N])(P)")  # no digit, then punctuation: `a,`
PUNCTUATION_BEFORE = re.compile(r"(P)([^N])")  # punctuation, then no digit: `,a`
SYMBOL = re.compile(r"(S)")  # `$`
# Each pattern with the offsets in its match at which a space is inserted.
SPACES = ((PUNCTUATION_AFTER, (1, 2)), (PUNCTUATION_BEFORE, (0, 1)), (SYMBOL, (0, 1)))


def tokenize_international(text: str) -> list[str]:
    """Return the tokens of mteval-v14: punctuation and symbols are tokens of their own.

    Points and commas between digits stay, as does a point after a last digit. Source: sacrebleu,
    tokenizers/tokenizer_intl.py.
    """
    text = text.rstrip()
    categories = "".join(category(character)[0] for character in text)
    for pattern, offsets in SPACES:
        positions = {match.start() + offset for match in pattern.finditer(categories) for offset in offsets}
        text = _insert(" ", text, positions)
        categories = _insert("Z", categories, positions)
    return text.split()


def _insert(character: str, text: str, positions: set[int]) -> str:
    """Return the text with a character inserted before each of these positions."""
    return "".join((character if at in positions else "") + text[at : at + 1] for at in range(len(text) + 1))


def bleu(answer: str, reference: str) -> float:
    """Return BLEU, 0 to 100. Source: Papineni et al., doi:10.3115/1073083.1073135; sacrebleu 2, `BLEU.compute_bleu`."""
    tokens, reference_tokens = tokenize_international(answer), tokenize_international(reference)
    counts = [_overlap(tokens, reference_tokens, order) for order in range(1, ORDER + 1)]
    if not any(matches for matches, _ in counts) or not all(total for _, total in counts):
        return 0.0
    # Exponential smoothing: the k-th order without a match counts 1/2^k matches.
    zero_orders = 0
    log_sum = 0.0
    for matches, total in counts:
        zero_orders += not matches
        log_sum += log(matches / total if matches else 0.5**zero_orders / total)
    brevity_penalty = min(0.0, 1 - len(reference_tokens) / len(tokens))
    return 100 * exp(brevity_penalty + log_sum / ORDER)


def _overlap(tokens: Sequence[str], reference: Sequence[str], order: int) -> tuple[int, int]:
    """Return (n-grams in common, n-grams of `tokens`)."""
    ngrams = _ngrams(tokens, order)
    return (ngrams & _ngrams(reference, order)).total(), ngrams.total()


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def rouge(answer: str, reference: str, order: int) -> float:
    """Return ROUGE-N: F1 of the n-grams in common, 0 to 100. Source: Lin 2004, aclanthology.org/W04-1013."""
    words, reference_words = _words(answer), _words(reference)
    matches, total = _overlap(words, reference_words, order)
    return 100 * _f1(matches, total, max(len(reference_words) - order + 1, 0))


def rouge_sum(answer: str, reference: str) -> float:
    """Return ROUGE-Lsum: F1 of the words in longest common subsequences of lines, 0 to 100.

    A word of a reference line counts if it is in a longest common subsequence with a line of the answer, each word as
    often as both texts have it. Source: Lin 2004, section 3.2, as `rougeLsum` of rouge_score. ` . ` ends a line, as in
    lm-eval.
    """
    lines, reference_lines = _lines(answer), _lines(reference)
    left = Counter(word for line in lines for word in line) & Counter(word for line in reference_lines for word in line)
    hits = 0
    for line in reference_lines:
        for at in sorted(set().union(*(_common_positions(tuple(line), tuple(other)) for other in lines))):
            hits += left[line[at]] > 0
            left[line[at]] -= left[line[at]] > 0
    return 100 * _f1(hits, sum(map(len, lines)), sum(map(len, reference_lines)))


def _lines(text: str) -> list[list[str]]:
    return [_words(line) for line in text.replace(" . ", ".\n").split("\n")]


def _f1(matches: int, total: int, reference_total: int) -> float:
    return 2 * matches / (total + reference_total) if matches else 0.0


@lru_cache(64)
def _common_positions(reference: tuple[str, ...], words: tuple[str, ...]) -> frozenset[int]:
    """Return the positions in `reference` of one longest common subsequence, chosen as rouge_score chooses it."""
    # table[i][j]: length of the longest common subsequence of the first i and the first j words.
    table = [[0] * (len(words) + 1) for _ in range(len(reference) + 1)]
    for row, word in enumerate(reference):
        for column, other in enumerate(words):
            best = max(table[row][column + 1], table[row + 1][column])
            table[row + 1][column + 1] = table[row][column] + 1 if word == other else best
    # Trace one subsequence back from the end.
    row, column, positions = len(reference), len(words), set()
    while row and column:
        if reference[row - 1] == words[column - 1]:
            row, column = row - 1, column - 1
            positions.add(row)
        elif table[row][column - 1] > table[row - 1][column]:
            column -= 1
        else:
            row -= 1
    return frozenset(positions)


# (answer, reference) -> 0 to 100.
Similarity = Callable[[str, str], float]
SIMILARITIES: Mapping[str, Similarity] = {
    "bleu": bleu,
    "rouge1": lambda answer, reference: rouge(answer, reference, 1),
    "rouge2": lambda answer, reference: rouge(answer, reference, 2),
    "rougeL": rouge_sum,
}


def score_overlap(extracted: str, sample: Sample) -> dict[str, float]:
    """Return three metrics for each of `bleu`, `rouge1`, `rouge2` and `rougeL`, as `process_results_gen` of lm-eval.

    `_max` is the highest similarity with one of the doc's `correct_answers`, 0 to 100. `_diff` is this minus the
    highest with one of its `incorrect_answers`. `_acc` is 1 if `_diff` is above 0. Raises KeyError if the doc has
    neither.
    """
    metrics: dict[str, float] = {}
    for name, similarity in SIMILARITIES.items():
        correct = max((similarity(extracted, text) for text in sample.doc["correct_answers"]), default=0.0)
        incorrect = max((similarity(extracted, text) for text in sample.doc["incorrect_answers"]), default=0.0)
        metrics[f"{name}_max"] = correct
        metrics[f"{name}_acc"] = float(correct > incorrect)
        metrics[f"{name}_diff"] = correct - incorrect
    return metrics
