"""Lists of settings as they are typed, and the points that they make."""

from __future__ import annotations

import re
from typing import Any

import pytest

from loadstone.cli.flag_types import ValueList, list_of, number_or_text, on_off, one_of, parse_list, whole_number
from loadstone.cli.flag_types import duration as seconds
from loadstone.errors import UsageError
from loadstone.sweep import grid

LISTS: list[tuple[str, Any, list[Any]]] = [
    ("8", whole_number, [8]),
    ("1,2,4", whole_number, [1, 2, 4]),
    (" 1 , 2 ", whole_number, [1, 2]),
    ("4,1,4", whole_number, [4, 1]),
    ("1..64x2", whole_number, [1, 2, 4, 8, 16, 32, 64]),
    ("1..50x2", whole_number, [1, 2, 4, 8, 16, 32]),
    ("1..8x1.5", whole_number, [1, 2, 3, 5, 8]),
    ("10..50+10", whole_number, [10, 20, 30, 40, 50]),
    ("1..4+1,8..32*2", whole_number, [1, 2, 3, 4, 8, 16, 32]),
    ("5..5+1", whole_number, [5]),
    ("0.1..0.5+0.1", float, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ("0.5..4x2", float, [0.5, 1.0, 2.0, 4.0]),
    ("-1..1+1", whole_number, [-1, 0, 1]),
    ("500ms..2s+500ms", seconds, [0.5, 1.0, 1.5, 2.0]),
    ("uniform(1,2),64", number_or_text, ["uniform(1,2)", 64]),
    ("normal(512,128,min=16),choice(1,2)", number_or_text, ["normal(512,128,min=16)", "choice(1,2)"]),
    ("a=3,b=1;c", str, ["a=3,b=1", "c"]),
    ('{"a":[1,2]},{"b":"x,y"}', str, ['{"a":[1,2]}', '{"b":"x,y"}']),
    ("../a.jsonl,../b.jsonl", str, ["../a.jsonl", "../b.jsonl"]),
    ("on,off", on_off, [True, False]),
    ("wire,aiohttp", one_of(["wire", "aiohttp"]), ["wire", "aiohttp"]),
]


@pytest.mark.parametrize(("text", "kind", "expected"), LISTS, ids=[text for text, _, _ in LISTS])
def test_a_list_is_read(text: str, kind: Any, expected: list[Any]) -> None:
    assert parse_list(text, kind) == expected


WRONG = [
    ("1,,2", whole_number, "a value is missing in '1,,2'"),
    ("", whole_number, "a value is missing in ''"),
    ("1,x", whole_number, "takes a whole number, not 'x'"),
    ("1..8", whole_number, "'1..8' does not say in which steps: LOW..HIGH+STEP or LOW..HIGHxFACTOR"),
    ("8..1+1", whole_number, "'8..1+1' leads nowhere"),
    ("1..8x1", whole_number, "'1..8x1' leads nowhere"),
    ("1..8+0", whole_number, "'1..8+0' leads nowhere"),
    ("0..8x2", whole_number, "'0..8x2' leads nowhere"),
    ("1..1000000+1", whole_number, "'1..1000000+1' is more than 10,000 values"),
    ("1,x", float, "takes numbers, a list of them or LOW..HIGH+STEP"),
    ("a..b+c", str, "'a..b+c' is not a range of numbers"),
    ("perhaps", on_off, "takes on or off, not 'perhaps'"),
    ("wire,mesh", one_of(["wire", "aiohttp"]), "takes wire, aiohttp, not 'mesh'"),
]


@pytest.mark.parametrize(("text", "kind", "said"), WRONG, ids=[text or "nothing" for text, _, _ in WRONG])
def test_what_is_wrong_with_a_list(text: str, kind: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_list(text, kind)


def test_one_value_of_a_flag_is_a_plain_one() -> None:
    read = list_of(whole_number)
    assert read("8") == 8
    assert read("8,8") == 8
    assert read("1,2") == ValueList((1, 2))
    assert not isinstance(read("8"), ValueList)


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
