"""Where the rows of a task are found: in a folder with data, among the sets that come with Loadstone, or in the cache
of the Hugging Face hub. Nothing is fetched but by the `datasets` library, which honours HF_HUB_OFFLINE.

In a folder: the files of the original distribution, or the hub's layout (hubfiles.py); formats.py reads them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loadstone.dataset.formats import huggingface
from loadstone.dataset.resolve import bundled_folder
from loadstone.errors import UsageError
from loadstone.evals.data import formats, hub_files
from loadstone.tasks.spec import Data, Doc

BUNDLED = "bundled"
# Names of files that say nothing of whose they are: they are read only in a folder that does.
GENERIC = re.compile(r"(train|test|val|valid|validation|dev|data|questions?|\*)[^a-z]", re.IGNORECASE)


class Rows(Struct, frozen=True):
    """Rows of one split, in the schema that the task reads, in the order of the files.

    sha256: of the bytes of the files, one after the other, so that of one file it is what sha256sum says of it; from
    the `datasets` library of the rows as JSON lines, as its own files change with its version.
    origin: `files`, `bundled`, `cache` or `datasets`.
    """

    docs: list[Doc]
    sha256: str
    files: list[str]
    origin: str


def load_rows(data: Data, root: str | None, *, shots: bool = False) -> Rows:
    """Rows of the questions, or of the worked examples. `root`: a folder, `bundled`, or None for what the hub's cache
    and the `datasets` library have. Raises UsageError."""
    split = _split(data, shots)
    if own := _own(data, shots):
        return _read(own, _of_one_split(data, own), split, "files")
    if root is None:
        return _cached(data, split, shots)
    folder = _folder(root)
    files = _found(data, folder, split, shots)
    if not files:
        raise UsageError(_missing(data, folder, split, shots))
    return _read(files, data, split, BUNDLED if root == BUNDLED else "files")


def has_rows(data: Data, root: str) -> bool:
    """Whether the folder, or `bundled`, has rows for the questions."""
    return bool(_own(data, False) or _found(data, _folder(root), data.split, False))


def _split(data: Data, shots: bool) -> str | None:
    """Of the questions, or of the worked examples; None where these lie in files of their own only."""
    if not shots:
        return data.split
    if data.shots_split is None and not data.shots_files:
        raise UsageError(f"{data.path} has no worked examples to draw from: ask it with --num-fewshot 0")
    return data.shots_split


def _names(data: Data, shots: bool) -> list[str]:
    """Names of the original files. Examples from the split of the questions come from its files."""
    same = shots and not data.shots_files and data.shots_split == data.split
    names = data.shots_files if shots and not same else data.files
    return [name.replace("{config}", data.config or "") for name in names]


def _own(data: Data, shots: bool) -> list[Path]:
    """Files that are named by their whole path, wherever other data may lie."""
    whole = [name for name in _names(data, shots) if Path(name).is_absolute()]
    if not whole:
        return []
    there = [Path(name) for name in whole if Path(name).is_file()]
    if not there:
        raise UsageError(f"no file {whole[0]}: give the path of a JSONL or CSV file")
    return there[:1]


def _of_one_split(data: Data, files: list[Path]) -> Data:
    """A file of examples alone tells no splits."""
    return data if str(files[0]) in data.files else replace(data, split_column=None)


def _folder(root: str) -> Path:
    folder = _bundled() if root == BUNDLED else Path(root).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"no folder {root!r} with data: give --data-dir DIR, or --data-dir {BUNDLED} for the small sets"
        )
    return folder


def _bundled() -> Path:
    return bundled_folder() / "evals"


def _found(data: Data, root: Path, split: str | None, shots: bool) -> list[Path]:
    """The files of a split: in the folders that bear the data's name, else by name where that says enough."""
    names = _names(data, shots)
    for folder in _places(data, root):
        if files := _first(folder, names) or (split and hub_files.split_files(folder, data.config, split)):
            return files
    telling = [name for name in names if not GENERIC.match(Path(name).name)]
    return _first(root, telling) or _elsewhere(root, telling)


def _places(data: Data, root: Path) -> list[Path]:
    """Folders that are called as the data are: on the hub, in its cache, or as the benchmark is."""
    wanted = [_plain(name) for name in (data.benchmark, data.folder, data.path.rpartition("/")[2]) if name]
    called = [folder for name in wanted for folder in _inside(root) if _plain(folder.name) == name]
    itself = [root] if _plain(root.resolve().name) in wanted else []
    return list(dict.fromkeys([*hub_files.folders(root, data.path), *called, *itself]))


def _inside(root: Path) -> list[Path]:
    try:
        return [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    except OSError as exc:
        raise UsageError(f"cannot read the folder {root}: {exc.strerror or exc}; give another --data-dir") from exc


def _plain(name: str) -> str:
    """MATH-500, math_500 and math500 are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first(folder: Path, names: Iterable[str]) -> list[Path]:
    """Files of the first name, or pattern, that is there."""
    for name in names:
        for form in dict.fromkeys((name, f"{name}.gz", name.removesuffix(".gz"))):
            if files := [file for file in folder.glob(form) if file.is_file()]:
                return hub_files.natural_order(files)
    return []


def _elsewhere(root: Path, names: Iterable[str]) -> list[Path]:
    """A file of a telling name in any one of the folders, as aime/aime24.json."""
    for name in names:
        if "/" not in name:
            found = [files for folder in _inside(root) if (files := _first(folder, [name]))]
            if len(found) == 1:
                return found[0]
    return []


def _cached(data: Data, split: str | None, shots: bool) -> Rows:
    """From the hub's cache; what is not there the `datasets` library may have, or fetch."""
    if split is None:
        raise UsageError(f"no {_whole(data, split, shots)} on the hub: give --data-dir DIR with {data.shots_files[0]}")
    for folder in hub_files.folders(hub_files.cache(), data.path):
        if files := hub_files.split_files(folder, data.config, split) or _first(folder, _names(data, shots)):
            return _read(files, data, split, "cache")
    try:
        found = huggingface.rows(data.path, data.config, split)
    except UsageError as exc:
        raise UsageError(
            f"no {_whole(data, split, shots)}, in the cache of the hub ({exc}): give --data-dir DIR with its files, or"
            f" --data-dir {BUNDLED} for a small set of our own"
        ) from exc
    digest = hashlib.sha256()
    for row in found:
        digest.update(msgspec.json.encode(row, order="sorted") + b"\n")
    numbered = ((f"{data.path}, row {number}", row) for number, row in enumerate(found, 1))
    docs = [doc for where, row in numbered for doc in _normal(row, where, data)]
    return Rows(docs, digest.hexdigest(), [], "datasets")


def _read(files: list[Path], data: Data, split: str | None, origin: str) -> Rows:
    table = formats.read(files, data)
    kept = ((where, row) for where, row in table.rows if _is_of(row, split, data))
    docs = [doc for where, row in kept for doc in _normal(row, str(where), data)]
    if not docs:
        raise UsageError(f"{files[0]} has no rows" + (f" of the split {split}" if split else ""))
    return Rows(docs, table.sha256, [str(file) for file in files], origin)


def _is_of(row: Doc, split: str | None, data: Data) -> bool:
    """Whether a row is of the split, where a column tells."""
    return data.split_column is None or (row.get(data.split_column) or data.split) == split


def _normal(row: Doc, where: str, data: Data) -> list[Doc]:
    """The items that a row holds, in the schema that the task reads."""
    try:
        parts = [row] if data.expand_row is None else data.expand_row(row)
        return parts if data.convert_row is None else [data.convert_row(part) for part in parts]
    except KeyError as exc:
        raise UsageError(f"{where}: no field {exc}; there are {', '.join(map(str, row)) or 'none'}") from exc
    except (TypeError, ValueError, IndexError, AttributeError) as exc:
        raise UsageError(f"{where}: not a row of {data.path} ({exc})") from exc


def _whole(data: Data, split: str | None, shots: bool = False) -> str:
    what = "worked examples" if shots else "data"
    config = f" ({data.config})" if data.config else ""
    return f"{what} of {data.path}{config}" + (f", split {split}" if split else "")


def _missing(data: Data, root: Path, split: str | None, shots: bool) -> str:
    whole = _whole(data, split, shots)
    without = ", or --num-fewshot 0 to ask without" if shots else ""
    if root == _bundled():
        return f"the small sets that come with Loadstone have no {whole}: give --data-dir DIR with its files{without}"
    looked = ", ".join(_looked_for(data, split, shots))
    return (
        f"no {whole}, in {root}: looked for {looked}; put one of them there, give another --data-dir, or"
        f" --data-dir {BUNDLED} for a small set of our own{without}"
    )


def _looked_for(data: Data, split: str | None, shots: bool) -> Iterator[str]:
    home = data.folder or data.benchmark or data.path.rpartition("/")[2]
    yield from (f"{home}/{name}" for name in _names(data, shots))
    if split:
        yield f"{data.path}/{f'{data.config}/' if data.config else ''}{split}*.{{jsonl,json,csv,parquet}}"
