"""Compare two evaluations item by item: load.py pairs the items, paired_test.py tests, page.py shows the result.

This room may import evals/output, rescore and scoring, and what is left of evals.
"""
