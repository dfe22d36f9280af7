"""The benchmarks, by name: one file each, found when it is asked for. `catalogue` knows what a list of names means."""

from __future__ import annotations

# Name of the benchmark, which tasks' names begin with, to `module:BENCHMARK`.
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
