"""Scores saved answers again (`loadstone score`): samples files of Loadstone and lm-eval, or the records of a run.

`rescore` scores them, `inputs` finds the files, `samples_file` reads them item by item, and `from_run` reads a run.

May import `evals.output` and everything left of it.
"""
