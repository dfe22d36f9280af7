"""Lists of settings as they are typed, and the points that they make."""

from __future__ import annotations

import re
from typing import Any

import pytest

from loadstone.config import kinds
from loadstone.config.kinds import LENGTH, NUMBER, SWITCH, TEXT, TIME, WHOLE, Kind
from loadstone.errors import UsageError
from loadstone.sweep import grid

CLIENTS = kinds.choice(("wire", "aiohttp"))
LISTS: list[tuple[str, Kind, list[Any]]] = [
    ("8", WHOLE, [8]),
    ("1,2,4", WHOLE, [1, 2, 4]),
    (" 1 , 2 ", WHOLE, [1, 2]),
    ("4,1,4", WHOLE, [4, 1]),
    ("1..64x2", WHOLE, [1, 2, 4, 8, 16, 32, 64]),
    ("1..50x2", WHOLE, [1, 2, 4, 8, 16, 32]),
    ("1..8x1.5", WHOLE, [1, 2, 3, 5, 8]),
    ("10..50+10", WHOLE, [10, 20, 30, 40, 50]),
    ("1..4+1,8..32*2", WHOLE, [1, 2, 3, 4, 8, 16, 32]),
    ("5..5+1", WHOLE, [5]),
    ("0.1..0.5+0.1", NUMBER, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ("0.5..4x2", NUMBER, [0.5, 1.0, 2.0, 4.0]),
    ("-1..1+1", WHOLE, [-1, 0, 1]),
    ("500ms..2s+500ms", TIME, [0.5, 1.0, 1.5, 2.0]),
    ("uniform(1,2),64", LENGTH, ["uniform(1,2)", 64]),
    ("normal(512,128,min=16),choice(1,2)", LENGTH, ["normal(512,128,min=16)", "choice(1,2)"]),
    ("a=3,b=1;c", TEXT, ["a=3,b=1", "c"]),
    ('{"a":[1,2]},{"b":"x,y"}', TEXT, ['{"a":[1,2]}', '{"b":"x,y"}']),
    ("../a.jsonl,../b.jsonl", TEXT, ["../a.jsonl", "../b.jsonl"]),
    ("on,off", SWITCH, [True, False]),
    ("wire,aiohttp", CLIENTS, ["wire", "aiohttp"]),
]


@pytest.mark.parametrize(("text", "kind", "expected"), LISTS, ids=[text for text, _, _ in LISTS])
def test_a_list_is_read(text: str, kind: Kind, expected: list[Any]) -> None:
    assert grid.parse_values(text, kind) == expected


WRONG = [
    ("1,,2", WHOLE, "a value is missing in '1,,2'"),
    ("", WHOLE, "a value is missing in ''"),
    ("1,x", WHOLE, "takes a whole number, not 'x'"),
    ("1..8", WHOLE, "'1..8' does not say in which steps: LOW..HIGH+STEP or LOW..HIGHxFACTOR"),
    ("8..1+1", WHOLE, "'8..1+1' leads nowhere"),
    ("1..8x1", WHOLE, "'1..8x1' leads nowhere"),
    ("1..8+0", WHOLE, "'1..8+0' leads nowhere"),
    ("0..8x2", WHOLE, "'0..8x2' leads nowhere"),
    ("1..1000000+1", WHOLE, "'1..1000000+1' is more than 10,000 values"),
    ("1,x", NUMBER, "takes a number, not 'x'"),
    ("1..x+1", NUMBER, "takes a number, not 'x'"),
    ("a..b+c", TEXT, "'a..b+c' is not a range of numbers"),
    ("perhaps", SWITCH, "takes on or off, not 'perhaps'"),
    ("wire,mesh", CLIENTS, "takes wire or aiohttp, not 'mesh'"),
]


@pytest.mark.parametrize(("text", "kind", "said"), WRONG, ids=[text or "nothing" for text, _, _ in WRONG])
def test_what_is_wrong_with_a_list(text: str, kind: Kind, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        grid.parse_values(text, kind)


def test_one_value_of_a_flag_is_a_plain_one() -> None:
    assert grid.parse_list("8", WHOLE) == 8
    assert grid.parse_list("8,8", WHOLE) == 8
    assert grid.parse_list("1,2", WHOLE) == grid.ValueList((1, 2))
    assert not isinstance(grid.parse_list("8", WHOLE), grid.ValueList)


def test_a_grid_changes_its_last_list_fastest() -> None:
    found = grid.product({"concurrency": [1, 2], "input_len": [128, 1024]})
    assert [tuple(point.values()) for point in found] == [(1, 128), (1, 1024), (2, 128), (2, 1024)]


def test_a_grid_without_lists_is_one_point() -> None:
    assert grid.product({}) == [{}]
    assert [place.name for place in grid.name_points([{}])] == ["point"]


def test_a_zip_goes_through_its_lists_together() -> None:
    assert grid.paired({"concurrency": [1, 8], "requests": [50, 400]}) == [
        {"concurrency": 1, "requests": 50},
        {"concurrency": 8, "requests": 400},
    ]


def test_a_zip_of_unlike_lists_is_refused() -> None:
    with pytest.raises(UsageError, match="--zip takes lists of one length: --concurrency has 2, --output-len has 3"):
        grid.paired({"concurrency": [1, 8], "output_len": [1, 2, 3]})


def test_a_grid_beyond_all_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="these lists make 1,000,000 points"):
        grid.product({"concurrency": list(range(1000)), "seed": list(range(1000))})


NAMES = [
    ({"concurrency": 8}, "concurrency-8"),
    ({"rate": 0.1234567, "input_len": 128}, "rate-0.123457_input-len-128"),
    ({"dataset": "/data/a b.jsonl"}, "dataset-data-a-b.jsonl"),
    ({"extra_body": {"top_k": 5}}, "extra-body-top-k-5"),
    ({"input_len": "uniform(1,2)"}, "input-len-uniform-1-2"),
    ({"model": "x" * 200}, "model-" + "x" * 74),
    ({"dataset": "../.."}, "dataset"),
]


@pytest.mark.parametrize(("settings", "expected"), NAMES, ids=[name for _, name in NAMES])
def test_points_have_names_for_folders(settings: dict[str, Any], expected: str) -> None:
    assert grid.name(settings) == expected


def test_no_two_points_share_a_folder() -> None:
    """Not even where a file system takes A for a."""
    found = grid.name_points([{"model": "x/y"}, {"model": "x-y"}, {"model": "X:Y"}])
    assert [place.name for place in found] == ["model-x-y", "model-x-y-2", "model-X-Y-3"]
    assert [place.settings["model"] for place in found] == ["x/y", "x-y", "X:Y"]
