"""The verbs: thin, each a few lines over the library. Everything heavy is imported by the verb that needs it.

One sentence on stderr and status 2 for a mistake of the operator; tracebacks are for our own mistakes only.
"""

from __future__ import annotations

import os
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loadstone.arguments import RUN_ONLY, parse
from loadstone.config import Config, from_mapping
from loadstone.records import Summary, UsageError
from loadstone.typed import slo
from loadstone.verbs import compare, plan, repeat

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
    from loadstone import loop, outputs, results, session

    config, view = config_of(options).check(), _view(options)
    live = None if getattr(options, "quiet", False) else _watch
    outputs.check_new(getattr(options, "junit", None), "--junit")
    with _server(config) as config:
        if repeat.wanted(options):
            done = repeat.run(
                options, config, lambda c: loop.run(session.load_test(c, notice=notice, live=live)), notice
            )
            return 130 if done.interrupted else max(status(result, config) for result in done.results)
        result = loop.run(session.load_test(config, notice=notice, live=live))
    show(result.summary, view, page=lambda: results.written_page(result.folder))
    _for_ci(options, result.summary)
    notice(f"results are in {result.folder}")
    return status(result, config)


def report(options: Namespace) -> int:
    from loadstone import results, server_csv
    from loadstone.exports import EXPORTS
    from loadstone.records import from_lines
    from loadstone.verbs import report as beyond

    if beyond.knows(options):
        return beyond.run(options, notice)
    (path,), view = options.runs, _view(options, EXPORTS)
    goodput, tokenizer = dict(getattr(options, "goodput", [])), getattr(options, "tokenizer", None)
    if path == "-":
        summary, columns = results.measured(from_lines(sys.stdin.buffer, "stdin"), None, tokenizer, goodput)
    else:
        summary, columns = results.load(Path(path), tokenizer, goodput)
    output, scraped = getattr(options, "output", None), server_csv.read(Path(path))
    show(summary, view, output, lambda: results.web_page(summary, columns, scraped))
    _for_ci(options, summary)
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


def sweep(options: Namespace) -> int:
    from loadstone.verbs import sweep as verb

    return verb.run(options, verb.Edge(settings_of(vars(options)), notice, _server, _watch))


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
    "plan": plan.run,
    "serve": serve,
    "swarm": swarm,
    "sweep": sweep,
    "selftest": selftest,
    "list": list_,
}


def config_of(options: Namespace) -> Config:
    """Settings of the configuration file, overlaid by the flags."""
    return from_mapping(settings_of(vars(options)), getattr(options, "config", None) or "the command line")


def settings_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same, before anybody has looked whether they make sense."""
    given = {name: value for name, value in options.items() if name not in RUN_ONLY}
    for name in ("header", "goodput"):
        if name in given:
            given[name] = dict(given[name])
    if len(given.get("url", ())) == 1:
        given["url"] = given["url"][0]
    path = options.get("config")
    return {**(_toml(Path(path)) if path else {}), **given}


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


def _view(options: Namespace, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """The view asked for, found before the run and not after it."""
    return view_of(getattr(options, "view", "text"), others)


def view_of(name: str, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """`others`: names that are known as well, but done elsewhere."""
    from loadstone import console
    from loadstone.plugins import find
    from loadstone.views import VIEWS

    if name == "text":
        return console.render
    view: Callable[[Summary], str] = find("loadstone.views", name, {"text": "", **VIEWS, **(others or {})}, "--as")
    return view


def show(
    summary: Summary,
    view: Callable[[Summary], str],
    output: str | None = None,
    page: Callable[[], str | None] = lambda: None,
) -> None:
    """`page`: the report with its charts, for the view that has any."""
    from loadstone import console
    from loadstone.views import report

    if output is not None and output != "-":
        try:
            with open(output, "x", encoding="utf-8") as file:
                file.write((page() if view is report.render else None) or view(summary))
        except OSError as exc:
            raise UsageError(f"cannot write {output}: {exc.strerror}; give another file with -o") from exc
    elif view is console.render:
        console.report(summary)
    else:
        sys.stdout.write((page() if view is report.render else None) or view(summary))
    sys.stdout.flush()


def _for_ci(options: Namespace, summary: Summary) -> None:
    """What --junit and --summary ask for."""
    from loadstone import outputs
    from loadstone.views import junit, markdown

    if file := getattr(options, "junit", None):
        with outputs.target(file, "--junit") as made:
            made.write(junit.render(summary).encode())
    if getattr(options, "summary", False):
        outputs.step_summary(markdown.render(summary), notice)


async def _watch(progress: Any) -> None:
    from loadstone import live

    await live.watch(progress)


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
