"""The commands refuse mistakes of the user in one sentence, and write nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from support import sentences as sentences
from support.run_files import prompts, tree
from support.servers import (
    MODELS,
    Asked,
    Sim,
    closed_port,
    loadstone,
    records,
    refused,
    scripted,
)

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.clean_folder


class Wrong(NamedTuple):
    """Arguments, and words of the sentence that refuses them, with … for those of a library or the system."""

    arguments: str
    words: str


RUN = [
    Wrong("--url localhost:8000", "--url takes http://HOST:PORT, https://HOST or unix:/PATH, not 'localhost:8000'"),
    Wrong("--url ftp://host", "--url takes http://HOST:PORT"),
    Wrong("--url http://127.0.0.1:99999", "--url takes http://HOST:PORT"),
    Wrong("--url http://", "--url takes http://HOST:PORT"),
    Wrong(
        "--url {url}/elsewhere",
        "no list of models (GET {url}/elsewhere/v1/models: HTTP 404: Not Found): name one with --model",
    ),
    Wrong(
        "--url {url}/elsewhere --model sim",
        "POST {url}/elsewhere/v1/chat/completions refuses the first request (HTTP 404: Not Found)",
    ),
    Wrong("--url {https}", "TLS with {place} failed: …; is it a plain http:// server?"),
    Wrong("--url unix:/no/such.sock", "/no/such.sock: no such socket; is the server up, and --url right?"),
    Wrong("--bogus", "`run` has no flag --bogus; see loadstone run --help"),
    Wrong("--concurrenc 3", "`run` has no flag --concurrenc (did you mean --concurrency?); see loadstone run --help"),
    Wrong("more", "`run` takes no argument 'more'; see loadstone run --help"),
    Wrong("--dataset chat-smal", "no dataset 'chat-smal': did you mean chat-small?"),
    Wrong("--dataset broken.jsonl", "broken.jsonl, line 7: not JSON"),
    Wrong("--dataset jsonl:broken.jsonl", "broken.jsonl, line 7: not JSON"),
    Wrong("--dataset full", "full is a folder; give a file in it"),
    Wrong("--dataset empty.txt", "empty.txt is empty"),
    Wrong("--model gpt-9", "(HTTP 404: The model `gpt-9` does not exist. Valid aliases: sim.); it lists sim"),
    Wrong("--api-key-env NO_KEY", "the key is to be in NO_KEY, but it is not set; say export NO_KEY=..."),
    Wrong("-o full", "full exists and is not empty; give another folder with -o"),
    Wrong("-o empty.txt", "cannot make the folder empty.txt"),
    Wrong("-o empty.txt/run", "cannot make the folder empty.txt/run"),
    Wrong("--url {https} --ca-file prose.txt", "--ca-file prose.txt holds no certificates"),
    Wrong("--url {https} --ca-file no.pem", "--ca-file no.pem holds no certificates (…); give a PEM file"),
    Wrong("--config no.toml", "cannot read --config no.toml: …"),
    Wrong("--config prose.txt", "--config prose.txt is not TOML"),
    Wrong(
        "--config unknown.toml", "unknown.toml, line 1: `run` has no setting 'concurency' (did you mean concurrency?); "
    ),
    Wrong("--config type.toml", "type.toml, line 1: --concurrency takes a whole number, not 'many'"),
    Wrong("-n 0", "--requests takes 1 to 1e+18, not 0"),
    Wrong("-n many", "takes a whole number, not 'many'"),
    Wrong("-c 0", "--concurrency takes 1 or more, not 0"),
    Wrong("--rate -1", "--rate takes a number above 0 (to send without a rate, leave it out and give -c N), not -1"),
    Wrong("--rate nan", "--rate takes a number above 0 (to send without a rate, leave it out and give -c N), not nan"),
    Wrong("--rate 5 --arrivals weekly", "--arrivals takes constant, poisson, gamma or replay, not weekly"),
    Wrong("--duration 5x", "takes a time such as 30, 500ms, 2m or 1h30m, not '5x'"),
    Wrong("--duration 0", "--duration takes a number above 0"),
    Wrong("--warmup -1", "--warmup takes 0 or more, not -1"),
    Wrong("--output-len 0", "--output-len takes 1 or more, not 0"),
    Wrong("--max-error-rate 2", "--max-error-rate takes 0 to 1, not 2"),
    Wrong("--goodput ttft", "--goodput takes METRIC<TIME such as"),
    Wrong("--goodput speed:5ms", "--goodput takes a metric (ttft,"),
    Wrong("--extra-body {{", "--extra-body: takes a JSON object such as"),
    Wrong("--extra-body [1]", "--extra-body: takes a JSON object such as"),
    Wrong("--header nothing", "--header: takes 'NAME: VALUE'"),
    Wrong("--header Bad(name):x", "--header takes 'NAME: VALUE' on one line of ASCII; 'Bad(name)' is not fit for HTTP"),
    Wrong("--header X:\u20ac", "--header takes 'NAME: VALUE' on one line of ASCII; 'X' is not fit for HTTP"),
    Wrong("--as pdf", " or FILE.py:NAME, not 'pdf'"),
    Wrong(
        "--api chatt",
        "--api takes chat, completions, responses, messages, embeddings, rerank, tei-rerank, generate, tgi, ollama,"
        " template or FILE.py:NAME, not 'chatt' (did you mean chat?)",
    ),
    Wrong("--transport pigeon", "--transport takes wire or aiohttp, not 'pigeon'; see loadstone run --help"),
]
OTHER = [
    Wrong("", "COMMAND; see loadstone --help"),
    Wrong("rnu", "rnu…run…; see loadstone --help"),
    Wrong("report", "RUN; see loadstone report --help"),
    Wrong("report nowhere", "cannot read nowhere: …"),
    Wrong("report full", "full is not a run: no run.json in it"),
    Wrong("report broken.jsonl", "broken.jsonl, line 1 is not a record"),
    Wrong("report full --as pdf", "--as takes text, classic"),
    Wrong("check full", "full is not a run: no run.json in it"),
    Wrong("list nothing", "`list` takes apis, readers, …, not 'nothing'; see loadstone list --help"),
    Wrong("serve --ttft soon", "--ttft: takes a time such as 50ms or 0.05s, uniform(a,b), …, not 'soon'"),
    Wrong("serve --itl uniform(3)", "--itl: takes a time such as 50ms …, not 'uniform(3)'"),
    Wrong("serve --slow x", "--slow: takes a time such as 30, 500ms, 2m or 1h30m, not 'x'"),
    Wrong(
        "serve --fault explode:0.5", "'explode:0.5' is not a fault: write NAME:SHARE or NAME@i,j,k with one of refuse,"
    ),
    Wrong("serve --fault reset:2", "'reset:2' has no share between 0 and 1"),
    Wrong("serve --fault reset@x", "'reset@x' has no list of request numbers"),
    Wrong("serve --port 70000", "--port takes 0 to 65535, not 70000"),
    Wrong("serve --port {port}", "cannot listen on {place} (…): choose another --host or --port"),
    Wrong("serve --default-tokens 0", "--default-tokens takes 1 or more, not 0"),
    Wrong("serve --engine vllm --ttft 1s", "--ttft and --engine exclude each other"),
    Wrong("serve --answer-wrong 0.5", "--answer-wrong needs --answers"),
    Wrong("serve --config serve.toml", "serve.toml, line 2: --itl takes a time such as 50ms …, not 'soon'"),
    Wrong("serve --config fault.toml", "fault.toml, line 1: 'explode@0' is not a fault: write NAME:SHARE"),
    Wrong("serve --certfile prose.txt", "cannot use prose.txt for TLS: give a PEM certificate and its key"),
    Wrong("serve --api-key-env NO_KEY", "the key is to be in NO_KEY, but it is not set"),
]


@pytest.fixture
def inputs() -> None:
    """Files that are not what they should be."""
    broken = Path(prompts("broken.jsonl", 10))
    lines = broken.read_text("utf-8").splitlines()
    broken.write_text("\n".join([*lines[:6], '{"prompt": ', *lines[7:]]), "utf-8")
    Path("unknown.toml").write_text("concurency = 3\n", "utf-8")
    Path("type.toml").write_text("concurrency = 'many'\n", "utf-8")
    Path("serve.toml").write_text("port = 0\nitl = 'soon'\n", "utf-8")
    Path("fault.toml").write_text("fault = ['explode@0']\n", "utf-8")
    Path("prose.txt").write_text("This is prose.\n", "utf-8")
    Path("empty.txt").write_text("", "utf-8")
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine", "utf-8")


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("wrong", RUN, ids=lambda wrong: wrong.arguments)
def test_run_refuses(wrong: Wrong, sim: Sim, capsys: Capture) -> None:
    """In one sentence, with nothing written; and nothing is sent but for a model that is not listed."""
    names = {"url": sim.url, "https": sim.url.replace("http", "https"), "place": sim.url.partition("//")[2]}
    before, asked = tree(), len(sim.truth)
    url = [] if "--url" in wrong.arguments else ["--url", sim.url]
    said = refused(capsys, "run", *url, *wrong.arguments.format(**names).split())
    assert sentences.holds(said, wrong.words.format(**names))
    assert tree() == before
    assert not Path("reports").exists()
    assert len(sim.truth) - asked == (1 if "gpt-9" in wrong.arguments else 0)


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("wrong", OTHER, ids=lambda wrong: wrong.arguments)
def test_other_commands_refuse(wrong: Wrong, sim: Sim, capsys: Capture) -> None:
    names = {"port": sim.url.rpartition(":")[2], "place": sim.url.partition("//")[2]}
    assert sentences.holds(refused(capsys, *wrong.arguments.format(**names).split()), wrong.words.format(**names))


def test_no_server(capsys: Capture) -> None:
    place = f"127.0.0.1:{closed_port()}"
    said = refused(capsys, "run", "--url", f"http://{place}", "-o", "run")
    assert said == (
        f"no answer from http://{place}: {place}: connection refused; "
        "is the server up, and --url right? --wait 10m waits for one that is starting"
    )
    assert not Path("run").exists()


def test_a_password_in_the_url_is_refused_unseen(capsys: Capture) -> None:
    said = refused(capsys, "run", "--url", "http://alice:opensesame@127.0.0.1:1")
    assert "--url takes" in said
    assert "opensesame" not in said


def test_keys_missing_and_wrong(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sim(api_key="open-sesame") as locked:
        run = ("run", "--url", locked.url, "-n", 2, "-o", "run")
        assert refused(capsys, *run) == (
            f"GET {locked.url}/v1/models refuses the request (HTTP 401: Unauthorized); "
            "put the server's key into the environment as OPENAI_API_KEY"
        )
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
        assert refused(capsys, *run).endswith("; the key in OPENAI_API_KEY is not the right one")
        monkeypatch.setenv("MY_KEY", "wrong-key")
        assert refused(capsys, *run, "--api-key-env", "MY_KEY").endswith("; the key in MY_KEY is not the right one")
        said = refused(capsys, *run, "--header", "Authorization: Bearer wrong-key")
        assert said.endswith("; the Authorization given with --header is not the right one")
        monkeypatch.setenv("MY_KEY", "two\nlines")
        assert "the key in MY_KEY is not one line of ASCII" in refused(capsys, *run, "--api-key-env", "MY_KEY")
        assert not Path("run").exists()
        assert locked.truth == []
        monkeypatch.setenv("OPENAI_API_KEY", "open-sesame")
        assert loadstone(capsys, *run).status == 0


def test_a_server_that_refuses_every_request(capsys: Capture) -> None:
    """It lists the model, and then has no answer for it."""

    def script(asked: Asked) -> tuple[int, str]:
        return (200, MODELS) if asked.method == "GET" else (404, '{"error": {"message": "no model scripted"}}')

    with scripted(script) as url:
        done = loadstone(capsys, "run", "--url", url, "-n", 3, "-o", "run")
    assert done.status == 1
    assert "loadstone: no request succeeded; 3 ended with status: HTTP 404: no model scripted" in done.err
    assert [row.error.message for row in records(Path("run")) if row.error] == [
        "HTTP 404: no model scripted (asked was POST /v1/chat/completions)"
    ] * 3


def test_a_page_of_html_becomes_one_sentence(capsys: Capture) -> None:
    page = "<html>\r\n<head><title>404 Not Found</title></head>\r\n</html>\r\n"
    with scripted(lambda _: (404, page)) as url:
        said = refused(capsys, "run", "--url", url, "--model", "any")
    assert "refuses the first request (HTTP 404: <html> <head><title>404 Not Found</title></head> </html>)" in said


def test_a_model_that_is_not_listed_is_asked_once(capsys: Capture) -> None:
    """A server may serve what it does not list."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}
    seen: list[Asked] = []

    def script(asked: Asked) -> tuple[int, str]:
        seen.append(asked)
        return (200, MODELS if asked.method == "GET" else json.dumps(whole))

    with scripted(script) as url:
        done = loadstone(capsys, "run", "--url", url, "--model", "adapter", "-n", 2, "--no-stream")
    assert done.status == 0
    assert [asked.body["model"] for asked in seen if asked.body] == ["adapter"] * 3
    assert f"loadstone: {url} does not list a model 'adapter', but takes a request for it\n" in done.err


def test_a_records_file_with_a_broken_line(sim: Sim, capsys: Capture) -> None:
    assert loadstone(capsys, "run", "--url", sim.url, "-n", 4, "-o", "run").status == 0
    file = Path("run/records.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b'{"index": \n', *lines[2:]]))
    assert "run/records.jsonl, line 2 is not a record" in refused(capsys, "report", "run").replace("\\", "/")
    file.write_bytes(b"".join(lines)[:-10])
    done = loadstone(capsys, "report", "run", "--as", "json")
    assert json.loads(done.out)["counts"]["completed"] == 3
