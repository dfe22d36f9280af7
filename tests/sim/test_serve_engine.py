"""The simulated server with its engine: the same answers as at exact times, what it tells of its cache, its metrics."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loadstone.cli.parser import build_parser
from loadstone.errors import UsageError
from loadstone.sim.engine.presets import DEFAULT_PRESET, PRESETS
from loadstone.sim.faults import FAULTS
from loadstone.sim.server import Server
from loadstone.sim.settings import Settings
from support.paths import SHARED
from support.servers import Sim, loadstone, read_json, refused

CAPTURED = SHARED / "captures" / "vllm" / "metrics.txt"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
LONG = " ".join(f"w{k}" for k in range(40))


class Reply(NamedTuple):
    """What came back; `ending` is complete, eof or reset."""

    status: int | None
    body: bytes
    ending: str

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.body.decode().split("\n\n") if line]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def pieces(self) -> list[str]:
        choices = [event["choices"] for event in self.events]
        texts = [one[0].get("text") or one[0].get("delta", {}).get("content") for one in choices if one]
        return [text for text in texts if text]

    @property
    def usage(self) -> Any:
        return self.events[-1]["usage"]


def vllm(*faults: str, **settings: Any) -> Sim:
    return Sim(*faults, **{"engine": "vllm", "preset": "tiny", "speedup": 10.0, **settings})


def post(sim: Sim, path: str, patience: float = 10, **body: Any) -> Reply:
    """The whole answer, however it ends; one that stalls ends when our patience does."""
    connection = http.client.HTTPConnection(sim.url.removeprefix("http://"), timeout=patience)
    got: list[bytes] = []
    status = None
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        status = response.status
        while part := response.read1():
            got.append(part)
    except http.client.IncompleteRead as exc:
        return Reply(status, b"".join([*got, exc.partial]), "eof")
    except http.client.RemoteDisconnected:
        return Reply(status, b"", "eof")
    except ConnectionResetError:
        return Reply(status, b"".join(got), "reset")
    except TimeoutError:
        return Reply(status, b"".join(got), "stalled")
    finally:
        connection.close()
    return Reply(status, b"".join(got), "complete")


def chat(sim: Sim, text: str, tokens: int = 5, **more: Any) -> Reply:
    options = {"stream": True, "stream_options": {"include_usage": True}} | more
    if not options["stream"]:
        del options["stream_options"]
    return post(sim, CHAT, messages=[{"role": "user", "content": text}], max_tokens=tokens, **options)


def metrics(sim: Sim) -> dict[str, float]:
    """The samples of /metrics, without the labels that all share."""
    connection = http.client.HTTPConnection(sim.url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return samples(text)


def samples(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("vllm:")]
    plain = [
        (re.sub(r'(engine|model_name)="[^"]*",?', "", name).replace(",}", "}"), float(value)) for name, value in lines
    ]
    return {name.removeprefix("vllm:").removesuffix("{}"): value for name, value in plain}


def settled(sim: Sim) -> dict[str, float]:
    """The metrics once nothing is in the engine any more."""
    until = time.monotonic() + 5
    while (now := metrics(sim))["num_requests_running"] or now["num_requests_waiting"]:
        assert time.monotonic() < until, now
        time.sleep(0.01)
    return now


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"n": 3}, {"n": 3, "stream": False}])
def test_the_answers_are_those_of_the_exact_server(more: dict[str, Any]) -> None:
    def said(sim: Sim) -> Any:
        if more.get("stream") is False:
            whole = json.loads(chat(sim, "Hello there", **more).body)
            return [choice["message"]["content"] for choice in whole["choices"]], whole["usage"]["completion_tokens"]
        reply = chat(sim, "Hello there", **more)
        texts = dict.fromkeys(range(more.get("n", 1)), "")
        for event in reply.events[:-1]:
            for choice in event["choices"]:
                texts[choice["index"]] += choice["delta"]["content"]
        return list(texts.values()), reply.usage["completion_tokens"], reply.body.endswith(b"data: [DONE]\n\n")

    with Sim() as exact, vllm() as engine:
        assert said(exact) == said(engine)


def test_several_prompts_are_several_sequences() -> None:
    with vllm() as sim:
        whole = json.loads(post(sim, TEXT, prompt=["a b", "c d e", [1, 2, 3, 4]], n=2, max_tokens=3).body)
        assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3, 4, 5]
        assert whole["usage"]["prompt_tokens"] == 9
        told = settled(sim)
        # As in vLLM, each of the n counts its prompt.
        assert (told["prompt_tokens_total"], told["generation_tokens_total"]) == (18, 18)
        assert told['request_success_total{finished_reason="length"}'] == 6


def cached(reply: Reply) -> Any:
    return reply.usage["prompt_tokens_details"]["cached_tokens"]


def test_the_usage_tells_what_the_cache_has_saved() -> None:
    with vllm() as sim:
        assert [cached(chat(sim, text)) for text in (LONG, LONG, f"{LONG} more", "other")] == [0, 32, 32, 0]
        told = settled(sim)
        assert (told["prefix_cache_queries_total"], told["prefix_cache_hits_total"]) == (40 + 40 + 41 + 1, 64)
        whole = json.loads(chat(sim, LONG, stream=False).body)
        assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 32}


def test_a_conversation_finds_its_own_answers_again() -> None:
    with vllm() as sim:
        first = chat(sim, "Tell me", tokens=62)
        turns = [("user", "Tell me"), ("assistant", "".join(first.pieces)), ("user", "and then?")]
        messages = [{"role": role, "content": text} for role, text in turns]
        options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 2}
        # 64 tokens are known of the first turn, of which the last was never computed.
        assert cached(post(sim, CHAT, messages=messages, **options)) == 48


def test_token_ids_are_cached_as_words_are() -> None:
    with vllm() as sim:
        body = {"prompt": list(range(40)), "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}
        assert [cached(post(sim, TEXT, **body)) for _ in range(2)] == [0, 32]


def test_choices_of_one_prompt_count_it_once() -> None:
    with vllm() as sim:
        assert [cached(chat(sim, LONG, n=3)) for _ in range(2)] == [0, 32]


def test_without_prefix_caching_nothing_is_said_of_it() -> None:
    with vllm(prefix_caching=False) as sim:
        assert ["prompt_tokens_details" in chat(sim, LONG).usage for _ in range(2)] == [False, False]
        assert metrics(sim)["prefix_cache_queries_total"] == 0


def test_what_does_not_fit_is_refused() -> None:
    with vllm(num_gpu_blocks=4) as sim:
        reply = chat(sim, LONG, tokens=30)
        assert reply.status == 400
        assert json.loads(reply.body)["error"]["message"].startswith(
            "This model's maximum context length is 64 tokens. However, you requested 30 output tokens"
        )
        assert chat(sim, LONG, tokens=24).usage["completion_tokens"] == 24
        assert json.loads(chat(sim, " ", tokens=64).body)["error"]["message"] == "The decoder prompt cannot be empty"
        assert chat(sim, " ", tokens=63).usage["completion_tokens"] == 63


def test_embeddings_pass_through_the_engine() -> None:
    with vllm() as sim:
        whole = json.loads(post(sim, "/v1/embeddings", input=["one two", "three"]).body)
        assert (len(whole["data"]), whole["usage"]["prompt_tokens"]) == (2, 3)
        told = settled(sim)
        assert (told["prompt_tokens_total"], told["generation_tokens_total"]) == (3, 0)


def test_a_client_that_leaves_takes_its_sequences_along() -> None:
    with vllm(speedup=1.0) as sim:
        reader = http.client.HTTPConnection(sim.url.removeprefix("http://"))
        body = {"messages": [{"role": "user", "content": LONG}], "max_tokens": 10_000, "stream": True, "n": 2}
        reader.request("POST", CHAT, json.dumps(body))
        response = reader.getresponse()
        response.read(400)
        assert metrics(sim)["num_requests_running"] == 2
        response.close()
        reader.close()
        told = settled(sim)
        assert (told['request_success_total{finished_reason="abort"}'], told["kv_cache_usage_perc"]) == (2, 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [*FAULTS])
def test_faults_are_those_of_the_exact_server(fault: str, stream: bool) -> None:
    def seen(sim: Sim) -> tuple[Any, ...]:
        reply = chat(sim, LONG, tokens=6, stream=stream, patience=0.3 if fault == "stall" else 10)
        (row,) = sim.truth
        told = re.sub(rb"[0-9a-f]{16}|\d{10}", b"", reply.body)  # but for ids and dates
        return reply.status, reply.ending, told, row["fault"], row["tokens"], len(row["sent"]), row["end"] is None

    limits = {"prefix_caching": False, "slow": 0.02}
    with Sim(f"{fault}@0", slow=0.02) as exact, vllm(f"{fault}@0", **limits) as engine:
        assert seen(engine) == seen(exact)
        if fault != "refuse":
            assert settled(engine)["kv_cache_usage_perc"] == 0


def test_truth_knows_the_steps() -> None:
    with vllm(speedup=1.0) as sim:
        chat(sim, LONG, tokens=20)
        chat(sim, LONG, tokens=4, stream=False)
        stream, whole = sim.truth
    assert len(stream["planned"]) == len(stream["sent"]) == stream["tokens"] == 20
    assert stream["planned"] == sorted(stream["planned"])
    assert all(sent >= planned for sent, planned in zip(stream["sent"], stream["planned"], strict=True))
    # A step of the preset takes 1.5 ms and 10 ns for each token of context.
    steps = [later - earlier for earlier, later in zip(stream["planned"], stream["planned"][1:], strict=False)]
    assert steps == [1_500_000 + 10 * (41 + k) for k in range(19)]
    assert (len(whole["planned"]), whole["tokens"]) == (1, 4)


def test_drafts_come_together() -> None:
    with vllm(num_speculative_tokens=3, acceptance_rate=0.8) as sim:
        reply = chat(sim, LONG, tokens=200)
        told = settled(sim)
    sizes = [len(piece.split()) for piece in reply.pieces]
    assert (sum(sizes), sizes[0], max(sizes)) == (200, 1, 4)
    assert told["spec_decode_num_drafts_total"] == len(sizes) - 1
    accepted = told["spec_decode_num_accepted_tokens_total"]
    assert 200 <= len(sizes) + accepted <= 203
    positions = [told[f'spec_decode_num_accepted_tokens_per_pos_total{{position="{k}"}}'] for k in range(3)]
    assert (sum(positions), positions) == (accepted, sorted(positions, reverse=True))


def test_few_blocks_make_room_by_preemption() -> None:
    with vllm(num_gpu_blocks=8, max_num_seqs=8) as sim:
        body = {"prompt": ["a b c", "d e f", "g h i"], "max_tokens": 100, "stream": False}
        whole = json.loads(post(sim, TEXT, **body).body)
        assert [len(choice["text"].split()) for choice in whole["choices"]] == [100, 100, 100]
        assert settled(sim)["num_preemptions_total"] > 0


def test_a_client_that_does_not_read_gets_everything_later() -> None:
    with vllm(speedup=1e6) as sim:
        host, _, port = sim.url.removeprefix("http://").partition(":")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((host, int(port)))
            body = json.dumps({"prompt": "a", "max_tokens": 16_000, "stream": True}).encode()
            sock.sendall(
                b"POST %b HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%b" % (TEXT.encode(), len(body), body)
            )
            assert settled(sim)["generation_tokens_total"] == 16_000
            assert sim.truth == []  # the engine is done, the answer is not
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got += sock.recv(1 << 20)
        assert got.count(b"data: {") == 16_000
        (row,) = sim.truth
        assert row["tokens"] == 16_000


@pytest.mark.skipif(not CAPTURED.exists(), reason="needs the captured metrics of a vLLM")
def test_metrics_have_the_names_and_bounds_of_vllm() -> None:
    with vllm() as sim:
        chat(sim, LONG)
        ours = settled(sim)
    theirs = samples(CAPTURED.read_text("utf-8"))
    assert {name for name in ours if not name.startswith("cache_config_info")} <= {*theirs}
    for name in (
        "time_to_first_token_seconds",
        "inter_token_latency_seconds",
        "request_time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
    ):
        assert [one for one in ours if one.startswith(f"{name}_")] == [
            one for one in theirs if one.startswith(f"{name}_") and not one.endswith("_created")
        ]


def test_histograms_count_requests_and_steps() -> None:
    with vllm() as sim:
        for _ in range(3):
            chat(sim, LONG, tokens=5)
        told = settled(sim)
    names = ("time_to_first_token", "inter_token_latency", "e2e_request_latency", "request_queue_time")
    assert [told[f"{name}_seconds_count"] for name in names] == [3, 12, 3, 3]
    assert 0 < told["time_to_first_token_seconds_sum"] < told["e2e_request_latency_seconds_sum"]
    assert told['e2e_request_latency_seconds_bucket{le="+Inf"}'] == 3


SETTINGS = [
    ({"engine": "sglang"}, "--engine takes exact or vllm, not 'sglang'"),
    ({"preset": "tiny"}, "--preset needs --engine: it is a setting of the simulated engine, --engine vllm"),
    (
        {"prefix_caching": False},
        "--no-prefix-caching needs --engine: it is a setting of the simulated engine, --engine vllm",
    ),
    (
        {"engine": "vllm", "ttft": "2ms"},
        "--ttft and --engine exclude each other: with --engine vllm the engine's steps say when",
    ),
    (
        {"engine": "vllm", "preset": "a100"},
        "--preset 'a100' is unknown: choose one of tiny, h100-8b, h100x4-70b, h100x8-70b",
    ),
    ({"engine": "vllm", "max_num_seqs": 0}, "--max-num-seqs takes 1 or more, not 0"),
    ({"engine": "vllm", "num_speculative_tokens": -1}, "--num-speculative-tokens takes 0 or more, not -1"),
    ({"engine": "vllm", "acceptance_rate": 1.5}, "--acceptance-rate takes 0 to 1, not 1.5"),
    ({"engine": "vllm", "speedup": 0.0}, "--speedup takes a number above 0, not 0.0"),
    (
        {"engine": "vllm", "preset": "tiny", "max_num_batched_tokens": 8},
        "--max-num-batched-tokens (8) must be at least --max-num-seqs (64): raise the first or lower the second",
    ),
]


@pytest.mark.parametrize(("settings", "sentence"), SETTINGS)
def test_settings_that_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Server(Settings(**settings))
    assert str(caught.value) == sentence


def test_blocks_of_another_size_hold_as_many_tokens() -> None:
    server = Server(Settings(engine="vllm", preset="tiny", block_size=32))
    assert server.profile is not None
    assert (server.profile.limits.num_gpu_blocks, server.settings.max_model_len) == (2048, 16384)


def test_the_command_takes_the_flags_of_vllm(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--engine", "vllm", "--preset", "tiny", "--max-num-seqs", "64", "--max-num-batched-tokens", "32"]
    assert "--max-num-batched-tokens (32)" in refused(capsys, "serve", *flags)


def test_the_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["serve", "--help"])
    told = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", told) for name in PRESETS)
    assert f"{DEFAULT_PRESET} (default)" in " ".join(told.split())


def test_a_run_and_the_metrics_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with vllm() as sim:
        flags = ["--dataset", "random", "--input-len", "40", "--output-len", "8", "-n", "20", "-c", "4", "--quiet"]
        for folder, hits in (("first", 0), ("again", 20 * 32)):
            done = loadstone(capsys, "run", "--url", sim.url, *flags, "-o", tmp_path / folder)
            assert done.status == 0, done.err
            assert settled(sim)["prefix_cache_hits_total"] == hits
        told = settled(sim)
        assert (told["prompt_tokens_total"], told["generation_tokens_total"]) == (2 * 20 * 40, 2 * 20 * 8)
        summary = read_json(tmp_path / "again" / "summary.json")
        assert summary["rates"]["cached_share"] == pytest.approx(32 / 40)
