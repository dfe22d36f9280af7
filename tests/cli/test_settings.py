"""Settings of a run: configuration files, prompts, rates, sockets, TLS, the own server."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from support import sentences as sentences
from support.run_files import prompts
from support.servers import (
    Sim,
    loadstone,
    posix,
    read_json,
    records,
    refused,
    spawned,
)

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.clean_folder


def config_of(folder: str) -> Any:
    return read_json(Path(folder, "run.json"))["config"]


def test_a_file_of_settings_equals_flags(sim: Sim, capsys: Capture) -> None:
    settings = {
        "requests": 3,
        "concurrency": 2,
        "output-len": 4,
        "ttft_timeout": 9.5,
        "goodput": ["ttft:200ms"],
        "header": {"X-Team": "blue"},
        "extra_body": {"top_p": 0.5},
        "stream": False,
    }
    lines = [f"{name} = {json.dumps(value).replace(': ', ' = ')}" for name, value in settings.items()]
    lines = [line if "goodput" not in line else 'goodput = ["ttft:200ms"]' for line in lines]
    Path("run.toml").write_text("\n".join(lines).replace("{", "{ ").replace('"top_p"', "top_p") + "\n", "utf-8")
    flags = ["-n", 3, "-c", 2, "--output-len", 4, "--ttft-timeout", "9500ms", "--goodput", "ttft:200ms"]
    flags += ["--header", "X-Team: blue", "--extra-body", '{"top_p": 0.5}', "--no-stream"]
    assert loadstone(capsys, "run", "--url", sim.url, "-o", "a", "--config", "run.toml").status == 0
    assert loadstone(capsys, "run", "--url", sim.url, "-o", "b", *flags).status == 0
    assert {**config_of("a"), "output": "b"} == config_of("b")
    assert config_of("b")["goodput"] == {"ttft": 0.2}
    assert loadstone(capsys, "run", "--url", sim.url, "-o", "c", "--config", "run.toml", "-n", 5).status == 0
    assert {**config_of("a"), "output": "c", "requests": 5} == config_of("c")
    assert len(records(Path("c"))) == 5


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("flags", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_texts_are_kept_when_asked_for(api: str, flags: list[str], transport: str, sim: Sim, capsys: Capture) -> None:
    load = ("-n", 3, "--output-len", 5, "--ignore-eos", "--api", api, "--transport", transport, *flags)
    assert loadstone(capsys, "run", "--url", sim.url, "-o", "kept", "--save-text", *load).status == 0
    kept = records(Path("kept"))
    assert [len((row.text or "").split()) for row in kept] == [5, 5, 5]
    assert [(row.asked, row.usage.completion if row.usage else None) for row in kept] == [(5, 5)] * 3
    assert {row.streamed for row in kept} == {not flags}
    assert loadstone(capsys, "run", "--url", sim.url, "-o", "bare", *load).status == 0
    assert [row.text for row in records(Path("bare"))] == [None] * 3


def test_prompts_from_stdin(sim: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    done = loadstone(capsys, "run", "--url", sim.url, "--dataset", "-", "-n", 5, "-c", 1, "-o", "run")
    assert done.status == 0
    assert "loadstone: 2 prompts for 5 requests: prompts repeat, and prefix caches may help\n" in done.err
    assert [row.prompt for row in records(Path("run"))] == [f"stdin:{1 + n % 2}" for n in range(5)]


def test_random_prompts(sim: Sim, capsys: Capture) -> None:
    lengths = ("--input-len", 30, "--output-len", 7, "--range-ratio", 0)
    done = loadstone(capsys, "run", "--url", sim.url, "--dataset", "random", *lengths, "-n", 4, "-o", "run")
    assert done.status == 0
    assert "random: lengths are counted in words, not tokens; give --tokenizer" in done.err
    usages = [row.usage for row in records(Path("run"))]
    assert [(usage.prompt, usage.completion) for usage in usages if usage] == [(30, 7)] * 4


def test_a_dataset_in_file_order_and_shuffled(sim: Sim, capsys: Capture) -> None:
    prompts("ten.jsonl", 10)
    orders = []
    for folder, flags in {"a": [], "b": ["--shuffle"], "c": ["--shuffle"], "d": ["--shuffle", "--seed", 1]}.items():
        loadstone(capsys, "run", "--url", sim.url, "--dataset", "ten.jsonl", "-n", 10, "-o", folder, *flags)
        orders.append([row.prompt for row in records(Path(folder))])
    assert orders[0] == [f"ten:{line}" for line in range(1, 11)]
    assert orders[1] == orders[2] != orders[0]
    assert orders[3] != orders[1]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_a_rate(sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "--rate", 100, "--arrivals", "constant", "-n", 20, "-o", "run")
    assert done.status == 0
    scheduled = [row.scheduled for row in records(Path("run"))]
    assert scheduled == [n * 10_000_000 for n in range(20)]
    schedule = [json.loads(line) for line in Path("run/schedule.jsonl").read_text("utf-8").splitlines()]
    assert [row["offset"] for row in schedule] == scheduled


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
def test_requests_cut_at_the_end_are_rows(transport: str, capsys: Capture) -> None:
    with Sim(ttft="5ms", itl="50ms", default_tokens=500) as slow:
        load = ("--duration", "200ms", "--grace", "100ms", "-c", 3, "--transport", transport)
        done = loadstone(capsys, "run", "--url", slow.url, "-o", "run", "--as", "json", *load)
    assert done.status == 1
    rows = records(Path("run"))
    assert [row.error.kind for row in rows if row.error] == ["stopped"] * 3
    assert {row.error.message for row in rows if row.error} == {"in flight when the run ended (duration)"}
    assert all(row.pieces and len(row.pieces.times) > 1 for row in rows)
    assert json.loads(done.out)["counts"]["stopped"] == 3
    assert read_json(Path("run/run.json"))["ended"] == "duration"


def test_a_duration_without_a_number(sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "--duration", "300ms", "-c", 2, "-o", "run", "--as", "json")
    assert done.status == 0
    counts = json.loads(done.out)["counts"]
    assert counts["expected"] is None
    assert counts["succeeded"] == len(records(Path("run"))) > 2


@posix
@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
def test_unix_socket(transport: str, tmp_path: Path, capsys: Capture) -> None:
    with Sim(unix=str(tmp_path / "s")) as server:
        done = loadstone(capsys, "run", "--url", server.url, "-n", 3, "-o", "run", "--transport", transport)
        assert done.status == 0
        assert len(server.truth) == 3
    assert config_of("run")["url"] == f"unix:{tmp_path / 's'}"


@pytest.mark.parametrize("transport", ["wire", "aiohttp"])
def test_tls_is_verified(transport: str, tmp_path: Path, capsys: Capture) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    for name, pem in {
        "authority.pem": authority.cert_pem,
        "other.pem": other.cert_pem,
        "server.pem": certificate.cert_chain_pems[0],
        "server.key": certificate.private_key_pem,
    }.items():
        pem.write_to_path(tmp_path / name)
    with Sim(certfile="server.pem", keyfile="server.key") as server:
        run = ("run", "--url", server.url, "-n", 3, "--transport", transport)
        for flags in ([], ["--ca-file", "other.pem"]):
            said = refused(capsys, *run, *flags)
            assert said.startswith(f"no answer from {server.url}: TLS with 127.0.0.1:")
            assert "(--ca-file FILE trusts a certificate, --insecure trusts all)" in said
        for flags in (["--ca-file", "authority.pem"], ["--insecure"]):
            assert loadstone(capsys, *run, *flags).status == 0


def test_a_run_without_a_url_brings_its_own_server(capsys: Capture) -> None:
    done = loadstone(capsys, "run", "-n", 4, "-c", 4, "--output-len", 3, "-o", "run")
    assert done.status == 0
    url = config_of("run")["url"]
    assert f"loadstone: no --url: testing a simulated server at {url} (TTFT 50ms, ITL 10ms), not a real one" in done.err
    assert len(records(Path("run"))) == 4
    assert "connection refused" in refused(capsys, "run", "--url", url)


def test_serve_with_a_file_of_settings(capsys: Capture) -> None:
    lines = ["model: mine", "ttft: 0.002", "itl: uniform(1ms,2ms)", "slow: 10ms", "fault: ['500@1', 'slow-head@2']"]
    Path("serve.yaml").write_text("\n".join([*lines, "port: 1"]), "utf-8")
    with spawned(config="serve.yaml") as url:
        done = loadstone(capsys, "run", "--url", url, "-n", 3, "-c", 1, "-o", "run", "--max-error-rate", 1)
    assert done.status == 0
    assert [row.status for row in records(Path("run"))] == [200, 500, 200]
    assert read_json(Path("run/run.json"))["model"] == "mine"


def test_serve_in_a_process_of_its_own(capsys: Capture) -> None:
    with spawned("500@1", model="mine", tokens_per_chunk=2) as url:
        done = loadstone(capsys, "run", "--url", url, "-n", 3, "-c", 1, "-o", "run", "--max-error-rate", 1)
    assert done.status == 0
    rows = records(Path("run"))
    assert [row.status for row in rows] == [200, 500, 200]
    assert [len(row.pieces.times) for row in rows if row.pieces] == [4, 4]
    assert read_json(Path("run/run.json"))["model"] == "mine"
