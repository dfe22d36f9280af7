"""The flags of `loadstone run`, by group: server, prompts, requests, load, results.

They have the names that users of vLLM bench and EvalScope know. Bounds and combinations are checked in config/.
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

# Sampling parameters that are sent as they are: the flag's name and the type of its value.
_SAMPLING: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(("top-p", "min-p", "presence-penalty", "frequency-penalty", "repetition-penalty"), float),
    **dict.fromkeys(("top-k", "min-tokens", "logprobs", "n-choices", "sampling-seed"), whole_number),
}
# Flags whose setting has another name: `n-choices` would read as a number of requests.
_DESTINATION = {"n-choices": "choices"}
# Help text of `--summary`, which several commands have.
SUMMARY = "add the report as Markdown to the job summary of GitHub Actions (the file in $GITHUB_STEP_SUMMARY)"


def add(parser: argparse.ArgumentParser) -> None:
    """Add all flags of `loadstone run` to a parser, group by group."""
    for group in (_server, _timeouts, _prompts, _request, _load, _metrics, _results):
        group(parser)


def _server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
    server.add_argument(
        "--url",
        action="append",
        help="server to test: http://HOST:PORT, https://... or unix:/PATH; repeat for several servers"
        " (default: start a simulated server)",
    )
    server.add_argument(
        "--balance",
        choices=["round-robin", "sticky"],
        help="how to use several --url: round-robin by request (default), or sticky by conversation",
    )
    server.add_argument(
        "--model",
        help="model to request (default: the first that the server lists), a mix such as base=3,lora=1,"
        " or a local model instead of a server: FILE.py:CLASS or dummy",
    )
    server.add_argument(
        "--batch-size", type=whole_number, metavar="N", help="prompts per call of a local model (default: 1)"
    )
    server.add_argument(
        "--provider",
        metavar="NAME",
        help="provider that supplies --url, --api-key-env and --api where they are not given (docs/providers.md);"
        " or use --model NAME/MODEL",
    )
    server.add_argument(
        "--api",
        help="protocol: chat (default), completions, responses, messages, embeddings, rerank, generate, tgi, ollama,"
        " template, or FILE.py:CLASS",
    )
    # Servers that speak no known protocol.
    server.add_argument(
        "--body-template",
        metavar="JSON|@FILE",
        help="request body for --api template; %%p is replaced by the prompt, %%m by the model",
    )
    server.add_argument(
        "--text-path", metavar="PATH", help="path of the text in a response, such as choices.0.delta.content"
    )
    server.add_argument("--usage-path", metavar="PATH", help="path of the token counts in a response, such as usage")
    # How the client sends and takes its timestamps.
    server.add_argument(
        "--transport", choices=["wire", "aiohttp"], help="HTTP client: wire (default), or aiohttp, which uses proxies"
    )
    server.add_argument(
        "--clock",
        choices=["auto", "kernel", "user"],
        help="source of arrival timestamps: kernel, user (this process), or auto (default): kernel where available",
    )
    _authentication(server)


def _authentication(group: argparse._ArgumentGroup) -> None:
    # What identifies the client and the server to each other.
    group.add_argument(
        "--header", action="append", type=header, metavar="'NAME: VALUE'", help="HTTP header to send; repeatable"
    )
    group.add_argument(
        "--request-id",
        nargs="?",
        const="",
        metavar="PREFIX",
        help="send and record an X-Request-Id: PREFIX and a number (default prefix: generated for the run)",
    )
    group.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the API key (default: OPENAI_API_KEY)"
    )
    group.add_argument("--insecure", action="store_true", help="do not verify TLS certificates")
    group.add_argument("--ca-file", metavar="FILE", help="PEM file of a certificate authority to trust")


def _timeouts(parser: argparse.ArgumentParser) -> None:
    times = parser.add_argument_group("timeouts (seconds, or 500ms, 2m)")
    times.add_argument(
        "--connect-timeout", type=duration, metavar="T", help="longest time to open a connection (default: 30)"
    )
    times.add_argument(
        "--ttft-timeout", type=duration, metavar="T", help="longest time to the first output (default: none)"
    )
    times.add_argument(
        "--idle-timeout", type=duration, metavar="T", help="longest time between two outputs (default: none)"
    )
    times.add_argument("--timeout", type=duration, metavar="T", help="longest time for a whole request (default: 6h)")
    times.add_argument(
        "--retries",
        type=whole_number,
        metavar="N",
        help="retries of a request after HTTP 429, 5xx or a lost connection (default: 0)",
    )
    times.add_argument(
        "--retry-longest", type=duration, metavar="T", help="longest wait before one retry (default: 60)"
    )


def _prompts(parser: argparse.ArgumentParser) -> None:
    prompts = parser.add_argument_group(
        "prompts (docs/workloads.md; LEN is a number or a distribution such as normal(512,128,max=2048))"
    )
    prompts.add_argument(
        "--dataset",
        help="source of prompts: a file (- is stdin), FORMAT:FILE, hf:NAME, a bundled dataset, or a generator"
        " (default: chat-small)",
    )
    prompts.add_argument(
        "--prompt-field", metavar="NAME", help="field that holds the prompt (default: prompt, question, text, input)"
    )
    prompts.add_argument("--shuffle", action="store_true", help="shuffle the prompts by --seed (default: file order)")
    prompts.add_argument(
        "--skip", type=whole_number, metavar="N", help="skip the first N prompts, for example used ones (default: 0)"
    )
    # Lengths: exact only with a tokenizer.
    prompts.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="tokenizer for exact token lengths, and for token counts where the server reports no usage",
    )
    prompts.add_argument(
        "--input-len",
        type=number_or_text,
        metavar="LEN",
        help="tokens of each prompt: generated prompts are made this long (random: 1024), texts are cut or repeated",
    )
    prompts.add_argument(
        "--output-len", type=number_or_text, metavar="LEN", help="max_tokens of each request (random: 128)"
    )
    prompts.add_argument(
        "--range-ratio", type=float, metavar="R", help="vary lengths from L(1-R) to L(1+R) (default: 0)"
    )
    # Prefixes that generated prompts share, to fill a prefix cache.
    prompts.add_argument(
        "--prefix-len", type=number_or_text, metavar="LEN", help="tokens of the prefix that generated prompts share"
    )
    prompts.add_argument("--prefix-count", type=whole_number, metavar="N", help="number of different prefixes")
    prompts.add_argument(
        "--system-len",
        type=number_or_text,
        metavar="LEN",
        help="tokens of the system prompt that all generated prompts begin with",
    )
    _turns_and_limits(prompts)


def _turns_and_limits(group: argparse._ArgumentGroup) -> None:
    # Conversations, recorded or generated.
    group.add_argument(
        "--turns", type=number_or_text, metavar="N", help="turns of a generated conversation (default: 1)"
    )
    group.add_argument(
        "--think-time",
        type=seconds_or_text,
        metavar="T",
        help="pause between turns: a time such as 2s, or a distribution of seconds (default: 0)",
    )
    group.add_argument(
        "--history",
        choices=["first", "recorded", "live"],
        help="turns of a recorded conversation to send: the first (default), the last with its recorded history,"
        " or all of them with live answers",
    )
    group.add_argument(
        "--scale-lengths", type=float, metavar="X", help="factor for all lengths of a trace (default: 1)"
    )
    # Limits of length: prompts beyond them are skipped.
    group.add_argument("--min-input-len", type=whole_number, metavar="N", help="skip prompts with fewer tokens than N")
    group.add_argument("--max-input-len", type=whole_number, metavar="N", help="skip prompts with more tokens than N")
    group.add_argument(
        "--max-total-len",
        type=whole_number,
        metavar="N",
        help="skip prompts that have more tokens than N together with their answer",
    )


def _request(parser: argparse.ArgumentParser) -> None:
    request = parser.add_argument_group("requests")
    request.add_argument("--no-stream", dest="stream", action="store_false", help="request unstreamed responses")
    request.add_argument(
        "--usage",
        choices=["final", "each", "off"],
        help="token counts to request: at the end of a stream (default), with each event, or none",
    )
    request.add_argument(
        "--ignore-eos", action="store_true", help="generate --output-len tokens even if the model would stop earlier"
    )
    request.add_argument(
        "--match-output-length", action="store_true", help="generate exactly as many tokens as recorded or given"
    )
    # Sampling.
    request.add_argument("--temperature", type=float, metavar="T", help="sampling temperature (default: the server's)")
    for name, kind in _SAMPLING.items():
        metavar = "N" if kind is whole_number else "X"
        request.add_argument(
            f"--{name}",
            dest=_DESTINATION.get(name),
            type=kind,
            metavar=metavar,
            help=f"sampling parameter {name} (default: the server's)",
        )
    request.add_argument("--stop", nargs="+", metavar="TEXT", help="texts at which generation stops")
    request.add_argument(
        "--chat-template-kwargs", type=json_object, metavar="JSON", help="arguments for the chat template"
    )
    request.add_argument("--extra-body", type=json_object, metavar="JSON", help="fields to add to every request body")
    request.add_argument(
        "--apply-chat-template", action="store_true", help="apply the chat template of --tokenizer to the prompts"
    )
    request.add_argument(
        "--tokenize-prompt", action="store_true", help="send token ids from --tokenizer instead of text"
    )
    # Clients that give up.
    request.add_argument(
        "--cancel-share", type=float, metavar="SHARE", help="fraction of requests that the client cancels (default: 0)"
    )
    request.add_argument(
        "--cancel-after", type=duration, metavar="T", help="time from sending a request to cancelling it"
    )


def _load(parser: argparse.ArgumentParser) -> None:
    load = parser.add_argument_group("load")
    load.add_argument(
        "-c",
        "--concurrency",
        type=whole_number,
        metavar="N",
        help="requests or conversations in flight (default: 8); with --rate, their maximum (default: none)",
    )
    load.add_argument(
        "--rate", type=float, metavar="R", help="requests per second, sent on schedule whether or not responses arrive"
    )
    load.add_argument("--rpm", type=float, metavar="N", help="maximum requests per minute, for any kind of load")
    load.add_argument("--tpm", type=float, metavar="N", help="maximum tokens per minute, of prompts and answers")
    # Arrivals of an open loop.
    load.add_argument(
        "--arrivals", help="arrival process: constant, poisson (default), gamma, or replay (default for a trace)"
    )
    load.add_argument(
        "--burstiness",
        type=float,
        metavar="G",
        help="shape of gamma arrivals: below 1 is bursty, 1 is poisson, above 1 is more even",
    )
    load.add_argument(
        "--no-rescale",
        dest="rescale",
        action="store_false",
        help="do not rescale random arrivals so that their number meets the rate",
    )
    load.add_argument(
        "--stages",
        metavar="LIST",
        help="load over time: 30s@2,60s@2..16 (rates, with a ramp) or 30s@c4,60s@c4..c64exp (concurrencies)",
    )
    # Replay of a trace.
    load.add_argument("--speed", type=float, metavar="X", help="replay a trace X times as fast (default: 1)")
    load.add_argument(
        "--from", dest="trace_from", type=duration, metavar="T", help="start of the window of the trace to replay"
    )
    load.add_argument(
        "--to", dest="trace_to", type=duration, metavar="T", help="end of the window of the trace to replay"
    )
    _amount(load)


def _amount(group: argparse._ArgumentGroup) -> None:
    # How much is sent, and what part of it is measured.
    group.add_argument(
        "-n",
        "--requests",
        type=whole_number,
        metavar="N",
        help="requests or conversations to measure (default: 100, or as many as --duration allows)",
    )
    group.add_argument("--duration", type=duration, metavar="T", help="stop sending after this time")
    group.add_argument(
        "--grace",
        type=duration,
        metavar="T",
        help="time for requests in flight to finish after --duration or Ctrl-C (default: 30)",
    )
    group.add_argument(
        "--warmup",
        type=number_or_text,
        metavar="N|T",
        help="requests, or a time such as 10s, before the measurement (default: 0)",
    )
    group.add_argument(
        "--cooldown",
        type=number_or_text,
        metavar="N|T",
        help="requests, or a time, after the measurement (default: 0)",
    )
    # Early ends: the rest of a run that fails is of no use.
    group.add_argument(
        "--stop-error-rate",
        type=float,
        metavar="SHARE",
        help="stop if a larger fraction of the last 50 requests fails",
    )
    group.add_argument(
        "--stop-saturated", action="store_true", help="stop if requests in flight and TTFT both keep rising"
    )
    group.add_argument(
        "--workers", type=workers, metavar="N|auto", help="processes that send the load (auto: as many as it needs)"
    )
    group.add_argument(
        "--seed", type=whole_number, metavar="N", help="seed of arrivals, order and generated prompts (default: 0)"
    )


def _metrics(parser: argparse.ArgumentParser) -> None:
    metrics = parser.add_argument_group("server metrics (docs/server-metrics.md)")
    pages = metrics.add_mutually_exclusive_group()
    pages.add_argument(
        "--scrape",
        action="append",
        metavar="URL",
        help="Prometheus page of the server; repeat for several pages (default: /metrics of the server)",
    )
    pages.add_argument("--no-scrape", dest="scrape", action="store_false", help="do not read server metrics")
    metrics.add_argument(
        "--scrape-every", type=duration, metavar="T", help="interval between two scrapes (default: 1s)"
    )
    metrics.add_argument("--scrape-name", metavar="REGEX", help="also keep series whose names match")
    metrics.add_argument("--scrape-all", action="store_true", help="keep all series of the page")


def _results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("results")
    results.add_argument(
        "--goodput",
        nargs="+",
        metavar="TERMS",
        help="objectives that a good request meets, such as 'ttft<200ms, tpot<50ms' or ttft:200ms tpot:50ms",
    )
    results.add_argument(
        "--max-error-rate",
        type=float,
        metavar="SHARE",
        help="exit with status 1 if a larger fraction of requests fails (default: 1)",
    )
    results.add_argument("--save-text", action="store_true", help="save the answers in the records")
    results.add_argument("--save-bodies", action="store_true", help="save the request bodies in bodies.jsonl")
    results.add_argument("--no-html", dest="html", action="store_false", help="do not write report.html (2 MB)")
    results.add_argument("-o", "--output", metavar="DIR", help="folder of the run (default: reports/TIME-LABEL)")
    results.add_argument("--label", help="name of the run")
    results.add_argument(
        "--as",
        dest="view",
        metavar="VIEW",
        help="format of the report: text (default), classic, md, csv, json, html, junit",
    )
    results.add_argument("--summary", action="store_true", help=SUMMARY)
    results.add_argument("--junit", metavar="FILE", help="write the checks to a new file as JUnit XML")
    results.add_argument("--quiet", action="store_true", help="show no progress")
    results.add_argument(
        "--config", metavar="FILE", help="TOML file with these settings by their long names; flags take precedence"
    )
