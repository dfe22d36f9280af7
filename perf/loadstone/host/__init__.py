"""This machine and this process: event loop, timers, CPU, limits, child processes, the stored ceiling.

`event_loop.run` runs a coroutine on the best loop, `timer.Timer` waits for exact instants, `client_health.ClientHealth`
measures how the client itself does during a run, and `ceiling_file.py` stores the ceilings that self-tests have
measured.

May import configuration and transport addresses; nothing that sends requests.
"""
