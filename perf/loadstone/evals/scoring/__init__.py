"""From responses to scores, and from scores to the results of tasks and groups.

`score` scores an item, `aggregate` and `groups` compute the figures of tasks and groups with the intervals of
`intervals`, and `sandbox` runs answers that are programs. `task_setup` describes how a task was answered.

May import `evals.requests` and every room left of `evals`. sandbox_child.py is started as a script and imports nothing.
"""
