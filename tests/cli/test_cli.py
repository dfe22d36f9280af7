"""The command from end to end: what it refuses and in which words, what it prints and writes, what it keeps secret."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from loadstone.cli.main import main
from loadstone.version import __version__
from support import sentences as sentences
from support.servers import (
    MODELS,
    PATIENCE,
    Asked,
    Sim,
    closed_port,
    command,
    loadstone,
    posix,
    read_json,
    records,
    refused,
    scripted,
    spawned,
)

Capture = pytest.CaptureFixture[str]
PARTS = ["records.jsonl", "report.html", "requests.csv", "run.json", "schedule.jsonl", "summary.csv", "summary.json"]
HEAVY = ("numpy", "pandas", "aiohttp", "rich", "transformers", "uvloop", "httptools")


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with Sim() as server:
        yield server


pytestmark = pytest.mark.clean_folder


def prompts(path: str, count: int) -> str:
    Path(path).write_text("".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(count)), "utf-8")
    return path


# What is refused


class Wrong(NamedTuple):
    """Arguments, and words of the sentence that refuses them, with … for those of a library or the system."""

    arguments: str
    words: str


RUN = [
    Wrong("--url localhost:8000", "--url takes http://HOST:PORT, https://HOST or unix:/PATH, not 'localhost:8000'"),
    Wrong("--url ftp://host", "--url takes http://HOST:PORT"),
    Wrong("--url http://127.0.0.1:99999", "--url takes http://HOST:PORT"),
    Wrong("--url http://", "--url takes http://HOST:PORT"),
    Wrong("--url {url}/elsewhere", "/elsewhere does not list its models; name one with --model"),
    Wrong("--url {url}/elsewhere --model sim", "refuses the first request (HTTP 404: Not Found)"),
    Wrong("--url {https}", "TLS with {place} failed: …; is it a plain http:// server?"),
    Wrong("--url unix:/no/such.sock", "/no/such.sock: no such socket; is the server up, and --url right?"),
    Wrong("--bogus", "--bogus; see loadstone --help"),
    Wrong("--concurrenc 3", "--concurrenc 3; see loadstone --help"),
    Wrong("more", "more; see loadstone --help"),
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
    Wrong("--config unknown.toml", "unknown.toml has a setting 'concurency' that `run` does not know; did you mean c"),
    Wrong("--config type.toml", "type.toml: …concurrency"),
    Wrong("-n 0", "--requests takes 1 or more, not 0"),
    Wrong("-n many", "takes a whole number, not 'many'"),
    Wrong("-c 0", "--concurrency takes 1 or more, not 0"),
    Wrong("--rate -1", "--rate takes a number above 0, not -1"),
    Wrong("--rate nan", "--rate takes a number above 0, not nan"),
    Wrong("--rate 5 --arrivals weekly", "--arrivals takes constant, poisson, gamma or replay, not weekly"),
    Wrong("--duration 5x", "takes a time such as 30, 500ms or 2m, not '5x'"),
    Wrong("--duration 0", "--duration takes a number above 0"),
    Wrong("--warmup -1", "--warmup takes 0 or more, not -1"),
    Wrong("--output-len 0", "--output-len takes 1 or more, not 0"),
    Wrong("--max-error-rate 2", "--max-error-rate takes 0 to 1, not 2"),
    Wrong("--goodput ttft", "--goodput takes METRIC:TIME such as ttft:200ms"),
    Wrong("--goodput speed:5ms", "--goodput takes METRIC:TIME such as ttft:200ms"),
    Wrong("--extra-body {{", "--extra-body: takes a JSON object, but this is not JSON"),
    Wrong("--extra-body [1]", "--extra-body: takes a JSON object such as"),
    Wrong("--header nothing", "--header: takes 'NAME: VALUE'"),
    Wrong("--header Bad(name):x", "--header takes 'NAME: VALUE' on one line of ASCII; 'Bad(name)' is not fit for HTTP"),
    Wrong("--header X:\u20ac", "--header takes 'NAME: VALUE' on one line of ASCII; 'X' is not fit for HTTP"),
    Wrong("--as pdf", " or FILE.py:NAME, not 'pdf'"),
    Wrong(
        "--api chatt",
        "--api takes chat, completions, responses, messages, embeddings, rerank, generate, tgi, ollama, template"
        " or FILE.py:NAME, not 'chatt' (did you mean chat?)",
    ),
    Wrong("--transport pigeon", "--transport…pigeon…wire…aiohttp…; see loadstone run --help"),
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
    Wrong("list nothing", "nothing…apis…readers…; see loadstone list --help"),
    Wrong("serve --ttft soon", "'soon' is not a time: write a duration"),
    Wrong("serve --itl uniform(3)", "'uniform(3)' is not a time"),
    Wrong("serve --slow x", "'x' is not a duration"),
    Wrong(
        "serve --fault explode:0.5", "'explode:0.5' is not a fault: write NAME:SHARE or NAME@i,j,k with one of refuse,"
    ),
    Wrong("serve --fault reset:2", "'reset:2' has no share between 0 and 1"),
    Wrong("serve --fault reset@x", "'reset@x' has no list of request numbers"),
    Wrong("serve --port 70000", "takes a number from 0 to 65535, not 70000"),
    Wrong("serve --port {port}", "cannot listen on {place} (…): choose another --host or --port"),
    Wrong("serve --default-tokens 0", "--default-tokens must be at least 1, not 0"),
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
    Path("prose.txt").write_text("This is prose.\n", "utf-8")
    Path("empty.txt").write_text("", "utf-8")
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine", "utf-8")


def tree() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


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
def test_other_verbs_refuse(wrong: Wrong, sim: Sim, capsys: Capture) -> None:
    names = {"port": sim.url.rpartition(":")[2], "place": sim.url.partition("//")[2]}
    assert sentences.holds(refused(capsys, *wrong.arguments.format(**names).split()), wrong.words.format(**names))


def test_no_server(capsys: Capture) -> None:
    place = f"127.0.0.1:{closed_port()}"
    said = refused(capsys, "run", "--url", f"http://{place}", "-o", "run")
    assert said == f"no answer from http://{place}: {place}: connection refused; is the server up, and --url right?"
    assert not Path("run").exists()


def test_a_password_in_the_url_is_refused_unseen(capsys: Capture) -> None:
    said = refused(capsys, "run", "--url", "http://alice:opensesame@127.0.0.1:1")
    assert "--url takes" in said
    assert "opensesame" not in said


def test_keys_missing_and_wrong(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sim(api_key="open-sesame") as locked:
        run = ("run", "--url", locked.url, "-n", 2, "-o", "run")
        assert refused(capsys, *run) == (
            f"{locked.url} refuses the request (HTTP 401: Unauthorized); "
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
    assert [row.error.message for row in records(Path("run")) if row.error] == ["HTTP 404: no model scripted"] * 3


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


# What a run leaves behind


def test_a_run_and_its_reports(sim: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 12, "-c", 3, "--warmup", 2, "-o", "run", "--as", "json")
    assert done.status == 0
    assert sorted(os.listdir("run")) == PARTS
    assert done.err == "loadstone: results are in run\n"
    assert done.out == Path("run/summary.json").read_text("utf-8")
    summary = json.loads(done.out)
    assert (summary["counts"]["expected"], summary["counts"]["succeeded"], summary["counts"]["warmup"]) == (12, 12, 2)
    assert summary["metrics"]["ttft"]["n"] == 12
    assert [row.phase for row in records(Path("run"))] == ["warmup"] * 2 + ["measure"] * 12
    assert len(Path("run/schedule.jsonl").read_bytes().splitlines()) == 14
    with open("run/requests.csv", encoding="utf-8", newline="") as file:
        assert sorted(int(row["index"]) for row in csv.DictReader(file)) == list(range(14))
    run = read_json(Path("run/run.json"))
    assert (run["ended"], run["model"], run["config"]["warmup"]) == ("done", "sim", 2)
    assert loadstone(capsys, "report", "run", "--as", "json").out == done.out
    assert loadstone(capsys, "report", "run", "--as", "csv").out == Path("run/summary.csv").read_text("utf-8")
    alone = json.loads(loadstone(capsys, "report", "run/records.jsonl", "--as", "json").out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("run/records.jsonl").read_bytes())))
    piped = json.loads(loadstone(capsys, "report", "-", "--as", "json").out)
    for part in ("metrics", "rates", "duration"):
        assert alone[part] == piped[part] == summary[part]
    assert alone["verdict"]["status"] != "valid"
    assert "client not known" in [doubt["what"] for doubt in alone["verdict"]["doubts"]]


VIEWS = {
    "text": "Distributions of successful requests",
    "classic": "Expected number of requests",
    "md": "| --- |",
    "csv": "window,metric,unit,n,mean",
    "json": '"format": 1',
    "html": "<!doctype html>",
}


@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str, sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 4, "-o", "run", "--as", view)
    assert done.status == 0
    assert VIEWS[view] in done.out
    assert "\x1b" not in done.out + done.err
    assert loadstone(capsys, "report", "run", "--as", view).out == done.out


def test_a_web_page_of_records_from_a_pipe_and_into_a_file(
    sim: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 4, "-o", "run", "--no-html", "--as", "html")
    assert not Path("run/report.html").exists()
    assert "<figure" not in done.out
    assert loadstone(capsys, "report", "run", "--as", "html", "-o", "page.html").out == ""
    assert Path("page.html").read_text("utf-8").count("<figure") == 9
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("run/records.jsonl").read_bytes())))
    assert loadstone(capsys, "report", "-", "--as", "html").out.count("<figure") == 9
    again = loadstone(capsys, "report", "run", "--as", "html", "-o", "page.html")
    assert (again.status, again.err.count("\n")) == (2, 1)


def test_a_view_of_ones_own(sim: Sim, capsys: Capture) -> None:
    Path("mine.py").write_text("def short(summary):\n    return f'{summary.counts.succeeded} good\\n'\n", "utf-8")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "--as", "mine.py:short")
    assert done.out == "3 good\n"


def test_text_is_the_view_of_default(sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "--label", "first try")
    assert done.status == 0
    (folder,) = Path("reports").iterdir()
    assert folder.name.endswith("-first-try")
    assert done.err == f"loadstone: results are in {folder}\n"
    assert done.out == loadstone(capsys, "report", folder, "--as", "text").out
    assert "Check: " in done.out


def test_a_report_into_a_file_overwrites_nothing(sim: Sim, capsys: Capture) -> None:
    loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run")
    done = loadstone(capsys, "report", "run", "--as", "md", "-o", "report.md")
    assert (done.status, done.out) == (0, "")
    written = Path("report.md").read_bytes()
    assert written.decode() == loadstone(capsys, "report", "run", "--as", "md").out
    said = refused(capsys, "report", "run", "-o", "report.md")
    assert sentences.same("cannot write report.md: …; give another file with -o", said)
    assert Path("report.md").read_bytes() == written
    assert loadstone(capsys, "report", "run", "--as", "csv", "-o", "-").out.startswith("window,")


def test_goodput_of_a_run_and_of_a_report(sim: Sim, capsys: Capture) -> None:
    flags = ("--goodput", "ttft:10s", "latency:1us")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run", "--as", "json", *flags)
    assert json.loads(done.out)["rates"]["attainment"] == 0
    done = loadstone(capsys, "report", "run", "--as", "json", "--goodput", "ttft:10s")
    assert json.loads(done.out)["rates"]["attainment"] == 1


def test_check_of_a_run(sim: Sim, capsys: Capture) -> None:
    loadstone(capsys, "run", "--url", sim.url, "-n", 3, "-o", "run")
    shutil.copytree("run", "killed")
    run = read_json(Path("run/run.json"))
    Path("killed/run.json").write_text(json.dumps({k: v for k, v in run.items() if k != "ended"}), "utf-8")
    done = loadstone(capsys, "check", "killed")
    assert done.status == 1
    assert done.out.splitlines()[0] in ("suspect", "invalid")  # invalid on a machine that is busy with other things
    assert "suspect: no end: the run has no end (limit an end): the run was killed" in done.out
    assert "sample size: 3 successes" in done.out


def test_nobody_reads_the_output(sim: Sim) -> None:
    """As in `loadstone report run | head -1`."""
    assert main(["run", "--url", sim.url, "-n", "3", "-o", "run", "--quiet"]) == 0
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "wb") as out:
        done = subprocess.run(
            command("report", "run"), stdout=out, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert done.stderr == b""


def test_list_and_version(capsys: Capture) -> None:
    done = loadstone(capsys, "list")
    assert done.status == 0
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [
        "apis",
        "readers",
        "views",
        "datasets",
        "tasks",
    ]
    assert "chat, completions" in done.out
    assert (
        loadstone(capsys, "list", "views").out
        == "views: classic, csv, html, json, junit, md, parquet, text, vllm, vllm-sweep\n"
    )
    assert loadstone(capsys, "list", "datasets").out.startswith("datasets: chat-small")
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"loadstone {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["serve", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, loadstone.__main__ as m\n"
        "try:\n    m.main()\n"
        "except SystemExit as exc:\n"
        f"    print(exc.code, [n for n in {HEAVY} if n in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stderr == "0 []\n"
    assert "loadstone" in done.stdout.partition("\n")[0]


# What can be asked for


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


def test_serve_in_a_process_of_its_own(capsys: Capture) -> None:
    with spawned("500@1", model="mine", tokens_per_chunk=2) as url:
        done = loadstone(capsys, "run", "--url", url, "-n", 3, "-c", 1, "-o", "run")
    assert done.status == 0
    rows = records(Path("run"))
    assert [row.status for row in rows] == [200, 500, 200]
    assert [len(row.pieces.times) for row in rows if row.pieces] == [4, 4]
    assert read_json(Path("run/run.json"))["model"] == "mine"


# What it keeps to itself

KEY = "sk-live-51f0c9a2e7d84b3f"


def _bearer(asked: Asked) -> str:
    return asked.headers.get("authorization", "")


SECRETS: dict[str, tuple[list[str], dict[str, str], Callable[[Asked], str]]] = {
    "environment": ([], {"OPENAI_API_KEY": KEY}, _bearer),
    "own variable": (["--api-key-env", "MY_KEY"], {"MY_KEY": KEY}, _bearer),
    "authorization": (["--header", f"Authorization: Bearer {KEY}"], {}, _bearer),
    "bare authorization": (["--header", f"authorization: {KEY}"], {}, _bearer),
    "x-api-key": (["--header", f"x-api-key: {KEY}"], {}, lambda asked: asked.headers.get("x-api-key", "")),
    "cookie": (["--header", f"Cookie: a=b; session={KEY}"], {}, lambda asked: asked.headers.get("cookie", "")[12:]),
    "extra body": (
        ["--extra-body", json.dumps({"vendor": {"api_key": KEY}})],
        {},
        lambda asked: (asked.body or {}).get("vendor", {}).get("api_key", ""),
    ),
    "query": (["--url", f"URL/v1?api_key={KEY}"], {}, lambda asked: asked.path),
}


def at(url: str, flags: list[str]) -> list[str]:
    """The flags for the server at `url`, which one of them may name itself."""
    return [*([] if "--url" in flags else ["--url", url]), *(flag.replace("URL", url) for flag in flags)]


WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


def _error(words: str) -> str:
    return json.dumps({"error": {"message": words}})


# What the server says to GET and to the POST of each number; {} is what it saw of the key.
TELLTALES: dict[str, Callable[[Asked, str], tuple[int, str]]] = {
    "answers": lambda asked, seen: (200, json.dumps(WHOLE)),
    "401": lambda asked, seen: (401, _error(f"Incorrect API key provided: {seen}. Find it at example.org")),
    "500": lambda asked, seen: (500, f'<html>\nno such key {seen!r} or "{seen}"\n</html>'),
    "error in a 200": lambda asked, seen: (200, _error(f"bad key {seen}")),
    "cut short": lambda asked, seen: (500, "x" * (500 - 12) + seen),
    "not JSON": lambda asked, seen: (200, f"{{{seen}"),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("telltale", TELLTALES)
def test_keys_are_written_nowhere(secret: str, telltale: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    flags, environment, look = SECRETS[secret]
    seen: list[str] = []
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def script(asked: Asked) -> tuple[int, str]:
        if asked.method == "GET":
            return 200, MODELS
        seen.append(look(asked))
        return TELLTALES[telltale](asked, seen[-1].removeprefix("Bearer "))

    with scripted(script) as url:
        arguments = [*at(url, flags), "--no-stream", "--save-text"]
        done = loadstone(capsys, "run", *arguments, "-n", 2, "-c", 1, "-o", "run")
    assert len(seen) == 2
    assert all(KEY in text for text in seen)
    assert done.status == (0 if telltale == "answers" else 1)
    kept = [*tree().items(), ("stdout", done.out.encode()), ("stderr", done.err.encode())]
    assert len(kept) == len(PARTS) + 2
    assert [name for name, content in kept if KEY[:10].encode() in content] == []


@pytest.mark.parametrize("secret", [name for name in SECRETS if name != "extra body"])
def test_keys_are_not_shown_by_a_refusal(secret: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server quotes the key when it is asked for its models."""
    flags, environment, look = SECRETS[secret]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with scripted(lambda asked: (401, _error(f"no such key: {look(asked)}"))) as url:
        said = refused(capsys, "run", *at(url, flags))
    assert "(HTTP 401: no such key: " in said
    assert "***" in said
    assert KEY[:10] not in said


# kill -9


@posix
def test_a_killed_run_keeps_what_had_ended(capsys: Capture) -> None:
    """All but what ended in the last quarter of a second, which may not have been on its way to the file yet."""
    with Sim(ttft="10ms", itl="2ms") as server:
        load = ("--url", server.url, "-n", 100_000, "-c", 4, "-o", "run", "--quiet")
        with subprocess.Popen(
            command("run", "--no-scrape", *load), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            until = time.monotonic() + PATIENCE
            while len(server.truth) < 100 and time.monotonic() < until:
                time.sleep(0.01)
            killed = time.monotonic_ns()
            run.send_signal(signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL
        ended = [row["end"] for row in server.truth if row["end"] is not None]
    rows = records(Path("run"))
    assert sum(end < killed - 250_000_000 for end in ended) <= len(rows) <= len(ended)
    assert len(rows) > 20
    assert all(row.error is None and row.usage and row.usage.completion == 6 for row in rows)
    done = loadstone(capsys, "report", "run", "--as", "json")
    assert done.status == 0
    summary = json.loads(done.out)
    assert summary["counts"]["succeeded"] == len(rows)
    assert summary["verdict"]["status"] != "valid"
    assert "no end" in [doubt["what"] for doubt in summary["verdict"]["doubts"]]
    assert "Check: " in loadstone(capsys, "report", "run").out


def test_a_run_of_which_everything_was_taken_back_says_so(sim: Sim, capsys: Capture) -> None:
    flags = ("--cancel-share", 1, "--cancel-after", "1ms", "-o", "run", "--quiet")
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 3, *flags)
    assert done.status == 1
    assert "no request succeeded; each was cancelled: give a lower --cancel-share" in done.err
