"""Plan which request is sent when, from one seed, before the first request.

`plan.make_plan` makes a `Plan` for a `Load` over a dataset. `arrivals.py` has the arrival processes, `partition.py`
splits a plan over worker processes, and `worker_count.py` chooses their number.

May import configuration and the rooms left of it; no clock, no socket.
"""
