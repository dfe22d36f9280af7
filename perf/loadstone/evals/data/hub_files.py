"""Finds the files of a split in a dataset's folder: by its dataset card or, failing that, by the files' names.

Knows the layout of the Hugging Face hub, of its cache, and of copies of both. Opens only cards, which start with YAML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadstone.config.files import yaml
from loadstone.errors import DataError

# Endings of data files, in the order of preference if the same rows are there in several formats.
ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# Words for a split in names of files, best first. `dev` is not `validation`: several benchmarks have both.
ALIASES = {
    "validation": ("validation", "valid", "val"),
    "val": ("val", "validation", "valid"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
}
# Configurations whose files may be in no folder of their own.
DEFAULT_CONFIGS = ("default", "main", "all")
# The number of a shard, and how many there are.
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\b")
# The YAML header of a dataset card.
CARD = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)


def folders(root: Path, path: str) -> list[Path]:
    """Return the folders under `root` of a dataset of the hub: `ORG/NAME`, `ORG__NAME`, or as in the hub's cache."""
    cached = root / f"datasets--{path.replace('/', '--')}"
    # Snapshots in the cache: that of the main branch first, then the latest.
    main = cached / "refs" / "main"
    revision = main.read_text("utf-8").strip() if main.is_file() else ""
    snapshots = [folder for folder in (cached / "snapshots").glob("*") if folder.is_dir()]
    snapshots.sort(key=lambda folder: (folder.name != revision, -folder.stat().st_mtime))
    candidates = [root / path, root / path.replace("/", "__"), root / path.replace("/", "--"), *snapshots]
    return [folder for folder in candidates if path and folder.is_dir()]


def cache() -> Path:
    """Return the folder of the hub's downloads, by the hub's own environment variables."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(name):
            return Path(folder).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{caches}/huggingface")).expanduser() / "hub"


def split_files(folder: Path, config: str | None, split: str) -> list[Path]:
    """Return the files of a split in a stable order, an empty list if there are none.

    Raises DataError if some of them are missing or the card cannot be read.
    """
    files = _find_by_card(folder, config, split) or _find_by_name(folder, config, split)
    shards = [match for file in files if (match := SHARD.search(file.name))]
    if shards and len(shards) < int(shards[0][2]):
        raise DataError(
            f"{files[0].parent} has {len(shards)} of the {int(shards[0][2])} files that {files[0].name} is of:"
            f" put the others there too",
            file=str(files[0].parent),
        )
    return files


def natural_order(files: Iterator[Path] | list[Path]) -> list[Path]:
    """Sort files by name, with numbers in it by their value: 2.json comes before 10.json."""
    return sorted(files, key=lambda file: [(part.isdigit(), part.zfill(12)) for part in re.split(r"(\d+)", str(file))])


def _find_by_name(folder: Path, config: str | None, split: str) -> list[Path]:
    """Find the files of a split by their names."""
    # Folders that may hold the configuration's files, and how the files' names must start there.
    places = []
    if config:
        places += [(folder / config, ""), (folder / "data" / config, ""), (folder / config / "data", "")]
        places += [(folder, config), (folder / "data", config)]
    if config is None or config in DEFAULT_CONFIGS:
        places += [(folder, ""), (folder / "data", "")]
        places += [(folder / name, "") for name in DEFAULT_CONFIGS]
    for word in ALIASES.get(split, (split,)):
        for inside, prefix in places:
            if files := _files_named(inside, prefix, word):
                return files
    if split != "train":
        return []

    # A dataset without splits has one file, which the hub calls `train`, or one with the configuration's name.
    files = [*_data_files(folder), *_data_files(folder / "data")]
    if config:
        named = [file for file in files if Path(file.name.removesuffix(".gz")).stem == config]
        files = named or (files if config in DEFAULT_CONFIGS else [])
    return files if len(files) == 1 else []


def _files_named(folder: Path, prefix: str, word: str) -> list[Path]:
    """Return the files whose names contain the word, those that start with it first; or all in a folder of its name."""
    files = [file for file in _data_files(folder) if file.name.startswith(prefix)]
    patterns = (rf"[-_.]?{word}(?![a-z])", rf".*[^a-zA-Z0-9]{word}(?![a-z])")
    for pattern in patterns[:1] if prefix else patterns:
        if named := [file for file in files if re.match(pattern, file.name[len(prefix) :], re.IGNORECASE)]:
            return _one_format(named)
    return [] if prefix else _one_format(_data_files(folder / word))


def _data_files(folder: Path) -> list[Path]:
    """Return the data files directly in a folder."""
    if not folder.is_dir():
        return []
    return natural_order([file for file in folder.iterdir() if _ending(file) in ENDINGS and file.is_file()])


def _one_format(files: list[Path]) -> list[Path]:
    """Return the files of one format if the same rows are there in several."""
    for ending in ENDINGS:
        if matches := [file for file in files if _ending(file) == ending]:
            return _without_copies(matches)
    return []


def _without_copies(files: list[Path]) -> list[Path]:
    """Remove gzipped files that are there uncompressed as well."""
    return [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]


def _ending(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _find_by_card(folder: Path, config: str | None, split: str) -> list[Path]:
    """Find the files that the dataset card assigns to the split."""
    configs = _card_configs(folder / "README.md")
    # The configuration: the requested one, the card's default, or its only one.
    by_name = {str(each.get("config_name", "default")): each for each in configs}
    if config is not None:
        chosen = by_name.get(config)
    else:
        defaults = [*(each for each in configs if each.get("default")), *filter(None, [by_name.get("default")])]
        chosen = defaults[0] if defaults else configs[0] if len(configs) == 1 else None
    if chosen is None:
        return []
    # A configuration without a list of files has a folder of its own.
    if "data_files" not in chosen:
        inside = folder / str(chosen.get("data_dir", "."))
        return _find_by_name(inside, None, split) if inside.is_dir() else []
    patterns = _patterns(chosen["data_files"])
    for word in ALIASES.get(split, (split,)):
        if word in patterns:
            files = {file for pattern in patterns[word] for file in _match(folder, pattern)}
            return _without_copies(natural_order(list(files)))
    return []


def _card_configs(card: Path) -> list[dict[str, Any]]:
    """Return the configurations that a dataset card describes."""
    header = CARD.match(card.read_text("utf-8", errors="replace")) if card.is_file() else None
    if header is None or not re.search(r"^configs:", header[1], re.MULTILINE):
        return []
    try:
        fields = yaml(header[1])
    except ValueError as exc:
        raise DataError(f"{card}: its head is not YAML ({str(exc)[:160]})", file=str(card)) from exc
    configs = fields.get("configs") if isinstance(fields, dict) else None
    return [each for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []


def _patterns(data_files: object) -> dict[str, list[str]]:
    """Return the patterns of files by split. Without splits all files are `train`, as on the hub."""
    if isinstance(data_files, dict):
        return {str(split): _texts(paths) for split, paths in data_files.items()}
    patterns: dict[str, list[str]] = {}
    for entry in data_files if isinstance(data_files, list) else [data_files]:
        if isinstance(entry, dict):
            patterns.setdefault(str(entry.get("split", "train")), []).extend(_texts(entry.get("path")))
        else:
            patterns.setdefault("train", []).extend(_texts(entry))
    return patterns


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _match(folder: Path, pattern: str) -> list[Path]:
    """Return the files of the folder that match a card's pattern. The card may be hostile: no path leads outside."""
    if pattern.startswith("/") or ".." in pattern.split("/") or "://" in pattern:
        return []
    pattern = pattern + "/*" if pattern.endswith("**") else pattern.removeprefix("./")
    return [file for file in folder.glob(pattern) if file.is_file()]
