"""Score a multiple-choice item by the log-likelihoods of its choices.

The counts are those of lm-eval 0.4.13 for `multiple_choice` (`ConfigurableTask.process_results`), ties included: the
first of the best choices is taken. The requests, and failed ones, are the concern of `evals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf

from loadstone.samples import Sample

# For each continuation: (sum of the log-probabilities of its tokens, True if greedy decoding would generate it).
Likelihoods = Sequence[tuple[float, bool]]
# Metrics of an item by name.
ChoiceMetric = Callable[[Likelihoods, Sample], dict[str, float]]
# One number for each choice; the choice with the highest is taken.
ChoiceMeasure = Callable[[Likelihoods, Sample], list[float]]


def score_choice(names: Sequence[str], likelihoods: Likelihoods, sample: Sample) -> tuple[int, dict[str, float]]:
    """Return (index of the choice that the first metric takes, metrics by name) of an item without failed requests.

    names: keys of METRICS, the headline first. `mc2` is also reported as `acc`, its name in lm-eval's files.
    likelihoods: one for each of `sample.choices`, in order. `acc_mutual_info` needs as many again after them: of the
    choices alone, without the question.
    sample: with `choices` without delimiter, and `gold`, the indices of the right ones.
    Raises ValueError if the number of likelihoods does not fit the choices, or a name is unknown.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"no metric of a choice is called {unknown[0]!r}: take {', '.join(METRICS)}")
    needed = len(sample.choices) * (2 if "acc_mutual_info" in names else 1)
    if not needed or len(likelihoods) != needed:
        raise ValueError(
            f"{len(likelihoods)} log-likelihoods, but {needed} are wanted for {len(sample.choices)} choices"
        )
    metrics: dict[str, float] = {}
    for name in names:
        metrics |= METRICS[name](likelihoods, sample)
    return best_choice(names[0] if names else "acc", likelihoods, sample), metrics


def best_choice(metric: str, likelihoods: Likelihoods, sample: Sample) -> int:
    """Return the index of the choice that is best by the measure of a metric; of several, the first."""
    values = MEASURES.get(metric, _sums)(likelihoods, sample)
    return values.index(max(values))


def probability_mass(likelihoods: Likelihoods) -> float:
    """Return the total probability of all continuations, 0 to 1.

    If it is small for the letters of the choices, the model was about to write something else, and which letter is the
    likeliest means little.
    """
    return min(sum(exp(value) for value, _ in likelihoods), 1.0)


def _sums(likelihoods: Likelihoods, sample: Sample) -> list[float]:
    return [value for value, _ in likelihoods[: len(sample.choices)]]


def _per_character(likelihoods: Likelihoods, sample: Sample) -> list[float]:
    return _per_length(likelihoods, sample, len)


def _per_byte(likelihoods: Likelihoods, sample: Sample) -> list[float]:
    return _per_length(likelihoods, sample, lambda choice: len(choice.encode()))


def _per_length(likelihoods: Likelihoods, sample: Sample, length_of: Callable[[str], int]) -> list[float]:
    """Return the log-likelihoods divided by the lengths; an empty choice has no length and is never preferred."""
    pairs = zip(_sums(likelihoods, sample), map(length_of, sample.choices), strict=True)
    return [value / length if length else -inf for value, length in pairs]


def _mutual_information(likelihoods: Likelihoods, sample: Sample) -> list[float]:
    """Return log p(choice | question) - log p(choice)."""
    unconditional = likelihoods[len(sample.choices) :]
    return [value - alone for value, (alone, _) in zip(_sums(likelihoods, sample), unconditional, strict=True)]


# The measure by which a metric takes a choice. Metrics that are not here take the sum.
MEASURES: Mapping[str, ChoiceMeasure] = {
    "acc": _sums,
    "acc_norm": _per_character,
    "acc_bytes": _per_byte,
    "acc_mutual_info": _mutual_information,
}


def _accuracy(name: str) -> ChoiceMetric:
    def score(likelihoods: Likelihoods, sample: Sample) -> dict[str, float]:
        return {name: float(best_choice(name, likelihoods, sample) in sample.gold)}

    return score


def _greedy_match(likelihoods: Likelihoods, sample: Sample) -> dict[str, float]:
    return {"exact_match": float(any(likelihoods[number][1] for number in sample.gold))}


def _mc2(likelihoods: Likelihoods, sample: Sample) -> dict[str, float]:
    """Return MC2 of TruthfulQA: the fraction of the choices' probability that the right ones have.

    Source: arXiv:2109.07958, section 3.2. Probabilities are relative to the best choice, so long choices do not all
    underflow to 0, as they do in lm-eval below e^-745.
    """
    sums = _sums(likelihoods, sample)
    weights = [exp(value - max(sums)) if value > -inf else 0.0 for value in sums]
    fraction = sum(weights[number] for number in sample.gold) / sum(weights) if sum(weights) else 0.0
    return {"mc2": fraction, "acc": fraction}


METRICS: Mapping[str, ChoiceMetric] = {
    **{name: _accuracy(name) for name in MEASURES},
    "exact_match": _greedy_match,
    "mc2": _mc2,
}
