"""The locustfile of Loadstone: `locust -f .../loadstone/swarm/locustfile.py --master` or `--worker`.

It binds our master or worker to Locust's events. All settings come from the environment, see settings.py. When Locust
loads this file, it has patched the process with gevent already.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from locust import User, constant, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadstone.errors import UsageError
from loadstone.report.output import notice
from loadstone.swarm import settings
from loadstone.swarm.locust_hooks import MembersOnlyDispatcher, PlanShape, ignore_garbage
from loadstone.swarm.master import Master
from loadstone.swarm.worker import Worker, versions

# Seconds that a user waits between two tasks, which do nothing.
HOUR = 3600


class Seat(User):
    """One Locust user: a slot for one request, or one conversation, at a time. The worker processes send; this counts.

    Locust shows this name, and that of the task, in its logs and its web interface.
    """

    wait_time = constant(HOUR)
    worker: Worker | None = None

    def on_start(self) -> None:
        """Add a user."""
        if Seat.worker is not None:
            Seat.worker.change_users(1)

    def on_stop(self) -> None:
        """Remove a user."""
        if Seat.worker is not None:
            Seat.worker.change_users(-1)

    @task
    def sit(self) -> None:
        """Return at once: Locust requires a task."""


def _refuse(text: str) -> None:
    """Print why this cannot run, and exit with status 2."""
    notice(text)
    sys.exit(2)


if "--worker" not in sys.argv:
    # Locust reads its options after this file, and would have its web interface listen on all interfaces.
    os.environ.setdefault(settings.WEB_HOST, "127.0.0.1")
    try:
        CONFIG = settings.config()
    except UsageError as exc:
        _refuse(str(exc))
    if settings.plan_driven(CONFIG):

        class Plan(PlanShape):
            """The shape of this run: Locust uses the one that its locustfile has."""


@events.init.add_listener
def bind(environment: Any, runner: Any, **_: Any) -> None:
    """Create our master or worker; Locust is set up, but not connected yet."""
    if isinstance(runner, WorkerRunner):
        Seat.worker = Worker(environment, settings.worker_settings())
    elif isinstance(runner, MasterRunner):
        master = Master(environment, CONFIG, versions(), settings.view())
        ignore_garbage()
        PlanShape.current_run = staticmethod(lambda: master.run)
        MembersOnlyDispatcher.is_member = staticmethod(master.is_member)
        environment.dispatcher_class = MembersOnlyDispatcher
    else:
        _refuse("a swarm needs a master and workers: give --master, or --worker; on one machine use `loadstone run`")
