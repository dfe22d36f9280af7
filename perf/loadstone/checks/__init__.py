"""Decide whether a run can be believed: a `Summary` in, a `Verdict` with reasons and advice out.

`rules.judge` gives the verdict and `rules.examine` every finding. `client_lag.py` has the rules about this client's lag
and CPU, `resources.py` those about files, ports, processes and clocks; `finding.py` has what all rules share.

May import metrics and the rooms left of it; no clock, no socket, no randomness.
"""
