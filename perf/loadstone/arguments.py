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
from loadstone.records import UsageError
from loadstone.typed import seconds, slo

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
        "--url",
        action="append",
        help="http://HOST:PORT, https://..., unix:/PATH; again for more servers; without it a simulated one is started",
    )
    server.add_argument(
        "--balance",
        choices=["round-robin", "sticky"],
        help="over several --url: each request to the next (default), or a whole conversation to one",
    )
    server.add_argument(
        "--model", help="model to ask for (default: the first that the server lists), or a mix such as base=3,lora=1"
    )
    server.add_argument(
        "--api",
        help="chat (default), completions, responses, messages, embeddings, rerank, generate, tgi, ollama, template,"
        " or FILE.py:CLASS",
    )
    server.add_argument(
        "--body-template",
        metavar="JSON|@FILE",
        help="body of --api template, with %%p for the prompt, %%m for the model",
    )
    server.add_argument(
        "--text-path", metavar="PATH", help="where the text stands in its answers, such as choices.0.delta.content"
    )
    server.add_argument("--usage-path", metavar="PATH", help="where the token counts stand in them, such as usage")
    server.add_argument("--transport", choices=["wire", "aiohttp"], help="wire (default), or aiohttp for proxies")
    server.add_argument("--header", action="append", type=_header, metavar="'NAME: VALUE'", help="may be repeated")
    server.add_argument(
        "--request-id",
        nargs="?",
        const="",
        metavar="PREFIX",
        help="send and record an X-Request-Id: PREFIX and a number, or made up for the run",
    )
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
    prompts = verb.add_argument_group(
        "prompts (docs/workloads.md; LEN is a number or a law such as normal(512,128,max=2048))"
    )
    prompts.add_argument(
        "--dataset",
        help="a file (- is stdin), FORMAT:FILE, hf:NAME, a bundled set, or a generator (default: chat-small)",
    )
    prompts.add_argument(
        "--prompt-field", metavar="NAME", help="field that holds the prompt (prompt, question, text, input)"
    )
    prompts.add_argument("--shuffle", action="store_true", help="shuffle by --seed; else file order")
    prompts.add_argument(
        "--tokenizer", metavar="PATH", help="exact token lengths, and token counts where usage is missing"
    )
    prompts.add_argument(
        "--input-len",
        type=_law,
        metavar="LEN",
        help="tokens of a made-up prompt (random: 1024); real text is cut or tiled",
    )
    prompts.add_argument("--output-len", type=_law, metavar="LEN", help="max_tokens of each request; random: 128")
    prompts.add_argument("--range-ratio", type=float, metavar="R", help="lengths vary from L(1-R) to L(1+R) (0)")
    prompts.add_argument("--prefix-len", type=_law, metavar="LEN", help="tokens of a prefix that made-up prompts share")
    prompts.add_argument("--prefix-count", type=_whole, metavar="N", help="how many such prefixes there are")
    prompts.add_argument("--system-len", type=_law, metavar="LEN", help="tokens that all made-up prompts begin with")
    prompts.add_argument("--turns", type=_law, metavar="N", help="turns of a made-up conversation (1)")
    prompts.add_argument("--think-time", type=_think, metavar="T", help="between turns: 2s, or a law of seconds (0)")
    prompts.add_argument(
        "--history",
        choices=["first", "recorded", "live"],
        help="of a recorded conversation: its first turn (default), the last with all before, or all with live answers",
    )
    prompts.add_argument("--scale-lengths", type=float, metavar="X", help="factor of all lengths of a trace (1)")
    prompts.add_argument("--min-input-len", type=_whole, metavar="N", help="pass over shorter prompts")
    prompts.add_argument("--max-input-len", type=_whole, metavar="N", help="pass over longer prompts")
    prompts.add_argument("--max-total-len", type=_whole, metavar="N", help="pass over what is longer with its answer")


def _request(verb: argparse.ArgumentParser) -> None:
    request = verb.add_argument_group("requests")
    request.add_argument("--no-stream", dest="stream", action="store_false", help="ask for the answer in one piece")
    request.add_argument(
        "--usage",
        choices=["final", "each", "off"],
        help="token counts at the end of a stream (default), with each event, or not asked for",
    )
    request.add_argument("--ignore-eos", action="store_true", help="generate up to --output-len")
    request.add_argument(
        "--match-output-length", action="store_true", help="generate exactly the recorded or given length"
    )
    request.add_argument("--temperature", type=float, metavar="T", help="(default of this and the next: the server's)")
    for name, kind in SAMPLING.items():
        metavar = "N" if kind is _whole else "X"
        request.add_argument(
            f"--{name}", dest=DESTINATION.get(name), type=kind, metavar=metavar, help=f"{name} of sampling"
        )
    request.add_argument("--stop", nargs="+", metavar="TEXT", help="stop at these texts")
    request.add_argument("--chat-template-kwargs", type=_object, metavar="JSON", help="options of the chat template")
    request.add_argument("--extra-body", type=_object, metavar="JSON", help="fields added to every request")
    request.add_argument(
        "--apply-chat-template", action="store_true", help="put --tokenizer's chat template around texts"
    )
    request.add_argument("--tokenize-prompt", action="store_true", help="send --tokenizer's token ids, not text")
    request.add_argument("--cancel-share", type=float, metavar="SHARE", help="requests that the client takes back (0)")
    request.add_argument("--cancel-after", type=_seconds, metavar="T", help="and when, after sending")


def _load(verb: argparse.ArgumentParser) -> None:
    load = verb.add_argument_group("load")
    load.add_argument(
        "-c",
        "--concurrency",
        type=_whole,
        metavar="N",
        help="requests or conversations in flight (8); else a cap (none)",
    )
    load.add_argument("--rate", type=float, metavar="R", help="requests a second, sent when due whatever comes back")
    load.add_argument("--arrivals", help="constant, poisson (default), gamma, or replay (default for a trace)")
    load.add_argument(
        "--burstiness",
        type=float,
        metavar="G",
        help="of gamma arrivals: below 1 bursts, 1 is poisson, above 1 is evener",
    )
    load.add_argument(
        "--no-rescale", dest="rescale", action="store_false", help="leave the number of arrivals in a time to chance"
    )
    load.add_argument(
        "--stages", metavar="LIST", help="30s@2,60s@2..16 (rates, a ramp) or 30s@c4,60s@c4..c64exp (concurrencies)"
    )
    load.add_argument("--speed", type=float, metavar="X", help="replay a trace so many times as fast (1)")
    load.add_argument("--from", dest="trace_from", type=_seconds, metavar="T", help="begin so far into the trace")
    load.add_argument("--to", dest="trace_to", type=_seconds, metavar="T", help="and end there")
    load.add_argument(
        "-n", "--requests", type=_whole, metavar="N", help="measured requests or conversations (100, or as time allows)"
    )
    load.add_argument("--duration", type=_seconds, metavar="T", help="stop sending after this long")
    load.add_argument("--grace", type=_seconds, metavar="T", help="time to finish after an end by time or Ctrl-C (30)")
    load.add_argument(
        "--warmup", type=_law, metavar="N|T", help="requests, or seconds (10s), before the measured ones (0)"
    )
    load.add_argument("--cooldown", type=_law, metavar="N|T", help="requests, or seconds, behind the measured ones (0)")
    load.add_argument(
        "--stop-error-rate", type=float, metavar="SHARE", help="stop when more of the last 50 requests fail"
    )
    load.add_argument(
        "--stop-saturated", action="store_true", help="stop when in-flight requests and TTFT both keep rising"
    )
    load.add_argument("--seed", type=_whole, metavar="N", help="of arrivals, order and made-up prompts (0)")


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
    results.add_argument("--save-bodies", action="store_true", help="keep the request bodies, as bodies.jsonl")
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
    _engine(verb)


def _engine(verb: argparse.ArgumentParser) -> None:
    engine = verb.add_argument_group("engine (the flags of vLLM that it imitates)")
    engine.add_argument(
        "--engine", choices=["exact", "vllm"], help="exact times (default), or batching as vLLM does it"
    )
    engine.add_argument("--preset", help="machine and model: tiny, h100-8b (default), h100x4-70b or h100x8-70b")
    engine.add_argument("--max-num-seqs", type=_whole, metavar="N", help="sequences that run together")
    engine.add_argument("--max-num-batched-tokens", type=_whole, metavar="N", help="tokens of a step")
    engine.add_argument(
        "--num-gpu-blocks", "--num-gpu-blocks-override", type=_whole, metavar="N", help="blocks of the KV cache"
    )
    engine.add_argument("--block-size", type=_whole, metavar="N", help="tokens of a block (16)")
    engine.add_argument(
        "--no-prefix-caching",
        "--no-enable-prefix-caching",
        dest="prefix_caching",
        action="store_false",
        help="compute every prompt anew",
    )
    engine.add_argument("--num-speculative-tokens", type=_whole, metavar="K", help="drafts of a step (0)")
    engine.add_argument("--acceptance-rate", type=float, metavar="P", help="chance of each draft to hold (0)")
    engine.add_argument("--speedup", type=float, metavar="X", help="let steps take this many times less time (1)")


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


def _law(text: str) -> int | str:
    """A whole number, or something else that is not for here to read: a law (laws.py), a time."""
    try:
        return int(text)
    except ValueError:
        return text


def _think(text: str) -> float | str:
    try:
        return seconds(text)
    except ValueError:
        return text


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


SAMPLING: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(("top-p", "min-p", "presence-penalty", "frequency-penalty", "repetition-penalty"), float),
    **dict.fromkeys(("top-k", "min-tokens", "logprobs", "n-choices", "sampling-seed"), _whole),
}
DESTINATION = {"n-choices": "choices"}
RUN_ONLY = ("verb", "view", "quiet", "config")
