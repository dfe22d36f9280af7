"""The KV cache of the simulated engine: hashes of blocks, prefixes found again, eviction, and who uses what."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.sim.engine.kv_cache import BlockPool, block_hashes


def filled(pool: BlockPool, *keys: int) -> list[int]:
    """Blocks with these contents and one user."""
    blocks = pool.allocate(len(keys))
    for block, key in zip(blocks, keys, strict=True):
        pool.cache(block, key)
    return blocks


@pytest.mark.parametrize(("tokens", "blocks"), [(0, 0), (3, 0), (4, 1), (7, 1), (8, 2)])
def test_only_full_blocks_have_a_hash(tokens: int, blocks: int) -> None:
    assert len(block_hashes(list(range(tokens)), 4)) == blocks


def test_a_hash_stands_for_its_block_and_all_before() -> None:
    one, two = block_hashes("aabbccdd", 2), block_hashes("aaxxccdd", 2)
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, False, False, False]
    assert block_hashes("ccdd", 2, before=one[1]) == one[2:]
    assert block_hashes(["a", "b"], 2) == block_hashes(("a", "b"), 2) != block_hashes(("b", "a"), 2)
    assert block_hashes([1, 2], 2) != block_hashes(["1", "2"], 2)


def test_a_prefix_is_found_up_to_the_first_unknown_block() -> None:
    pool = BlockPool(8)
    blocks = filled(pool, 1, 2, 3)
    assert pool.find_cached([1, 2, 3, 4], 9) == blocks
    assert pool.find_cached([1, 2, 3], 2) == blocks[:2]
    assert pool.find_cached([1, 9, 3], 9) == blocks[:1]
    assert pool.find_cached([9, 2, 3], 9) == []


def test_unused_blocks_are_found_until_they_are_taken() -> None:
    pool = BlockPool(2)
    blocks = filled(pool, 1, 2)
    pool.release(blocks)
    assert (pool.free_blocks, pool.usage, pool.count_idle(blocks)) == (2, 0, 2)
    pool.add_user(pool.find_cached([1, 2], 2))
    assert (pool.free_blocks, pool.usage, pool.count_idle(blocks)) == (0, 1, 0)
    pool.release(blocks)
    pool.allocate(1)
    assert pool.find_cached([1, 2], 2) == blocks[:1]


def test_the_longest_unused_is_taken_first_and_blank_ones_before_all() -> None:
    pool = BlockPool(6)
    old, new = filled(pool, 1, 2), filled(pool, 3, 4)
    pool.release(old)
    pool.release(new)
    taken = pool.allocate(2)
    assert not {*taken} & {*old, *new}
    assert pool.allocate(4) == [*reversed(old), *reversed(new)]
    assert pool.find_cached([1], 1) == pool.find_cached([3], 1) == []


def test_use_makes_a_block_young_again() -> None:
    pool = BlockPool(2)
    first, second = filled(pool, 1, 2)
    pool.release([first])
    pool.release([second])
    pool.add_user([first])
    pool.release([first])
    assert pool.allocate(1) == [second]


def test_a_block_with_two_users_is_free_only_after_both() -> None:
    pool = BlockPool(1)
    blocks = filled(pool, 1)
    pool.add_user(blocks)
    pool.release(blocks)
    assert (pool.free_blocks, pool.users) == (0, [1])
    pool.release(blocks)
    assert (pool.free_blocks, pool.users) == (1, [0])


def test_equal_contents_are_kept_once() -> None:
    pool = BlockPool(2)
    first, second = filled(pool, 7, 7)
    assert pool.find_cached([7], 1) == [first]
    pool.release([first, second])
    assert pool.allocate(1) == [second]
    assert pool.find_cached([7], 1) == [first]


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(2, caching=False)
    pool.release(filled(pool, 1))
    assert (pool.find_cached([1], 1), pool.free_blocks) == ([], 2)


@given(st.integers(1, 12), st.integers(0, 10_000), st.booleans())
def test_every_block_is_free_or_has_just_the_users_it_counts(size: int, seed: int, caching: bool) -> None:
    rng, pool = Random(seed), BlockPool(size, caching)
    held: list[list[int]] = []
    for _ in range(60):
        if held and rng.random() < 0.4:
            pool.release(held.pop(rng.randrange(len(held))))
            continue
        keys = [rng.randrange(3) * 10 + depth for depth in range(rng.randint(1, 4))]
        found = pool.find_cached(keys, len(keys))
        missing = len(keys) - len(found)
        if missing + pool.count_idle(found) <= pool.free_blocks:
            pool.add_user(found)
            fresh = pool.allocate(missing)
            assert not {block for blocks in held for block in blocks} & {*fresh}
            for block, key in zip(fresh, keys[len(found) :], strict=True):
                pool.cache(block, key)
            held.append([*found, *fresh])
        users = Counter(block for blocks in held for block in blocks)
        assert pool.users == [users[block] for block in range(size)]
        assert pool.free_blocks == size - len(users)
