"""The requests of an evaluation: building, sending and answering them.

`build` turns samples into requests, `capabilities` and `mode` decide how the server can answer them, `send` runs them
as load, and `answers` reads the responses from the records of those runs. `task_run` holds the requests of one task.

May import `evals.settings` and `evals.data`, and every room left of `evals`.
"""
