"""Runs whose servers are asked for their metrics: which pages, with which headers, and that it harms no run."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadstone.apis.openai import Chat
from loadstone.config import secrets
from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.server_metrics import csv, discovery
from loadstone.server_metrics.process import MetricsPage, ScrapeProcess, ScrapeSpec
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
    refused,
    scripted,
    spawned,
)

Capture = pytest.CaptureFixture[str]
SMALL = ("-n", "20", "-c", "4", "--output-len", "4", "--quiet")


pytestmark = [pytest.mark.clean_folder, pytest.mark.scrapes]


@pytest.fixture(scope="module")
def vllm() -> Iterator[Sim]:
    with Sim(engine="vllm", preset="tiny", speedup=10.0) as sim:
        yield sim


# A run


def test_the_server_counts_what_the_run_sent(vllm: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", f"{vllm.url}/v1", *SMALL, "--warmup", "4", "-o", "run")
    assert done.status == 0, done.err
    side = read_json(Path("run/summary.json"))["server"]
    assert [source["url"] for source in side["sources"]] == [f"{vllm.url}/metrics"]
    tallies = {tally["name"]: (tally["client"], tally["server"]) for tally in side["tallies"]}
    assert tallies["finished"] == (24, 24)
    assert {client - server for client, server in tallies.values()} == {0}
    assert {one["name"] for one in side["beside"]} == {"ttft", "itl", "tpot", "latency"}
    assert "Client and server" in done.out
    again = loadstone(capsys, "report", "run", "--as", "json")
    assert again.out == Path("run/summary.json").read_text("utf-8")
    (scraped,) = csv.read(Path("run"))
    assert scraped.times[0] < 0.1
    assert scraped.times[-1] > read_json(Path("run/summary.json"))["duration"]


def test_processes_that_share_the_load_have_one_that_asks(vllm: Sim, capsys: Capture) -> None:
    loadstone(capsys, "run", "--url", vllm.url, *SMALL, "--workers", "2", "-o", "run")
    side = read_json(Path("run/summary.json"))["server"]
    assert (side["tallies"][0]["client"], side["tallies"][0]["server"]) == (20, 20)
    assert sum("csv" in name and "server" in name for name in os.listdir("run")) == 1


def test_no_scrape_leaves_the_server_alone(capsys: Capture) -> None:
    asked: list[str] = []

    def script(request: Asked) -> tuple[int, str]:
        asked.append(request.path)
        return (200, MODELS) if request.path == "/v1/models" else (404, "{}")

    with scripted(script) as url:
        loadstone(capsys, "run", "--url", url, "-n", "1", "--quiet", "--no-scrape", "-o", "run")
    assert "/metrics" not in asked
    assert not Path("run/server.csv").exists()
    assert read_json(Path("run/summary.json"))["server"] is None


def test_others_on_the_server_are_noticed(vllm: Sim, capsys: Capture) -> None:
    """Its own name for a place is used, and two places are two sources."""
    places = ["--scrape", vllm.url, "--scrape", vllm.url.replace("127.0.0.1", "localhost") + "/metrics"]
    done = loadstone(capsys, "run", "--url", vllm.url, *SMALL, *places, "-o", "run")
    assert "other traffic" in done.out
    assert len(read_json(Path("run/summary.json"))["server"]["sources"]) == 2


# Which pages


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://h:8000", "http://h:8000/metrics"),
        ("http://h:8000/v1", "http://h:8000/metrics"),
        ("https://h/proxy/v1/chat/completions?key=x", "https://h/proxy/metrics"),
        ("unix:/run/vllm.sock", "http+unix://%2Frun%2Fvllm.sock/metrics"),
    ],
)
def test_the_page_is_beside_the_api(url: str, page: str) -> None:
    assert discovery.metrics_url(url, ["/v1/chat/completions"]) == page


def test_a_bare_host_has_its_metrics_where_all_have() -> None:
    assert discovery.add_metrics_path("http://gpu7:9400/") == "http://gpu7:9400/metrics"
    assert discovery.add_metrics_path("unix:/run/x.sock") == "http+unix://%2Frun%2Fx.sock/metrics"
    assert discovery.add_metrics_path("http://h/prometheus/metrics?x=1") == "http://h/prometheus/metrics?x=1"


def test_the_key_goes_to_the_host_that_is_tested_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    config = Config(url="https://serving:8000/v1", header={"X-Team": "blue"})
    sent = secrets.request_headers(config)
    assert ("Authorization", "Bearer sk-of-this-test") in sent
    assert discovery.page_headers(config, "https://serving:9090/metrics") == sent
    for other in ("https://gpu7:9400/metrics", "http://serving:8000/metrics", "unix:/serving", "nonsense"):
        assert discovery.page_headers(config, other) == ()


def test_a_page_that_wants_the_key_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")

    def script(request: Asked) -> tuple[int, str]:
        known = request.headers.get("authorization") == "Bearer sk-of-this-test"
        return (200, "vllm:num_requests_running 1\n") if known else (401, "who are you?")

    with scripted(script) as url:
        assert [place.display_url for place in found(Config(url=url))] == [f"{url}/metrics"]
        assert found(Config(url=url.replace("127.0.0.1", "localhost"), scrape=True)) != []
        assert found(Config(url="http://other.example", scrape=False)) == []
        with pytest.raises(UsageError, match="HTTP 401"):
            found(Config(url="http://other.example", scrape=url))


def found(config: Config, notices: list[str] | None = None) -> list[MetricsPage]:
    notice = (notices if notices is not None else []).append
    return event_loop.run(discovery.find_pages(config, Chat(), notice))


class Wrong:
    """Answers at /metrics that are none."""

    TEXTS = ((404, "{}"), (200, "<html>vllm:num_requests_running 1</html>"), (200, ""), (500, "vllm:x 1"))


@pytest.mark.parametrize(("status", "text"), Wrong.TEXTS)
def test_a_server_without_metrics_is_no_matter(status: int, text: str) -> None:
    notices: list[str] = []
    with scripted(lambda _: (status, text)) as url:
        assert found(Config(url=url), notices) == []
        with pytest.raises(UsageError, match=r"--scrape http.*/metrics: .*is it the address of a Prometheus page"):
            found(Config(url=url, scrape=url), notices)
    assert notices == []


@pytest.mark.parametrize(
    ("asked", "told"), [({"scrape_all": True}, "not Prometheus text"), ({"scrape_name": "warm"}, "none of the names")]
)
def test_who_says_what_to_keep_hears_that_nothing_is(asked: dict[str, Any], told: str) -> None:
    notices: list[str] = []
    text = "heat_celsius 60\n" + ("garbage{ here\n" if "scrape_all" in asked else "")
    with scripted(lambda _: (200, text)) as url:
        assert found(Config(url=url, **asked), notices) == []
    assert len(notices) == 1
    assert told in notices[0]


def test_a_page_of_other_names_is_kept_when_asked_for() -> None:
    notices: list[str] = []
    with scripted(lambda _: (200, "heat_celsius 60\n")) as url:
        assert found(Config(url=url), notices) == []
        assert found(Config(url=url, scrape_name="heat"), notices) != []
        assert found(Config(url=url, scrape_all=True), notices) != []
        assert notices == []
        assert found(Config(url=url, scrape=[url]), notices) != []
    (notice,) = notices
    assert notice.endswith("--scrape-name REGEX or --scrape-all keeps what it has")


def test_a_server_that_does_not_answer_at_metrics_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PROBE_TIMEOUT", 0.05)

    def script(_: Asked) -> tuple[int, str]:
        time.sleep(0.2)
        return 200, "vllm:num_requests_running 1\n"

    with scripted(script) as url:
        assert found(Config(url=url)) == []


def test_what_cannot_be_scraped_is_refused_before_the_run(vllm: Sim, capsys: Capture) -> None:
    run = ("run", "--url", vllm.url, *SMALL, "-o", "run")
    place = f"127.0.0.1:{closed_port()}"
    assert f"--scrape http://{place}/metrics: {place}: connection refused" in refused(
        capsys, *run, "--scrape", f"http://{place}"
    )
    assert "--scrape takes http://HOST:PORT/metrics" in refused(capsys, *run, "--scrape", "gpu7:9400")
    assert "not allowed with argument" in refused(capsys, *run, "--scrape", "http://h", "--no-scrape")
    assert "--scrape-name takes a regular expression, not '('" in refused(capsys, *run, "--scrape-name", "(")
    assert "--scrape-every takes a number above 0" in refused(capsys, *run, "--scrape-every", "0")
    assert not Path("run").exists()


def test_keys_in_an_address_are_written_nowhere(vllm: Sim, capsys: Capture) -> None:
    place = f"{vllm.url}/metrics?token=of-this-test"
    done = loadstone(capsys, "run", "--url", vllm.url, *SMALL, "--scrape", place, "-o", "run")
    written = "".join(path.read_text("utf-8") for path in Path("run").iterdir()) + done.out + done.err
    assert "of-this-test" not in written
    assert "/metrics?token=***" in written


# The process


def quest(url: str, folder: Path, **changes: Any) -> ScrapeSpec:
    config = Config(url=url, scrape_every=0.05)
    made = discovery.scrape_spec(config, [MetricsPage(f"{url}/metrics", f"{url}/metrics")], folder)
    return (
        made if not changes else ScrapeSpec(**{name: getattr(made, name) for name in made.__struct_fields__} | changes)
    )


def until(true: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def looks(folder: Path) -> int:
    file = folder / csv.NAME
    return file.read_text("utf-8").count(",up,") if file.exists() else 0


def test_looks_that_fail_are_rows_and_the_next_may_succeed(tmp_path: Path) -> None:
    answers = iter([(200, "vllm:num_requests_running 1\n"), (500, "oh"), (200, "<html>")])
    with scripted(lambda _: next(answers, (200, "vllm:num_requests_running 5\n"))) as url:
        lookout = ScrapeProcess(quest(url, tmp_path))
        assert lookout.start()
        lookout.set_origin(time.monotonic_ns())
        until(lambda: looks(tmp_path) > 5)
        assert lookout.stop()
    (scraped,) = csv.read(tmp_path)
    assert len(scraped.missed_times) == 2
    (values,) = scraped.series.values()
    assert (values[0], values[-1]) == (1, 5)


def test_one_that_was_killed_is_known_at_the_end(tmp_path: Path) -> None:
    with scripted(lambda _: (200, "vllm:num_requests_running 1\n")) as url:
        lookout = ScrapeProcess(quest(url, tmp_path))
        assert lookout.start()
        lookout.set_origin(time.monotonic_ns())
        lookout._process.kill()
        lookout._process.wait()
        assert not lookout.stop()
    assert lookout.stop(), "nothing to stop"


@posix
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """A run that is killed: its pipe closes, the last look is taken, the process is gone."""
    with spawned() as url:
        run = subprocess.Popen(
            command("run", "--url", url, "--duration", "9", "--scrape-every", "0.05", "--quiet", "-o", "run")
        )
        try:
            until(lambda: looks(Path("run")) > 3)
            tasks = Path(f"/proc/{run.pid}/task").glob("*/children")
            (child,) = " ".join(task.read_text("ascii") for task in tasks).split()
        finally:
            run.kill()
            run.wait()
        until(lambda: _gone(child))
    assert len(csv.read(Path("run"))[0].times) > 3


def _gone(process: str) -> bool:
    """Ended, whether or not anybody has asked for its status."""
    try:
        return ") Z" in Path(f"/proc/{process}/stat").read_text("ascii")
    except OSError:
        return True


@posix
def test_its_death_is_not_the_runs(vllm: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    began = ScrapeProcess.set_origin

    def killed(self: ScrapeProcess, origin: int) -> None:
        self._process.kill()
        self._process.wait()
        began(self, origin)

    monkeypatch.setattr(ScrapeProcess, "set_origin", killed)
    assert loadstone(capsys, "run", "--url", vllm.url, *SMALL, "-o", "run").status == 0
    assert read_json(Path("run/summary.json"))["server"] is None


def test_one_that_does_not_begin_is_told(vllm: Sim, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadstone.host.child_process.sys.executable", "/no/such/python")
    done = loadstone(capsys, "run", "--url", vllm.url, *SMALL, "-o", "run")
    assert done.status == 0
    assert "the metrics of the server are not scraped: the process that scrapes them did not start" in done.err
