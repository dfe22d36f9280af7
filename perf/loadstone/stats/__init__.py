"""Statistics of measurements in time order: percentiles, 95 % intervals, correlation, warm-up.

describe.py: `describe`, the figures of one metric. accumulator.py: values that come in pieces. histogram.py: those
of more values than fit in memory. distributions.py: Student's t, normal and binomial. blocks.py: the variance of a mean
of correlated values.
Imports only `units`, `errors` and `summary`; pure numpy, no clock and no random generator.
"""
