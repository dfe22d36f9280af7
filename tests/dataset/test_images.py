"""Images of a dataset: URLs stay, files are put in, and what is no image is told with its line."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, images, read
from loadstone.dataset.source import RowPosition, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support import sentences as sentences

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 9
JPEG = b"\xff\xd8\xff\xe0" + b"j" * 9
KINDS = {
    "a.png": (PNG, "image/png"),
    "b.png": (JPEG, "image/jpeg"),
    "c": (b"GIF89a", "image/gif"),
    "d.x": (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    "e.bmp": (b"BM....", "image/bmp"),
    "f g.svg": (b"<svg/>", "image/svg+xml"),
}
REMOTE = "https://example.com/a.png"


def data_url(name: str) -> str:
    data, kind = KINDS[name]
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def part(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asked(text: str, *urls: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}, *map(part, urls)]}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (data, _) in KINDS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "note.txt").write_text("no image")
    return tmp_path


def prompt(folder: Path, row: Any, **options: Any) -> Prompt:
    (folder / "f.jsonl").write_text(json.dumps(row))
    return read(str(folder / "f.jsonl"), Options(**options), lambda _: None)[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_file_becomes_a_data_url_of_the_kind_it_is(folder: Path, name: str) -> None:
    for path in (name, str(folder / name), (folder / name).as_uri()):
        assert prompt(folder, {"prompt": "a", "image": path}).messages == asked("a", data_url(name))


@pytest.mark.parametrize("url", [REMOTE, "http://example.com/x", "data:image/png;base64,AAAA"])
def test_a_url_stays(folder: Path, url: str) -> None:
    assert prompt(folder, {"messages": asked("a", url)}).messages == asked("a", url)
    assert prompt(folder, {"prompt": "a", "image": {"url": url}}).messages == asked("a", url)


ROWS = [
    ({"messages": asked("a", "a.png")}, asked("a", data_url("a.png"))),
    ({"messages": asked("a", "a.png"), "temperature": 0}, asked("a", data_url("a.png"))),
    ({"prompt": "a", "images": ["a.png", REMOTE]}, asked("a", data_url("a.png"), REMOTE)),
    ({"question": "a", "image_files": ["c"]}, asked("a", data_url("c"))),
    ({"prompt": "a", "images": [part("a.png")]}, asked("a", data_url("a.png"))),
    ({"prompt": "a", "image": {"bytes": None, "path": "a.png"}}, asked("a", data_url("a.png"))),
    ({"messages": [{"role": "user", "content": "a"}], "image": "c"}, asked("a", data_url("c"))),
    ({"prompt": "a", "image": None, "images": []}, None),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "c"}]}]},
        [{"role": "user", "content": [{"type": "image_url", "image_url": data_url("c")}]}],
    ),
]


@pytest.mark.parametrize(("row", "messages"), ROWS)
def test_a_row_with_images(folder: Path, row: Any, messages: Any) -> None:
    assert prompt(folder, row).messages == messages


def test_images_go_with_the_first_turn(folder: Path) -> None:
    found = prompt(folder, {"turns": ["a", "b"], "image": "c"}, history="live")
    assert (found.messages, [turn.text for turn in found.later]) == (asked("a", data_url("c")), ["b"])
    found = prompt(folder, {"messages": [*asked("a", "c"), *asked("b", REMOTE)]}, history="live")
    assert found.messages == asked("a", data_url("c"))
    assert found.later[0].messages == asked("b", REMOTE)


def test_a_csv_row_with_an_image(folder: Path) -> None:
    (folder / "f.csv").write_text("prompt,image\na,c\nb,\n")
    first, second = read(str(folder / "f.csv"), Options(), lambda _: None)
    assert (first.messages, second.messages, second.text) == (asked("a", data_url("c")), None, "b")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no.png", "cannot read the image no.png: …"),
        ("file:///no.png", "cannot read the image file:///no.png: …"),
        (".", "cannot read the image .: …"),
        ("note.txt", "cannot use the image 'note.txt': not an image"),
        ("a\0b", "cannot use the image 'a\\x00b': …"),
        (7, "'7' is neither the path nor the URL of an image"),
        ({"width": 7}, "\"{'width': 7}\" is neither the path nor the URL of an image"),
    ],
)
def test_what_is_no_image(folder: Path, image: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        prompt(folder, {"prompt": "a", "image": image})
    assert sentences.same(f"{folder / 'f.jsonl'}, line 1: {message}", str(caught.value))


def test_bytes_of_a_table() -> None:
    where = RowPosition(Source("t", None, lambda _: None), "row", 1)
    found = images.attach_images(Prompt(id="x", text="a"), {"image": {"bytes": PNG, "path": "a.jpg"}}, where)
    assert found == Prompt(id="x", messages=asked("a", data_url("a.png")))
    with pytest.raises(UsageError, match=r"t, row 1: the bytes of its image are not an image"):
        images.attach_images(Prompt(id="x", text="a"), {"image": {"bytes": b"?"}}, where)
