"""The channel for SwarmMessages over Locust's custom messages.

Locust's receiver must not see an exception: a handler that raises would stop a worker from receiving, one that blocks
costs it its heartbeats, and sending raises while there is no connection. This module catches all of that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from locust.exception import RPCError

from loadstone.swarm.messages import MESSAGE_TYPE, AnyMessage, SwarmMessage, decode, encode

log = logging.getLogger("loadstone.swarm")


class MessageChannel:
    """Sends messages, and calls `receive` with the sender's node name and each message. `receive` must not block."""

    def __init__(self, runner: Any, receive: Callable[[str, AnyMessage], None]) -> None:
        self._runner = runner
        self._receive = receive
        runner.register_message(MESSAGE_TYPE, self._on_message)

    def send(self, message: SwarmMessage, node: str | None = None) -> bool:
        """Send to the master or, from there, to one worker. Return False if that was not possible.

        A sender that has to be sure repeats the message until there is an answer.
        """
        try:
            self._runner.send_message(MESSAGE_TYPE, encode(message), node)
        except RPCError as exc:
            log.warning("a %s could not be sent: %s", type(message).__name__, exc)
            return False
        return True

    def _on_message(self, *, msg: Any, **_: Any) -> None:
        try:
            self._receive(msg.node_id, decode(msg.data))
        except Exception:
            log.exception("a message from %s could not be read", msg.node_id)
