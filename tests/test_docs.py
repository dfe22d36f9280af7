"""What the README promises: its commands run, the flags it names exist, the list of flags is that of the parser."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from loadstone.cli import main
from loadstone.cli.parser import EPILOG, build_parser
from support import servers as servers
from support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "reports/README.md", "datasets/README.md"),
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]
LOCUSTS = (
    *("--headless", "--expect-workers", "--master-host", "--host", "--master", "--worker", "--web-host"),
    *("--builtin-schema", "--strict"),
)
# lm-eval's own, up to their underscores, and one of vLLM's.
LM_EVALS = {"--apply", "--log", "--use", "--enable-tokenizer-info-endpoint"}
"""Flags of Locust and of the validators in the document about both."""
# And of vLLM where its tools read what Loadstone writes.
VLLMS = ("--save-result", "--save-detailed", "--gpu-count-var", "--var-x", "--var-y")


def commands() -> list[list[str]]:
    """The `$ loadstone ...` lines of the README and of some documents, without the one that serves for ever."""
    text = README + "".join((ROOT / f"docs/{name}.md").read_text("utf-8") for name in ("scale", "evals"))
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True)[1:] for line in lines if not line.startswith("loadstone serve")]


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    found: dict[str, argparse.ArgumentParser] = action.choices
    return found


def test_the_commands_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with servers.spawned(ttft="5ms", itl="1ms") as url:
        for command in commands():
            given = [url if word == "http://127.0.0.1:8000" else word for word in command]
            status = main.main(given)
            error = capsys.readouterr().err
            assert status == 0 or command[0] == "check", f"{shlex.join(command)}: {error}"


def test_the_server_commands_of_the_readme_parse() -> None:
    for line in re.findall(r"\$ (loadstone serve .*)", README):
        assert build_parser().parse_args(shlex.split(line)[1:]).command == "serve"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_flags_named_in_the_documents_exist(name: str) -> None:
    known = {flag for verb in verbs().values() for action in verb._actions for flag in action.option_strings}
    foreign = {
        "--golden",
        "--editable",
        "--sweep",
        "--write",
        *(VLLMS if name == "docs/exports.md" else ()),
        *(LOCUSTS if name in ("README.md", "docs/many-machines.md") else ()),
        *(LM_EVALS if name == "docs/lm-eval.md" else ()),
    }
    text = (ROOT / name).read_text("utf-8")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | foreign | {"--version"}


def test_the_list_of_flags(golden: Callable[[str, str], None]) -> None:
    """Laid out here and not by argparse, whose form changes from one Python to the next."""
    lines = [
        "# Command line",
        "",
        "Every flag, from the parser itself (`make golden`). " + EPILOG.replace("\n", " "),
        "",
    ]
    for name, verb in verbs().items():
        lines += [f"## loadstone {name}", "", f"{(verb.description or '').capitalize()}.", ""]
        lines += [
            *(_flag(action) for action in verb._actions if action.dest != "help" and action.help != argparse.SUPPRESS),
            "",
        ]
    golden("docs/command-line.md", "\n".join(lines))


def _flag(action: argparse.Action) -> str:
    value = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper())
    words = ", ".join(action.option_strings) or str(value)
    taken = f" {value}" if action.option_strings and action.nargs != 0 else ""
    return f"- `{words}{taken}`: {(action.help or '').replace('%%', '%')}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        assert "://" in link or (path.parent / link).exists(), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_in_the_documents_exist(name: str) -> None:
    """A path of the package is written from its root, `engine/sender.py`, or from that of the project."""
    paths = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", (ROOT / name).read_text("utf-8")))
    missing = {path for path in paths if not (ROOT / "perf/loadstone" / path).exists() and not (ROOT / path).exists()}
    assert missing <= {"path/to/file.py"}


def test_names_in_the_architecture_are_defined_where_it_says() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    for defined, path in re.findall(r"`(\w+)` \|? ?\(?`([a-z_/]+\.py)`", text):
        source = (ROOT / "perf/loadstone" / path).read_text("utf-8")
        assert re.search(rf"^(?:class|def|async def) {defined}\b", source, re.MULTILINE), f"{defined} is not in {path}"
