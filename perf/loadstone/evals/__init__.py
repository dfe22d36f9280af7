"""Accuracy on the same transport: benchmark questions become requests of ordinary runs, whose records are scored.

`evaluate` runs an evaluation (`loadstone eval`) and resumes one that was killed. `prepare` decides before the first
request what is sent, `dry_run` only estimates it, and `settings` holds its settings (`Eval`). `rescore` scores saved
answers again, and `compare` compares two evaluations.

    Task -> Sample (data) -> EvalRequest (requests) -> Record (a run) -> Response -> Score (scoring) -> files (output)

May import every room left of it. Inside, each folder and file may import those before it: settings, lock, data,
requests, scoring, output, rescore, compare, lm_eval, prepare, dry_run, evaluate, lm_eval_model.
"""
