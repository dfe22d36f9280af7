"""The flags of `loadstone run`, by group: the server, the prompts, the requests, the load, the results.

They carry the names that vLLM bench and EvalScope users know. What a value may be is checked by config.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from loadstone.cli.flag_types import (
    duration,
    header,
    json_object,
    number_or_text,
    seconds_or_text,
    whole_number,
    workers,
)
from loadstone.config.parse import parse_slo

_SAMPLING: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(("top-p", "min-p", "presence-penalty", "frequency-penalty", "repetition-penalty"), float),
    **dict.fromkeys(("top-k", "min-tokens", "logprobs", "n-choices", "sampling-seed"), whole_number),
}
_DESTINATION = {"n-choices": "choices"}
SUMMARY = "add it as Markdown to the job summary of GitHub Actions (the file that $GITHUB_STEP_SUMMARY names)"


def add(parser: argparse.ArgumentParser) -> None:
    """All flags of `run`."""
    for group in (_server, _timeouts, _prompts, _request, _load, _metrics, _results):
        group(parser)


def _server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
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
        "--model",
        help="model to ask for (default: the first that the server lists), a mix such as base=3,lora=1,"
        " or one of your own instead of a server: FILE.py:CLASS or dummy",
    )
    server.add_argument(
        "--batch-size", type=whole_number, metavar="N", help="prompts that a class of your own is given together (1)"
    )
    server.add_argument(
        "--provider",
        metavar="NAME",
        help="whose --url, --api-key-env and --api to take where not given (docs/own-models.md); or --model NAME/MODEL",
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
    server.add_argument(
        "--clock",
        choices=["auto", "kernel", "user"],
        help="who stamps arrivals: the kernel, this program, or auto (default): the kernel where it can",
    )
    server.add_argument("--header", action="append", type=header, metavar="'NAME: VALUE'", help="may be repeated")
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


def _timeouts(parser: argparse.ArgumentParser) -> None:
    times = parser.add_argument_group("timeouts (seconds, or 500ms, 2m)")
    times.add_argument("--connect-timeout", type=duration, metavar="T", help="to open a connection (30)")
    times.add_argument("--ttft-timeout", type=duration, metavar="T", help="from sending to the first output (none)")
    times.add_argument("--idle-timeout", type=duration, metavar="T", help="between two outputs (none)")
    times.add_argument("--timeout", type=duration, metavar="T", help="for a whole request (6h)")
    times.add_argument(
        "--retries", type=whole_number, metavar="N", help="attempts more for HTTP 429, 5xx and lost connections (0)"
    )
    times.add_argument("--retry-longest", type=duration, metavar="T", help="to wait for one of them at most (60)")


def _prompts(parser: argparse.ArgumentParser) -> None:
    prompts = parser.add_argument_group(
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
    prompts.add_argument("--skip", type=whole_number, metavar="N", help="pass over so many prompts, as used before (0)")
    prompts.add_argument(
        "--tokenizer", metavar="PATH", help="exact token lengths, and token counts where usage is missing"
    )
    prompts.add_argument(
        "--input-len",
        type=number_or_text,
        metavar="LEN",
        help="tokens of a made-up prompt (random: 1024); real text is cut or tiled",
    )
    prompts.add_argument(
        "--output-len", type=number_or_text, metavar="LEN", help="max_tokens of each request; random: 128"
    )
    prompts.add_argument("--range-ratio", type=float, metavar="R", help="lengths vary from L(1-R) to L(1+R) (0)")
    prompts.add_argument(
        "--prefix-len", type=number_or_text, metavar="LEN", help="tokens of a prefix that made-up prompts share"
    )
    prompts.add_argument("--prefix-count", type=whole_number, metavar="N", help="how many such prefixes there are")
    prompts.add_argument(
        "--system-len", type=number_or_text, metavar="LEN", help="tokens that all made-up prompts begin with"
    )
    prompts.add_argument("--turns", type=number_or_text, metavar="N", help="turns of a made-up conversation (1)")
    prompts.add_argument(
        "--think-time", type=seconds_or_text, metavar="T", help="between turns: 2s, or a law of seconds (0)"
    )
    prompts.add_argument(
        "--history",
        choices=["first", "recorded", "live"],
        help="of a recorded conversation: its first turn (default), the last with all before, or all with live answers",
    )
    prompts.add_argument("--scale-lengths", type=float, metavar="X", help="factor of all lengths of a trace (1)")
    prompts.add_argument("--min-input-len", type=whole_number, metavar="N", help="pass over shorter prompts")
    prompts.add_argument("--max-input-len", type=whole_number, metavar="N", help="pass over longer prompts")
    prompts.add_argument(
        "--max-total-len", type=whole_number, metavar="N", help="pass over what is longer with its answer"
    )


def _request(parser: argparse.ArgumentParser) -> None:
    request = parser.add_argument_group("requests")
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
    for name, kind in _SAMPLING.items():
        metavar = "N" if kind is whole_number else "X"
        request.add_argument(
            f"--{name}", dest=_DESTINATION.get(name), type=kind, metavar=metavar, help=f"{name} of sampling"
        )
    request.add_argument("--stop", nargs="+", metavar="TEXT", help="stop at these texts")
    request.add_argument(
        "--chat-template-kwargs", type=json_object, metavar="JSON", help="options of the chat template"
    )
    request.add_argument("--extra-body", type=json_object, metavar="JSON", help="fields added to every request")
    request.add_argument(
        "--apply-chat-template", action="store_true", help="put --tokenizer's chat template around texts"
    )
    request.add_argument("--tokenize-prompt", action="store_true", help="send --tokenizer's token ids, not text")
    request.add_argument("--cancel-share", type=float, metavar="SHARE", help="requests that the client takes back (0)")
    request.add_argument("--cancel-after", type=duration, metavar="T", help="and when, after sending")


def _load(parser: argparse.ArgumentParser) -> None:
    load = parser.add_argument_group("load")
    load.add_argument(
        "-c",
        "--concurrency",
        type=whole_number,
        metavar="N",
        help="requests or conversations in flight (8); else a cap (none)",
    )
    load.add_argument("--rate", type=float, metavar="R", help="requests a second, sent when due whatever comes back")
    load.add_argument("--rpm", type=float, metavar="N", help="requests a minute at most, whatever else the load is")
    load.add_argument("--tpm", type=float, metavar="N", help="tokens a minute at most, of prompts and answers")
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
    load.add_argument("--from", dest="trace_from", type=duration, metavar="T", help="begin so far into the trace")
    load.add_argument("--to", dest="trace_to", type=duration, metavar="T", help="and end there")
    load.add_argument(
        "-n",
        "--requests",
        type=whole_number,
        metavar="N",
        help="measured requests or conversations (100, or as time allows)",
    )
    load.add_argument("--duration", type=duration, metavar="T", help="stop sending after this long")
    load.add_argument("--grace", type=duration, metavar="T", help="time to finish after an end by time or Ctrl-C (30)")
    load.add_argument(
        "--warmup", type=number_or_text, metavar="N|T", help="requests, or seconds (10s), before the measured ones (0)"
    )
    load.add_argument(
        "--cooldown", type=number_or_text, metavar="N|T", help="requests, or seconds, behind the measured ones (0)"
    )
    load.add_argument(
        "--stop-error-rate", type=float, metavar="SHARE", help="stop when more of the last 50 requests fail"
    )
    load.add_argument(
        "--stop-saturated", action="store_true", help="stop when in-flight requests and TTFT both keep rising"
    )
    load.add_argument(
        "--workers", type=workers, metavar="N|auto", help="processes to share the load (auto: as many as it needs)"
    )
    load.add_argument("--seed", type=whole_number, metavar="N", help="of arrivals, order and made-up prompts (0)")


def _metrics(parser: argparse.ArgumentParser) -> None:
    metrics = parser.add_argument_group("metrics of the server (docs/server-metrics.md)")
    places = metrics.add_mutually_exclusive_group()
    places.add_argument(
        "--scrape", action="append", metavar="URL", help="its Prometheus page; again for more (default: its /metrics)"
    )
    places.add_argument("--no-scrape", dest="scrape", action="store_false", help="do not ask for them")
    metrics.add_argument("--scrape-every", type=duration, metavar="T", help="how often to ask (1s)")
    metrics.add_argument("--scrape-name", metavar="REGEX", help="keep series with such names too")
    metrics.add_argument("--scrape-all", action="store_true", help="keep all series that the page has")


def _results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("results")
    results.add_argument(
        "--goodput",
        nargs="+",
        type=parse_slo,
        metavar="METRIC:TIME",
        help="objectives such as ttft:200ms tpot:50ms latency:5s",
    )
    results.add_argument("--max-error-rate", type=float, metavar="SHARE", help="exit status 1 above this (1)")
    results.add_argument("--save-text", action="store_true", help="keep the answers in the records")
    results.add_argument("--save-bodies", action="store_true", help="keep the request bodies, as bodies.jsonl")
    results.add_argument("--no-html", dest="html", action="store_false", help="leave out report.html (2 MB)")
    results.add_argument("-o", "--output", metavar="DIR", help="folder of the run (default: reports/TIME-LABEL)")
    results.add_argument("--label", help="name of the run")
    results.add_argument(
        "--as", dest="view", metavar="VIEW", help="text (default), classic, md, csv, json, html, junit"
    )
    results.add_argument("--summary", action="store_true", help=SUMMARY)
    results.add_argument("--junit", metavar="FILE", help="write what was checked to a new file as JUnit XML")
    results.add_argument("--quiet", action="store_true", help="no progress")
    results.add_argument(
        "--config", metavar="FILE", help="TOML file with these settings by their long names; flags win"
    )
