"""Datasets: the prompts of a run, read from a file, from stdin or from a generator, in their own order.

A reader is a callable `(source, options) -> prompts`; a new one is one file and one line of READERS, or an
entry point in the group `loadstone.readers`, or `path/to/file.py:Name`. Order, repeats and shuffling are
plan.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadstone.plugins import find
from loadstone.readers import names
from loadstone.readers.source import Notice, Options, Source, opened
from loadstone.records import Prompt, UsageError

Reader = Callable[[Source, Options], Iterator[Prompt]]

READERS: dict[str, str] = {
    "lines": "loadstone.readers.lines:read",
    "jsonl": "loadstone.readers.jsonl:read",
    "csv": "loadstone.readers.csv:read",
    "sharegpt": "loadstone.readers.sharegpt:read",
    "random": "loadstone.readers.random:read",
}


def read(spec: str, options: Options, notice: Notice) -> list[Prompt]:
    """All prompts of a `--dataset` value, at least one. `notice` gets what the operator should know.

    Raises UsageError.
    """
    name, path = names.resolve(spec, READERS)
    source = opened(path, name, notice)
    reader: Reader = find(names.GROUP, name or _format(source, options), READERS, "--dataset")
    if not callable(reader):
        raise UsageError(f"the reader {name} is not callable; it must take (source, options) and yield prompts")
    prompts = list(reader(source, options))
    if not prompts:
        raise UsageError(f"{source.name} holds no prompt")
    _tell_bodies(source, prompts)
    return prompts


def _format(source: Source, options: Options) -> str:
    from loadstone.readers.detect import detect  # with it come the formats, which a generator does not need

    return detect(source, options)


def _tell_bodies(source: Source, prompts: list[Prompt]) -> None:
    """Fields of a data set that overrule flags change what is measured: say which."""
    bodies = [prompt.body for prompt in prompts if prompt.body]
    if bodies:
        fields = ", ".join(sorted(set().union(*bodies)))
        source.notice(f"{source.name}: {len(bodies)} rows are request bodies; their fields win over flags: {fields}")


__all__ = ["READERS", "Notice", "Options", "Reader", "Source", "read"]
