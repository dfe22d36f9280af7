"""Plant faults of servers, networks and clients, and see that a run names each with its right kind.

By hand: `python tests/bench/faults.py [WORDS IN NAMES ...]`; some four minutes on two cores. Each fault has a short run
of its own against a server on the loopback interface. Clean runs of different shapes come last: nothing may be flagged
in them. Doubts about this machine's own lag do not count there, as it may be busy. Exit status 1 if a fault is missed.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import trustme

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import faulty_servers as servers
from fault_runs import (
    FOLDER,
    PATIENCE,
    POSTS,
    Fault,
    Seen,
    both,
    doubts,
    environment,
    every_request_recorded,
    fails,
    figure,
    meet,
    no_key,
    refuses,
    run_command,
    unharmed,
)

from loadstone.engine.run_folder import load_run
from support.scripted_api import DONE, Handler, answer, event, serving, stream, tokens, usage
from support.scripted_server import Peer, Received, response

# Ports on which nothing listens.
CLOSED, NO_PROXY_THERE = 18999, 18998

# Servers


def scripted(handler: Handler) -> Callable[[], AbstractContextManager[str]]:
    return lambda: serving(counting(handler))


def counting(handler: Handler) -> Handler:
    async def count(peer: Peer, request: Received, number: int) -> None:
        POSTS[0] += 1
        await handler(peer, request, number)

    return count


def simulated(*flags: object) -> Callable[[], AbstractContextManager[str]]:
    @contextlib.contextmanager
    def serve() -> Iterator[str]:
        command = [sys.executable, "-m", "loadstone", "serve", "--port", "0", *map(str, flags)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip()
            finally:
                process.terminate()

    return serve


SIM = simulated("--ttft", "20ms", "--itl", "5ms")


@contextlib.contextmanager
def dying() -> Iterator[str]:
    """A server that is killed after a while."""
    with simulated("--ttft", "20ms", "--itl", "2ms")() as url, contextlib.suppress(ProcessLookupError):
        pid = port_owner(int(url.rpartition(":")[2]))
        timer = threading.Timer(1.8, os.kill, (pid, signal.SIGKILL))
        timer.start()
        yield url
        timer.cancel()


def port_owner(port: int) -> int:
    """Return the process of ours that listens on a port."""
    for child in children(os.getpid()):
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"serve" in command:
            return child
    raise ProcessLookupError(port)


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    direct = children(pid)
    return [*direct, *(each for child in direct for each in descendants(child))]


def tls(**options: Any) -> Callable[[], AbstractContextManager[str]]:
    @contextlib.contextmanager
    def serve() -> Iterator[str]:
        import ssl

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1", "localhost", **options).configure_cert(context)
        with serving(servers.good, tls=context) as url:
            yield url

    return serve


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """A port whose queue of connections is full."""
    with socket.socket() as server, contextlib.ExitStack() as held:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        time.sleep(0.1)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def as_https() -> Iterator[str]:
    with SIM() as url:
        yield url.replace("http:", "https:")


@contextlib.contextmanager
def serving_unauthorized() -> Iterator[str]:
    from support.scripted_api import serving_script

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(response(b'{"error": {"message": "Unauthorized"}}', "401 Unauthorized"))

    with serving_script(script) as url:
        yield url


@contextlib.contextmanager
def jittery() -> Iterator[str]:
    """A path with 0 to 5 ms of delay for each piece."""

    async def handler(peer: Peer, _: Received, number: int) -> None:
        await stream(peer, answer(), 0.002 + (number * 7 % 6) / 1e3)

    with serving(handler) as url:
        yield url


@contextlib.contextmanager
def with_metrics(handler: Callable[[int], bytes | None]) -> Iterator[str]:
    """A server with a page of metrics, which depends on the number of the scrape; None: it closes the connection."""
    from support.scripted_api import MODELS, serving_script

    scrapes = iter(range(10**9))

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.line.startswith("GET /metrics"):
                page = handler(next(scrapes))
                if page is None:
                    return peer.close()
                await peer.send(response(page, "200 OK", b"Content-Type: text/plain; version=0.0.4"))
            elif request.line.startswith("GET"):
                await peer.send(MODELS)
            else:
                await stream(peer, answer(), 0.02)

    with serving_script(script) as url:
        yield url


PAGE = (
    b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="m"} %b\n'
    b'# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{model_name="m"} %b\n'
)


# What happens while the run goes on


def after(seconds: float, act: Callable[[subprocess.Popen[str]], None]) -> Callable[[subprocess.Popen[str]], None]:
    def wait(process: subprocess.Popen[str]) -> None:
        time.sleep(seconds)
        if process.poll() is None:
            act(process)

    return wait


def kill_child(words: bytes) -> Callable[[subprocess.Popen[str]], None]:
    """Kill the process of the run whose command has these words."""

    def kill(process: subprocess.Popen[str]) -> None:
        for pid in descendants(process.pid):
            with contextlib.suppress(OSError):
                if words in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    return

    return kill


def other_client(process: subprocess.Popen[str]) -> None:
    """Send requests of our own to the same server."""
    import urllib.request

    url = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"--url\0")[1].split(b"\0")[0].decode()
    body = json.dumps({"model": "sim", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}).encode()
    for _ in range(20):
        request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=5).read()


@contextlib.contextmanager
def burners(core: int, count: int = 4) -> Iterator[None]:
    command = ["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def starved() -> Iterator[str]:
    with simulated("--ttft", "50ms", "--itl", "5ms")() as url, burners(max(os.sched_getaffinity(0))):
        yield url


def prefix_cache(seen: Seen) -> bool:
    """The second of two runs says that its prompts were in the cache, and `compare` does not call it better."""
    first, second = seen.folder.with_name("first"), seen.folder
    compared = subprocess.run(
        [sys.executable, "-m", "loadstone", "compare", str(first), str(second), "--force"],
        capture_output=True, text=True, check=False, env=environment(),
    ).stdout  # fmt: skip
    verdict = seen.summary.verdict
    texts = [f"{doubt.what} {doubt.measured} {doubt.advice}" for doubt in verdict.doubts] if verdict else []
    head = "\n".join(compared.splitlines()[:4])
    return any("cache" in text for text in texts) and "cache" in head and "is better" not in head


@contextlib.contextmanager
def warmed() -> Iterator[str]:
    """A server that has answered the same prompts before."""
    with simulated("--engine", "vllm", "--preset", "h100-8b", "--speedup", 4)() as url:
        command = run_command(url, Path(FOLDER[0]) / "first", WARM, 40, 4)
        subprocess.run(command, capture_output=True, check=False, env=environment(), timeout=PATIENCE)
        yield url


WARM = ("--dataset", "random", "--input-len", 2048, "--output-len", 8)
FEW = servers.sometimes
NO_SCRAPE = ("--no-scrape",)

SERVER = [
    Fault("http 500 with words", "status, words, exit 1, error rate invalid",
          both(fails("status", "500", "CUDA out of memory"), doubts("error rate", severity="invalid"),
               lambda seen: seen.status == 1),
          scripted(FEW(servers.refuses("500 Internal Server Error", {"error": {"message": "CUDA out of memory"}})))),
    Fault("http 429", "status, words", fails("status", "429", "slow down"),
          scripted(FEW(servers.refuses("429 Too Many Requests", {"message": "slow down"}, b"Retry-After: 1")))),
    Fault("http 503 as text", "status, words", fails("status", "503", "no healthy upstream"),
          scripted(FEW(servers.refuses("503 Service Unavailable", "no healthy upstream")))),
    Fault("key refused", "refused, names the variable", refuses("OPENAI_API_KEY"),
          serving_unauthorized),
    Fault("refused parameter", "max_completion_tokens is named or sent",
          lambda seen: "max_completion_tokens" in seen.said, scripted(servers.wants_new_field),
          ("--output-len", 8), requests=5),
    Fault("path not found", "address that was asked",
          lambda seen: "/v1/chat/completions" in seen.said + seen.named() and "404" in seen.said + seen.named(),
          scripted(servers.refuses("404 Not Found", {"detail": "Not Found"}))),
    Fault("redirect", "target", lambda seen: "https://elsewhere.example/v1" in seen.said + seen.named(),
          scripted(servers.refuses("307 Temporary Redirect", "", b"Location: https://elsewhere.example/v1"))),
    Fault("sign-in page", "protocol, text/html", fails("protocol", "text/html", "sign in"),
          scripted(FEW(servers.raw(servers.HTML)))),
    Fault("gzip body", "protocol, gzip", fails("protocol", "gzip"), scripted(FEW(servers.raw(servers.GZIP)))),
    Fault("error in stream", "server, words", fails("server", "CUDA out of memory"),
          scripted(FEW(servers.events([event(content="a"),
                                       b'data: {"error": {"message": "CUDA out of memory"}}\n\n'])))),
    Fault("event: error", "server, words", fails("server", "engine shut down"),
          scripted(FEW(servers.events([event(content="a"),
                                       b'event: error\ndata: {"message": "engine shut down", "code": 500}\n\n'])))),
    Fault("detail in stream", "server, words", fails("server", "worker lost"),
          scripted(FEW(servers.events([b'data: {"detail": "worker lost"}\n\n'])))),
    Fault("finish reason abort", "server", fails("server", "abort"),
          scripted(FEW(servers.events([event(content="a"), event(finish="abort"), event(usage=usage(1)), DONE])))),
    Fault("sglang abort", "server, words", fails("server", "KV cache full"),
          scripted(servers.events([b"data: " + json.dumps(servers.SGLANG_ABORT).encode() + b"\n\n", DONE])),
          ("--api", "generate"), requests=10),
    Fault("stream without end", "truncated", fails("truncated"),
          scripted(FEW(servers.events([event(role="assistant"), *tokens(3)])))),
    Fault("closed mid-stream", "truncated", fails("truncated"), scripted(FEW(servers.cut))),
    Fault("reset mid-stream", "truncated", fails("truncated", "reset"), scripted(FEW(servers.resets))),
    Fault("empty stream", "empty", fails("empty"), scripted(FEW(servers.events([DONE])))),
    Fault("stall mid-stream", "timeout", fails("timeout", "--idle-timeout", count=4),
          scripted(FEW(servers.stalls)), ("--idle-timeout", "0.3"), requests=12),
    Fault("malformed event", "protocol", fails("protocol"), scripted(FEW(servers.events([event(content="a"),
          b'data: {"choices": [{"delta": {"content": "b}\n\n'])))),
    Fault("not UTF-8", "protocol", fails("protocol"),
          scripted(FEW(servers.events([b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'])))),
    Fault("dropped after work", "connect, never sent twice",
          both(fails("connect"), every_request_recorded), scripted(FEW(servers.vanishes(0.2)))),
    Fault("closed on reuse", "resent requests; every request accounted for",
          both(doubts("resent requests"), lambda seen: seen.summary.counts.by_error.get("connect", 0) <= 3),
          scripted(servers.closes_on_reuse), ("--clock", "user"), concurrency=1),
    Fault("stale bytes", "no answer is one that nobody asked for",
          lambda seen: all("stale" not in (record.text or "") for record in seen.records),
          scripted(servers.stale), ("--save-text", "--clock", "user", "--rate", 10, "--arrivals", "constant"),
          concurrency=0),
    Fault("no last chunk", "answers without an end, latency without the wait",
          both(doubts("answers without an end"), figure("latency", 0.0, 0.5)), scripted(servers.endless),
          requests=24, concurrency=8),
    Fault("huge head", "protocol", fails("protocol", "head", count=4), scripted(FEW(servers.raw(servers.HUGE_HEAD))),
          requests=12),
    Fault("huge error body", "status, short message",
          both(fails("status", "500"), lambda seen: (seen.folder / "records.jsonl").stat().st_size < 100_000),
          scripted(FEW(servers.refuses("500 Internal Server Error", "x" * 20_000_000)))),
    Fault("wrong chunk sizes", "protocol", fails("protocol"), scripted(FEW(servers.raw(servers.WRONG_CHUNKS)))),
    Fault("two Content-Lengths", "protocol", fails("protocol"), scripted(FEW(servers.raw(servers.TWO_LENGTHS)))),
    Fault("usage of 0 tokens", "reported tokens", both(doubts("reported tokens"), figure("output_tokens", None)),
          scripted(servers.counted(0, 0))),
    Fault("negative usage", "reported tokens", both(doubts("reported tokens"), figure("output_tokens", None)),
          scripted(servers.counted(-8))),
    Fault("absurd usage", "reported tokens", both(doubts("reported tokens"), figure("output_tokens", None)),
          scripted(servers.counted(10**15))),
    Fault("doubled usage", "tokens against events", doubts("tokens against events"),
          scripted(lambda peer, request, number: servers.counted(2 * (8 + number % 5), count=8 + number % 5)(
              peer, request, number))),
    Fault("halved usage", "tokens against events", doubts("tokens against events"), scripted(servers.counted(4))),
    Fault("no usage", "tokens unknown, --tokenizer is named",
          lambda seen: seen.summary.rates["output_throughput"] is None and "--tokenizer" in seen.said,
          scripted(servers.events([*answer()[:-2], DONE]))),
    Fault("hidden reasoning", "TPOT of what came", figure("tpot", 0.008, 0.03), scripted(servers.hidden)),
    Fault("nothing but reasoning", "no answer, length",
          lambda seen: seen.summary.counts.finishes == {"length": 30} and "reasoning" in seen.said,
          scripted(servers.events(servers.REASONING_ONLY))),
    Fault("buffered stream", "buffered answers, no TPOT", both(doubts("buffered answers"), figure("tpot", None)),
          scripted(servers.bundled)),
    Fault("content filter", "counted", lambda seen: seen.summary.counts.finishes.get("content_filter") == 10,
          scripted(FEW(servers.events([event(content="a"), event(finish="content_filter"), event(usage=usage(1)),
                                       DONE])))),
    Fault("prompt too long", "status, words", fails("status", "400", "maximum context length"),
          scripted(FEW(servers.context))),
    Fault("lone surrogates", "a row for each",
          both(fails("status", "500"), lambda seen: len(seen.records) == 30),
          scripted(FEW(servers.raw(response(b'{"error": {"message": "\\ud800 \\u0000 \\u202e"}}', "500 Oops"))))),
    Fault("key echoed", "the key is nowhere", both(no_key, fails("status", "403", count=30)),
          scripted(servers.echoes)),
    Fault("warm prefix cache", "a doubt and compare name the cache", prefix_cache, warmed, WARM, requests=40,
          scraped=True),
    Fault("saturated", "saturated", doubts("saturated"),
          simulated("--engine", "vllm", "--preset", "h100-8b", "--max-num-seqs", 4),
          ("--rate", 40, "--duration", 6, "--output-len", 100, "--grace", 3), requests=0, concurrency=0, scraped=True),
    Fault("dead in mid-run", "connect, exit 1, error rate invalid",
          both(doubts("error rate", severity="invalid"), lambda seen: seen.status == 1 and
               "connect" in seen.summary.counts.by_error), dying, ("--output-len", 10), requests=300),
    Fault("slow first requests", "warm-up", doubts("warm-up"), scripted(servers.slow_start), requests=300,
          concurrency=8),
    Fault("ignores ignore_eos", "output length", doubts("output length"), scripted(servers.good),
          ("--output-len", 20, "--ignore-eos")),
    Fault("metrics of NaN", "the run is not harmed", unharmed,
          lambda: with_metrics(lambda number: PAGE % (b"NaN", b"9" * 400)), (), requests=40, scraped=True),
    Fault("metrics gone", "missed scrapes are counted, with a remark",
          lambda seen: bool(seen.summary.server and seen.summary.server.sources[0].missed
                            and seen.summary.server.remarks),
          lambda: with_metrics(lambda number: PAGE % (b"3", b"0.5") if number < 2 else None),
          ("--scrape-every", "200ms"), requests=60, scraped=True),
    Fault("other traffic", "other traffic", doubts("other traffic"), simulated("--ttft", "20ms", "--itl", "5ms"),
          ("--output-len", 10), also=after(1.3, other_client), requests=100, scraped=True),
]  # fmt: skip

NETWORK = [
    Fault("connection refused", "refused, address", refuses(f"127.0.0.1:{CLOSED}"), None,
          ("--url", f"http://127.0.0.1:{CLOSED}")),
    Fault("no such host", "refused, does not resolve", refuses("server.invalid", "resolve"), None,
          ("--url", "http://server.invalid:8000")),
    Fault("connection times out", "refused, --connect-timeout", refuses("--connect-timeout"), deaf,
          ("--connect-timeout", 0.5)),
    Fault("https to a plain server", "refused, TLS", refuses("TLS", "http://"), as_https),
    Fault("unknown certificate", "refused, --ca-file", refuses("TLS", "--ca-file"), tls()),
    Fault("expired certificate", "refused, expired", refuses("TLS"),
          tls(not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))),
    Fault("dead proxy", "refused, proxy", refuses("proxy", f"127.0.0.1:{NO_PROXY_THERE}"), None,
          ("--url", "http://server.example:8000", "--transport", "aiohttp"),
          environment={"HTTP_PROXY": f"http://127.0.0.1:{NO_PROXY_THERE}"}),
    Fault("proxy that is not used", "a notice names it", lambda seen: "HTTP_PROXY" in seen.said, None,
          ("--url", "http://server.invalid:8000"),
          environment={"HTTP_PROXY": f"http://127.0.0.1:{NO_PROXY_THERE}"}),
]  # fmt: skip

CLIENT_FAULTS = [
    Fault("too few open files", "open files", doubts("open files", severity="invalid"), simulated("--ttft", "300ms"),
          ("--output-len", 2), wrap=("sh", "-c", 'ulimit -n 80; exec "$@"', "sh"), requests=200, concurrency=100),
    Fault("starved of CPU", "a doubt about the client", doubts("wait for a core", "event-loop lag", "send lag"),
          starved, ("--output-len", 20), wrap=("taskset", "-c", str(max(os.sched_getaffinity(0)))), requests=60,
          concurrency=8),
    Fault("loop stalls", "event-loop lag or longest stall", doubts("event-loop lag", "longest stall"),
          simulated("--ttft", "50ms", "--itl", "5ms"), ("--output-len", 20, "--api", "blocking.py:Blocking"),
          requests=60),
    Fault("late sends", "send lag", doubts("send lag"), simulated("--ttft", "50ms", "--itl", "5ms"),
          ("--output-len", 5, "--api", "blocking.py:Blocking", "--rate", 50), requests=150, concurrency=0),
    Fault("scraper killed", "lost scrapes are doubted",
          lambda seen: any("scrape" in what or "metrics" in what for what in seen.doubts),
          simulated("--ttft", "50ms", "--itl", "5ms"), ("--output-len", 20, "--scrape-every", "200ms"),
          also=after(1.6, kill_child(b"scraper")), requests=80, scraped=True),
    Fault("worker killed", "lost workers", doubts("lost workers", severity="invalid"),
          simulated("--ttft", "50ms", "--itl", "5ms"), ("--output-len", 50, "--workers", 2),
          also=after(2.0, kill_child(b"worker_main")), requests=400, concurrency=8),
    Fault("disk full", "ended by write, exit 1", lambda seen: seen.status in (1, 2) and "Traceback" not in seen.said
          and load_run(seen.folder).ended in (None, "write") and len(seen.said.strip()) > 0,
          scripted(servers.good), wrap=("sh", "-c", 'ulimit -f 40; exec "$@"', "sh"), requests=100),
    Fault("client killed", "no end", doubts("no end"), simulated("--ttft", "50ms", "--itl", "5ms"),
          ("--output-len", 50), also=after(2.0, lambda process: process.kill()), requests=200),
    Fault("interrupted", "ended early", doubts("ended early"), simulated("--ttft", "50ms", "--itl", "5ms"),
          ("--output-len", 50, "--grace", 1), also=after(2.0, lambda process: process.send_signal(signal.SIGINT)),
          requests=400),
    Fault("terminal closed", "ended early, report written", doubts("ended early"),
          simulated("--ttft", "50ms", "--itl", "5ms"), ("--output-len", 50, "--grace", 1),
          also=after(2.0, lambda process: process.send_signal(signal.SIGHUP)), requests=400),
]  # fmt: skip

TOOL = [
    event(role="assistant", tool_calls=[{"index": 0, "id": "c", "type": "function",
                                         "function": {"name": "f", "arguments": ""}}]),
    *(event(tool_calls=[{"index": 0, "function": {"arguments": part}}]) for part in ('{"a"', ": 1", "}")),
    event(finish="tool_calls"), event(usage=usage(4)), DONE,
]  # fmt: skip
THINKING = [event(role="assistant"), *tokens(6, "reasoning_content"), *tokens(6), event(finish="stop"),
            event(usage=usage(12)), DONE]  # fmt: skip


def clean(name: str, serve: Callable[[], AbstractContextManager[str]], *flags: object, requests: int = 60) -> Fault:
    return Fault(name, "nothing", unharmed, serve, flags, requests=requests, clean=True, scraped=True)


CLEAN = [
    clean("plain chat", scripted(servers.good)),
    clean("reasoning", scripted(servers.events(THINKING, 0.004))),
    clean("tool calls", scripted(servers.events(TOOL, 0.004))),
    clean("completions", SIM, "--api", "completions", "--output-len", 20),
    clean("responses", SIM, "--api", "responses", "--output-len", 20),
    clean("messages", SIM, "--api", "messages", "--output-len", 20),
    clean("not streamed", SIM, "--no-stream", "--output-len", 20),
    clean("jitter", jittery),
    clean("other transport", SIM, "--transport", "aiohttp", "--output-len", 20),
    clean("several tokens an event", simulated("--ttft", "20ms", "--itl", "5ms", "--tokens-per-chunk", 4),
          "--output-len", 40),
    clean("two processes", SIM, "--workers", 2, "--output-len", 20),
    clean("open loop", SIM, "--rate", 20, "--output-len", 20),
    clean("raw and metadata", SIM, "--export-raw", "all", "--metadata", "a=b", "--output-len", 20),
]  # fmt: skip


def main() -> int:
    words = sys.argv[1:]
    faults = [fault for fault in (*SERVER, *NETWORK, *CLIENT_FAULTS, *CLEAN)
              if not words or any(word in fault.name for word in words)]  # fmt: skip
    missed = Counter[bool]()
    print(f"{'fault':<26} {'expected':<50} {'ok':<4} named as")
    for fault in faults:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            seen = meet(fault, Path(folder))
            try:
                ok = fault.check(seen)
                named = seen.named()
            except Exception as exc:  # a result that cannot be read is a miss too
                lines = seen.said.strip().splitlines()
                ok, named = False, f"{type(exc).__name__}: {exc}; exit {seen.status}: {lines[-1] if lines else '-'}"
        missed[not ok] += 1
        print(
            f"{fault.name:<26} {fault.expected:<50} {'ok' if ok else 'MISS':<4} {named} [{seen.seconds:.1f} s]",
            flush=True,
        )
    print(f"{len(faults) - missed[True]} of {len(faults)} as expected")
    return 1 if missed[True] else 0


if __name__ == "__main__":
    sys.exit(main())
