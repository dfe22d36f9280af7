"""A choice among continuations, from the log-likelihood of each: which one was taken, and what that counts.

Counted as lm-eval 0.4.13 counts `multiple_choice` (ConfigurableTask.process_results), ties included: the first of the
best is taken. What was asked for, and what became of a request that failed, is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf

from loadstone.samples import Sample

# (sum of the log-probabilities of a continuation's tokens, whether it is what greedy decoding would have said).
Likelihoods = Sequence[tuple[float, bool]]
ChoiceMetric = Callable[[Likelihoods, Sample], dict[str, float]]
ChoiceMeasure = Callable[[Likelihoods, Sample], list[float]]


def score_choice(names: Sequence[str], answered: Likelihoods, sample: Sample) -> tuple[int, dict[str, float]]:
    """(number of the choice taken by the first of `names`, metrics by name), for an item of which every request came.

    names: of METRICS, the headline first. `mc2` stands also as `acc`, which is its name in lm-eval's files.
    answered: one for each of `sample.choices`, in their order; for `acc_mutual_info` as many again follow, of the
    choices alone, without the question.
    sample: `choices` without delimiter, and `gold`, the numbers of those that are right.
    Raises ValueError where `answered` does not fit the choices, or a name is unknown.
    """
    _fitting(names, answered, sample)
    told = {name: value for judge in names for name, value in METRICS[judge](answered, sample).items()}
    return best_choice(names[0] if names else "acc", answered, sample), told


def best_choice(name: str, answered: Likelihoods, sample: Sample) -> int:
    """Number of the choice that is best by the measure of metric `name`; the first of several."""
    values = MEASURES.get(name, _sums)(answered, sample)
    return values.index(max(values))


def probability_mass(answered: Likelihoods) -> float:
    """Share of the probability that all continuations have together, 0 to 1: how much of what the model would say next
    the letters cover. Where it is small, the letters were not what the model meant to say, and the choice tells little.
    """
    return min(sum(exp(value) for value, _ in answered), 1.0)


def _fitting(names: Sequence[str], answered: Likelihoods, sample: Sample) -> None:
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"no metric of a choice is called {unknown[0]!r}: take {', '.join(METRICS)}")
    wanted = len(sample.choices) * (2 if "acc_mutual_info" in names else 1)
    if not wanted or len(answered) != wanted:
        raise ValueError(f"{len(answered)} log-likelihoods, but {wanted} are wanted for {len(sample.choices)} choices")


def _sums(answered: Likelihoods, sample: Sample) -> list[float]:
    return [value for value, _ in answered[: len(sample.choices)]]


def _by_character(answered: Likelihoods, sample: Sample) -> list[float]:
    return _each(answered, sample, len)


def _by_byte(answered: Likelihoods, sample: Sample) -> list[float]:
    return _each(answered, sample, lambda choice: len(choice.encode()))


def _each(answered: Likelihoods, sample: Sample, size: Callable[[str], int]) -> list[float]:
    """Of an empty choice nothing can be said by length: it is taken last."""
    pairs = zip(_sums(answered, sample), map(size, sample.choices), strict=True)
    return [value / length if length else -inf for value, length in pairs]


def _informed(answered: Likelihoods, sample: Sample) -> list[float]:
    """log p(choice | question) - log p(choice)."""
    alone = answered[len(sample.choices) :]
    return [value - bare for value, (bare, _) in zip(_sums(answered, sample), alone, strict=True)]


# What a choice is taken by: the log-likelihood, that by character, by byte of UTF-8, over that without question.
MEASURES: Mapping[str, ChoiceMeasure] = {
    "acc": _sums,
    "acc_norm": _by_character,
    "acc_bytes": _by_byte,
    "acc_mutual_info": _informed,
}


def _accuracy(name: str) -> ChoiceMetric:
    def judge(answered: Likelihoods, sample: Sample) -> dict[str, float]:
        return {name: float(best_choice(name, answered, sample) in sample.gold)}

    return judge


def _greedy(answered: Likelihoods, sample: Sample) -> dict[str, float]:
    return {"exact_match": float(any(answered[number][1] for number in sample.gold))}


def _true_mass(answered: Likelihoods, sample: Sample) -> dict[str, float]:
    """MC2 of TruthfulQA: the share of the right choices in the probability of all (arXiv:2109.07958, section 3.2).

    Shares are taken relative to the best, so that long choices do not all become 0, as they do in lm-eval below e^-745.
    """
    sums = _sums(answered, sample)
    weights = [exp(value - max(sums)) if value > -inf else 0.0 for value in sums]
    share = sum(weights[number] for number in sample.gold) / sum(weights) if sum(weights) else 0.0
    return {"mc2": share, "acc": share}


METRICS: Mapping[str, ChoiceMetric] = {
    **{name: _accuracy(name) for name in MEASURES},
    "exact_match": _greedy,
    "mc2": _true_mass,
}
