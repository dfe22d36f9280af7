"""From a `--dataset` value to a reader and a path: formats, generators, bundled datasets, entry points, own files.

Imports no reader and reads no prompt.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from loadstone.errors import DataError
from loadstone.plugins import installed_plugins

# Entry-point group of readers.
GROUP = "loadstone.readers"
BUNDLED_ENDINGS = {".jsonl", ".json", ".csv", ".txt"}
# An address in place of a file, after the name of a format or alone.
_ADDRESS = re.compile(r"(?:https?|s3|gs|gcs|az|abfss?|hf|ftp)://.*", re.IGNORECASE | re.DOTALL)
# A reader in a Python file, and its path: `path/to/file.py:Name[:PATH]`.
OWN = re.compile(r"(?P<reader>.+\.py:[^\W\d]\w*)(?::(?P<path>.+))?", re.DOTALL)


def resolve(spec: str, known: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (reader, path) of a `--dataset` value; names come before files. Raises DataError.

    reader: None if the content decides. path: None for a generator. known: built-in readers.
    """
    if (address := _ADDRESS.search(spec)) is not None:
        _refuse_address(spec, address[0])
    if own := OWN.fullmatch(spec):
        return own["reader"], _path(own["path"])
    if spec in known:
        return spec, None
    with contextlib.suppress(ValueError):  # a NUL byte
        if spec == "-" or spec in bundled() or (spec and os.path.exists(os.path.expanduser(spec))):
            return None, _path(spec)
    head, colon, rest = spec.partition(":")
    if colon and (head in known or head in installed_plugins(GROUP)):
        return head, _path(rest)
    if spec in installed_plugins(GROUP):
        return spec, None

    readers = [*known, *installed_plugins(GROUP)]
    near = _closest(spec, [*readers, *bundled()])
    hint = f"did you mean {near}? " if near else ""
    raise DataError(
        f"no dataset {spec!r}: {hint}give a file, - for stdin, FORMAT:PATH, path/to/file.py:Name, or a name"
        f" (formats and generators: {', '.join(readers)};"
        f" bundled: {', '.join(bundled()) or 'none'})",
        field="dataset",
    )


def _refuse_address(spec: str, url: str) -> NoReturn:
    """Raise DataError for a dataset at an address, with what to do."""
    form = spec.removesuffix(url)
    name = re.sub(r"[?#].*", "", url).rstrip("/").rpartition("/")[2] or "FILE"
    hub = re.match(r"https?://huggingface\.co/datasets/([^/?#]+/[^/?#]+)|hf://datasets/([^/?#]+/[^/?#]+)", url)
    if hub is not None:
        what = f"give --dataset hf:{hub[1] or hub[2]}"
    elif url.startswith(("http://", "https://")):
        what = f"load it first (curl -L -o {name} URL), then give --dataset {form}{name}"
    else:
        what = f"load it first with the tool of that store, then give --dataset {form}{name}"
    raise DataError(f"--dataset reads files and not addresses: {what}", field="dataset")


def bundled() -> dict[str, Path]:
    """Return the files of the datasets that come with Loadstone, by name."""
    folder = bundled_folder()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix in BUNDLED_ENDINGS}


def bundled_folder() -> Path:
    """Return the folder of the bundled datasets: in the wheel, or beside the source in a checkout."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "bundled"
    return folder if folder.is_dir() else package.parents[1] / "datasets"


def _path(text: str | None) -> str | None:
    """Return a path as it is, or that of the bundled dataset of this name."""
    if not text or text == "-":
        return text or None
    return str(bundled().get(text, text))


def _closest(spec: str, names: list[str]) -> str | None:
    """Return the name, or the file of the same folder, that was probably meant."""
    if name := difflib.get_close_matches(spec, names, 1):
        return name[0]
    folder = Path(spec).parent
    try:
        files = [file.name for file in folder.iterdir()]
    except (OSError, ValueError):
        return None
    file = difflib.get_close_matches(Path(spec).name, files, 1)
    return str(folder / file[0]) if file else None
