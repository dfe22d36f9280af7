"""Test settings with their flags: each is declared once, and parser, files, checks, schema follow from it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadstone.cli.flags import add_flags
from loadstone.cli.parser import build_parser, parse
from loadstone.config import flags, kinds, loading
from loadstone.config.flags import settings_of
from loadstone.config.output import PERCENTILES
from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.evals.settings import Eval

# Texts of values for each kind of setting, and what they mean.
VALUES: dict[kinds.Kind, tuple[str, Any]] = {
    kinds.WHOLE: ("3", 3),
    kinds.NUMBER: ("0.5", 0.5),
    kinds.FRACTION: ("10%", 0.1),
    kinds.TIME: ("1m30s", 90.0),
    kinds.LENGTH: ("normal(5,1)", "normal(5,1)"),
    kinds.PAUSE: ("500ms", 0.5),
    kinds.COUNT_OR_TIME: ("10s", "10s"),
    kinds.WORKERS: ("2", 2),
    kinds.HEADER: ("X-A: b", {"X-A": "b"}),
    PERCENTILES: ("p75,50", [50.0, 75.0]),
    kinds.OBJECT: ('{"a": 1}', {"a": 1}),
}


@pytest.mark.parametrize("cls", [Config, Eval])
def test_every_field_is_a_setting_with_a_flag_of_its_own(cls: type[Any]) -> None:
    settings = settings_of(cls)
    assert list(settings) == [field.name for field in dataclasses.fields(cls) if field.name != "simulated"]
    names = [setting.name for setting in settings.values()]
    assert len(set(names)) == len(names)
    assert all(setting.flag.help and setting.group for setting in settings.values())


def test_settings_that_need_or_exclude_others_name_settings() -> None:
    settings = settings_of(Config)
    for setting in settings.values():
        assert {*setting.flag.needs[0], *(other for other, _ in setting.flag.excludes)} <= settings.keys()


@pytest.mark.parametrize("name", settings_of(Config))
def test_a_flag_and_a_file_give_the_same_setting(name: str, tmp_path: Path) -> None:
    setting = settings_of(Config)[name]
    text, value = VALUES.get(setting.kind, ("a", "a"))
    if setting.kind.takes.startswith(("wire", "round", "auto, kernel", "first", "final", "max_tokens")):
        text = value = setting.kind.takes.split(" or ")[-1]
    if setting.type is bool:
        typed, value = [f"--{'no-' if setting.default else ''}{setting.name}"], not setting.default
    elif name == "goodput":
        typed, text, value = ["--goodput", "ttft:200ms"], "ttft:200ms", {"ttft": 0.2}
    else:
        typed = [f"--{setting.name}", text]
    given = loading.merge_settings(Config, vars(build_parser("run").parse_args(["run", *typed])))
    by_flag = flags.from_mapping(Config, given, "run")

    file = tmp_path / "run.toml"
    written = json.dumps(value) if setting.type is bool else json.dumps(text)
    if setting.kind in (kinds.WHOLE, kinds.NUMBER):
        written = text
    if setting.kind in (kinds.HEADER, kinds.OBJECT):
        written = "{" + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + "}"
    file.write_text(f"{setting.name} = {written}\n")
    by_file = flags.from_mapping(Config, loading.merge_settings(Config, {"config": str(file)}), "run")
    assert getattr(by_flag, name) == getattr(by_file, name)
    assert getattr(by_flag, name) == ([value] if name == "stop" else value)


@pytest.mark.parametrize(
    ("fields", "sentence", "field"),
    [
        ({"rate": "fast"}, "--rate takes a number, not 'fast'", "rate"),
        (
            {"rate": 0},
            "--rate takes a number above 0 (to send without a rate, leave it out and give -c N), not 0",
            "rate",
        ),
        ({"concurrency": 2.5}, "--concurrency takes a whole number, not '2.5'", "concurrency"),
        ({"timeout": "5 parsecs"}, "--timeout takes a time such as 30, 500ms, 2m or 1h30m, not '5 parsecs'", "timeout"),
        ({"cancel_share": "150%"}, "--cancel-share takes 0 to 1, not 1.5", "cancel_share"),
        ({"stop_error_rate": "often"}, "--stop-error-rate takes a fraction such as 0.1 or 10%, not 'often'", None),
        ({"header": "X"}, "--header takes 'NAME: VALUE', not 'X'", "header"),
        ({"extra_body": [1]}, "--extra-body takes a JSON object", "extra_body"),
        ({"shuffle": "perhaps"}, "--shuffle takes on or off, not 'perhaps'", "shuffle"),
        ({"workers": 0}, "--workers takes 1 or more, not 0", "workers"),
        ({"balance": "fair"}, "--balance takes round-robin or sticky, not 'fair'", "balance"),
        ({"stop": [1]}, "--stop takes a text, not '[1]'", "stop"),
    ],
)
def test_a_wrong_value_names_its_flag(fields: dict[str, Any], sentence: str, field: str | None) -> None:
    with pytest.raises(ConfigError) as refusal:
        flags.from_mapping(Config, fields, "run").check()
    assert str(refusal.value).startswith(sentence)
    assert refusal.value.field == (field or next(iter(fields)))


def test_a_library_user_who_sets_a_value_of_another_type_is_told_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--concurrency takes a whole number, not '8'$"):
        Config(concurrency="8").check()  # type: ignore[arg-type]


YAML = """# a load test
url: http://127.0.0.1:1
{line}
label: x
"""


@pytest.mark.parametrize(
    ("line", "sentence", "number"),
    [
        ("timeout: 5 parsecs", "--timeout takes a time such as", 3),
        ("concurency: 5", "`run` has no setting 'concurency' (did you mean concurrency?); ", 3),
        ("rate: 2\nstages: 30s@2", "--rate and --stages exclude each other", 3),
        ("cancel_after: 1s", "--cancel-after needs --cancel-share", 3),
        ("from: 10\narrivals: gauss", "--arrivals takes constant", 4),
        ("n-choices: 0", "--n-choices takes 1 or more", 3),
    ],
)
def test_a_mistake_in_a_file_is_refused_with_file_key_and_line(
    tmp_path: Path, line: str, sentence: str, number: int
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(YAML.format(line=line))
    with pytest.raises(ConfigError) as refusal:
        loading.load_config({"config": str(file)})
    assert str(refusal.value).startswith(f"{file}, line {number}: {sentence}")
    assert (refusal.value.file, refusal.value.line) == (str(file), number)
    assert refusal.value.field is not None


def test_a_flag_that_clashes_with_a_file_is_not_blamed_on_a_line_without_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('stages = "30s@2"\n')
    with pytest.raises(ConfigError) as refusal:
        loading.load_config({"config": str(file), "rate": 2.0})
    assert str(refusal.value).startswith("--rate and --stages exclude each other")


@pytest.mark.parametrize("ending", ["toml", "yaml", "json"])
def test_the_schema_of_the_file_may_be_named_in_it(ending: str, tmp_path: Path) -> None:
    texts = {
        "toml": '"$schema" = "run.schema.json"\nconcurrency = 3\n',
        "yaml": "$schema: run.schema.json\nconcurrency: 3\n",
        "json": '{"$schema": "run.schema.json", "concurrency": 3}',
    }
    file = tmp_path / f"run.{ending}"
    file.write_text(texts[ending])
    assert loading.load_config({"config": str(file)}).concurrency == 3


def test_the_command_line_has_each_flag_once() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Config)
    declared = {setting.name for setting in settings_of(Config).values()}
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    assert {re.sub("^--(no-)?", "", option) for option in options} == declared | {"help"}


def test_settings_load_without_numpy() -> None:
    code = "import sys, loadstone.config.schema; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_swarm_leaves_the_flags_of_locust_to_it() -> None:
    options = parse(["swarm", "master", "-c", "4", "--headless", "--expect-workers", "2"])
    assert (options.settings.concurrency, options.rest) == (4, ["--headless", "--expect-workers", "2"])
