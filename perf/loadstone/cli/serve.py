"""`loadstone serve`: run the simulated server."""

from __future__ import annotations

import argparse

from loadstone.cli.flag_types import port, whole_number
from loadstone.errors import UsageError

_PLANTED = {
    "wrong": "rows answered wrongly (0)",
    "truncated": "rows cut off before the final answer (0)",
    "unparsable": "rows answered without any answer in it (0)",
    "empty": "rows answered without any text (0)",
    "failing": "rows answered with HTTP 500 each time (0)",
}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to bind (127.0.0.1)")
    parser.add_argument("--port", type=port, help="port to bind; 0 is any free one (8000)")
    parser.add_argument("--unix", metavar="PATH", help="bind a unix socket instead")
    parser.add_argument("--model", help="name of the model (sim)")
    parser.add_argument(
        "--ttft", metavar="DIST", help="time to first token: 50ms, uniform(a,b), normal(m,s), exp(m), lognormal(m,s)"
    )
    parser.add_argument("--itl", metavar="DIST", help="time between tokens (10ms)")
    parser.add_argument("--tokens-per-chunk", type=whole_number, metavar="N", help="tokens in an event (1)")
    parser.add_argument(
        "--default-tokens", type=whole_number, metavar="N", help="length of an answer without max_tokens (128)"
    )
    parser.add_argument("--max-model-len", type=whole_number, metavar="N", help="prompt and answer together (131072)")
    parser.add_argument(
        "--fault",
        dest="faults",
        action="append",
        metavar="NAME:SHARE|NAME@I,J",
        help="make requests fail; a wrong name lists all",
    )
    parser.add_argument("--slow", metavar="T", help="delay of the fault slow-head (2s)")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="of distributions, texts and faults (0)")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable with a key that requests must bring"
    )
    parser.add_argument("--certfile", metavar="FILE", help="serve TLS with this certificate")
    parser.add_argument("--keyfile", metavar="FILE", help="and this key")
    _answers(parser)
    _engine(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted. Return exit status 0."""
    from loadstone.config import secrets
    from loadstone.sim import Settings
    from loadstone.sim import run as run_server

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "api_key_env")}
    if variable := getattr(options, "api_key_env", None):
        settings["api_key"] = secrets.require_key(variable)
    timed = [name for name in ("ttft", "itl", "tokens_per_chunk") if name in settings]
    if timed and settings.get("engine") == "vllm":
        raise UsageError(f"--{timed[0].replace('_', '-')} is for --engine exact: with vllm the engine's steps say when")
    settings["faults"] = tuple(settings.get("faults", ()))
    run_server(Settings(**{"port": 8000, **settings}), lambda url: print(url, flush=True))
    return 0


def _answers(parser: argparse.ArgumentParser) -> None:
    answers = parser.add_argument_group(
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


def _engine(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("engine (the flags of vLLM that it imitates)")
    engine.add_argument(
        "--engine", choices=["exact", "vllm"], help="exact times (default), or batching as vLLM does it"
    )
    engine.add_argument("--preset", help="machine and model: tiny, h100-8b (default), h100x4-70b or h100x8-70b")
    engine.add_argument("--max-num-seqs", type=whole_number, metavar="N", help="sequences that run together")
    engine.add_argument("--max-num-batched-tokens", type=whole_number, metavar="N", help="tokens of a step")
    engine.add_argument(
        "--num-gpu-blocks", "--num-gpu-blocks-override", type=whole_number, metavar="N", help="blocks of the KV cache"
    )
    engine.add_argument("--block-size", type=whole_number, metavar="N", help="tokens of a block (16)")
    engine.add_argument(
        "--no-prefix-caching",
        "--no-enable-prefix-caching",
        dest="prefix_caching",
        action="store_false",
        help="compute every prompt anew",
    )
    engine.add_argument("--num-speculative-tokens", type=whole_number, metavar="K", help="drafts of a step (0)")
    engine.add_argument("--acceptance-rate", type=float, metavar="P", help="chance of each draft to hold (0)")
    engine.add_argument("--speedup", type=float, metavar="X", help="let steps take this many times less time (1)")
