"""Tasks of an installed lm-eval, answered and scored like Loadstone's own.

`harness` loads them, `tasks` turns their instances into requests, and `scoring` has lm-eval score the responses. Only
`harness` and `evals.lm_eval_model` import `lm_eval`.

May import `evals.requests` and `evals.scoring`, and every room left of `evals`.
"""
