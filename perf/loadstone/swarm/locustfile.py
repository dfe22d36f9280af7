"""The locustfile of Loadstone: `locust -f .../loadstone/swarm/locustfile.py --master` or `--worker`.

Binds our master or worker to Locust's events. All settings come by the environment, see settings.py; this file is
loaded by Locust, which has patched the process with gevent by then.
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
from loadstone.swarm.dispatch import PartsOnly
from loadstone.swarm.master import Master
from loadstone.swarm.shape import PlanShape
from loadstone.swarm.worker import Worker, versions

HOUR = 3600


class Seat(User):
    """A place for one request at a time, or one conversation. The processes send; this is only counted."""

    wait_time = constant(HOUR)
    worker: Worker | None = None

    def on_start(self) -> None:
        if Seat.worker is not None:
            Seat.worker.seat(1)

    def on_stop(self) -> None:
        if Seat.worker is not None:
            Seat.worker.seat(-1)

    @task
    def sit(self) -> None:
        """Nothing."""


def _refuse(text: str) -> None:
    notice(text)
    sys.exit(2)


if "--worker" not in sys.argv:
    # Locust reads its options after this file, and would have its web interface listen on all interfaces.
    os.environ.setdefault(settings.WEB_HOST, "127.0.0.1")
    try:
        CONFIG = settings.config()
    except UsageError as exc:
        _refuse(str(exc))
    if settings.shaped(CONFIG):

        class Plan(PlanShape):
            """Seen by Locust because it is here."""


@events.init.add_listener
def bind(environment: Any, runner: Any, **_: Any) -> None:
    """Locust is set up; nothing is connected to yet."""
    if isinstance(runner, WorkerRunner):
        Seat.worker = Worker(environment, settings.here())
    elif isinstance(runner, MasterRunner):
        lead(environment)
    else:
        _refuse("a swarm needs a master and workers: give --master, or --worker; on one machine use `loadstone run`")


def lead(environment: Any) -> None:
    master = Master(environment, CONFIG, versions(), settings.view())
    PlanShape.find = staticmethod(lambda: master.run)
    PartsOnly.has_part = staticmethod(master.has_part)
    environment.dispatcher_class = PartsOnly
