"""Recorded traffic: mooncake.py, token_counts.py (Azure, BurstGPT) and requests.py (whole requests) read its formats.

replay.py selects the window of a trace that a run replays.
"""
