"""Datasets: the prompts of a run, read from a file, from stdin or from a generator, in their own order.

A reader is a callable `(source, options) -> prompts`; a new one is one file and one line of READERS, or an
entry point in the group `loadstone.readers`, or `path/to/file.py:Name`. Order, repeats and shuffling are
plan.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from loadstone.dataset import resolve
from loadstone.dataset.source import Options, RequestBodiesNotice, Source, open_source
from loadstone.errors import Notice, UsageError
from loadstone.plugins import load_instance
from loadstone.records import Prompt

Reader = Callable[[Source, Options], Iterator[Prompt]]

READERS: dict[str, str] = {
    "lines": "loadstone.dataset.formats.text:read",
    "jsonl": "loadstone.dataset.formats.jsonl:read",
    "csv": "loadstone.dataset.formats.csv:read",
    "line_by_line": "loadstone.dataset.formats.text:line_by_line",
    "openqa": "loadstone.dataset.formats.jsonl:openqa",
    "longalpaca": "loadstone.dataset.formats.jsonl:longalpaca",
    "custom": "loadstone.dataset.formats.jsonl:custom",
    "sharegpt": "loadstone.dataset.formats.sharegpt:read",
    "sonnet": "loadstone.dataset.synthetic.sonnet:read",
    "parquet": "loadstone.dataset.formats.parquet:read",
    "hf": "loadstone.dataset.formats.huggingface:read",
    "random": "loadstone.dataset.synthetic.prompts:random",
    "synthetic": "loadstone.dataset.synthetic.prompts:synthetic",
    "prefix_repetition": "loadstone.dataset.synthetic.prompts:prefix_repetition",
    "generated-shared-prefix": "loadstone.dataset.synthetic.prompts:shared_prefix",
    "mooncake": "loadstone.dataset.traces.mooncake:read",
    "azure": "loadstone.dataset.traces.token_counts:azure",
    "burstgpt": "loadstone.dataset.traces.token_counts:burstgpt",
    "workload_trace": "loadstone.dataset.traces.requests:read",
}

# Readers of texts that are as long as they are; the others make their own lengths, or replay recorded ones.
TEXTS = {"lines", "jsonl", "csv", "line_by_line", "openqa", "longalpaca", "custom", "sharegpt", "parquet", "hf"}


def read(spec: str, options: Options, notice: Notice) -> list[Prompt]:
    """All prompts of a `--dataset` value, at least one. `notice` gets what the operator should know.

    Raises UsageError.
    """
    name, path = resolve.resolve(spec, READERS)
    source = open_source(path, name, notice)
    name = name or _format(source, options)
    reader: Reader = load_instance(resolve.GROUP, name, READERS, "--dataset")
    if not callable(reader):
        raise UsageError(f"the reader {name} is not callable; it must take (source, options) and yield prompts")
    prompts = _fitted(reader(source, options), name, source, options)
    if not prompts:
        raise UsageError(f"{source.name} holds no prompt")
    _tell_bodies(source, prompts)
    return prompts


def _format(source: Source, options: Options) -> str:
    from loadstone.dataset.detect import detect  # with it come the formats, which a generator does not need

    return detect(source, options)


def _fitted(prompts: Iterable[Prompt], name: str, source: Source, options: Options) -> list[Prompt]:
    from loadstone.dataset import lengths

    if name in TEXTS:
        return lengths.apply_lengths(prompts, source, options)
    if name in READERS and lengths.limit_flags(options):
        raise UsageError(f"{name} makes its own lengths: leave out {' and '.join(lengths.limit_flags(options))}")
    return list(prompts)


def _tell_bodies(source: Source, prompts: list[Prompt]) -> None:
    """Fields of a data set that overrule flags change what is measured: say which."""
    bodies = [prompt.body for prompt in prompts if prompt.body]
    if bodies:
        fields = ", ".join(sorted(set().union(*bodies)))
        text = f"{source.name}: {len(bodies)} rows are request bodies; their fields win over flags: {fields}"
        source.notice(RequestBodiesNotice(text))


__all__ = ["READERS", "Notice", "Options", "Reader", "Source", "read"]
