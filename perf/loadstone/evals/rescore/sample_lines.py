"""Reads one item of a samples file from all its lines: the requests and responses, and its metrics in the file.

Files may be lm-eval's of any version, or Loadstone's. An item has one line for each filter, and in older files one for
each continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.evals.output.lm_eval_samples import OUR_KEY
from loadstone.samples import ItemResponses
from loadstone.tasks.spec import Mode

Response = str | tuple[float, bool] | None
Line = dict[str, Any]
# Numbers in a line that are no metrics.
_NO_METRICS = ("doc_id", "target", "doc_hash", "prompt_hash", "target_hash", "filter")


class SavedSample(Struct, frozen=True, kw_only=True):
    """An item of a samples file.

    mode, chat: how it was answered, as far as the line shows
    filtered: by filter, what lm-eval extracted from the first pass
    metrics: by filter and metric
    position: of its first line in the file
    cluster: what it shares with other items
    """

    responses: ItemResponses
    mode: Mode
    chat: bool
    filtered: dict[str, Any]
    metrics: dict[tuple[str, str], Any]
    position: int
    cluster: str | None = None


def check_line(line: Any) -> Line:
    """Return the line if it can be a sample. Raises ValueError otherwise."""
    if not isinstance(line, dict):
        raise ValueError("not an object")
    if not isinstance(line.get("resps", line.get("filtered_resps")), list):
        raise ValueError("it has no list `resps`")
    return line


def join_lines(task: str, lines: Sequence[Line], position: int) -> SavedSample:
    """Join all lines of an item. Its responses are the same in the lines of every filter. Raises ValueError."""
    first = lines[0]
    # Requests and responses, from the lines of one filter.
    requests: list[_Request] = []
    for line in lines:
        if _filter_of(line) == _filter_of(first):
            _add_requests(requests, line)
    counts = {len(request.responses) for request in requests}
    if len(counts) > 1:
        raise ValueError(f"its requests have {' and '.join(map(str, sorted(counts)))} responses")

    # How the item was answered: choices have log-likelihoods; only Loadstone's own files tell letters apart.
    is_choice = any(isinstance(response, tuple) for request in requests for response in request.responses)
    mode: Mode = "generation"
    if is_choice:
        mode = "letters" if _own_fields(first).get("mode") == "letters" else "loglikelihood"
    doc, target, cluster = first.get("doc"), first.get("target"), _own_fields(first).get("cluster")
    # A doc_id that is no number is replaced by the position of the line.
    doc_id = first.get("doc_id", position)
    doc_id = int(doc_id) if isinstance(doc_id, int) or str(doc_id).isdigit() else position
    return SavedSample(
        responses=ItemResponses(
            task=task,
            doc_id=doc_id,
            doc=doc if isinstance(doc, dict) else {},
            target="" if target is None else str(target),
            arguments=[(request.context, request.argument) for request in requests],
            responses=[request.responses for request in requests],
            finishes=[request.finishes for request in requests],
            failures=[request.failures for request in requests],
        ),
        mode=mode,
        chat=any(request.chat for request in requests),
        filtered=_filtered(lines, is_choice),
        metrics=_metric_values(lines),
        position=position,
        cluster=None if cluster is None else str(cluster),
    )


def _filter_of(line: Line) -> str:
    return str(line.get("filter", "none"))


def _own_fields(line: Line) -> dict[str, Any]:
    """Return the fields that Loadstone adds to lm-eval's lines."""
    fields = line.get(OUR_KEY)
    return fields if isinstance(fields, dict) else {}


def _filtered(lines: Sequence[Line], is_choice: bool) -> dict[str, Any]:
    """Return what each filter extracted. Several lines with a text each are passes, joined in one list."""
    by_filter: dict[str, list[Any]] = {}
    for line in lines:
        by_filter.setdefault(_filter_of(line), []).append(line.get("filtered_resps"))
    filtered: dict[str, Any] = {}
    for name, values in by_filter.items():
        filtered[name] = values[-1] if is_choice or len(values) == 1 else [_flatten(values)]
    return filtered


def _flatten(value: Any) -> list[Any]:
    return [text for each in value for text in _flatten(each)] if isinstance(value, list) else [value]


def _metric_values(lines: Sequence[Line]) -> dict[tuple[str, str], Any]:
    """Return the values by filter and metric: the mean over several lines of one filter."""
    by_metric: dict[tuple[str, str], list[Any]] = {}
    for line in lines:
        # Older files do not list the metrics: they are the numbers that are nothing else.
        names = line.get("metrics")
        if isinstance(names, list):
            names = [name for name in names if isinstance(name, str) and name in line]
        else:
            numbers = [name for name, value in line.items() if isinstance(_number(value), (int, float))]
            names = [name for name in numbers if name not in _NO_METRICS]
        for name in names:
            by_metric.setdefault((_filter_of(line), name), []).append(_number(line[name]))
    means: dict[tuple[str, str], Any] = {}
    for key, values in by_metric.items():
        are_numbers = len(values) > 1 and all(isinstance(value, float | int) for value in values)
        means[key] = sum(values) / len(values) if are_numbers else values[-1]
    return means


def _number(value: Any) -> Any:
    """Return a number that was written as text as a number, and anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class _Request(Struct):
    """One request of an item.

    argument: settings or continuation
    responses, finishes, failures: of each pass
    """

    context: str
    argument: dict[str, Any] | str
    responses: list[Response]
    finishes: list[str | None]
    failures: list[str | None]
    chat: bool


def _add_requests(requests: list[_Request], line: Line) -> None:
    """Add the requests of a line of the same filter: other continuations of the item, or further passes."""
    responses = line.get("resps", line.get("filtered_resps")) or []
    passes = _own_fields(line).get("passes")
    passes = [each for each in passes if isinstance(each, dict)] if isinstance(passes, list) else []
    known = {(request.context, str(request.argument)): request for request in requests}
    arguments = _arguments(line.get("arguments"), len(responses))
    for (context, argument, chat), values in zip(arguments, responses, strict=True):
        received = _responses(values, isinstance(argument, str) and argument != "")
        details = passes if len(passes) == len(received) else [{} for _ in received]
        received = [
            None if detail.get("outcome") == "failed" else response
            for detail, response in zip(details, received, strict=True)
        ]
        finishes = [detail.get("finish") for detail in details]
        failures = [detail.get("failure") for detail in details]
        same = known.get((context, str(argument)))
        if same is None:
            requests.append(_Request(context, argument, received, finishes, failures, chat))
        else:
            same.responses += received
            same.finishes += finishes
            same.failures += failures


def _arguments(arguments: Any, count: int) -> list[tuple[str, dict[str, Any] | str, bool]]:
    """Return context, settings or continuation, and whether it was a chat, of each request."""
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    parsed: list[tuple[str, dict[str, Any] | str, bool]] = []
    for entry in arguments if isinstance(arguments, list) else ():
        values = list(entry.values()) if isinstance(entry, dict) else list(entry)
        context, argument = (*values, "", "")[:2]
        chat = isinstance(context, list)
        if chat and context:
            context = context[0]
        text = context if isinstance(context, str) else msgspec.json.encode(context).decode()
        parsed.append((text, argument if isinstance(argument, (dict, str)) else str(argument), chat))
    if parsed and len(parsed) != count:
        raise ValueError(f"{len(parsed)} arguments and {count} responses")
    return parsed or [("", "", False)] * count


def _responses(values: Any, is_choice: bool) -> list[Response]:
    """Return all passes of a request. Older files have no list around the only pass of a choice."""
    if not isinstance(values, list):
        return [str(values)]
    if is_choice and values and not isinstance(values[0], list):
        return [_pair(values)]
    return [_pair(each) if isinstance(each, list) else each if each is None else str(each) for each in values]


def _pair(values: Sequence[Any]) -> tuple[float, bool]:
    """Return (log-likelihood, whether greedy); either may be text in the file."""
    value, greedy = (*values, False)[:2]
    return float(value), greedy is True or str(greedy).strip().lower() in ("true", "1", "1.0")
