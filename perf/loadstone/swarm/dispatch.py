"""Which workers Locust gives users to: those that have a part in the run. A machine that joins later has none.

Its users would be slots without anything behind them, and the load would be smaller than it looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from locust.dispatch import UsersDispatcher


class PartsOnly(UsersDispatcher):
    """`has_part`: whether a worker of this name takes part; says yes to all while no run has begun."""

    has_part: Callable[[str], bool] = staticmethod(lambda _: True)

    def __init__(self, worker_nodes: list[Any], user_classes: list[Any]) -> None:
        taking = [node for node in worker_nodes if self.has_part(node.id)]
        super().__init__(taking or worker_nodes, user_classes)

    def add_worker(self, worker_node: Any) -> None:
        if self.has_part(worker_node.id):
            super().add_worker(worker_node)
