"""Send the requests of a plan: one runner per process, in one process or several.

`prepare.py` makes a `PreparedRun` from a configuration. `worker_pool.py` runs it, in this process or in worker
processes (`worker_main.py`), each of which is a `worker.Worker`. In it `runner.Runner` decides when a request starts,
`attempts.py` applies rate limits and retries, and `sender.Sender` sends an `InFlightRequest` and records it.
`run_folder.py` writes the files of a run.

May import the rooms for data, transport, schedule, host and metrics; not reports, sweeps or evaluations.
"""
