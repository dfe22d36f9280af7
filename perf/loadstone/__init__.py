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

from loadstone.version import __version__ as __version__

if TYPE_CHECKING:
    from loadstone.config.schema import Config
    from loadstone.errors import UsageError
    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval
    from loadstone.loadtest import Result, load_test
    from loadstone.records import Failure, Prompt, Record, Usage
    from loadstone.results import measure
    from loadstone.summary import Metric, Summary

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
# Where each lazy name is defined.
_MODULES = {
    "Config": "config.schema",
    "Eval": "evals.settings",
    "Evaluated": "evals.evaluate",
    "Failure": "records",
    "Metric": "summary",
    "Prompt": "records",
    "Record": "records",
    "Result": "loadtest",
    "Summary": "summary",
    "Usage": "records",
    "UsageError": "errors",
    "load_test": "loadtest",
    "measure": "results",
}


def run(config: Config, model: object | None = None) -> Result:
    """Run a load test to its end and return its results; `load_test` does the same inside a running event loop.
    `model`: an object with `predict` to ask instead of a server.

    Raises UsageError when the configuration, the prompts or the server are not fit for it.
    """
    from loadstone import loadtest
    from loadstone.host import event_loop

    return event_loop.run(loadtest.load_test(config, model=model))


def evaluate(config: Eval | Mapping[str, Any] | str | PathLike[str]) -> list[Evaluated]:
    """Evaluate a model, or several, to the end and return what came of each.

    Inside a running event loop use `loadstone.evals.evaluate.evaluate`, which takes one model.

    config: an Eval, a mapping of the settings of `loadstone eval` by their long names, or a TOML or YAML file of them.
    Raises UsageError when the settings, the data or the server are not fit for it, before anything is sent; of several
    models the others are evaluated first, and their folders hold what came of them.
    """
    from loadstone.errors import UsageError
    from loadstone.evals.evaluate import evaluate as evaluate_one
    from loadstone.evals.evaluate import resolve_settings
    from loadstone.host import event_loop

    done, wrong = [], list[UsageError]()
    for each in resolve_settings(config):
        try:
            done.append(event_loop.run(evaluate_one(each)))
        except UsageError as exc:
            wrong.append(exc)
    if wrong:
        raise wrong[0]
    return done


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'loadstone' has no attribute {name!r}")
    return getattr(import_module(f"loadstone.{_MODULES[name]}"), name)
