"""A model of vLLM's V1 scheduler: what runs in each step, how long the step takes, which tokens come out. Pure.

After vLLM 0.32 (v1/core/sched/scheduler.py): running sequences first, in order of arrival, then waiting ones; a budget
of tokens a step, into which prompts are cut; when blocks run out, the youngest sequence gives up its own and computes
them again later. There is no clock here: `drive` runs the steps in real time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from random import Random

from msgspec import Struct

from loadstone.sim.engine.kv_cache import BlockPool, block_hashes
from loadstone.sim.engine.presets import Profile
from loadstone.sim.settings import generator
from loadstone.units import NS_PER_S


class Step(Struct, frozen=True, gc=False):
    """`outputs` appear when the step ends: (number, new tokens, whether these were the last)."""

    # ns
    duration: int
    # Tokens in the batch: prompts, new ones and drafts.
    tokens: int
    outputs: list[tuple[int, int, bool]]
    # Sequences that are in a batch for the first time.
    admitted: list[int]
    # Sequences that hold blocks, almost always all in the batch.
    running: int
    # Share of the KV cache in use.
    usage: float


class EngineCounters:
    """What has happened so far, as vLLM counts it. Queries and hits are tokens, of first admissions only."""

    __slots__ = ("accepted", "draft_tokens", "drafts", "generated", "hits", "preemptions", "prompt", "queries")

    def __init__(self, positions: int) -> None:
        self.queries = self.hits = self.preemptions = 0
        self.prompt = self.generated = 0
        self.drafts = self.draft_tokens = 0
        self.accepted = [0] * positions


class Sequence:
    """A prompt of `prompt` tokens to be followed by `length` more, known to the engine as `number`.

    Without any more, as for an embedding, it ends with its prompt: an output of 0 tokens says so.
    `hashes` are those of the prompt's full blocks, `tail` its other tokens, `word(k)` the answer's token k: without
    it, what is generated is like nothing else.
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
        self.number, self.prompt, self.length = number, prompt, length
        self.hashes, self.tail = list(hashes), tail
        self.word = word or (lambda k: (number, k))
        self.blocks: list[int] = []
        self.tokens = prompt
        """Tokens there are: the prompt and what came out."""
        self.computed = self.generated = self.preemptions = 0
        self.allocated = self.cached_until = 0
        """Tokens for which there are blocks; tokens in blocks that are full."""
        self.cached_tokens: int | None = None
        """Tokens of the prompt that were found in the cache when the sequence was first admitted."""
        self.rng: Random | None = None

    def block_hash(self, index: int, size: int) -> int:
        """The hash of block `index`, all tokens of which are known."""
        while len(self.hashes) <= index:
            start = len(self.hashes) * size
            rest = self.tail if start < self.prompt else ()
            first = max(start - self.prompt, 0)
            answer = [self.word(k) for k in range(first, first + size - len(rest))]
            self.hashes += block_hashes([*rest, *answer], size, self.hashes[-1] if self.hashes else 0)
        return self.hashes[index]


class Engine:
    """`add` sequences, `step` until it gives None. Same seed, same sequences and same calls: same steps."""

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
        """Whether such a sequence could ever end. One that could not must not be added."""
        return prompt > 0 and length >= 0 and prompt + length <= self.limits.max_sequence_tokens

    def add(self, sequence: Sequence) -> None:
        if not self.fits(sequence.prompt, sequence.length):
            raise ValueError(f"a sequence of {sequence.prompt}+{sequence.length} tokens can never end")
        self._sequences[sequence.number] = sequence
        self.waiting.append(sequence)

    def abort(self, number: int) -> None:
        """Forget a sequence, if it is still here."""
        sequence = self._sequences.pop(number, None)
        if sequence is None:
            return
        if sequence.blocks:
            self.running.remove(sequence)
            self.pool.release(sequence.blocks)
        else:
            self.waiting.remove(sequence)

    def get(self, number: int) -> Sequence | None:
        """A sequence that has not ended."""
        return self._sequences.get(number)

    def step(self) -> Step | None:
        """One forward pass; None if there is nothing to do."""
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

    # scheduling

    def _schedule_running(self) -> bool:
        """True if a sequence was preempted: nothing new is admitted in such a step."""
        running, drafts, longest = self.running, self.limits.num_speculative_tokens, self.limits.max_sequence_tokens
        preempted, index = self.counters.preemptions, 0
        while index < len(running) and self._budget:
            sequence = running[index]
            new = sequence.tokens - sequence.computed
            if new == 1 and sequence.generated:
                new = min(1 + drafts, longest - 1 - sequence.computed)
            new = min(new, self._budget)
            if sequence.computed + new > sequence.allocated and not self._allocate(sequence, sequence.computed + new):
                break
            self._schedule(sequence, new)
            index += 1
        return self.counters.preemptions > preempted

    def _allocate(self, sequence: Sequence, end: int) -> bool:
        """Blocks for the first `end` tokens, if need be those of the youngest sequences, which may be this one."""
        size = self.limits.block_size
        missing = -(-(end - sequence.allocated) // size)
        while missing > self.pool.free_blocks:
            if self._preempt() is sequence:
                return False
        sequence.blocks += self.pool.allocate(missing)
        sequence.allocated += missing * size
        return True

    def _preempt(self) -> Sequence:
        """The youngest running sequence goes back to the head of the queue and will compute everything again."""
        victim = self.running.pop()
        self.pool.release(victim.blocks)
        victim.blocks = []
        victim.computed = victim.allocated = victim.cached_until = 0
        victim.preemptions += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(victim)
        return victim

    def _admit(self) -> None:
        """Waiting sequences in order, as long as there is budget, a seat, and blocks for all that is known of them."""
        size = self.limits.block_size
        while self.waiting and self._budget and len(self.running) < self.limits.max_num_seqs:
            sequence = self.waiting[0]
            # One token at least is computed, for there is no output without (KVCacheManager.get_computed_blocks).
            found = self.pool.find_cached(sequence.hashes, (sequence.tokens - 1) // size)
            needed = -(-sequence.tokens // size) - len(found)
            if needed + self.pool.count_idle(found) > self.pool.free_blocks:
                return
            self.waiting.popleft()
            self._start(sequence, found)

    def _start(self, sequence: Sequence, found: list[int]) -> None:
        size, pool = self.limits.block_size, self.pool
        hit = len(found) * size
        if sequence.cached_tokens is None:
            sequence.cached_tokens = hit
            self._admitted.append(sequence.number)
            self.counters.queries += sequence.tokens if pool.caching else 0
            self.counters.hits += hit
        pool.add_user(found)
        new = min(sequence.tokens - hit, self._budget)
        sequence.blocks = found + pool.allocate(-(-(hit + new) // size) - len(found))
        sequence.allocated = len(sequence.blocks) * size
        sequence.computed = sequence.cached_until = hit
        self.running.append(sequence)
        self._schedule(sequence, new)

    def _schedule(self, sequence: Sequence, new: int) -> None:
        end = sequence.computed + new
        self._batch.append((sequence, new))
        self._budget -= new
        self._context += end
        if new > 1:
            self._pairs += new * (2 * end - new) // 2
        if end - sequence.cached_until >= self.limits.block_size:
            self._cache_blocks(sequence, min(end, sequence.tokens))

    def _cache_blocks(self, sequence: Sequence, end: int) -> None:
        """Blocks that are full when this step ends can be shared from now on, as in vLLM."""
        size, first = self.limits.block_size, sequence.cached_until
        sequence.cached_until = end - end % size
        if self.pool.caching:
            for index in range(first // size, end // size):
                self.pool.cache(sequence.blocks[index], sequence.block_hash(index, size))

    # what comes out

    def _outputs(self) -> list[tuple[int, int, bool]]:
        outputs, ended, counters = [], False, self.counters
        for sequence, new in self._batch:
            drafts = sequence.computed + new - sequence.tokens
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
        if ended:
            self._retire()
        return outputs

    def _accept(self, sequence: Sequence, drafts: int) -> int:
        """How many drafts hold: each with the acceptance rate, up to the first that does not."""
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

    def _retire(self) -> None:
        for sequence in self.running:
            if sequence.generated == sequence.length:
                self.pool.release(sequence.blocks)
                del self._sequences[sequence.number]
        self.running = [sequence for sequence in self.running if sequence.generated < sequence.length]
