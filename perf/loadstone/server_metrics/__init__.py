"""Server metrics: what servers report about themselves at /metrics while a run goes on.

`discovery.py` finds the pages, `process.py` and `scraper.py` scrape them in a process of their own into `server.csv`,
`names.py` is the table of the names that servers use, `series.py` and `histograms.py` compute growth over a window, and
`summary.py` sets the result beside the client's. May import the rooms to its left, up to `metrics` and `checks`.
"""
