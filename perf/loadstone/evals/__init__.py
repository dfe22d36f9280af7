"""Accuracy on the same transport: questions of benchmarks become requests of ordinary runs, whose records are scored.

`session` leads the way, `sitting` as far as the first request; `alone` keeps others out of the folder, and `journal`
writes down in eval.json how far it is:

    settings, Task -> selection -> probe, route (how each is answered)
    -> papers: library (rows) -> questions (Sample) -> asking (Wanted)
    -> posts (lines), cache -> inference (runs) -> Record -> answers (Answered)
    -> results: scoring (Score) -> tally, grouping -> layout, items (files) -> reporting

`dry` only looks. `likelihood` and `tokenising` serve continuations; `programs`, `sandbox` and `guard` answers that are
run. `rescoring` and `pairing` begin at saved answers: `saved`, `log`, `logged`, `ran`, `targets`. Tasks of lm-eval come
over `bridge`, `foreign` and `judging`; `lm_eval_model` is Loadstone as its model.
"""
