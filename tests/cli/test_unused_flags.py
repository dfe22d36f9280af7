"""Flags that a run does not use are named once, and flags that are given twice are refused."""

from __future__ import annotations

import pytest

from loadstone.cli import parser
from loadstone.errors import ConfigError
from support.servers import Sim, loadstone

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.clean_folder
UNUSED = "loadstone: --batch-size is not used: it is for a local model, and a server decides on its own batches; "
TURNS = "--turns is not used: chat-small has its own prompts"


@pytest.mark.parametrize(
    ("command", "field", "sentence"),
    [
        ("run --dataset a --dataset a", "dataset", "--dataset is given twice: give one"),
        ("run -c 3 --concurrency 4", "concurrency", "--concurrency is given twice: give one"),
        ("run --request-id --request-id a", "request_id", "--request-id is given twice: give one"),
        ("run --goodput ttft:1s --goodput tpot:1s", "goodput", "--goodput is given twice: give all values after one"),
        ("sweep -c 1,2 -c 4", "concurrency", "--concurrency is given twice: give one"),
        ("sweep --slo ttft.p99<1s --slo ttft.p50<1s", "slo", "--slo is given twice: give one"),
        ("eval --tasks a --limit 3 --limit 4", "limit", "--limit is given twice: give one"),
        ("serve --ttft 1s --ttft 2s", "ttft", "--ttft is given twice: give one"),
        ("swarm master --seed 1 --seed 2", "seed", "--seed is given twice: give one"),
        ("report a --as md --as csv", "view", "--as is given twice: give one"),
    ],
)
def test_a_flag_that_is_given_twice_is_refused(command: str, field: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parser.parse(command.split())
    assert (str(caught.value), caught.value.field) == (sentence, field)


@pytest.mark.parametrize(
    "command",
    [
        "run --url http://a --url http://b --header a:b --header c:d --scrape http://a --scrape http://b",
        "run --insecure --insecure",
        "sweep -c 1,2,4 --vary seed=1,2 --vary temperature=0,1",
        "swarm master --seed 1 --csv a --csv b",
        "compare a b c",
    ],
)
def test_flags_that_may_be_repeated_stay_allowed(command: str) -> None:
    assert parser.parse(command.split()).command == command.split()[0]


def test_a_parser_may_parse_several_command_lines() -> None:
    built = parser.build_parser("run")
    assert [built.parse_args(["run", "-c", text]).concurrency for text in "34"] == [3, 4]


def test_a_run_names_what_it_does_not_use(sim: Sim, capsys: Capture) -> None:
    done = loadstone(capsys, "run", "--url", sim.url, "-n", 2, "--batch-size", 3, "--turns", 2, "-o", "a")
    assert UNUSED + TURNS in done.err.splitlines()


def test_a_sweep_and_repeats_name_it_once(sim: Sim, capsys: Capture) -> None:
    flags = ("--url", sim.url, "-n", 2, "--batch-size", 3, "--turns", 2, "--no-html")
    for command in (("sweep", "-c", "1,2", "-o", "a"), ("run", "--repeat", 2, "-o", "b")):
        done = loadstone(capsys, *command, *flags)
        assert done.status == 0, done
        assert done.err.splitlines().count(UNUSED + TURNS) == 1
