"""Datasets of the Hugging Face Hub, or a local folder: `hf:ORG/NAME[@CONFIG][:SPLIT[:FIELD]]`. The only door to the
`datasets` library, which loads and caches, and honours HF_HUB_OFFLINE.

Without a split, `train` or else the first one is read. Images stay bytes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from loadstone.dataset import hub
from loadstone.dataset.formats.parquet import prompts
from loadstone.dataset.source import Options, Source, uses
from loadstone.errors import DataError, UsageError
from loadstone.records import Prompt

INSTALL = "hf: needs the datasets library: pip install 'loadstone[datasets]'"
FORM = "hf:ORG/NAME:SPLIT:FIELD"
SPEC = re.compile(
    r"(?P<name>[^:@]+)(?:@(?P<config>[^:]+))?(?::(?P<split>[\w.-]*(?:\[[^\]]*\])?))?(?::(?P<field>.+))?", re.DOTALL
)


@uses()
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Return the prompts of the field, or of the default one. Raises DataError."""
    spec = SPEC.fullmatch(source.name) if source.load else None
    if spec is None:
        raise DataError(
            f"hf reads a dataset of the Hub: give it as {FORM}, with split and field if wanted", field="dataset"
        )
    table = _load(os.path.expanduser(spec["name"]), spec["config"], spec["split"] or None)
    field = spec["field"] or options.prompt_field
    if not spec["field"]:
        source.used.add("prompt_field")
    if field and field not in table.column_names and field.partition(".")[0] not in table.column_names:
        raise DataError(
            f"{source.name}: no field {field!r}; there are {', '.join(table.column_names)}",
            field="dataset" if spec["field"] else "prompt_field",
        )
    return prompts(_rows(table), source, replace(options, prompt_field=field))


def rows(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
    """Return all rows of a split, from the library's cache or, unless it is offline, from the Hub. Raises DataError."""
    return list(_rows(_load(name, config, split)))


def _load(name: str, config: str | None, split: str | None) -> Any:
    """Return a split as a table of the library. Raises DataError."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        import datasets
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    if not hasattr(datasets, "load_dataset"):  # a folder called datasets, not the library
        raise UsageError(INSTALL)
    unreachable = hub.why_unreachable()
    if unreachable is not None:
        settings = getattr(sys.modules["datasets"], "config", None)
        if settings is not None:
            settings.HF_HUB_OFFLINE = settings.HF_DATASETS_OFFLINE = True
    try:
        loaded = datasets.load_dataset(name, config, split=split)
    except Exception as exc:  # the library and those below it raise exceptions of every kind
        if unreachable is not None:
            sentence = f"cannot load the dataset {name}: it is not in the library's cache, and {unreachable}"
            raise DataError(f"{sentence}; give a file", field="dataset") from exc
        cause = exc.__cause__ or exc
        sentence = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise DataError(f"cannot load the dataset {name}: {sentence}", field="dataset") from exc
    if isinstance(loaded, dict):  # the splits by name
        return loaded.get("train") or next(iter(loaded.values()))
    return loaded


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows as Arrow stores them: as Python values, the library would decode images and sound."""
    for batch in table.with_format("arrow").iter(batch_size=1000):
        yield from batch.to_pylist()
