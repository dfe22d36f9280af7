"""Student's t against published tables and its own inverse."""

from __future__ import annotations

import math

import pytest

from loadstone.stats import distributions

PRECISE = [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 10, 2.22814), (0.995, 30, 2.75), (0.9, 1e7, 1.28155)]
# Degrees of freedom and the 97.5 % quantile, as tables print it with three decimals.
TABLE = [(1, 12.706), (2, 4.303), (4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (31, 2.040)]


@pytest.mark.parametrize(("probability", "freedom", "value"), PRECISE)
def test_student_t(probability: float, freedom: float, value: float) -> None:
    assert distributions.student_t(probability, freedom) == pytest.approx(value, rel=1e-4)
    assert distributions.cdf(distributions.student_t(probability, freedom), freedom) == pytest.approx(
        probability, abs=1e-9
    )


@pytest.mark.parametrize(("freedom", "value"), TABLE)
def test_student_t_agrees_with_printed_tables(freedom: int, value: float) -> None:
    assert distributions.student_t(0.975, freedom) == pytest.approx(value, abs=5.1e-4)


def test_normal_is_student_t_with_many_degrees_of_freedom() -> None:
    assert distributions.student_t(0.975, distributions.MANY) == pytest.approx(distributions.NORMAL, rel=1e-12)


def test_student_is_symmetrical_and_ends_at_certainty() -> None:
    assert distributions.cdf(0.0, 3) == 0.5
    assert distributions.cdf(-1.7, 3) == pytest.approx(1 - distributions.cdf(1.7, 3))
    assert distributions.both_tails(0.0, 5) == 1.0
    assert distributions.both_tails(math.inf, 5) == 0.0
    assert 0 < distributions.both_tails(40.0, 30) < 1e-20
