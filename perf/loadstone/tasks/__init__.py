"""The benchmarks, by name: one file each, found when it is asked for. `catalogue` knows what a list of names means."""

from __future__ import annotations

BENCHMARKS: dict[str, str] = {
    "arc": "loadstone.tasks.arc:BENCHMARK",
    "ceval": "loadstone.tasks.ceval:BENCHMARK",
    "gpqa": "loadstone.tasks.gpqa:BENCHMARK",
    "hellaswag": "loadstone.tasks.hellaswag:BENCHMARK",
    "mmlu": "loadstone.tasks.mmlu:BENCHMARK",
    "race": "loadstone.tasks.race:BENCHMARK",
    "truthful_qa": "loadstone.tasks.truthful_qa:BENCHMARK",
    "humaneval": "loadstone.tasks.humaneval:BENCHMARK",
    "ifeval": "loadstone.tasks.ifeval:BENCHMARK",
}
"""Name of the benchmark, which tasks' names begin with, to `module:BENCHMARK`."""
