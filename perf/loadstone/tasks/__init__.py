"""The benchmarks: one file for each, imported when it is used.

`spec` has the structs that describe a benchmark, `catalogue` finds tasks by the names of `--tasks`, and `custom` makes
tasks of the user's own files. To add one, see docs/extending.md.

This room imports `scorers` and the root modules only; it reads no rows, asks no model and has no clock.
"""

from __future__ import annotations

# Benchmarks by name, as `module:attribute`. The names of its tasks and groups begin with the name of the benchmark.
BENCHMARKS: dict[str, str] = {
    "aime24": "loadstone.tasks.math_competitions:AIME24",
    "aime25": "loadstone.tasks.math_competitions:AIME25",
    "arc": "loadstone.tasks.arc:BENCHMARK",
    "bbh": "loadstone.tasks.bbh:BENCHMARK",
    "ceval": "loadstone.tasks.ceval:BENCHMARK",
    "gpqa_diamond": "loadstone.tasks.gpqa_diamond:BENCHMARK",
    "gsm8k": "loadstone.tasks.gsm8k:BENCHMARK",
    "hellaswag": "loadstone.tasks.hellaswag:BENCHMARK",
    "humaneval": "loadstone.tasks.humaneval:BENCHMARK",
    "ifeval": "loadstone.tasks.ifeval:BENCHMARK",
    "math": "loadstone.tasks.minerva_math:BENCHMARK",
    "math500": "loadstone.tasks.math_competitions:MATH500",
    "mmlu": "loadstone.tasks.mmlu:BENCHMARK",
    "mt_bench": "loadstone.tasks.mt_bench:BENCHMARK",
    "race": "loadstone.tasks.race:BENCHMARK",
    "trivia_qa": "loadstone.tasks.trivia_qa:BENCHMARK",
    "truthful_qa": "loadstone.tasks.truthful_qa:BENCHMARK",
}
