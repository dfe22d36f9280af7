"""Test the settings that runs save: the JSON schema describes them, and a saved run can be run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loadstone.cli import main
from loadstone.cli.schema import schema_of
from support import servers

pytestmark = pytest.mark.clean_folder
QUICK = "--output-len 2 --no-scrape --no-html --quiet"
# Commands, by the folder below which their runs are.
RUNS = {
    "closed": f"run -n 4 -c 2 --shuffle --seed 7 --label a {QUICK}",
    "open": f"run -n 6 --rate 200 --burstiness 0.5 --goodput ttft:200ms tpot:50ms --max-error-rate 50% {QUICK}",
    "stages": f"run --stages 100ms@20,100ms@20..80 --warmup 10ms --grace 2s {QUICK}",
    "trace": f"run --dataset trace.jsonl --speed 4 --from 0 --to 1h {QUICK}",
    "lengths": "run -n 4 --dataset random --input-len 9 --output-len 3 --range-ratio 0.5 --turns 2"
    " --think-time 1ms --no-scrape --no-html --quiet",
    "fields": "run -n 2 --header 'X-Team: a' --header 'Authorization: Bearer sk-abcdefgh'"
    f" --extra-body '{{\"api_key\": 1}}' --stop a b --temperature 0.5"
    f" --chat-template-kwargs '{{\"thinking\": true}}' {QUICK}",
    "cancel": f"run -n 4 --cancel-share 50% --cancel-after 1ms --request-id x- --save-text --save-bodies {QUICK}",
    "local": f"run --model dummy --batch-size 2 -n 4 {QUICK}",
    "repeats": f"run -n 3 --repeat 2 {QUICK}",
    "sweep": "sweep -n 3 -c 1,2 --output-len 2,3 --no-scrape --no-html --quiet",
    "eval": "eval --tasks gsm8k --data-dir bundled --limit 2 --gen temperature=0.5 --quiet --no-scrape --no-html",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with servers.spawned(ttft="1ms", itl="100us") as address:
        yield address


def run(url: str, name: str, *more: str) -> Path:
    """Run one of RUNS. Return its folder."""
    Path("trace.jsonl").write_text(
        "".join(
            f'{{"timestamp": {at}, "input_length": 5, "output_length": 2, "hash_ids": [1]}}\n' for at in (0, 20, 60)
        )
    )
    words = shlex.split(RUNS[name])
    server = [] if name == "local" else ["--url", url]
    assert main.main([*words[:1], *server, *words[1:], "-o", name, *more]) == 0
    return Path(name)


def saved(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the configurations in a folder: of runs, of a sweep and of an evaluation, with the command of each."""
    found = [("run", json.loads(file.read_bytes())["config"]) for file in folder.rglob("run.json")]
    found += [("sweep", json.loads(file.read_bytes())["config"]) for file in folder.rglob("sweep.json")]
    return found + [("eval", json.loads(file.read_bytes())["settings"]) for file in folder.rglob("eval.json")]


@pytest.mark.parametrize("name", RUNS)
def test_the_schema_describes_what_is_saved(url: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    configurations = saved(run(url, name))
    capsys.readouterr()
    assert configurations
    for command, settings in configurations:
        jsonschema.Draft202012Validator(schema_of(command)).validate(settings)


@pytest.mark.parametrize(
    ("command", "valid", "wrong"),
    [
        ("plan", {"rate": [10, 40], "growth": "10%/month", "think": "20s"}, {"peak": 0.5}),
        ("serve", {"fault": ["500:0.1"], "ttft": 0.05, "itl": "exp(10ms)", "engine": "vllm"}, {"engine": "sglang"}),
        ("sweep", {"vary": {"temperature": [0, 1]}, "concurrency": "1..64x2", "within": "5%"}, {"auto": "requests"}),
    ],
)
def test_the_schemas_of_other_files(command: str, valid: dict[str, Any], wrong: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(command))
    assert validator.is_valid(valid)
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("command", ["run", "sweep", "eval"])
def test_a_schema_is_valid_and_refuses_what_the_command_refuses(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["schema", command]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for valid in (
        {"rate": 5, "timeout": "1h30m"},
        {"max-error-rate": "5%", "max_error_rate": 0.1},
        {"header": ["A: b"]},
    ):
        assert validator.is_valid(valid)
    for wrong in ({"rate": 0}, {"timeout": "5 parsecs"}, {"concurency": 5}, {"balance": "fair"}, {"seed": -1}):
        assert not validator.is_valid(wrong)
    assert validator.is_valid({"concurrency": [1, 2]}) == (command == "sweep")


@pytest.mark.parametrize("name", ["closed", "open", "stages", "trace", "lengths", "cancel"])
def test_a_saved_run_sends_the_same_bodies_at_the_same_instants(
    url: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(url, name)
    assert main.main(["run", "--config", str(first / "run.json"), "-o", "again", "--quiet"]) == 0
    capsys.readouterr()
    before, after = (json.loads((folder / "run.json").read_bytes()) for folder in (first, Path("again")))
    assert after["digest"] == before["digest"]
    assert (first / "schedule.jsonl").read_bytes() == Path("again/schedule.jsonl").read_bytes()
    differing = {name for name, value in before["config"].items() if after["config"][name] != value}
    assert differing == {"output"}


def test_flags_change_a_saved_run(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(url, "closed")
    assert main.main(["run", "--config", str(first / "run.json"), "-o", "again", "--seed", "8", "--quiet"]) == 0
    capsys.readouterr()
    before, after = (json.loads((folder / "run.json").read_bytes()) for folder in (first, Path("again")))
    assert after["digest"]["schedule"] != before["digest"]["schedule"]
    assert after["config"]["seed"] == 8


def test_a_key_that_was_not_saved_is_asked_for(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(url, "fields")
    capsys.readouterr()
    assert main.main(["run", "--config", str(first / "run.json"), "-o", "again", "--quiet"]) == 2
    assert "hides a key in header: give --header again" in capsys.readouterr().err
    assert not Path("again").exists()
    again = ("--config", str(first / "run.json"), "--header", "Authorization: Bearer sk-abcdefgh", "-o", "again")
    assert main.main(["run", *again, "--quiet"]) == 0


def test_a_saved_run_of_the_simulated_server_starts_one_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("-n", "2", "--output-len", "2", "--no-scrape", "--no-html", "--quiet")
    assert main.main(["run", *words, "-o", "first"]) == 0
    assert main.main(["run", "--config", "first/run.json", "-o", "again", "--quiet"]) == 0
    assert capsys.readouterr().err.count("testing a simulated server") == 2
