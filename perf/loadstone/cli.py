"""The verbs: thin, each a few lines over the library. Everything heavy is imported by the verb that needs it.

One sentence on stderr and status 2 for a mistake of the operator; tracebacks are for our own mistakes only.
"""

from __future__ import annotations

import os
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loadstone.arguments import RUN_ONLY, parse
from loadstone.config import Config, from_mapping
from loadstone.records import Summary, UsageError
from loadstone.typed import slo
from loadstone.verbs import compare

if TYPE_CHECKING:
    from loadstone.session import Result


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


def run(options: Namespace) -> int:
    from loadstone import loop, session

    config, view = config_of(options).check(), _view(options)
    quiet = getattr(options, "quiet", False)
    with _server(config) as config:
        result = loop.run(session.load_test(config, notice=notice, live=None if quiet else _watch))
    show(result.summary, view)
    notice(f"results are in {result.folder}")
    return status(result, config)


def report(options: Namespace) -> int:
    from loadstone import results
    from loadstone.records import from_lines

    view = _view(options)
    goodput, tokenizer = dict(getattr(options, "goodput", [])), getattr(options, "tokenizer", None)
    if options.run == "-":
        summary = results.summarize(from_lines(sys.stdin.buffer, "stdin"), None, tokenizer, goodput)
    else:
        summary = results.read(Path(options.run), tokenizer, goodput)
    show(summary, view, getattr(options, "output", None))
    return 0 if summary.counts.succeeded else 1


def check(options: Namespace) -> int:
    from loadstone import results
    from loadstone.views import evidence

    summary = results.read(Path(options.run))
    sys.stdout.write(evidence.render(summary))
    return 0 if summary.verdict is not None and summary.verdict.status == "valid" else 1


def serve(options: Namespace) -> int:
    from loadstone import keys
    from loadstone.sim import Settings
    from loadstone.sim import run as run_server

    given = {name: value for name, value in vars(options).items() if name not in ("verb", "api_key_env")}
    if variable := getattr(options, "api_key_env", None):
        given["api_key"] = keys.required(variable)
    timed = [name for name in ("ttft", "itl", "tokens_per_chunk") if name in given]
    if timed and given.get("engine") == "vllm":
        raise UsageError(f"--{timed[0].replace('_', '-')} is for --engine exact: with vllm the engine's steps say when")
    given["faults"] = tuple(given.get("faults", ()))
    settings = Settings(**{"port": 8000, **given})
    run_server(settings, lambda url: print(url, flush=True))
    return 0


def swarm(options: Namespace) -> int:
    from loadstone.swarm import command

    return command.run(options.role, config_of(options.settings), options)


def selftest(options: Namespace) -> int:
    from loadstone import console, lab, machine, pace
    from loadstone import selftest as test
    from loadstone.views import ceiling as view

    machine.check_place()
    if wrong := machine.saved()[1]:
        notice(f"{wrong}; what is found now replaces it")
    lab.heed()
    wanted = pace.QUICK if getattr(options, "quick", False) else pace.FULL
    found = test.measure(getattr(options, "url", ()), wanted, getattr(options, "transport", "wire"), notice)
    file = machine.save(found)
    if getattr(options, "view", "text") == "json":
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        console.draw(view.tables(found))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0


def list_(options: Namespace) -> int:
    from loadstone.listing import parts

    for kind, names in parts().items():
        if options.what in (None, kind):
            print(f"{kind}: {', '.join(names)}")
    return 0


VERBS: dict[str, Callable[[Namespace], int]] = {
    "run": run,
    "report": report,
    "compare": compare.run,
    "check": check,
    "serve": serve,
    "swarm": swarm,
    "selftest": selftest,
    "list": list_,
}


def config_of(options: Namespace) -> Config:
    """Settings of the configuration file, overlaid by the flags."""
    given = {name: value for name, value in vars(options).items() if name not in RUN_ONLY}
    for name in ("header", "goodput"):
        if name in given:
            given[name] = dict(given[name])
    if len(given.get("url", ())) == 1:
        given["url"] = given["url"][0]
    path = getattr(options, "config", None)
    return from_mapping({**(_toml(Path(path)) if path else {}), **given}, path or "the command line")


def _toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read --config {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"--config {path} is not TOML: {exc}") from exc
    named = {name.replace("-", "_"): value for name, value in settings.items()}
    if isinstance(named.get("goodput"), list):
        named["goodput"] = dict(slo(str(item)) for item in named["goodput"])
    return named


def _server(config: Config) -> Any:
    """The configuration with an address: the one given, or that of a simulated server for as long as the run lasts."""
    from loadstone.sim.spawn import with_server

    return with_server(config, notice)


def _view(options: Namespace) -> Callable[[Summary], str]:
    """The view asked for, found before the run and not after it."""
    return view_of(getattr(options, "view", "text"))


def view_of(name: str) -> Callable[[Summary], str]:
    from loadstone import console
    from loadstone.plugins import find
    from loadstone.views import VIEWS

    if name == "text":
        return console.render
    view: Callable[[Summary], str] = find("loadstone.views", name, {"text": "", **VIEWS}, "--as")
    return view


def show(summary: Summary, view: Callable[[Summary], str], output: str | None = None) -> None:
    from loadstone import console

    if output is not None and output != "-":
        try:
            with open(output, "x", encoding="utf-8") as file:
                file.write(view(summary))
        except OSError as exc:
            raise UsageError(f"cannot write {output}: {exc.strerror}; give another file with -o") from exc
    elif view is console.render:
        console.report(summary)
    else:
        sys.stdout.write(view(summary))
    sys.stdout.flush()


async def _watch(progress: Any) -> None:
    from loadstone import console

    await console.watch(progress)


def notice(text: str) -> None:
    """On one line, whatever a server or a file has put into it."""
    print(f"loadstone: {' '.join(text.split())}", file=sys.stderr, flush=True)


def status(result: Result, config: Config) -> int:
    summary = result.summary
    if summary.run.get("ended") == "interrupted":
        return 130
    counts = summary.counts
    if not counts.succeeded:
        from loadstone.check import why

        notice(f"no request succeeded; {why(summary)}")
        return 1
    if counts.failed > config.max_error_rate * counts.completed:
        notice(
            f"{counts.failed} of {counts.completed} requests failed, above --max-error-rate {config.max_error_rate:g}"
        )
        return 1
    return 0 if str(summary.run.get("ended")) in ("done", "duration", "stages") else 1
