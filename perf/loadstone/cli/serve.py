"""`loadstone serve`: run the simulated server."""

from __future__ import annotations

import argparse

from loadstone.cli.flag_types import port, whole_number
from loadstone.errors import ConfigError

# Kinds of bad answers that recorded answers can be mixed with: the flag `--answer-KIND` and its help.
_BAD_ANSWERS = {
    "wrong": "rows answered wrongly (default: 0)",
    "truncated": "rows whose answer is cut before its end (default: 0)",
    "unparsable": "rows answered with text that contains no answer (default: 0)",
    "empty": "rows answered with empty text (default: 0)",
    "failing": "rows answered with HTTP 500 each time (default: 0)",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    parser.add_argument("--host", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=port, help="port to bind; 0 is any free port (default: 8000)")
    parser.add_argument("--unix", metavar="PATH", help="bind a Unix socket instead")
    parser.add_argument("--model", help="name of the model (default: sim)")
    # Timing, for --engine exact.
    parser.add_argument(
        "--ttft",
        metavar="DIST",
        help="distribution of the time to first token: 50ms, uniform(a,b), normal(m,s), exp(m), lognormal(m,s)",
    )
    parser.add_argument("--itl", metavar="DIST", help="distribution of the time between tokens (default: 10ms)")
    parser.add_argument("--tokens-per-chunk", type=whole_number, metavar="N", help="tokens per event (default: 1)")
    parser.add_argument(
        "--default-tokens",
        type=whole_number,
        metavar="N",
        help="tokens of an answer if the request has no max_tokens (default: 128)",
    )
    parser.add_argument(
        "--max-model-len", type=whole_number, metavar="N", help="maximum tokens of prompt and answer (default: 131072)"
    )
    parser.add_argument(
        "--fault",
        dest="faults",
        action="append",
        metavar="NAME:SHARE|NAME@I,J",
        help="fault to apply to a fraction of the requests or to those numbered I, J; an unknown name lists all faults",
    )
    parser.add_argument("--slow", metavar="T", help="delay of the fault slow-head (default: 2s)")
    parser.add_argument(
        "--seed", type=whole_number, metavar="N", help="seed of distributions, texts and faults (default: 0)"
    )
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable with the API key that requests must send"
    )
    parser.add_argument("--certfile", metavar="FILE", help="serve TLS with this certificate")
    parser.add_argument("--keyfile", metavar="FILE", help="private key of the certificate")
    _add_answers(parser)
    _add_engine(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted. Return exit status 0."""
    from loadstone.config import secrets
    from loadstone.sim import server
    from loadstone.sim.settings import Settings

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "api_key_env")}
    if variable := getattr(options, "api_key_env", None):
        settings["api_key"] = secrets.require_key(variable)
    timing_flags = [name for name in ("ttft", "itl", "tokens_per_chunk") if name in settings]
    if timing_flags and settings.get("engine") == "vllm":
        raise ConfigError(
            f"--{timing_flags[0].replace('_', '-')} is for --engine exact: with vllm the engine's steps say when"
        )
    settings["faults"] = tuple(settings.get("faults", ()))
    server.run(Settings(**{"port": 8000, **settings}), lambda url: print(url, flush=True))
    return 0


def _add_answers(parser: argparse.ArgumentParser) -> None:
    answers = parser.add_argument_group(
        "recorded answers (docs/recorded-answers.md; SHARE is a fraction of the rows, or a number of rows above 1)"
    )
    answers.add_argument(
        "--answers",
        metavar="FILE",
        help="JSONL of question (or prompt, messages) and answer; these questions get these answers",
    )
    for kind, text in _BAD_ANSWERS.items():
        answers.add_argument(f"--answer-{kind}", type=float, metavar="SHARE", help=text)
    answers.add_argument("--planted", metavar="FILE", help="write which rows got which bad answer to this file")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("engine (these flags are named as in vLLM)")
    engine.add_argument(
        "--engine",
        choices=["exact", "vllm"],
        help="exact (default): the given times; vllm: continuous batching as in vLLM",
    )
    engine.add_argument("--preset", help="hardware and model: tiny, h100-8b (default), h100x4-70b or h100x8-70b")
    engine.add_argument("--max-num-seqs", type=whole_number, metavar="N", help="maximum sequences per step")
    engine.add_argument("--max-num-batched-tokens", type=whole_number, metavar="N", help="maximum tokens per step")
    engine.add_argument(
        "--num-gpu-blocks", "--num-gpu-blocks-override", type=whole_number, metavar="N", help="blocks of the KV cache"
    )
    engine.add_argument("--block-size", type=whole_number, metavar="N", help="tokens per KV cache block (default: 16)")
    engine.add_argument(
        "--no-prefix-caching",
        "--no-enable-prefix-caching",
        dest="prefix_caching",
        action="store_false",
        help="disable prefix caching",
    )
    engine.add_argument(
        "--num-speculative-tokens", type=whole_number, metavar="K", help="draft tokens per step (default: 0)"
    )
    engine.add_argument(
        "--acceptance-rate", type=float, metavar="P", help="probability that a draft token is accepted (default: 0)"
    )
    engine.add_argument("--speedup", type=float, metavar="X", help="factor by which steps are faster (default: 1)")
