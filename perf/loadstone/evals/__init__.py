"""Accuracy on the same transport: questions of benchmarks become requests of ordinary runs, whose records are scored.

`questions` (tasks to samples) -> `asking` (samples to requests) -> `inference` (runs) -> `answers` (records to what was
answered) -> `scoring` -> `tally` -> `layout` and `views/accuracy`.
"""
