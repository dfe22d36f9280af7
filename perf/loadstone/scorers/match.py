"""Answers held against a text, as lm-evaluation-harness and SQuAD do, and ways to find the text in an answer.

What is a number is number.py's, what is a formula mathematics.py's.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from loadstone.samples import Sample
from loadstone.scorers.base import Extractor, Scorer

PUNCTUATION = str.maketrans("", "", string.punctuation)
DIGITS = str.maketrans("", "", string.digits)
ARTICLES = re.compile(r"\b(a|an|the)\b")
CONCLUSION = re.compile(
    r"\b(?:final\s+answer|correct\s+answer|answer)\b\s*(?:is\s*(?::|therefore|thus)?|:|=)\s*"
    r"|\b(?:respuesta|resposta|risposta|réponse|antwort|ответ)\b\s*(?:final\w*\s*)?(?:(?:es|é|è|est|ist|lautet)\b\s*:?|:|=)\s*"
    r"|(?:答案|答え|正解)\s*(?:是|为|為|は|:|:|=)+\s*",
    re.IGNORECASE,
)
# Characters after `the answer is` that can still be the answer.
SPOKEN = 1000


def whole(text: str, _: Sample) -> str | None:
    """All of it, as it came."""
    return text


def strip_whitespace(text: str, _: Sample) -> str | None:
    """All of it, without space around: lm-eval's `remove_whitespace`."""
    return text.strip()


def first_line(text: str, _: Sample) -> str | None:
    """The first line that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), None)


def last_line(text: str, _: Sample) -> str | None:
    """The last line that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def regex(pattern: str, group_select: int = 0, flags: int = 0) -> Extractor:
    """lm-eval's filter `regex`: of all matches number `group_select`, and of it the first group that is not empty. None
    where lm-eval says `[invalid]`. Raises re.error."""
    compiled = re.compile(pattern, flags)

    def extract(text: str, _: Sample) -> str | None:
        try:
            found = compiled.findall(text)[group_select]
        except IndexError:
            return None
        if isinstance(found, str):
            return found.strip()
        return next((group.strip() for group in found if group), None)

    return extract


def the_answer_is(text: str, _: Sample) -> str | None:
    """What follows the last `answer is` or `answer:`, also in some other languages, up to the end of its sentence,
    without markup or quotes."""
    ends = [match.end() for match in CONCLUSION.finditer(text)]
    return first_sentence(text[ends[-1] : ends[-1] + SPOKEN]) if ends else None


def first_sentence(text: str) -> str | None:
    """The first line of a text without its closing stop, emphasis and quotes; None where nothing is left."""
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
    """lm-eval's metric `exact_match` with its options, over all texts that are right. Source:
    lm_eval/api/metrics.py, `exact_match_hf_evaluate`; several targets: api/task.py, `process_results`."""
    ignored = [re.compile(pattern) for pattern in regexes_to_ignore]

    def bare(text: str) -> str:
        for pattern in ignored:
            text = pattern.sub("", text)
        text = text.lower() if ignore_case else text
        text = text.translate(PUNCTUATION) if ignore_punctuation else text
        return text.translate(DIGITS) if ignore_numbers else text

    def score(extracted: str, sample: Sample) -> dict[str, float]:
        said = bare(extracted)
        return {"exact_match": float(any(said == bare(right) for right in correct_answers(sample)))}

    return score


def correct_answers(sample: Sample) -> list[str]:
    """All texts that are right."""
    return sample.answers or [sample.target]


def normalize(text: str) -> str:
    """SQuAD's: lower case, no punctuation, no articles, single spaces. Source: evaluate-v1.1.py of SQuAD, from which
    TriviaQA has it."""
    text = text.lower().replace("_", " ").translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def word_f1(said: str, right: str) -> float:
    """2PR / (P + R) of the words that two texts share, after `normalize`. Of two without words, 1."""
    ours, theirs = normalize(said).split(), normalize(right).split()
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not shared:
        return float(ours == theirs)
    return 2 * shared / (len(ours) + len(theirs))


def squad(extracted: str, sample: Sample) -> dict[str, float]:
    """`exact_match` and `f1`, each the best over all answers that are right."""
    exact = any(normalize(extracted) == normalize(right) for right in correct_answers(sample))
    return {"exact_match": float(exact), "f1": max(word_f1(extracted, right) for right in correct_answers(sample))}


def aliases(extracted: str, sample: Sample) -> Mapping[str, float | list[float]]:
    """TriviaQA: `exact_match` as lm-eval counts it, `squad_match` and `f1` as its paper does, over all aliases."""
    paper = squad(extracted, sample)
    return {**loose_match(extracted, sample), "squad_match": paper["exact_match"], "f1": paper["f1"]}


def has_words(extracted: str, _: Sample) -> dict[str, float]:
    """Whether there are any words at all. It judges nothing: for questions that only a reader can judge."""
    return {"answered": float(bool(extracted.strip()))}


def first_of(*extractors: Extractor) -> Extractor:
    """The first that finds something."""

    def extract(text: str, sample: Sample) -> str | None:
        found: Callable[[Extractor], str | None] = lambda extractor: extractor(text, sample)  # noqa: E731
        return next((answer for answer in map(found, extractors) if answer is not None), None)

    return extract


strict_match = exact_match()
loose_match = exact_match(ignore_case=True, ignore_punctuation=True)
