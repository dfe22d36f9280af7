"""Extractors of text and scorers that compare it with a target, as lm-evaluation-harness and SQuAD do.

`number` compares numbers, `math_equivalence` formulas.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor, Scorer

# What lm-eval's `ignore_punctuation` and `ignore_numbers` remove.
PUNCTUATION = str.maketrans("", "", string.punctuation)
DIGITS = str.maketrans("", "", string.digits)
# Articles that SQuAD ignores.
ARTICLES = re.compile(r"\b(a|an|the)\b")
# A phrase before the answer: `the final answer is `, `Answer: `, `la respuesta es `, `答案是`.
CONCLUSION = re.compile(
    r"\b(?:final\s+answer|correct\s+answer|answer)\b\s*(?:is\s*(?::|therefore|thus)?|:|=)\s*"
    r"|\b(?:respuesta|resposta|risposta|réponse|antwort|ответ)\b\s*(?:final\w*\s*)?(?:(?:es|é|è|est|ist|lautet)\b\s*:?|:|=)\s*"
    r"|(?:答案|答え|正解)\s*(?:是|为|為|は|:|:|=)+\s*",
    re.IGNORECASE,
)
# Longest answer, in characters, that is read after such a phrase.
MAX_ANSWER = 1000


def whole(text: str, _: Sample) -> str | None:
    """Return the response unchanged."""
    return text


def strip_whitespace(text: str, _: Sample) -> str | None:
    """Return the response without whitespace around it: lm-eval's filter `remove_whitespace`."""
    return text.strip()


def first_line(text: str, _: Sample) -> str | None:
    """Return the first line that is not blank, or None."""
    return next((line.strip() for line in text.splitlines() if line.strip()), None)


def last_line(text: str, _: Sample) -> str | None:
    """Return the last line that is not blank, or None."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def regex(pattern: str, group_select: int = 0, flags: int = 0) -> Extractor:
    """Return an extractor like lm-eval's filter `regex`.

    It takes match number `group_select` (-1: the last) and its first group that is not empty. It returns None where
    lm-eval returns `[invalid]`. Raises re.error for a bad pattern.
    """
    compiled = re.compile(pattern, flags)

    def extract(text: str, _: Sample) -> str | None:
        try:
            match = compiled.findall(text)[group_select]
        except IndexError:
            return None
        if isinstance(match, str):
            return match.strip()
        return next((group.strip() for group in match if group), None)

    return extract


def the_answer_is(text: str, _: Sample) -> str | None:
    """Return what follows the last `answer is` or `answer:`, also in some other languages, or None.

    It ends with its sentence, and has no markup or quotes around it.
    """
    ends = [match.end() for match in CONCLUSION.finditer(text)]
    return first_sentence(text[ends[-1] : ends[-1] + MAX_ANSWER]) if ends else None


def first_sentence(text: str) -> str | None:
    """Return the first sentence of a text's first line without its full stop, emphasis and quotes, or None."""
    line = text.strip().split("\n", 1)[0].strip()
    line = re.split(r"[.!](?=\s+[A-Z\"'(])|。", line, maxsplit=1)[0]
    while (bare := line.strip().strip("*_`\"'“”").rstrip(".!,;:")) != line:
        line = bare
    return line or None


def exact_match(
    *,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    regexes_to_ignore: Sequence[str] = (),
) -> Scorer:
    """Return a scorer like lm-eval's metric `exact_match` with its options: 1 if any correct answer is the same text.

    Source: lm_eval/api/metrics.py, `exact_match_hf_evaluate`; several targets: api/task.py, `process_results`.
    """
    ignored = [re.compile(pattern) for pattern in regexes_to_ignore]

    def reduce(text: str) -> str:
        for pattern in ignored:
            text = pattern.sub("", text)
        text = text.lower() if ignore_case else text
        text = text.translate(PUNCTUATION) if ignore_punctuation else text
        return text.translate(DIGITS) if ignore_numbers else text

    def score(extracted: str, sample: Sample) -> dict[str, float]:
        answer = reduce(extracted)
        return {"exact_match": float(any(answer == reduce(correct) for correct in correct_answers(sample)))}

    return score


def correct_answers(sample: Sample) -> list[str]:
    """Return all texts that are right: the sample's `answers`, or its target."""
    return sample.answers or [sample.target]


def normalize(text: str) -> str:
    """Return the text in lower case with single spaces, without punctuation and articles, as SQuAD compares it.

    Source: SQuAD, evaluate-v1.1.py; TriviaQA uses the same.
    """
    text = text.lower().replace("_", " ").translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def word_f1(answer: str, correct: str) -> float:
    """Return F1 of the words that two texts have in common after `normalize`, 0 to 1; 1 if neither has words."""
    words, correct_words = normalize(answer).split(), normalize(correct).split()
    common = sum((Counter(words) & Counter(correct_words)).values())
    if not common:
        return float(words == correct_words)
    return 2 * common / (len(words) + len(correct_words))


def squad(extracted: str, sample: Sample) -> dict[str, float]:
    """Return SQuAD's `exact_match` and `f1`, each the best over all correct answers."""
    correct = correct_answers(sample)
    exact = any(normalize(extracted) == normalize(text) for text in correct)
    return {"exact_match": float(exact), "f1": max(word_f1(extracted, text) for text in correct)}


def aliases(extracted: str, sample: Sample) -> Mapping[str, float | list[float]]:
    """Return TriviaQA's metrics over all aliases: `exact_match` of lm-eval, `squad_match` and `f1` of the paper."""
    metrics = squad(extracted, sample)
    return {**loose_match(extracted, sample), "squad_match": metrics["exact_match"], "f1": metrics["f1"]}


def has_words(extracted: str, _: Sample) -> dict[str, float]:
    """Return `answered`: 1 for any text that is not blank. For questions that only a reader or a judge can score."""
    return {"answered": float(bool(extracted.strip()))}


def first_of(*extractors: Extractor) -> Extractor:
    """Return an extractor that tries these in order and takes the first answer."""

    def extract(text: str, sample: Sample) -> str | None:
        for extractor in extractors:
            if (answer := extractor(text, sample)) is not None:
                return answer
        return None

    return extract


strict_match = exact_match()
loose_match = exact_match(ignore_case=True, ignore_punctuation=True)
