"""Finds and reads the rows of a task: in a folder, among the bundled small sets, or in the cache of the Hugging Face
hub. Only the `datasets` library downloads anything, and it honors HF_HUB_OFFLINE.

A folder may hold the files of the original distribution, or the hub's layout (hub_files.py). formats.py reads files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loadstone.dataset.formats import huggingface
from loadstone.dataset.resolve import bundled_folder
from loadstone.dataset.source import RowPosition, Source
from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.evals.data import formats, hub_files
from loadstone.tasks.spec import Data, Doc

# The value of --data-dir for the small sets that come with Loadstone.
BUNDLED = "bundled"
# Names of files that do not show which dataset they belong to: they are read only in a folder that shows it.
GENERIC = re.compile(r"(train|test|val|valid|validation|dev|data|questions?|\*)[^a-z]", re.IGNORECASE)


class Rows(Struct, frozen=True):
    """The rows of one split.

    docs: in the schema that the task reads, in the order of the files
    sha256: of the bytes of the files, one after the other: of one file, what sha256sum prints. For rows from the
        `datasets` library, of the rows as JSON lines, because its files change with its version
    files: paths
    origin: `files`, `bundled`, `cache` or `datasets`
    """

    docs: list[Doc]
    sha256: str
    files: list[str]
    origin: str


def load_rows(data: Data, root: str | None, *, shots: bool = False) -> Rows:
    """Load the rows of the questions, or of the worked examples.

    root: a folder, `bundled`, or None for the hub's cache and the `datasets` library
    shots: load the rows of the worked examples

    Raises UsageError.
    """
    split = data.shots_split if shots else data.split
    if shots and data.shots_split is None and not data.shots_files:
        raise ConfigError(f"{data.path} has no worked examples to draw from: ask it with --num-fewshot 0")
    if files := _absolute_files(data, shots):
        # A file that only holds examples has no column with the split.
        own = data if str(files[0]) in data.files else replace(data, split_column=None)
        return _read(files, own, split, "files")
    if root is None:
        return _load_cached(data, split, shots)
    folder = _data_folder(root)
    files = _find(data, folder, split, shots)
    if not files:
        raise DataError(_not_found(data, folder, split, shots))
    return _read(files, data, split, BUNDLED if root == BUNDLED else "files")


def has_rows(data: Data, root: str) -> bool:
    """Return True if the folder, or `bundled`, has rows for the questions."""
    return bool(_absolute_files(data, False) or _find(data, _data_folder(root), data.split, False))


def _file_names(data: Data, shots: bool) -> list[str]:
    """Return the names of the original files. Examples from the split of the questions are in its files."""
    same_split = shots and not data.shots_files and data.shots_split == data.split
    names = data.shots_files if shots and not same_split else data.files
    return [name.replace("{config}", data.config or "") for name in names]


def _absolute_files(data: Data, shots: bool) -> list[Path]:
    """Return the file that is named by its absolute path, if any."""
    names = [name for name in _file_names(data, shots) if Path(name).is_absolute()]
    if not names:
        return []
    existing = [Path(name) for name in names if Path(name).is_file()]
    if not existing:
        raise DataError(f"no file {names[0]}: give the path of a JSONL or CSV file", file=str(names[0]))
    return existing[:1]


def _data_folder(root: str) -> Path:
    folder = bundled_folder() / "evals" if root == BUNDLED else Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"no folder {root!r} with data: give --data-dir DIR, or --data-dir {BUNDLED} for the small sets",
            field="data",
        )
    return folder


def _find(data: Data, root: Path, split: str | None, shots: bool) -> list[Path]:
    """Find the files of a split: in folders named after the dataset, otherwise by a name that is specific enough."""
    names = _file_names(data, shots)

    # Folders named as the dataset is: on the hub, in its cache, or like the benchmark.
    dataset_names = [_normalize(name) for name in (data.benchmark, data.folder, data.path.rpartition("/")[2]) if name]
    named = [folder for name in dataset_names for folder in _subfolders(root) if _normalize(folder.name) == name]
    itself = [root] if _normalize(root.resolve().name) in dataset_names else []
    for folder in dict.fromkeys([*hub_files.folders(root, data.path), *named, *itself]):
        if files := _first_match(folder, names) or (split and hub_files.split_files(folder, data.config, split)):
            return files

    # A specific name right in the folder, or in exactly one folder below it, such as aime/aime24.json.
    specific = [name for name in names if not GENERIC.match(Path(name).name)]
    if files := _first_match(root, specific):
        return files
    for name in specific:
        if "/" not in name:
            matches = [files for folder in _subfolders(root) if (files := _first_match(folder, [name]))]
            if len(matches) == 1:
                return matches[0]
    return []


def _subfolders(root: Path) -> list[Path]:
    try:
        return [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    except OSError as exc:
        raise DataError(
            f"cannot read the folder {root}: {exc.strerror or exc}; give another --data-dir", field="data"
        ) from exc


def _normalize(name: str) -> str:
    """Return a name under which MATH-500, math_500 and math500 are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first_match(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of the first name or pattern that exists, gzipped or not."""
    for name in names:
        for pattern in dict.fromkeys((name, f"{name}.gz", name.removesuffix(".gz"))):
            if files := [file for file in folder.glob(pattern) if file.is_file()]:
                return hub_files.natural_order(files)
    return []


def _load_cached(data: Data, split: str | None, shots: bool) -> Rows:
    """Load rows from the hub's cache or, if they are not there, from the `datasets` library."""
    if split is None:
        wanted = _description(data, split, shots)
        raise DataError(f"no {wanted} on the hub: give --data-dir DIR with {data.shots_files[0]}")
    for folder in hub_files.folders(hub_files.cache(), data.path):
        if files := hub_files.split_files(folder, data.config, split) or _first_match(folder, _file_names(data, shots)):
            return _read(files, data, split, "cache")
    try:
        rows = huggingface.rows(data.path, data.config, split)
    except UsageError as exc:
        raise DataError(
            f"no {_description(data, split, shots)}, in the cache of the hub ({exc}): give --data-dir DIR with its"
            f" files, or --data-dir {BUNDLED} for a small set of our own"
        ) from exc
    digest = hashlib.sha256()
    docs: list[Doc] = []
    source = Source(data.path, None, lambda _: None)
    for number, row in enumerate(rows, 1):
        digest.update(msgspec.json.encode(row, order="sorted") + b"\n")
        docs += _convert(row, RowPosition(source, "row", number), data)
    return Rows(docs, digest.hexdigest(), [], "datasets")


def _read(files: list[Path], data: Data, split: str | None, origin: str) -> Rows:
    """Read the rows of a split from files, which may hold other splits too if a column tells them apart."""
    table = formats.read(files, data)
    docs: list[Doc] = []
    for where, row in table.rows:
        if data.split_column is None or (row.get(data.split_column) or data.split) == split:
            docs += _convert(row, where, data)
    if not docs:
        raise DataError(f"{files[0]} has no rows" + (f" of the split {split}" if split else ""), file=str(files[0]))
    return Rows(docs, table.sha256, [str(file) for file in files], origin)


def _convert(row: Doc, where: RowPosition, data: Data) -> list[Doc]:
    """Return the items that a row holds, in the schema that the task reads."""
    try:
        parts = [row] if data.expand_row is None else data.expand_row(row)
        return parts if data.convert_row is None else [data.convert_row(part) for part in parts]
    except KeyError as exc:
        raise where.error(f"no field {exc}; there are {', '.join(map(str, row)) or 'none'}") from exc
    except (TypeError, ValueError, IndexError, AttributeError) as exc:
        raise where.error(f"not a row of {data.path} ({exc})") from exc


def _description(data: Data, split: str | None, shots: bool) -> str:
    """Return in words which data are meant."""
    kind = "worked examples" if shots else "data"
    config = f" ({data.config})" if data.config else ""
    return f"{kind} of {data.path}{config}" + (f", split {split}" if split else "")


def _not_found(data: Data, root: Path, split: str | None, shots: bool) -> str:
    """Return the error for data that are not in a folder, with the names that were looked for."""
    description = _description(data, split, shots)
    without = ", or --num-fewshot 0 to ask without" if shots else ""
    if root == bundled_folder() / "evals":
        advice = f"give --data-dir DIR with its files{without}"
        return f"the small sets that come with Loadstone have no {description}: {advice}"
    home = data.folder or data.benchmark or data.path.rpartition("/")[2]
    names = [f"{home}/{name}" for name in _file_names(data, shots)]
    if split:
        config = f"{data.config}/" if data.config else ""
        names.append(f"{data.path}/{config}{split}*.{{jsonl,json,csv,parquet}}")
    return (
        f"no {description}, in {root}: looked for {', '.join(names)}; put one of them there, give another --data-dir,"
        f" or --data-dir {BUNDLED} for a small set of our own{without}"
    )
