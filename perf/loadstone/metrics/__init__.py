"""Metrics: from the records of a run to its numbers.

columns.py turns records into arrays, events.py their output events; measure.py has every formula; slo.py the
objectives; saturation.py detects overload while a run goes on; chart_data.py selects what charts draw.
Imports only rooms to its left (units, records, summary, stats ...); no clock, no socket, no random generator.
"""
