"""The command line's grammar: verbs, flags, their help. What a verb does is in verbs/ or cli.py.

Flags carry the names that vLLM bench and EvalScope users know. A flag that is not given is absent from the parsed
values, so that a configuration file can fill it and defaults stand in one place, config.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from loadstone import __version__
from loadstone.cli import run_flags as flags
from loadstone.records import UsageError
from loadstone.cli.flag_types import port, whole
from loadstone.cli import compare, plan, report, run, score, sweep
from loadstone.cli import eval as eval_

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


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command; `rest` of a swarm is for Locust. Raises UsageError."""
    if not arguments or arguments[0] != "swarm":
        return parser().parse_args(arguments)
    options, rest = parser().parse_known_args(arguments)
    settings = Parser(prog="loadstone swarm", argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    flags.add(settings)
    options.settings, options.rest = settings.parse_known_args(rest)
    return options


def _check(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("run", metavar="RUN", help="folder of a run")


def _serve(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--host", help="address to bind (127.0.0.1)")
    verb.add_argument("--port", type=port, help="port to bind; 0 is any free one (8000)")
    verb.add_argument("--unix", metavar="PATH", help="bind a unix socket instead")
    verb.add_argument("--model", help="name of the model (sim)")
    verb.add_argument(
        "--ttft", metavar="DIST", help="time to first token: 50ms, uniform(a,b), normal(m,s), exp(m), lognormal(m,s)"
    )
    verb.add_argument("--itl", metavar="DIST", help="time between tokens (10ms)")
    verb.add_argument("--tokens-per-chunk", type=whole, metavar="N", help="tokens in an event (1)")
    verb.add_argument("--default-tokens", type=whole, metavar="N", help="length of an answer without max_tokens (128)")
    verb.add_argument("--max-model-len", type=whole, metavar="N", help="prompt and answer together (131072)")
    verb.add_argument(
        "--fault",
        dest="faults",
        action="append",
        metavar="NAME:SHARE|NAME@I,J",
        help="make requests fail; a wrong name lists all",
    )
    verb.add_argument("--slow", metavar="T", help="delay of the fault slow-head (2s)")
    verb.add_argument("--seed", type=whole, metavar="N", help="of distributions, texts and faults (0)")
    verb.add_argument("--api-key-env", metavar="NAME", help="environment variable with a key that requests must bring")
    verb.add_argument("--certfile", metavar="FILE", help="serve TLS with this certificate")
    verb.add_argument("--keyfile", metavar="FILE", help="and this key")
    _answers(verb)
    _engine(verb)


def _answers(verb: argparse.ArgumentParser) -> None:
    answers = verb.add_argument_group(
        "recorded answers (docs/recorded-answers.md; SHARE of the rows, or a number above 1)"
    )
    answers.add_argument(
        "--answers",
        metavar="FILE",
        help="JSONL of question (or prompt, messages) and answer, which known questions get",
    )
    for kind, text in _PLANTED.items():
        answers.add_argument(f"--answer-{kind}", type=float, metavar="SHARE", help=text)
    answers.add_argument("--planted", metavar="FILE", help="where to write which row got which")


_PLANTED = {
    "wrong": "rows answered wrongly (0)",
    "truncated": "rows cut off before the final answer (0)",
    "unparsable": "rows answered without any answer in it (0)",
    "empty": "rows answered without any text (0)",
    "failing": "rows answered with HTTP 500 each time (0)",
}


def _engine(verb: argparse.ArgumentParser) -> None:
    engine = verb.add_argument_group("engine (the flags of vLLM that it imitates)")
    engine.add_argument(
        "--engine", choices=["exact", "vllm"], help="exact times (default), or batching as vLLM does it"
    )
    engine.add_argument("--preset", help="machine and model: tiny, h100-8b (default), h100x4-70b or h100x8-70b")
    engine.add_argument("--max-num-seqs", type=whole, metavar="N", help="sequences that run together")
    engine.add_argument("--max-num-batched-tokens", type=whole, metavar="N", help="tokens of a step")
    engine.add_argument(
        "--num-gpu-blocks", "--num-gpu-blocks-override", type=whole, metavar="N", help="blocks of the KV cache"
    )
    engine.add_argument("--block-size", type=whole, metavar="N", help="tokens of a block (16)")
    engine.add_argument(
        "--no-prefix-caching",
        "--no-enable-prefix-caching",
        dest="prefix_caching",
        action="store_false",
        help="compute every prompt anew",
    )
    engine.add_argument("--num-speculative-tokens", type=whole, metavar="K", help="drafts of a step (0)")
    engine.add_argument("--acceptance-rate", type=float, metavar="P", help="chance of each draft to hold (0)")
    engine.add_argument("--speedup", type=float, metavar="X", help="let steps take this many times less time (1)")


def _selftest(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--quick", action="store_true", help="in half a minute, with fewer samples and no verdicts")
    verb.add_argument(
        "--url",
        action="append",
        help="a `loadstone serve --ttft 10ms --itl 10ms` on a second machine; again for more; without it here",
    )
    verb.add_argument("--transport", choices=["wire", "aiohttp"], help="the client's way of speaking HTTP (wire)")
    verb.add_argument("--as", dest="view", choices=["text", "json"], help="text (default) or json")


def _list(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what",
        nargs="?",
        default=None,
        choices=["apis", "readers", "views", "datasets", "tasks"],
        help="one kind only; tasks with what they are",
    )


def _swarm(verb: argparse.ArgumentParser) -> None:
    verb.epilog = "All flags of `loadstone run` too, on the master, and Locust's own: docs/many-machines.md. " + EPILOG
    verb.add_argument("role", choices=["master", "worker"], help="the one that plans and reports, or one per machine")
    verb.add_argument(
        "--processes", metavar="N", help="of a worker: processes that send load (default: one for each core)"
    )
    verb.add_argument("--spool", metavar="DIR", help="of a worker: where records wait for the master (loadstone-spool)")


VERBS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "run": (run.add, "replay prompts against a server and report"),
    "sweep": (sweep.add, "run at every point of lists of settings, or search the most load that meets objectives"),
    "eval": (eval_.add, "ask benchmarks as any other load, and score the answers (docs/evals.md)"),
    "report": (report.add, "recompute a report from the records of a run"),
    "compare": (compare.add, "hold runs against each other: better, worse, same or inconclusive (docs/comparing.md)"),
    "score": (score.add, "judge saved answers again, ours or lm-eval's; nothing is sent (docs/accuracy.md)"),
    "check": (_check, "judge whether a run can be believed"),
    "plan": (plan.add, "how many replicas a demand takes and what they cost, from sweeps (docs/planning.md)"),
    "serve": (_serve, "simulated server with exact timing and faults"),
    "swarm": (_swarm, "be the master or a worker of a run from many machines (docs/many-machines.md)"),
    "selftest": (_selftest, "find the most that this machine can measure truly, and how wrong it is on the way there"),
    "list": (_list, "names of what is built in or installed"),
}
