"""The table of other tools' flags: its rows are complete and lead to flags that exist; what is suggested, and when."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from loadstone.cli.parser import build_parser
from loadstone.config.foreign_flags import COMMANDS, ForeignFlag, normal, rows_by_spelling, suggest, table
from loadstone.config.schema import from_mapping
from loadstone.errors import ConfigError
from loadstone.evals import settings

# Flags that rows lead to and that no command has yet.
PENDING: set[str] = set()
PARSERS = build_parser().commands
FLAGS = {command: set(parser._option_string_actions) for command, parser in PARSERS.items()}
RUN = ["--requests", "-n", "--concurrency", "-c", "--rate", "--temperature", "--num-thing", "--output-len"]


def name_of(row: ForeignFlag) -> str:
    return f"{row.commands[0]}:{(row.flags + row.guesses)[0]}"


@pytest.mark.parametrize("row", table(), ids=name_of)
def test_a_row_leads_to_flags_that_exist(row: ForeignFlag) -> None:
    missing = {flag for command, flag in row.targets if flag not in FLAGS[command]}
    assert missing <= PENDING
    assert bool(row.targets) == bool(row.ours and row.ours != "loadstone swarm")


@pytest.mark.parametrize("row", table(), ids=name_of)
def test_a_row_is_complete(row: ForeignFlag) -> None:
    assert row.flags + row.guesses
    assert bool(row.flags) == bool(row.tools)
    assert row.ours or row.note
    for flag in row.flags + row.guesses:
        assert flag.startswith("-")
        for command in row.commands:
            # A flag that the command has would never be looked up, but for those that `eval` takes only to refuse them.
            assert flag not in FLAGS[command] or row.tools == ("loadstone run",), flag
            assert len(f"`{command}` has no flag {flag} ({row.advice}); see loadstone {command} --help") <= 200


def test_a_flag_has_one_row_for_a_command() -> None:
    for spelling, rows in rows_by_spelling().items():
        commands = [row.commands for row in rows]
        assert len(set(commands)) == len(commands), spelling
    assert len(table()) > 150


def test_other_names_of_commands() -> None:
    assert set(COMMANDS.values()) <= set(PARSERS)
    assert not set(COMMANDS) & set(PARSERS)


@pytest.mark.parametrize(
    ("typed", "spelling"),
    [
        ("--Num_Prompts=3", "--num-prompts"),
        ("num_prompts", "--num-prompts"),
        ("-H", "-H"),
        ("-np", "-np"),
        ("-h", "-h"),
    ],
)
def test_spellings(typed: str, spelling: str) -> None:
    assert normal(typed) == spelling


@pytest.mark.parametrize(
    ("command", "flag", "known", "answer"),
    [
        ("run", "--num-prompts", RUN, "use -n"),
        ("run", "--num_prompts=10", RUN, "use -n"),
        ("run", "--NUM-PROMPTS", RUN, "use -n"),
        ("run", "--request-rate", RUN, "use --rate; for inf leave it out and give -c N"),
        ("run", "--num_thing", RUN, "did you mean --num-thing?"),
        ("run", "--rquests", RUN, "did you mean --requests?"),
        ("run", "--concurency", RUN, "did you mean --concurrency?"),
        ("run", "--temp", [*RUN, "--template"], "use --temperature"),
        ("run", "--outp", RUN, "did you mean --output-len?"),
        ("run", "--bogus", RUN, ""),
        ("run", "-Q", RUN, ""),
        ("run", "--num_fewshot", [], "it is for `loadstone eval`: use --num-fewshot"),
        ("report", "--num-prompts", [], "it is for `loadstone run`: use -n"),
        ("eval", "--dataset", [], "use --tasks; with --limit or --samples"),
        ("eval", "--requests", [], "use --limit; or --samples"),
        ("eval", "--n-choices", [], "use --repeat"),
        ("eval", "--duration", [], "an evaluation ends when all items have been asked; --limit makes it shorter"),
        # A setting of a file has its long name.
        ("run", "num-prompts", ["requests"], "use requests"),
        ("run", "max_concurrency", ["concurrency"], "use concurrency"),
        ("run", "sla_params", [], 'use loadstone sweep --slo; such as "ttft.p99<500ms"'),
        ("run", "request_rate", ["rate"], "use rate; for inf leave it out and give concurrency N"),
        ("run", "concurency", ["concurrency"], "did you mean concurrency?"),
    ],
)
def test_suggestions(command: str, flag: str, known: Collection[str], answer: str) -> None:
    assert suggest(command, flag, known) == answer


def test_a_flag_of_another_command() -> None:
    elsewhere = {"run": ["--turns", "-c"], "sweep": ["--turns", "--vary"]}
    assert suggest("eval", "--vary", [], elsewhere) == "it is a flag of `loadstone sweep`"
    assert suggest("check", "--turns", [], elsewhere) == "it is a flag of `loadstone run`"
    assert suggest("check", "-c", [], elsewhere) == "it is a flag of `loadstone run`"


def test_settings_of_a_file() -> None:
    with pytest.raises(ConfigError) as refused:
        from_mapping({"num_prompts": 10})
    assert str(refused.value) == "`run` has no setting 'num-prompts' (use requests); see loadstone run --help"
    assert refused.value.field == "num_prompts"
    with pytest.raises(ConfigError) as refused:
        settings.from_mapping({"tasks": "gsm8k", "eval-batch-size": 8}, "the configuration")
    assert "`eval` has no setting 'eval-batch-size' (use concurrency; requests in flight" in str(refused.value)
