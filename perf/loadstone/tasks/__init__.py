"""The benchmarks, by name: one file each, found when it is asked for. `catalogue` knows what a list of names means."""

from __future__ import annotations

BENCHMARKS: dict[str, str] = {
    "humaneval": "loadstone.tasks.humaneval:BENCHMARK",
    "ifeval": "loadstone.tasks.ifeval:BENCHMARK",
}
"""Name of the benchmark, which tasks' names begin with, to `module:BENCHMARK`."""
