"""The command line's grammar: verbs, flags, their help. What a verb does is in cli.py.

Flags carry the names that vLLM bench and EvalScope users know. A flag that is not given is absent from the parsed
values, so that a configuration file can fill it and defaults stand in one place, config.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, NoReturn

from loadstone import __version__
from loadstone.config import seconds, slo
from loadstone.records import UsageError

EPILOG = """exit status: 0 done; 1 done, but a check failed (no success, error rate above --max-error-rate);
2 usage; 130 interrupted, results saved. Keys are taken from the environment (OPENAI_API_KEY) and never written down."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, by an exception."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def parser() -> Parser:
    top = Parser(prog="loadstone", description="A load tester for LLM APIs whose numbers are true.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"loadstone {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (add, text) in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=EPILOG,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        add(verb)
    return top


def _run(verb: argparse.ArgumentParser) -> None:
    for add in (_server, _timeouts, _prompts, _request, _load, _results):
        add(verb)


def _server(verb: argparse.ArgumentParser) -> None:
    server = verb.add_argument_group("server")
    server.add_argument(
        "--url", help="http://HOST:PORT, https://..., or unix:/PATH; without it a simulated server is started"
    )
    server.add_argument("--model", help="model to ask for (default: the first that the server lists)")
    server.add_argument("--api", help="chat, completions, or FILE.py:CLASS (default: chat)")
    server.add_argument("--transport", choices=["wire", "aiohttp"], help="wire (default), or aiohttp for proxies")
    server.add_argument("--header", action="append", type=_header, metavar="'NAME: VALUE'", help="may be repeated")
    server.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable with the key (default: OPENAI_API_KEY)"
    )
    server.add_argument("--insecure", action="store_true", help="do not verify certificates")
    server.add_argument("--ca-file", metavar="FILE", help="PEM file of a certificate authority to trust")


def _timeouts(verb: argparse.ArgumentParser) -> None:
    times = verb.add_argument_group("timeouts (seconds, or 500ms, 2m)")
    times.add_argument("--connect-timeout", type=_seconds, metavar="T", help="to open a connection (30)")
    times.add_argument("--ttft-timeout", type=_seconds, metavar="T", help="from sending to the first output (none)")
    times.add_argument("--idle-timeout", type=_seconds, metavar="T", help="between two outputs (none)")
    times.add_argument("--timeout", type=_seconds, metavar="T", help="for a whole request (6h)")


def _prompts(verb: argparse.ArgumentParser) -> None:
    prompts = verb.add_argument_group("prompts")
    prompts.add_argument(
        "--dataset", help="a file (- is stdin), FORMAT:FILE, a bundled set, or random (default: chat-small)"
    )
    prompts.add_argument(
        "--prompt-field", metavar="NAME", help="field that holds the prompt (prompt, question, text, input)"
    )
    prompts.add_argument("--shuffle", action="store_true", help="shuffle by --seed; else file order")
    prompts.add_argument(
        "--tokenizer", metavar="PATH", help="exact lengths for random, token counts where usage is missing"
    )
    prompts.add_argument("--input-len", type=_whole, metavar="N", help="tokens of a random prompt (1024)")
    prompts.add_argument("--output-len", type=_whole, metavar="N", help="max_tokens of each request; random: 128")
    prompts.add_argument("--range-ratio", type=float, metavar="R", help="random lengths vary from L(1-R) to L(1+R) (0)")


def _request(verb: argparse.ArgumentParser) -> None:
    request = verb.add_argument_group("requests")
    request.add_argument("--no-stream", dest="stream", action="store_false", help="ask for the answer in one piece")
    request.add_argument(
        "--usage",
        choices=["final", "each", "off"],
        help="token counts at the end of a stream (default), with each event, or not asked for",
    )
    request.add_argument("--ignore-eos", action="store_true", help="generate up to --output-len")
    request.add_argument("--temperature", type=float, metavar="T", help="(default: the server's)")
    request.add_argument("--extra-body", type=_object, metavar="JSON", help="fields added to every request")


def _load(verb: argparse.ArgumentParser) -> None:
    load = verb.add_argument_group("load")
    load.add_argument(
        "-c", "--concurrency", type=_whole, metavar="N", help="requests in flight (8); with --rate a cap (none)"
    )
    load.add_argument("--rate", type=float, metavar="R", help="requests a second, sent when due whatever comes back")
    load.add_argument("--arrivals", help="constant or poisson (default)")
    load.add_argument(
        "-n", "--requests", type=_whole, metavar="N", help="measured requests (100, or as --duration allows)"
    )
    load.add_argument("--duration", type=_seconds, metavar="T", help="stop sending after this long")
    load.add_argument("--grace", type=_seconds, metavar="T", help="time to finish after --duration or Ctrl-C (30)")
    load.add_argument("--warmup", type=_whole, metavar="N", help="requests before the measured ones, not counted (0)")
    load.add_argument("--seed", type=_whole, metavar="N", help="of arrivals, order and random prompts (0)")


def _results(verb: argparse.ArgumentParser) -> None:
    results = verb.add_argument_group("results")
    results.add_argument(
        "--goodput",
        nargs="+",
        type=slo,
        metavar="METRIC:TIME",
        help="objectives such as ttft:200ms tpot:50ms latency:5s",
    )
    results.add_argument("--max-error-rate", type=float, metavar="SHARE", help="exit status 1 above this (1)")
    results.add_argument("--save-text", action="store_true", help="keep the answers in the records")
    results.add_argument("-o", "--output", metavar="DIR", help="folder of the run (default: reports/TIME-LABEL)")
    results.add_argument("--label", help="name of the run")
    results.add_argument("--as", dest="view", metavar="VIEW", help="text (default), classic, md, csv, json")
    results.add_argument("--quiet", action="store_true", help="no progress")
    results.add_argument(
        "--config", metavar="FILE", help="TOML file with these settings by their long names; flags win"
    )


def _report(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("run", metavar="RUN", help="folder of a run, a records file, or - for records on stdin")
    verb.add_argument("--as", dest="view", metavar="VIEW", help="text (default), classic, md, csv, json")
    verb.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")
    verb.add_argument("--goodput", nargs="+", type=slo, metavar="METRIC:TIME", help="objectives to judge by")
    verb.add_argument("--tokenizer", metavar="PATH", help="counts tokens of kept texts where the server did not")


def _check(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("run", metavar="RUN", help="folder of a run")


def _serve(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--host", help="address to bind (127.0.0.1)")
    verb.add_argument("--port", type=_port, help="port to bind; 0 is any free one (8000)")
    verb.add_argument("--unix", metavar="PATH", help="bind a unix socket instead")
    verb.add_argument("--model", help="name of the model (sim)")
    verb.add_argument(
        "--ttft", metavar="DIST", help="time to first token: 50ms, uniform(a,b), normal(m,s), exp(m), lognormal(m,s)"
    )
    verb.add_argument("--itl", metavar="DIST", help="time between tokens (10ms)")
    verb.add_argument("--tokens-per-chunk", type=_whole, metavar="N", help="tokens in an event (1)")
    verb.add_argument("--default-tokens", type=_whole, metavar="N", help="length of an answer without max_tokens (128)")
    verb.add_argument("--max-model-len", type=_whole, metavar="N", help="prompt and answer together (131072)")
    verb.add_argument(
        "--fault",
        dest="faults",
        action="append",
        metavar="NAME:SHARE|NAME@I,J",
        help="make requests fail; a wrong name lists all",
    )
    verb.add_argument("--slow", metavar="T", help="delay of the fault slow-head (2s)")
    verb.add_argument("--seed", type=_whole, metavar="N", help="of distributions, texts and faults (0)")
    verb.add_argument("--api-key-env", metavar="NAME", help="environment variable with a key that requests must bring")
    verb.add_argument("--certfile", metavar="FILE", help="serve TLS with this certificate")
    verb.add_argument("--keyfile", metavar="FILE", help="and this key")


def _list(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what", nargs="?", default=None, choices=["apis", "readers", "views", "datasets"], help="one kind only"
    )


VERBS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "run": (_run, "replay prompts against a server and report"),
    "report": (_report, "recompute a report from the records of a run"),
    "check": (_check, "judge whether a run can be believed"),
    "serve": (_serve, "simulated server with exact timing and faults"),
    "list": (_list, "names of what is built in or installed"),
}


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}") from exc


def _port(text: str) -> int:
    if not 0 <= (port := _whole(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"takes a number from 0 to 65535, not {text}")
    return port


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a time such as 30, 500ms or 2m, not {text!r}") from exc


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("takes 'NAME: VALUE'")
    return name.strip(), value.strip()


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a JSON object, but this is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("takes a JSON object such as '{\"top_p\": 0.9}'")
    return value


RUN_ONLY = ("verb", "view", "quiet", "config")
