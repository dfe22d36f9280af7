"""The verbs: thin, each a few lines over the library, the larger ones in verbs/. Everything heavy is imported by the
verb that needs it.

One sentence on stderr and status 2 for a mistake of the operator; tracebacks are for our own mistakes only.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from loadstone.cli.parser import parse
from loadstone.report.output import notice
from loadstone.records import UsageError
from loadstone.cli import compare, plan, report, run, score, sweep
from loadstone.config import load as given
from loadstone.cli import eval as eval_


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        options = parse(arguments)
        return VERBS[options.verb](options)
    except UsageError as exc:
        notice(str(exc))
        return 2
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the reader of our output has gone; nothing is left to say
        return 0
    except KeyboardInterrupt:
        return 130


def check(options: Namespace) -> int:
    from loadstone import results
    from loadstone.report import evidence

    summary = results.read(Path(options.run))
    sys.stdout.write(evidence.render(summary))
    return 0 if summary.verdict is not None and summary.verdict.status == "valid" else 1


def serve(options: Namespace) -> int:
    from loadstone.config import secrets as keys
    from loadstone.sim import Settings
    from loadstone.sim import run as run_server

    settings = {name: value for name, value in vars(options).items() if name not in ("verb", "api_key_env")}
    if variable := getattr(options, "api_key_env", None):
        settings["api_key"] = keys.required(variable)
    timed = [name for name in ("ttft", "itl", "tokens_per_chunk") if name in settings]
    if timed and settings.get("engine") == "vllm":
        raise UsageError(f"--{timed[0].replace('_', '-')} is for --engine exact: with vllm the engine's steps say when")
    settings["faults"] = tuple(settings.get("faults", ()))
    run_server(Settings(**{"port": 8000, **settings}), lambda url: print(url, flush=True))
    return 0


def swarm(options: Namespace) -> int:
    from loadstone.swarm import command

    return command.run(options.role, given.config_of(options.settings), options)


def selftest(options: Namespace) -> int:
    from loadstone.report import terminal as console
    from loadstone.selftest import processes as lab, timing as pace
    from loadstone.host import machine
    from loadstone.selftest import run as test
    from loadstone.selftest import page as view
    from loadstone.report.json import indented

    machine.check_place()
    if wrong := machine.saved()[1]:
        notice(f"{wrong}; what is found now replaces it")
    lab.heed()
    wanted = pace.QUICK if getattr(options, "quick", False) else pace.FULL
    found = test.measure(getattr(options, "url", ()), wanted, getattr(options, "transport", "wire"), notice)
    file = machine.save(found)
    if getattr(options, "view", "text") == "json":
        print(indented(found), end="")
    else:
        console.draw(view.tables(found))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0


def list_(options: Namespace) -> int:
    from loadstone.cli.list import parts

    if options.what == "tasks":
        from loadstone.report import terminal as console
        from loadstone.tasks import catalogue
        from loadstone.evals.output import benchmarks

        console.draw([benchmarks.table(catalogue.benchmarks())])
        return 0
    for kind, names in parts().items():
        if options.what in (None, kind):
            print(f"{kind}: {', '.join(names)}")
    return 0


VERBS: dict[str, Callable[[Namespace], int]] = {
    "run": run.run,
    "eval": eval_.run,
    "report": report.run,
    "score": score.run,
    "compare": compare.run,
    "check": check,
    "plan": plan.run,
    "serve": serve,
    "swarm": swarm,
    "sweep": sweep.run,
    "selftest": selftest,
    "list": list_,
}
