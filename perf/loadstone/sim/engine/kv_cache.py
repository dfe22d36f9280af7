"""The KV cache of the simulated engine: blocks of tokens, who uses them, and which can serve a prefix again. Pure.

As in vLLM V1 (v1/core/block_pool.py): a full block is known by a hash of its tokens and of all before them; a block
that nobody uses keeps its contents until it is taken, the longest unused first. Unlike there, contents that two
sequences compute at once are kept once. What is scheduled is `engine`'s business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence


def block_hashes(tokens: Sequence[Hashable], size: int, before: int = 0) -> tuple[int, ...]:
    """The hash of each full block of `tokens`, which follow the block with the hash `before`."""
    hashes = []
    for end in range(size, len(tokens) + 1, size):
        before = hash((before, tuple(tokens[end - size : end])))
        hashes.append(before)
    return tuple(hashes)


class BlockPool:
    """Blocks 0 to `size` - 1. A block is blank, idle (unused but with contents worth keeping), or has users."""

    def __init__(self, size: int, caching: bool = True) -> None:
        self.size, self.caching = size, caching
        self.users = [0] * size
        self._hash: list[int | None] = [None] * size
        self._blank = list(range(size - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._cached: dict[int, int] = {}

    @property
    def free_blocks(self) -> int:
        """Blocks that can be taken."""
        return len(self._blank) + len(self._idle)

    @property
    def usage(self) -> float:
        """Share of the blocks that have users."""
        return 1 - self.free_blocks / self.size

    def find_cached(self, hashes: Sequence[int], max_blocks: int) -> list[int]:
        """The cached blocks of the longest known prefix, `max_blocks` blocks at most."""
        found = []
        for key in hashes[:max_blocks]:
            block = self._cached.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def count_idle(self, blocks: Iterable[int]) -> int:
        """How many of these cached blocks nobody uses: using them makes so many fewer free ones."""
        return sum(not self.users[block] for block in blocks)

    def add_user(self, blocks: Iterable[int]) -> None:
        """One more user for cached blocks."""
        for block in blocks:
            if not self.users[block]:
                del self._idle[block]
            self.users[block] += 1

    def allocate(self, count: int) -> list[int]:
        """New blocks, whatever they held is forgotten; there must be so many free ones."""
        return [self._take() for _ in range(count)]

    def _take(self) -> int:
        if self._blank:
            block = self._blank.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            key = self._hash[block]
            assert key is not None
            del self._cached[key]
            self._hash[block] = None
        self.users[block] = 1
        return block

    def cache(self, block: int, key: int) -> None:
        """`block` is full now, with the contents `key`."""
        if self.caching and key not in self._cached:
            self._cached[key] = block
            self._hash[block] = key

    def release(self, blocks: Sequence[int]) -> None:
        """One user fewer. The end of a sequence is lost before its beginning, which others are likelier to share."""
        for block in reversed(blocks):
            self.users[block] -= 1
            if self.users[block]:
                continue
            if self._hash[block] is None:
                self._blank.append(block)
            else:
                self._idle[block] = None
