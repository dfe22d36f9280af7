"""What Locust calls on the master: its dispatcher of users, a shape that follows the plan, and a reader of messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from locust import LoadTestShape
from locust.dispatch import UsersDispatcher
from locust.exception import RPCError, RPCReceiveError
from locust.rpc import zmqrpc

from loadstone.units import NS_PER_S

if TYPE_CHECKING:
    from loadstone.swarm.master import Run


def ignore_garbage(server: Any = zmqrpc.Server) -> None:
    """Make the master read on after bytes that are no message of Locust, which anyone who reaches its port can send.

    Its listener goes on after an RPCReceiveError, and ends with any other exception: then no worker is heard again.
    """
    receive = server.recv_from_client

    def receive_message(self: Any) -> tuple[str, Any]:
        try:
            sender, message = receive(self)
        except RPCError:
            raise
        except Exception as exc:  # whatever a decoder raises for bytes that it was not made for
            raise RPCReceiveError(f"no message of Locust ({type(exc).__name__})") from exc
        if not isinstance(message.type, str) or not isinstance(message.node_id, str | None):
            raise RPCReceiveError("no message of Locust (no type, or no name of a worker)")
        return sender, message

    server.recv_from_client = receive_message


class MembersOnlyDispatcher(UsersDispatcher):
    """Gives users only to workers that take part in the run.

    A worker that joins later sends nothing: with users of its own, the load would be smaller than it looks.
    is_member: whether the worker of this name takes part; True for all while no run has started.
    """

    is_member: Callable[[str], bool] = staticmethod(lambda _: True)

    def __init__(self, worker_nodes: list[Any], user_classes: list[Any]) -> None:
        members = [node for node in worker_nodes if self.is_member(node.id)]
        super().__init__(members or worker_nodes, user_classes)

    def add_worker(self, worker_node: Any) -> None:
        """Add a worker that has connected, if it is a member."""
        if self.is_member(worker_node.id):
            super().add_worker(worker_node)


class PlanShape(LoadTestShape):
    """A shape for arrivals at a rate, replays and stages: the users show the plan, and the run ends with it.

    The worker processes alone decide when which request is sent.
    current_run: the run that has started, None before.
    """

    current_run: Callable[[], Run | None] = staticmethod(lambda: None)
    abstract = True

    def tick(self) -> Any:
        """Return (users, users/s): one user per worker in an open loop, the level of the stages in a closed one."""
        run, workers = self.current_run(), max(1, getattr(self.runner, "worker_count", 1))
        if run is not None and run.over:
            return None
        reached = list[int]()
        if run is not None and run.plan is not None:
            elapsed = max(0.0, (time.monotonic_ns() - run.origin) / NS_PER_S) if run.started else 0.0
            reached = [level for at, level in run.plan.levels if at <= elapsed]
        users = (reached[-1] if reached else 0) or workers
        return users, float(min(users, 100 * workers))
