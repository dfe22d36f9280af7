"""Measure the ceiling of one client process on this machine, and the error of its times on the way up to it.

`run.py` (`measure_ceiling`) runs the client against exact servers, `ceiling_search.py` chooses the loads, `truth.py`
compares records with what the servers did, and `page.py` renders the tables.

Imports from every room left of it (engine, host, stats, report); only the command line imports this room.
"""
