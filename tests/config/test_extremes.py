"""Settings beyond what a run can use: numbers that JSON does not have, rates, headers, endless and deep files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadstone.config import files, kinds
from loadstone.config.schema import Config
from loadstone.config.secrets import FRAMING, request_headers
from loadstone.errors import ConfigError


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": [Infinity]}', '{"a": -Infinity}', '{"a": 1e999}', "[1]", "{", '{"a":' * 100_000]
)
def test_objects_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the texts are those of libraries
        kinds.OBJECT.parse(text)


@pytest.mark.parametrize("rate", [1e-300, 1e-7, 1e8, 1e300])
def test_a_rate_that_no_clock_can_follow_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="--rate takes"):
        Config(url="http://h", rate=rate).check()
    Config(url="http://h", rate=1e-6).check()


@pytest.mark.parametrize("name", FRAMING)
def test_headers_of_the_framing_are_the_clients(name: str) -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        request_headers(Config(url="http://h", header={name.title(): "5"}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "a\r\nX: b"),
        ("request_id", "\u00e9"),
        ("session_header", "X Y"),
        ("session_header", "X:\r\n"),
        ("session_header", ""),
    ],
)
def test_ids_and_names_of_headers_are_checked(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match="--" + field.replace("_", "-")):
        Config(url="http://h", **{field: value}).check()  # type: ignore[arg-type]


def test_a_file_of_settings_is_small_and_flat(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    with large.open("wb") as file:
        file.truncate(files.MAX_SIZE + 1)
    with pytest.raises(ConfigError, match="MiB"):
        files.read(large)
    for name, text in (
        ("deep.json", "[" * 200_000),
        ("deep.toml", "a = " + "[" * 200_000),
        ("deep.yaml", "a: " + "[" * 20_000),
    ):
        deep = tmp_path / name
        deep.write_text(text)
        with pytest.raises(ConfigError):
            files.read(deep)
