"""Loadstone across machines, on Locust: its master and workers, its web interface, its CSV and HTML, our load path.

A Locust worker is only the side-car of a machine: clean processes (loadstone.worker) send the load and write the
records; nothing that gevent has patched comes near them. How it is run: docs/many-machines.md.
"""
