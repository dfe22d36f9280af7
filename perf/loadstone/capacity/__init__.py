"""Plan the capacity of a fleet: how many replicas a demand takes, and what they cost, from a sweep over one replica.

`curves.py` turns a sweep into a `Curve` for each stack, `replica.py` finds the capacity of a replica, `plan.py` makes
the `Plan` and `page.py` renders it. demand.py has the demand and how it is typed.

Imports from every room left of it (sweep, metrics, stats, report); only the command line imports this room.
"""
