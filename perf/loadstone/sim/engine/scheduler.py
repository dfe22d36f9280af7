"""A model of vLLM's V1 scheduler: the sequences of each step, its duration and its output tokens. Pure.

It follows vLLM 0.32 (v1/core/sched/scheduler.py). Running sequences come first, in order of arrival, then waiting ones.
Each step has a token budget, and long prompts are split over several steps. When no blocks are left, the youngest
sequence is preempted and recomputed later. There is no clock here: loop.py runs the steps in real time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from random import Random

from msgspec import Struct

from loadstone.sim.engine.kv_cache import BlockPool, block_hashes
from loadstone.sim.engine.presets import Profile
from loadstone.sim.timing import generator
from loadstone.units import NS_PER_S


class Step(Struct, frozen=True, gc=False):
    """One forward pass.

    duration: ns.
    tokens: tokens in the batch: of prompts, new ones and drafts.
    outputs: (sequence number, new tokens, True for the last ones), available when the step ends.
    admitted: numbers of the sequences that are in a batch for the first time.
    running: number of sequences that hold blocks, almost always all in the batch.
    usage: fraction of the KV cache in use.
    """

    duration: int
    tokens: int
    outputs: list[tuple[int, int, bool]]
    admitted: list[int]
    running: int
    usage: float


class EngineCounters:
    """The counters of an engine, as vLLM has them. Queries and hits are tokens, of first admissions only."""

    __slots__ = ("accepted", "draft_tokens", "drafts", "generated", "hits", "preemptions", "prompt", "queries")

    def __init__(self, positions: int) -> None:
        self.queries = self.hits = self.preemptions = 0
        self.prompt = self.generated = 0
        self.drafts = self.draft_tokens = 0
        self.accepted = [0] * positions


class Sequence:
    """A prompt and the tokens to generate after it.

    number: identifies the sequence in its engine.
    prompt: prompt tokens.
    length: tokens to generate; with 0, as for an embedding, the sequence ends with an output of 0 tokens.
    hashes: of the full blocks, at first those of the prompt.
    tail: prompt tokens after the last full block.
    word: returns token k of the answer; by default no other sequence has the same tokens.
    tokens: tokens so far, of the prompt and generated.
    allocated: tokens for which blocks are allocated.
    cached_until: tokens in full blocks.
    cached_tokens: prompt tokens that were in the cache when the sequence was first admitted; None before.
    """

    __slots__ = (
        "allocated",
        "blocks",
        "cached_tokens",
        "cached_until",
        "computed",
        "generated",
        "hashes",
        "length",
        "number",
        "preemptions",
        "prompt",
        "rng",
        "tail",
        "tokens",
        "word",
    )

    def __init__(
        self,
        number: int,
        prompt: int,
        length: int,
        hashes: tuple[int, ...] = (),
        tail: tuple[Hashable, ...] = (),
        word: Callable[[int], Hashable] | None = None,
    ) -> None:
        self.number = number
        self.prompt = prompt
        self.length = length
        self.hashes = list(hashes)
        self.tail = tail
        self.word = word or (lambda k: (number, k))
        self.blocks: list[int] = []
        self.tokens = prompt
        self.computed = self.generated = self.preemptions = 0
        self.allocated = self.cached_until = 0
        self.cached_tokens: int | None = None
        self.rng: Random | None = None

    def block_hash(self, index: int, size: int) -> int:
        """Return the hash of block `index`, all tokens of which are known."""
        while len(self.hashes) <= index:
            start = len(self.hashes) * size
            rest = self.tail if start < self.prompt else ()
            first = max(start - self.prompt, 0)
            answer = [self.word(k) for k in range(first, first + size - len(rest))]
            self.hashes += block_hashes([*rest, *answer], size, self.hashes[-1] if self.hashes else 0)
        return self.hashes[index]


class Engine:
    """The engine: `add` sequences, then call `step` until it returns None.

    The same seed, sequences and calls give the same steps.
    """

    def __init__(self, profile: Profile, seed: int = 0) -> None:
        self.limits, self.costs, self.seed = profile.limits, profile.costs, seed
        limits = profile.limits
        self.pool = BlockPool(limits.num_gpu_blocks, limits.prefix_caching)
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.counters = EngineCounters(limits.num_speculative_tokens)
        self._sequences: dict[int, Sequence] = {}
        self._batch: list[tuple[Sequence, int]] = []
        self._admitted: list[int] = []
        self._budget = self._context = self._pairs = 0

    def fits(self, prompt: int, length: int) -> bool:
        """Return True if such a sequence can end. One that cannot must not be added."""
        return prompt > 0 and length >= 0 and prompt + length <= self.limits.max_sequence_tokens

    def add(self, sequence: Sequence) -> None:
        """Add a sequence to the waiting ones. Raises ValueError if it can never end."""
        if not self.fits(sequence.prompt, sequence.length):
            raise ValueError(f"a sequence of {sequence.prompt}+{sequence.length} tokens can never end")
        self._sequences[sequence.number] = sequence
        self.waiting.append(sequence)

    def abort(self, number: int) -> None:
        """Remove a sequence, if it has not ended."""
        sequence = self._sequences.pop(number, None)
        if sequence is None:
            return
        if sequence.blocks:
            self.running.remove(sequence)
            self.pool.release(sequence.blocks)
        else:
            self.waiting.remove(sequence)

    def get(self, number: int) -> Sequence | None:
        """Return a sequence, None if it has ended."""
        return self._sequences.get(number)

    def step(self) -> Step | None:
        """Run one forward pass. Return None if there is nothing to do."""
        self._batch, self._admitted = [], []
        self._budget = self.limits.max_num_batched_tokens
        self._context = self._pairs = 0
        if not self._schedule_running():
            self._admit()
        if not self._batch:
            return None
        tokens = self.limits.max_num_batched_tokens - self._budget
        seconds = self.costs.step(tokens, self._context, self._pairs)
        running, usage = len(self.running), self.pool.usage
        return Step(max(1, round(seconds * NS_PER_S)), tokens, self._outputs(), self._admitted, running, usage)

    # Scheduling

    def _schedule_running(self) -> bool:
        """Add the running sequences to the batch. Return True if one was preempted: such a step admits none."""
        running, drafts, longest = self.running, self.limits.num_speculative_tokens, self.limits.max_sequence_tokens
        preempted, index = self.counters.preemptions, 0
        while index < len(running) and self._budget:
            sequence = running[index]
            new = sequence.tokens - sequence.computed
            # Drafts are proposed only for sequences that generate.
            if new == 1 and sequence.generated:
                new = min(1 + drafts, longest - 1 - sequence.computed)
            new = min(new, self._budget)
            if sequence.computed + new > sequence.allocated and not self._allocate(sequence, sequence.computed + new):
                break
            self._schedule(sequence, new)
            index += 1
        return self.counters.preemptions > preempted

    def _allocate(self, sequence: Sequence, end: int) -> bool:
        """Take blocks for the first `end` tokens. Return False if the sequence itself was preempted."""
        size = self.limits.block_size
        missing = -(-(end - sequence.allocated) // size)

        # Preemption: the youngest sequence goes back to the head of the queue and recomputes everything later.
        while missing > self.pool.free_blocks:
            victim = self.running.pop()
            self.pool.release(victim.blocks)
            victim.blocks = []
            victim.computed = victim.allocated = victim.cached_until = 0
            victim.preemptions += 1
            self.counters.preemptions += 1
            self.waiting.appendleft(victim)
            if victim is sequence:
                return False
        sequence.blocks += self.pool.allocate(missing)
        sequence.allocated += missing * size
        return True

    def _admit(self) -> None:
        """Start waiting sequences in order, while budget and seats last and blocks for all tokens so far are free."""
        size, pool = self.limits.block_size, self.pool
        while self.waiting and self._budget and len(self.running) < self.limits.max_num_seqs:
            sequence = self.waiting[0]
            # At least one token is computed, since there is no output without (KVCacheManager.get_computed_blocks).
            cached = pool.find_cached(sequence.hashes, (sequence.tokens - 1) // size)
            needed = -(-sequence.tokens // size) - len(cached)
            if needed + pool.count_idle(cached) > pool.free_blocks:
                return
            self.waiting.popleft()

            # Cache statistics, which do not count a sequence again after a preemption.
            hit = len(cached) * size
            if sequence.cached_tokens is None:
                sequence.cached_tokens = hit
                self._admitted.append(sequence.number)
                self.counters.queries += sequence.tokens if pool.caching else 0
                self.counters.hits += hit

            # Blocks for the cached prefix and for the tokens that this step computes.
            pool.add_user(cached)
            new = min(sequence.tokens - hit, self._budget)
            sequence.blocks = cached + pool.allocate(-(-(hit + new) // size) - len(cached))
            sequence.allocated = len(sequence.blocks) * size
            sequence.computed = sequence.cached_until = hit
            self.running.append(sequence)
            self._schedule(sequence, new)

    def _schedule(self, sequence: Sequence, new: int) -> None:
        """Add `new` tokens of a sequence to the batch."""
        end = sequence.computed + new
        self._batch.append((sequence, new))
        self._budget -= new
        self._context += end
        if new > 1:
            self._pairs += new * (2 * end - new) // 2
        size, first = self.limits.block_size, sequence.cached_until
        if end - first < size:
            return

        # Blocks that are full when this step ends can serve other sequences from now on, as in vLLM.
        end = min(end, sequence.tokens)
        sequence.cached_until = end - end % size
        if self.pool.caching:
            for index in range(first // size, end // size):
                self.pool.cache(sequence.blocks[index], sequence.block_hash(index, size))

    # Outputs

    def _outputs(self) -> list[tuple[int, int, bool]]:
        """Return the outputs of the batch, and remove the sequences that end with it."""
        outputs, ended, counters = [], False, self.counters
        for sequence, new in self._batch:
            drafts = sequence.computed + new - sequence.tokens
            # Part of a prompt: no output yet.
            if drafts < 0:
                sequence.computed += new
                continue
            accepted = self._accept(sequence, drafts) if drafts else 0
            if not sequence.generated:
                counters.prompt += sequence.prompt
            sequence.computed = sequence.tokens + accepted
            tokens = min(1 + accepted, sequence.length - sequence.generated)
            sequence.generated += tokens
            sequence.tokens += tokens
            counters.generated += tokens
            last = sequence.generated == sequence.length
            outputs.append((sequence.number, tokens, last))
            ended = ended or last

        # Finished sequences free their blocks.
        if ended:
            for sequence in self.running:
                if sequence.generated == sequence.length:
                    self.pool.release(sequence.blocks)
                    del self._sequences[sequence.number]
            self.running = [sequence for sequence in self.running if sequence.generated < sequence.length]
        return outputs

    def _accept(self, sequence: Sequence, drafts: int) -> int:
        """Draw how many drafts are accepted: each with the acceptance rate, up to the first rejected one."""
        counters, rate = self.counters, self.limits.acceptance_rate
        counters.drafts += 1
        counters.draft_tokens += drafts
        if sequence.rng is None:
            sequence.rng = generator(self.seed, sequence.number, "drafts")
        accepted = 0
        while accepted < drafts and sequence.rng.random() < rate:
            counters.accepted[accepted] += 1
            accepted += 1
        return accepted
