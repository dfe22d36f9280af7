"""Spread a run over several machines with Locust: its master, its workers, its web interface, CSV and HTML.

The Locust worker on a machine only supervises: separate worker processes (loadstone.engine.worker_main) send the load
and write the records, and no code that gevent has patched runs in them. How to use it: docs/many-machines.md.

Start with `master.py` and `worker.py`, the two sides of a run, and `messages.py`, what they exchange. This room may
import from every room but `cli`; nothing but `cli` imports it.
"""
