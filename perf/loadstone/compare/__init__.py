"""Compare runs: what changed between two sides, and how much repeated runs of one load differ.

`load.py` reads the sides and makes a `Comparison` (verdicts.py), `gates.py` decides whether a build passes, and
`page.py` renders the report. `repeat_runs.py` runs one load several times, and `repeats.py` makes the table of them.

Imports from every room left of it (results, metrics, stats, report, sweep); only the command line imports this room.
"""
