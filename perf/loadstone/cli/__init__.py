"""The command line: one file for each command, with `add(parser)` (its flags) and `run(options)` (returns the status).

main.py runs a command and turns a `UsageError` into one sentence and exit status 2; parser.py has the table of
commands; mistakes.py says what to type instead of flags and commands that do not exist; flags.py adds the flags of
settings to a parser; options.py has the flags that several commands share. Heavy imports belong inside `run`, so that
`loadstone --help` answers at once. To add a command, add a file here and a line to `COMMANDS` in parser.py. This room
may import every other room.
"""
