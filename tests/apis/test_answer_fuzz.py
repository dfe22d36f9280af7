"""A small, seeded part of the fuzz of tests/bench/answer_fuzz.py."""

from __future__ import annotations

import pytest

from loadstone.apis import APIS
from support.answer_fuzz import fuzz


@pytest.mark.parametrize("name", APIS)
def test_no_answer_raises_or_costs_more_than_its_own_request(name: str) -> None:
    kinds = set()
    for seed in range(3):
        records, faults = fuzz(name, seed, 20)
        assert faults == []
        kinds |= {None if record.error is None else record.error.kind for record in records}
    assert None in kinds  # some answers are still read
    assert len(kinds) > 3  # and others fail in different ways
