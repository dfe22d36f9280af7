"""Verbs with a file of their own: `add(parser)` declares the flags, `run(options)` does it and returns the exit status.

A new verb is a file here and a line each in arguments.VERBS and cli.VERBS. Heavy imports belong inside `run`.
"""
