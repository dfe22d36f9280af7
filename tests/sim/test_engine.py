"""The simulated engine: its invariants under random loads, its prefix cache by hand, its drafts, the cost of a step."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.sim.engine.kv_cache import block_hashes
from loadstone.sim.engine.presets import LLAMA_8B, LLAMA_70B, PRESETS, TINY, Costs, Limits, Profile
from loadstone.sim.engine.scheduler import Engine, Sequence, Step

SIZE = 4


def engine(seed: int = 0, **limits: Any) -> Engine:
    given = {"max_num_seqs": 4, "max_num_batched_tokens": 16, "num_gpu_blocks": 32, "block_size": SIZE} | limits
    return Engine(Profile(description="", limits=Limits(**given), costs=TINY.costs), seed)


def sequence(number: int, prompt: str, length: int, word: Any = None) -> Sequence:
    """A prompt whose tokens are the characters of a text."""
    hashes = block_hashes(prompt, SIZE)
    return Sequence(number, len(prompt), length, hashes, tuple(prompt[len(hashes) * SIZE :]), word)


def finish(one: Engine) -> list[Step]:
    """All steps up to the end."""
    return list(iter(one.step, None))


def totals(steps: list[Step]) -> Counter[int]:
    """Tokens that came out, by sequence."""
    counts: Counter[int] = Counter()
    for step in steps:
        for number, tokens, _ in step.outputs:
            counts[number] += tokens
    return counts


def consistent(one: Engine) -> None:
    """No block is used but by the sequences that hold it, and none twice by one."""
    users: Counter[int] = Counter()
    for held in one.running:
        assert len({*held.blocks}) == len(held.blocks) == held.allocated // SIZE
        assert held.computed <= held.allocated
        users.update(held.blocks)
    assert one.pool.users == [users[block] for block in range(one.pool.size)]
    assert all(not held.blocks and not held.computed for held in one.waiting)


# A load: the limits, then for each sequence when it comes, which of three texts it begins with, and its lengths.
LIMITS = st.fixed_dictionaries(
    {
        "max_num_seqs": st.integers(1, 6),
        "max_num_batched_tokens": st.integers(6, 40),
        "num_gpu_blocks": st.integers(8, 24),
        "prefix_caching": st.booleans(),
        "num_speculative_tokens": st.integers(0, 3),
        "acceptance_rate": st.floats(0, 1),
    }
)
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.integers(1, 20), st.integers(1, 12)), max_size=14
)
Arrivals = list[tuple[int, str, int, int]]


def replay(one: Engine, arrivals: Arrivals, check: Any = None) -> list[Step]:
    """Each sequence is added before the step it names."""
    steps: list[Step] = []
    left = sorted(enumerate(arrivals), key=lambda pair: pair[1][0])
    turn = 0
    while True:
        while left and left[0][1][0] <= turn:
            number, (_, text, prompt, length) = left.pop(0)
            one.add(sequence(number, text * prompt, length))
        before, turn = one.counters.preemptions, turn + 1
        step = one.step()
        if step:
            steps.append(step)
            if check:
                check(step, one.counters.preemptions > before)
        elif not left:
            return steps


@settings(deadline=None)
@given(LIMITS, ARRIVALS)
def test_whatever_comes_ends_with_the_tokens_asked_for(limits: dict[str, Any], arrivals: Arrivals) -> None:
    one = engine(**limits)

    def check(step: Step, preempted: bool) -> None:
        consistent(one)
        ended = any(last for _, _, last in step.outputs)
        assert step.tokens <= limits["max_num_batched_tokens"]
        assert 0 < len(one._batch) <= limits["max_num_seqs"]
        assert all(tokens >= 1 for _, tokens, _ in step.outputs)
        if one.waiting and not preempted and not ended:
            assert not could_admit(one, step)

    steps = replay(one, arrivals, check)
    assert totals(steps) == {number: length for number, (*_, length) in enumerate(arrivals)}
    assert sorted(number for step in steps for number, _, last in step.outputs if last) == [*range(len(arrivals))]
    assert (one.pool.free_blocks, one.running, list(one.waiting)) == (one.pool.size, [], [])
    assert one.counters.generated == sum(length for *_, length in arrivals)
    assert one.counters.prompt == sum(prompt for _, _, prompt, _ in arrivals)


def could_admit(one: Engine, step: Step) -> bool:
    """Whether the first in the queue had a seat, budget and blocks, and still waits."""
    head = one.waiting[0]
    found = one.pool.find_cached(head.hashes, (head.tokens - 1) // SIZE)
    blocks = -(-head.tokens // SIZE) - len(found) + one.pool.count_idle(found)
    seats = len(one.running) < one.limits.max_num_seqs
    return seats and step.tokens < one.limits.max_num_batched_tokens and blocks <= one.pool.free_blocks


@settings(deadline=None)
@given(LIMITS, ARRIVALS)
def test_the_same_seed_gives_the_same_steps(limits: dict[str, Any], arrivals: Arrivals) -> None:
    assert replay(engine(7, **limits), arrivals) == replay(engine(7, **limits), arrivals)


@settings(deadline=None)
@given(LIMITS, ARRIVALS, st.sets(st.tuples(st.integers(0, 13), st.integers(1, 9)), max_size=6))
def test_aborted_sequences_leave_nothing_behind(
    limits: dict[str, Any], arrivals: Arrivals, aborts: set[tuple[int, int]]
) -> None:
    one = engine(**limits)
    for number, (_, text, prompt, length) in enumerate(arrivals):
        one.add(sequence(number, text * prompt, length))
    turn = 0
    while one.step():
        turn += 1
        for number, when in aborts:
            if when == turn:
                one.abort(number)
        consistent(one)
    assert (one.pool.free_blocks, one.get(0)) == (one.pool.size, None)


def test_seats_are_taken_in_order_of_arrival() -> None:
    one = engine(max_num_seqs=2)
    for number in range(4):
        one.add(sequence(number, "ab", 2 + number % 2))
    ends = [number for step in finish(one) for number, _, last in step.outputs if last]
    assert ends == [0, 1, 2, 3]


def test_a_long_prompt_is_cut_and_others_run_beside_it() -> None:
    one = engine(max_num_batched_tokens=10)
    one.add(sequence(0, "a", 5))
    assert one.step().outputs == [(0, 1, False)]  # type: ignore[union-attr]
    one.add(sequence(1, "b" * 25, 1))
    steps = finish(one)
    assert [step.tokens for step in steps] == [10, 10, 8, 1]
    assert [step.outputs for step in steps] == [
        [(0, 1, False)],
        [(0, 1, False)],
        [(0, 1, False), (1, 1, True)],
        [(0, 1, True)],
    ]


HIT = [
    # first prompt, second prompt, tokens of the second found in the cache
    ("abcdefgh", "abcdefgh", 4),  # the last block is computed again: one token at least must be
    ("abcdefgh", "abcdefghi", 8),
    ("abcdefgh", "abcdXfghi", 4),
    ("abcdefgh", "Xbcdefghi", 0),
    ("abcdefg", "abcdefgh", 4),
    ("abc", "abc", 0),
    ("abcd", "abcdwwww!", 8),  # the answer of the first belongs to the conversation
    ("abc", "abcwwwww!", 8),
    ("abcd", "abcdwwwwwwww!", 8),  # its last token was never computed
]


@pytest.mark.parametrize(("first", "second", "hit"), HIT)
def test_prefixes_found_in_the_cache(first: str, second: str, hit: int) -> None:
    one = engine(max_num_batched_tokens=64)
    one.add(sequence(0, first, 8, lambda _: "w"))
    finish(one)
    later = sequence(1, second, 1)
    one.add(later)
    finish(one)
    assert later.cached_tokens == hit
    assert (one.counters.queries, one.counters.hits) == (len(first) + len(second), hit)


def test_prompts_that_come_together_share_at_once() -> None:
    one = engine(max_num_batched_tokens=64)
    for number in range(3):
        one.add(sequence(number, "abcdefghi", 1))
    step = one.step()
    assert step is not None
    assert (step.tokens, one.counters.hits) == (9 + 1 + 1, 16)


def test_without_prefix_caching_nothing_is_asked_or_found() -> None:
    one = engine(prefix_caching=False)
    for number in range(2):
        one.add(sequence(number, "abcdefghi", 1))
    finish(one)
    assert (one.counters.queries, one.counters.hits) == (0, 0)


def test_the_youngest_gives_way_and_keeps_what_it_has_said() -> None:
    one = engine(num_gpu_blocks=6, prefix_caching=False)
    old, young = sequence(0, "a" * 8, 9), sequence(1, "b" * 8, 9)
    one.add(old)
    one.add(young)
    steps = finish(one)
    assert (old.preemptions, young.preemptions, one.counters.preemptions) == (0, 1, 1)
    assert totals(steps) == {0: 9, 1: 9}
    # Nine new tokens need a fourth and a fifth block: the young one has said five, and computes 8 + 5 again.
    assert [step.tokens for step in steps] == [16, 2, 2, 2, 2, 1, 1, 1, 1, 13, 1, 1, 1]


def test_what_was_preempted_is_found_again_and_not_counted_twice() -> None:
    one = engine(num_gpu_blocks=6)
    one.add(sequence(0, "a" * 8, 9))
    one.add(sequence(1, "b" * 8, 9))
    steps = finish(one)
    assert one.counters.preemptions == 1
    assert (one.counters.queries, one.counters.hits) == (16, 0)
    assert totals(steps) == {0: 9, 1: 9}


@pytest.mark.parametrize(
    ("prompt", "length", "fits"), [(100, 28, True), (100, 29, False), (0, 1, False), (100, 0, True)]
)
def test_what_can_never_end_is_refused(prompt: int, length: int, fits: bool) -> None:
    one = engine(num_gpu_blocks=32)
    assert one.fits(prompt, length) == fits
    if not fits:
        with pytest.raises(ValueError, match="can never end"):
            one.add(Sequence(0, prompt, length))


def test_a_prompt_without_an_answer_ends_with_its_prompt() -> None:
    one = engine(max_num_batched_tokens=10)
    one.add(Sequence(0, 15, 0))
    assert [step.outputs for step in finish(one)] == [[], [(0, 0, True)]]
    assert (one.counters.prompt, one.counters.generated, one.pool.usage) == (15, 0, 0)


def test_what_was_preempted_is_first_in_the_queue() -> None:
    one = engine(num_gpu_blocks=6, max_num_seqs=2)
    for number, text in enumerate("abc"):
        one.add(sequence(number, text * 8, 9))
    while not one.counters.preemptions:
        one.step()
    assert [waiting.number for waiting in one.waiting] == [1, 2]


def test_a_step_tells_who_is_in_it_and_how_full_the_cache_is() -> None:
    one = engine(max_num_batched_tokens=64, num_gpu_blocks=16, max_num_seqs=2)
    for number, text in enumerate("abc"):
        one.add(sequence(number, text * 15, 2))
    told = [(step.admitted, step.running, step.usage) for step in finish(one)]
    assert told == [([0, 1], 2, 0.5), ([], 2, 0.5), ([2], 1, 0.25), ([], 1, 0.25)]


def test_the_model_length_counts_as_well_as_the_blocks() -> None:
    assert engine(max_model_len=50).fits(40, 10)
    assert not engine(max_model_len=50).fits(40, 11)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8, 1.0])
def test_drafts_bring_the_tokens_that_theory_expects(rate: float) -> None:
    """1 + p + p^2 + p^3 tokens a step (Leviathan et al. 2023, equation 1)."""
    one = engine(num_gpu_blocks=100_000, max_num_batched_tokens=64, num_speculative_tokens=3, acceptance_rate=rate)
    for number in range(4):
        one.add(Sequence(number, 4, 8000))
    steps = finish(one)
    tokens = [count for step in steps for _, count, last in step.outputs[4:] + step.outputs[:4] if not last]
    expected = sum(rate**k for k in range(4))
    assert sum(tokens) / len(tokens) == pytest.approx(expected, rel=0.03)
    counters = one.counters
    assert counters.draft_tokens == 3 * counters.drafts
    shares = [count / counters.drafts for count in counters.accepted]
    assert shares == pytest.approx([rate, rate**2, rate**3], abs=0.02)
    assert totals(steps) == dict.fromkeys(range(4), 8000)


def test_a_step_costs_what_the_roofline_says() -> None:
    costs = Costs(overhead=1, weights=2, token=0.1, context=0.01, pair=0.001)
    assert costs.step(10, 100, 0) == 1 + 2 + 1
    assert costs.step(30, 100, 50) == pytest.approx(1 + 3 + 1 + 0.05)


def test_steps_grow_with_batch_and_context() -> None:
    profile = PRESETS["h100-8b"]

    def decode(batch: int, context: int) -> int:
        one = Engine(profile)
        for number in range(batch):
            one.add(Sequence(number, context, 2))
        return finish(one)[-1].duration

    assert decode(1, 8) < decode(1, 2000) < decode(2, 2000) < decode(2, 4000)


def test_presets_are_what_their_sources_say() -> None:
    assert (LLAMA_8B.kv_bytes_per_token, LLAMA_70B.kv_bytes_per_token) == (128 * 1024, 320 * 1024)
    assert round(LLAMA_8B.weight_bytes / 2**30) == 15
    for profile in PRESETS.values():
        assert profile.limits.max_num_seqs <= profile.limits.max_num_batched_tokens
        assert profile.limits.max_sequence_tokens == profile.limits.max_model_len
        assert min(msgspec.structs.astuple(profile.costs)) >= 0
    # One stream on one H100: the weights at 80 % of the bandwidth, and a millisecond.
    assert PRESETS["h100-8b"].costs.step(1, 0, 0) == pytest.approx(6.99e-3, rel=1e-3)
