"""What a run shows and watches while it goes on: the progress display, running checks and stop conditions.

progress.py: `RunProgress`, the state of all processes together. display.py draws it on stderr, on a terminal
(terminal.py) or as lines; lines.py lays it out. stop_conditions.py ends a run that fails or is over-saturated.
Imports rooms to its left only, mainly engine (progress messages), checks, metrics and report.
"""
