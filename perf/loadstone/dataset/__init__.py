"""Datasets: the prompts of a run, from a file, stdin, the Hub or a generator, in their own order.

`read` returns the prompts of a `--dataset` value. READERS has the readers by name: callables `(source, options) ->
prompts`. To add one, write a file and a line of READERS, or register an entry point in the group `loadstone.readers`,
or name `path/to/file.py:Name`. Repeats and shuffling happen in schedule/. This room may import config, schedule and
what is left of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadstone.config.unused import UnusedNotice
from loadstone.dataset import resolve
from loadstone.dataset.source import WHY_UNUSED, Options, RequestBodiesNotice, Source, open_source
from loadstone.errors import ConfigError, DataError, Notice
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

# Readers of existing texts, which lengths.py cuts or repeats. The others make or replay their own lengths.
TEXTS = {"lines", "jsonl", "csv", "line_by_line", "openqa", "longalpaca", "custom", "sharegpt", "parquet", "hf"}


def read(spec: str, options: Options, notice: Notice) -> list[Prompt]:
    """Return all prompts of a `--dataset` value, at least one.

    notice: called with what the user should know, such as rows that were skipped, or options that are not used.

    Raises UsageError.
    """
    name, path = resolve.resolve(spec, READERS)
    source = open_source(path, name, notice)
    if name is None:
        from loadstone.dataset.detect import detect  # imports the formats, which a generator does not need

        name = detect(source, options)
    reader: Reader = load_instance(resolve.GROUP, name, READERS, "--dataset")
    if not callable(reader):
        raise ConfigError(
            f"the reader {name} is not callable; it must take (source, options) and yield prompts", field="dataset"
        )

    from loadstone.dataset import lengths

    if name in TEXTS:
        source.used.add("input_len")
        prompts = lengths.apply_lengths(reader(source, options), source, options)
    elif name in READERS and lengths.limit_flags(options):
        limits = [limit for limit in lengths.LIMITS if getattr(options, limit) is not None]
        raise ConfigError(
            f"{name} makes its own lengths: leave out {' and '.join(lengths.limit_flags(options))}", field=limits[0]
        )
    else:
        prompts = list(reader(source, options))
    if not prompts:
        raise DataError(f"{source.name} holds no prompt", file=source.name)

    # Fields of a dataset that override flags change what is measured: name them.
    bodies = [prompt.body for prompt in prompts if prompt.body]
    if bodies:
        fields = ", ".join(sorted(set().union(*bodies)))
        text = f"{source.name}: {len(bodies)} rows are request bodies; their fields win over flags: {fields}"
        source.notice(RequestBodiesNotice(text))

    # Options that this source does not use. A constant output length goes into requests that have none of their own.
    if isinstance(options.output_len, int) and any(
        turn.output_len is None for prompt in prompts for turn in (prompt, *prompt.later)
    ):
        source.used.add("output_len")
    used = source.used | getattr(reader, "uses", WHY_UNUSED.keys())
    given = [option for option in WHY_UNUSED if getattr(options, option) != getattr(Options(), option)]
    if unused := {option: WHY_UNUSED[option].format(spec) for option in given if option not in used}:
        source.notice(UnusedNotice(unused))
    return prompts


__all__ = ["READERS", "Notice", "Options", "Reader", "Source", "read"]
