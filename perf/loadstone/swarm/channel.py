"""Letters through Locust's custom messages: one kind, typed inside, and no exception may reach Locust's receiver.

A handler that raises would leave a worker deaf, one that blocks costs it its heartbeats, and a message that cannot be
sent at once raises: all of that ends here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from locust.exception import RPCError

from loadstone.swarm.messages import KIND, Any_, SwarmMessage, opened, sealed

log = logging.getLogger("loadstone.swarm")
Take = Callable[[str, Any_], None]


class MessageChannel:
    """`take` is given each letter with the name of the node it is from; it must not block."""

    def __init__(self, runner: Any, take: Take) -> None:
        self._runner = runner
        self._take = take
        runner.register_message(KIND, self._heard)

    def send(self, letter: SwarmMessage, to: str | None = None) -> bool:
        """To the master or, from there, to one worker. False where it could not be sent; whoever has to be sure of it
        sends again until there is an answer."""
        try:
            self._runner.send_message(KIND, sealed(letter), to)
        except RPCError as exc:
            log.warning("a %s could not be sent: %s", type(letter).__name__, exc)
            return False
        return True

    def _heard(self, *, msg: Any, **_: Any) -> None:
        try:
            self._take(msg.node_id, opened(msg.data))
        except Exception:
            log.exception("a letter from %s could not be read", msg.node_id)
