"""The data of an evaluation: from a task to the rows of its dataset, and from those to samples.

`rows` finds and reads a split (`load_rows`), `samples` selects its samples with their worked examples
(`select_samples`), and `selection` finds the tasks for which there are data.

May import every room left of `evals`.
"""
