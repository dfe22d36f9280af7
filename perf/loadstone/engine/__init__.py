"""Send the requests of a plan: one runner per process, in one process or several.

`prepare.py` makes a `PreparedRun` from a configuration. `workers.py` runs it in this process, or
`worker_pool.py` in worker processes (`worker_main.py`); each is a `worker.Worker`. In it `runner.Runner` decides when a
request is due, and `sender.Sender` sends it as an `InFlightRequest`, applies rate limits and retries, and records it.
`run_folder.py` writes the files of a run.

May import the rooms for data, transport, schedule, host and metrics; not reports, sweeps or evaluations.
"""
