"""The benchmarks, by name: one file each, found when it is asked for. `catalogue` knows what a list of names means."""

from __future__ import annotations

BENCHMARKS: dict[str, str] = {
    "gsm8k": "loadstone.tasks.gsm8k:BENCHMARK",
    "math": "loadstone.tasks.math:BENCHMARK",
    "math500": "loadstone.tasks.competition:MATH500",
    "aime24": "loadstone.tasks.competition:AIME24",
    "aime25": "loadstone.tasks.competition:AIME25",
    "bbh": "loadstone.tasks.bbh:BENCHMARK",
    "trivia_qa": "loadstone.tasks.trivia_qa:BENCHMARK",
    "mt_bench": "loadstone.tasks.mt_bench:BENCHMARK",
}
"""Name of the benchmark, which tasks' names begin with, to `module:BENCHMARK`."""
