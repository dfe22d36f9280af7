"""Loadstone: a load tester for LLM APIs whose numbers are true.

    >>> import loadstone
    >>> result = loadstone.run(loadstone.Config(url="http://127.0.0.1:8000", concurrency=16, requests=200))
    >>> result.summary.metrics["ttft"].p50

Names are imported when they are first used, so that the command line starts quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from loadstone.version import __version__ as __version__

if TYPE_CHECKING:
    from loadstone.config.schema import Config
    from loadstone.errors import ConfigError, DataError, ServerError, UsageError
    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval
    from loadstone.loadtest import Result, load_test
    from loadstone.records import Failure, Prompt, Record, Usage
    from loadstone.results import measure
    from loadstone.summary import Metric, Summary

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Eval",
    "Evaluated",
    "Failure",
    "Metric",
    "Prompt",
    "Record",
    "Result",
    "ServerError",
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
    "ConfigError": "errors",
    "DataError": "errors",
    "Eval": "evals.settings",
    "Evaluated": "evals.evaluate",
    "Failure": "records",
    "Metric": "summary",
    "Prompt": "records",
    "Record": "records",
    "Result": "loadtest",
    "ServerError": "errors",
    "Summary": "summary",
    "Usage": "records",
    "UsageError": "errors",
    "load_test": "loadtest",
    "measure": "results",
}


def run(config: Config, model: object | None = None) -> Result:
    """Run a load test to its end and return its results. Inside a running event loop use `load_test`.

    config: what to run.
    model: an object with `predict`, used in place of a server.

    Raises UsageError if the configuration, the prompts or the server do not fit.
    """
    from loadstone import loadtest
    from loadstone.host import event_loop

    return event_loop.run(loadtest.load_test(config, model=model))


def evaluate(config: Eval | Mapping[str, Any] | str | PathLike[str]) -> list[Evaluated]:
    """Evaluate one or several models, and return the results of each.

    Inside a running event loop use `loadstone.evals.evaluate.evaluate`, which takes one model.

    config: an Eval, a mapping of the settings of `loadstone eval` by their long names, or a TOML or YAML file of them.
    Raises UsageError before anything is sent if the settings, the data or the server do not fit. Of several models the
    others are evaluated first, and their folders have their results.
    """
    from loadstone.errors import UsageError
    from loadstone.evals.evaluate import evaluate as evaluate_one
    from loadstone.evals.evaluate import resolve_settings
    from loadstone.host import event_loop

    results: list[Evaluated] = []
    errors: list[UsageError] = []
    for settings in resolve_settings(config):
        try:
            results.append(event_loop.run(evaluate_one(settings)))
        except UsageError as exc:
            errors.append(exc)
    if errors:
        raise errors[0]
    return results


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'loadstone' has no attribute {name!r}")
    return getattr(import_module(f"loadstone.{_MODULES[name]}"), name)
