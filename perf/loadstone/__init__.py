"""Loadstone: a load tester for LLM APIs whose numbers are true.

    >>> import loadstone
    >>> result = loadstone.run(loadstone.Config(url="http://127.0.0.1:8000", concurrency=16, requests=200))
    >>> result.summary.metrics["ttft"].p50

Names are imported when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadstone.config import Config
    from loadstone.measure import measure
    from loadstone.records import Failure, Metric, Prompt, Record, Summary, Usage, UsageError
    from loadstone.session import Result, load_test

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Failure",
    "Metric",
    "Prompt",
    "Record",
    "Result",
    "Summary",
    "Usage",
    "UsageError",
    "load_test",
    "measure",
    "run",
]
_HOMES = {"Config": "config", "measure": "measure", "Result": "session", "load_test": "session"}


def run(config: Config, model: object | None = None) -> Result:
    """Run a load test to its end and return its results; `load_test` does the same inside a running event loop.
    `model`: an object with `predict` to ask instead of a server.

    Raises UsageError when the configuration, the prompts or the server are not fit for it.
    """
    from loadstone import loop, session

    return loop.run(session.load_test(config, model=model))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'loadstone' has no attribute {name!r}")
    return getattr(import_module(f"loadstone.{_HOMES.get(name, 'records')}"), name)
