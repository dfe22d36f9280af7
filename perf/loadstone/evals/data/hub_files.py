"""Which files of a dataset's folder hold a split: by its card where that says, else by the files' names.

Knows the layout of the Hugging Face hub, of its cache and of copies of both; opens nothing but cards, whose heads are
YAML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadstone.config import files as mappings
from loadstone.errors import UsageError

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# What a split is called in names of files, best first. `dev` is not `validation`: several benchmarks have both.
ALIASES = {
    "validation": ("validation", "valid", "val"),
    "val": ("val", "validation", "valid"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
}
# Configurations whose files may lie in no folder of their own.
WHOLE = ("default", "main", "all")
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\b")
CARD = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)


def folders(root: Path, path: str) -> list[Path]:
    """Folders under `root` that a dataset of the hub has there: `ORG/NAME`, `ORG__NAME`, or as in the hub's cache."""
    cached = root / f"datasets--{path.replace('/', '--')}"
    there = [root / path, root / path.replace("/", "__"), root / path.replace("/", "--"), *_snapshots(cached)]
    return [folder for folder in there if path and folder.is_dir()]


def cache() -> Path:
    """Where the hub's downloads are kept, by the hub's own variables."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(name):
            return Path(given).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{caches}/huggingface")).expanduser() / "hub"


def split_files(folder: Path, config: str | None, split: str) -> list[Path]:
    """Files of a split in a stable order, none where there are none. Raises UsageError where some of them are missing
    or the card cannot be read."""
    return _complete(_by_card(folder, config, split) or _by_name(folder, config, split))


def natural_order(files: Iterator[Path] | list[Path]) -> list[Path]:
    """By name, numbers in it by their size: 2.json stands before 10.json."""
    return sorted(files, key=lambda file: [(part.isdigit(), part.zfill(12)) for part in re.split(r"(\d+)", str(file))])


def _snapshots(cached: Path) -> list[Path]:
    """Those of a dataset in the hub's cache, the one that its main branch is at first, then the latest."""
    main = cached / "refs" / "main"
    name = main.read_text("utf-8").strip() if main.is_file() else ""
    there = [folder for folder in (cached / "snapshots").glob("*") if folder.is_dir()]
    return sorted(there, key=lambda folder: (folder.name != name, -folder.stat().st_mtime))


def _by_name(folder: Path, config: str | None, split: str) -> list[Path]:
    for word in ALIASES.get(split, (split,)):
        for inside, prefix in _homes(folder, config):
            if found := _named(inside, prefix, word):
                return found
    return _unsplit(folder, config) if split == "train" else []


def _homes(folder: Path, config: str | None) -> list[tuple[Path, str]]:
    """(folder, what names of files in it begin with) where a configuration's files may be."""
    homes = []
    if config:
        homes += [(folder / config, ""), (folder / "data" / config, ""), (folder / config / "data", "")]
        homes += [(folder, config), (folder / "data", config)]
    if config is None or config in WHOLE:
        homes += [(folder, ""), (folder / "data", "")]
        homes += [(folder / name, "") for name in WHOLE]
    return homes


def _named(inside: Path, prefix: str, word: str) -> list[Path]:
    """Files whose name has the split's as a word, those first that begin with it; or all in a folder of its name."""
    files = [file for file in _data(inside) if file.name.startswith(prefix)]
    forms = (rf"[-_.]?{word}(?![a-z])", rf".*[^a-zA-Z0-9]{word}(?![a-z])")
    for form in forms[:1] if prefix else forms:
        if found := [file for file in files if re.match(form, file.name[len(prefix) :], re.IGNORECASE)]:
            return _one_form(found)
    return [] if prefix else _one_form(_data(inside / word))


def _unsplit(folder: Path, config: str | None) -> list[Path]:
    """The one data file of a set without splits, which the hub calls `train`; or that of the configuration's name."""
    files = [*_data(folder), *_data(folder / "data")]
    if config:
        files = [file for file in files if _stem(file) == config] or (files if config in WHOLE else [])
    return files if len(files) == 1 else []


def _data(folder: Path) -> list[Path]:
    """Data files right in a folder."""
    if not folder.is_dir():
        return []
    return natural_order([file for file in folder.iterdir() if _ending(file) in ENDINGS and file.is_file()])


def _one_form(files: list[Path]) -> list[Path]:
    """Of the same rows in several formats, one."""
    for ending in ENDINGS:
        if found := [file for file in files if _ending(file) == ending]:
            return _without_twins(found)
    return []


def _without_twins(files: list[Path]) -> list[Path]:
    """Without those that lie there uncompressed too."""
    return [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]


def _ending(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _stem(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).stem


def _complete(files: list[Path]) -> list[Path]:
    shards = [match for file in files if (match := SHARD.search(file.name))]
    if shards and len(shards) < int(shards[0][2]):
        raise UsageError(
            f"{files[0].parent} has {len(shards)} of the {int(shards[0][2])} files that {files[0].name} is of:"
            f" put the others there too"
        )
    return files


def _by_card(folder: Path, config: str | None, split: str) -> list[Path]:
    """Files that are there of those that the card gives the split."""
    configs = _configs(folder / "README.md")
    chosen = _chosen(configs, config)
    if chosen is None:
        return []
    if "data_files" not in chosen:
        inside = folder / str(chosen.get("data_dir", "."))
        return _by_name(inside, None, split) if inside.is_dir() else []
    patterns = _patterns(chosen["data_files"])
    for word in ALIASES.get(split, (split,)):
        if word in patterns:
            files = {file for pattern in patterns[word] for file in _matching(folder, pattern)}
            return _without_twins(natural_order(list(files)))
    return []


def _chosen(configs: list[dict[str, Any]], config: str | None) -> dict[str, Any] | None:
    named = {str(each.get("config_name", "default")): each for each in configs}
    if config is not None:
        return named.get(config)
    marked = [*(each for each in configs if each.get("default")), *filter(None, [named.get("default")])]
    return marked[0] if marked else configs[0] if len(configs) == 1 else None


def _patterns(given: object) -> dict[str, list[str]]:
    """Patterns of files by split; without splits all are `train`, as on the hub."""
    if isinstance(given, dict):
        return {str(split): _texts(paths) for split, paths in given.items()}
    parts = given if isinstance(given, list) else [given]
    found: dict[str, list[str]] = {}
    for part in parts:
        if isinstance(part, dict):
            found.setdefault(str(part.get("split", "train")), []).extend(_texts(part.get("path")))
        else:
            found.setdefault("train", []).extend(_texts(part))
    return found


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _matching(folder: Path, pattern: str) -> list[Path]:
    if pattern.startswith("/") or ".." in pattern.split("/") or "://" in pattern:  # a card is somebody else's text
        return []
    whole = pattern + "/*" if pattern.endswith("**") else pattern.removeprefix("./")
    return [file for file in folder.glob(whole) if file.is_file()]


def _configs(card: Path) -> list[dict[str, Any]]:
    """What a card says of its configurations."""
    head = CARD.match(card.read_text("utf-8", errors="replace")) if card.is_file() else None
    if head is None or not re.search(r"^configs:", head[1], re.MULTILINE):
        return []
    said = _yaml(card, head[1])
    configs = said.get("configs") if isinstance(said, dict) else None
    return [each for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []


def _yaml(card: Path, text: str) -> Any:
    try:
        return mappings.yaml(text)
    except ValueError as exc:
        raise UsageError(f"{card}: its head is not YAML ({str(exc)[:160]})") from exc
