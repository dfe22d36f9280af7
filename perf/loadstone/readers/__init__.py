"""Datasets: the prompts of a run, read from a file, from stdin or from a generator, in their own order.

A reader is a callable `(source, options) -> prompts`; a new one is one file and one line of READERS, or an
entry point in the group `loadstone.readers`, or `path/to/file.py:Name`. Order, repeats and shuffling are
plan.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from loadstone.plugins import find
from loadstone.readers import names
from loadstone.readers.source import Notice, Options, Source, opened
from loadstone.records import Prompt, UsageError

Reader = Callable[[Source, Options], Iterator[Prompt]]

READERS: dict[str, str] = {
    "lines": "loadstone.readers.lines:read",
    "jsonl": "loadstone.readers.jsonl:read",
    "csv": "loadstone.readers.csv:read",
    "line_by_line": "loadstone.readers.lines:line_by_line",
    "openqa": "loadstone.readers.fields:openqa",
    "longalpaca": "loadstone.readers.fields:longalpaca",
    "custom": "loadstone.readers.fields:custom",
    "sharegpt": "loadstone.readers.sharegpt:read",
    "sonnet": "loadstone.readers.sonnet:read",
    "parquet": "loadstone.readers.parquet:read",
    "hf": "loadstone.readers.hub:read",
    "random": "loadstone.readers.synthetic:random",
    "synthetic": "loadstone.readers.synthetic:synthetic",
    "prefix_repetition": "loadstone.readers.synthetic:prefix_repetition",
    "generated-shared-prefix": "loadstone.readers.synthetic:shared_prefix",
    "mooncake": "loadstone.readers.mooncake:read",
    "azure": "loadstone.readers.token_traces:azure",
    "burstgpt": "loadstone.readers.token_traces:burstgpt",
    "workload_trace": "loadstone.readers.workload_trace:read",
}

TEXTS = {"lines", "jsonl", "csv", "line_by_line", "openqa", "longalpaca", "custom", "sharegpt", "parquet", "hf"}
"""Readers of texts that are as long as they are; the others make their own lengths, or replay recorded ones."""


def read(spec: str, options: Options, notice: Notice) -> list[Prompt]:
    """All prompts of a `--dataset` value, at least one. `notice` gets what the operator should know.

    Raises UsageError.
    """
    name, path = names.resolve(spec, READERS)
    source = opened(path, name, notice)
    name = name or _format(source, options)
    reader: Reader = find(names.GROUP, name, READERS, "--dataset")
    if not callable(reader):
        raise UsageError(f"the reader {name} is not callable; it must take (source, options) and yield prompts")
    prompts = _fitted(reader(source, options), name, source, options)
    if not prompts:
        raise UsageError(f"{source.name} holds no prompt")
    _tell_bodies(source, prompts)
    return prompts


def _format(source: Source, options: Options) -> str:
    from loadstone.readers.detect import detect  # with it come the formats, which a generator does not need

    return detect(source, options)


def _fitted(prompts: Iterable[Prompt], name: str, source: Source, options: Options) -> list[Prompt]:
    from loadstone.readers import fit

    if name in TEXTS:
        return fit.fitted(prompts, source, options)
    if name in READERS and fit.limits(options):
        raise UsageError(f"{name} makes its own lengths: leave out {' and '.join(fit.limits(options))}")
    return list(prompts)


def _tell_bodies(source: Source, prompts: list[Prompt]) -> None:
    """Fields of a data set that overrule flags change what is measured: say which."""
    bodies = [prompt.body for prompt in prompts if prompt.body]
    if bodies:
        fields = ", ".join(sorted(set().union(*bodies)))
        source.notice(f"{source.name}: {len(bodies)} rows are request bodies; their fields win over flags: {fields}")


__all__ = ["READERS", "Notice", "Options", "Reader", "Source", "read"]
