"""What an evaluation writes: lm-eval's files, items.csv, eval.json, and the report as a page.

results.py writes all files of a scored evaluation; page.py builds the report, report.py that of a folder; benchmarks.py
describes the tasks. This room may import evals/data, requests and scoring, and what is left of evals.
"""
