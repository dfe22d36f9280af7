"""Datasets of the Hugging Face Hub, or a folder of them: `hf:ORG/NAME[@CONFIG][:SPLIT[:FIELD]]`. The only door to the
`datasets` library, which does the loading, the caching, and honours HF_HUB_OFFLINE.

Without a split, `train` or the first is read. Images stay the bytes they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from loadstone.dataset.formats.parquet import prompts
from loadstone.dataset.source import Options, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

INSTALL = "hf: needs the datasets library: pip install 'loadstone[datasets]'"
FORM = "hf:ORG/NAME:SPLIT:FIELD"
SPEC = re.compile(
    r"(?P<name>[^:@]+)(?:@(?P<config>[^:]+))?(?::(?P<split>[\w.-]*(?:\[[^\]]*\])?))?(?::(?P<field>.+))?", re.DOTALL
)


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of the field, or of the default one. Raises UsageError."""
    spec = SPEC.fullmatch(source.name) if source.load else None
    if spec is None:
        raise UsageError(f"hf reads a dataset of the Hub: give it as {FORM}, with split and field if wanted")
    table = _load(os.path.expanduser(spec["name"]), spec["config"], spec["split"] or None)
    field = spec["field"] or options.prompt_field
    if field and field not in table.column_names and field.partition(".")[0] not in table.column_names:
        raise UsageError(f"{source.name}: no field {field!r}; there are {', '.join(table.column_names)}")
    return prompts(_rows(table), source, replace(options, prompt_field=field))


def rows(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
    """All rows of a split, from the library's cache or, unless it is told to stay offline, from the Hub. Raises
    UsageError."""
    return list(_rows(_load(name, config, split)))


def _load(name: str, config: str | None, split: str | None) -> Any:
    library = _library()
    try:
        found = library.load_dataset(name, config, split=split)
    except Exception as exc:  # the library and those below it raise exceptions of every kind
        raise UsageError(f"cannot load the dataset {name}: {_sentence(exc.__cause__ or exc)}") from exc
    if isinstance(found, dict):  # the splits by name
        return found.get("train") or next(iter(found.values()))
    return found


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    """As Arrow keeps them: asked for as Python values, the library would decode images and sound."""
    for batch in table.with_format("arrow").iter(batch_size=1000):
        yield from batch.to_pylist()


def _library() -> Any:
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        import datasets
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    if not hasattr(datasets, "load_dataset"):  # a folder of that name, with no library behind it
        raise UsageError(INSTALL)
    return datasets


def _sentence(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
