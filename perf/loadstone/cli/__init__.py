"""Verbs with a file of their own: `add(parser)` declares the flags, `run(options)` does it and returns the exit status.
repeat.py is what `--repeat` adds to run and report; given.py has the settings of a run or sweep as they are given.

A new verb is a file here and a line each in arguments.VERBS and cli.VERBS. Heavy imports belong inside `run`.
"""
