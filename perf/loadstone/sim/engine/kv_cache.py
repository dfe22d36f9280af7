"""The KV cache of the simulated engine: blocks of tokens, their users, and prefix caching. Pure.

As in vLLM V1 (v1/core/block_pool.py), the key of a full block is a hash of its tokens and of all before them. An unused
block keeps its contents until it is allocated again, least recently used first. Unlike there, contents that two
sequences compute at the same time are cached once. scheduler.py decides who gets blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence


def block_hashes(tokens: Sequence[Hashable], size: int, before: int = 0) -> tuple[int, ...]:
    """Return the hash of each full block of `tokens`, which follow the block with the hash `before`."""
    hashes = []
    for end in range(size, len(tokens) + 1, size):
        before = hash((before, tuple(tokens[end - size : end])))
        hashes.append(before)
    return tuple(hashes)


class BlockPool:
    """Blocks 0 to `size` - 1. A block is blank, idle (unused, with cached contents), or has users.

    users: number of users of each block.
    """

    def __init__(self, size: int, caching: bool = True) -> None:
        self.size, self.caching = size, caching
        self.users = [0] * size
        self._hash: list[int | None] = [None] * size
        self._blank = list(range(size - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._cached: dict[int, int] = {}

    @property
    def free_blocks(self) -> int:
        """Return the number of blocks that can be allocated."""
        return len(self._blank) + len(self._idle)

    @property
    def usage(self) -> float:
        """Return the fraction of the blocks that have users."""
        return 1 - self.free_blocks / self.size

    def find_cached(self, hashes: Sequence[int], max_blocks: int) -> list[int]:
        """Return the cached blocks of the longest cached prefix, at most `max_blocks`."""
        found = []
        for key in hashes[:max_blocks]:
            block = self._cached.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def count_idle(self, blocks: Iterable[int]) -> int:
        """Count the idle ones of these cached blocks. Using them reduces the free blocks by as many."""
        return sum(not self.users[block] for block in blocks)

    def add_user(self, blocks: Iterable[int]) -> None:
        """Add a user to each of these cached blocks."""
        for block in blocks:
            if not self.users[block]:
                del self._idle[block]
            self.users[block] += 1

    def allocate(self, count: int) -> list[int]:
        """Take `count` free blocks, of which there must be as many, and drop their contents."""
        blocks = []
        for _ in range(count):
            if self._blank:
                block = self._blank.pop()
            else:
                # Evict the block that has been idle for longest.
                block, _ = self._idle.popitem(last=False)
                key = self._hash[block]
                assert key is not None
                del self._cached[key]
                self._hash[block] = None
            self.users[block] = 1
            blocks.append(block)
        return blocks

    def cache(self, block: int, key: int) -> None:
        """Store a block that is full now under the hash of its contents."""
        if self.caching and key not in self._cached:
            self._cached[key] = block
            self._hash[block] = key

    def release(self, blocks: Sequence[int]) -> None:
        """Remove a user from each of these blocks of a sequence.

        The last block is evicted first, since other sequences more likely have the beginning in common.
        """
        for block in reversed(blocks):
            self.users[block] -= 1
            if self.users[block]:
                continue
            if self._hash[block] is None:
                self._blank.append(block)
            else:
                self._idle[block] = None
