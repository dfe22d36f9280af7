"""Loadstone: a load tester for LLM APIs whose numbers are true.

    >>> import loadstone
    >>> result = loadstone.run(loadstone.Config(url="http://127.0.0.1:8000", concurrency=16, requests=200))
    >>> result.summary.metrics["ttft"].p50

Names are imported when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadstone.config.schema import Config
    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval
    from loadstone.metrics.measure import measure
    from loadstone.records import Failure, Metric, Prompt, Record, Summary, Usage, UsageError
    from loadstone.load_test import Result, load_test

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Eval",
    "Evaluated",
    "Failure",
    "Metric",
    "Prompt",
    "Record",
    "Result",
    "Summary",
    "Usage",
    "UsageError",
    "evaluate",
    "load_test",
    "measure",
    "run",
]
_HOMES = {
    **{"Config": "config", "measure": "measure", "Result": "session", "load_test": "session"},
    **{"Eval": "evals.settings", "Evaluated": "evals.session"},
}


def run(config: Config, model: object | None = None) -> Result:
    """Run a load test to its end and return its results; `load_test` does the same inside a running event loop.
    `model`: an object with `predict` to ask instead of a server.

    Raises UsageError when the configuration, the prompts or the server are not fit for it.
    """
    from loadstone.host import event_loop as loop
    from loadstone import load_test as session

    return loop.run(session.load_test(config, model=model))


def evaluate(config: Eval | Mapping[str, Any] | str | PathLike[str]) -> list[Evaluated]:
    """Evaluate a model, or several, to the end and return what came of each; `loadstone.evals.evaluate.evaluate` does it
    for one inside a running event loop.

    config: an Eval, a mapping of the settings of `loadstone eval` by their long names, or a TOML or YAML file of them.
    Raises UsageError when the settings, the data or the server are not fit for it, before anything is sent; of several
    models the others are evaluated first, and their folders hold what came of them.
    """
    from loadstone.host import event_loop as loop
    from loadstone.evals import evaluate as session
    from loadstone.records import UsageError

    done, wrong = [], list[UsageError]()
    for each in session.meant(config):
        try:
            done.append(loop.run(session.evaluate(each)))
        except UsageError as exc:
            wrong.append(exc)
    if wrong:
        raise wrong[0]
    return done


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'loadstone' has no attribute {name!r}")
    return getattr(import_module(f"loadstone.{_HOMES.get(name, 'records')}"), name)
