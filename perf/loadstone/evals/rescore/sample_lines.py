"""One item of a samples file, read from all its lines: what was asked and answered, and what it was worth to the file.

lm-eval's of any age, and ours. An item has a line for each filter, and in older files one for each continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from loadstone.evals.output.lm_eval_samples import OUR_KEY
from loadstone.samples import ItemResponses
from loadstone.tasks.spec import Mode

Response = str | tuple[float, bool] | None
Line = dict[str, Any]


class SavedSample(Struct, frozen=True, kw_only=True):
    """An item of a samples file. `filtered`: by filter, what lm-eval made of the first pass; `metrics`: by filter and
    metric, what it was worth; `mode` and `chat`: how it was asked, as far as the line tells; `place`: of its first line
    in the log."""

    responses: ItemResponses
    mode: Mode
    chat: bool
    filtered: dict[str, Any]
    metrics: dict[tuple[str, str], Any]
    position: int
    cluster: str | None = None


def check_line(line: Any) -> Line:
    if not isinstance(line, dict):
        raise ValueError("not an object")
    if not isinstance(line.get("resps", line.get("filtered_resps")), list):
        raise ValueError("it has no list `resps`")
    return line


def join_lines(task: str, lines: Sequence[Line], place: int) -> SavedSample:
    """One item of all its lines. What was answered is the same whatever filter a line is of."""
    first = lines[0]
    name = str(first.get("filter", "none"))
    lanes: list[_Lane] = []
    for line in lines:
        if str(line.get("filter", "none")) == name:
            _add(lanes, _lanes(line))
    chosen = any(isinstance(response, tuple) for lane in lanes for response in lane.responses)
    doc, ident = first.get("doc"), first.get("doc_id", place)
    return SavedSample(
        responses=_answered(
            task, _number(ident, place), doc if isinstance(doc, dict) else {}, first.get("target"), lanes
        ),
        mode=_mode(first, chosen),
        chat=any(lane.chat for lane in lanes),
        filtered=_filtered(lines, chosen),
        metrics=_worths(lines),
        position=place,
        cluster=_cluster(first),
    )


def _filtered(lines: Sequence[Line], chosen: bool) -> dict[str, Any]:
    """By filter; of several lines with a text each, which are passes, all in one list."""
    found: dict[str, list[Any]] = {}
    for line in lines:
        found.setdefault(str(line.get("filter", "none")), []).append(line.get("filtered_resps"))
    return {name: told[-1] if chosen or len(told) == 1 else [[text for one in told for text in _flat(one)]]
            for name, told in found.items()}  # fmt: skip


def _flat(told: Any) -> list[Any]:
    return [text for one in told for text in _flat(one)] if isinstance(told, list) else [told]


def _worths(lines: Sequence[Line]) -> dict[tuple[str, str], Any]:
    """By filter and metric; means over several lines of one filter."""
    found: dict[tuple[str, str], list[Any]] = {}
    for line in lines:
        for metric in _metrics(line):
            if metric in line:
                found.setdefault((str(line.get("filter", "none")), metric), []).append(_figure(line[metric]))
    return {name: _mean(told) for name, told in found.items()}


def _mean(told: list[Any]) -> Any:
    return sum(told) / len(told) if len(told) > 1 and all(isinstance(one, float | int) for one in told) else told[-1]


def _figure(told: Any) -> Any:
    """A number that was written as text is one."""
    try:
        return float(told) if isinstance(told, str) else told
    except ValueError:
        return told


def _cluster(line: Line) -> str | None:
    ours = line.get(OUR_KEY)
    told = ours.get("cluster") if isinstance(ours, dict) else None
    return None if told is None else str(told)


def _number(ident: Any, place: int) -> int:
    """A doc_id that is no number is replaced by the place of its line."""
    return int(ident) if isinstance(ident, int) or str(ident).isdigit() else place


_NO_METRICS = ("doc_id", "target", "doc_hash", "prompt_hash", "target_hash", "filter")


def _metrics(line: Line) -> list[str]:
    """Their names; where those are not told, the numbers that are nothing else."""
    if isinstance(names := line.get("metrics"), list):
        return [name for name in names if isinstance(name, str)]
    return [
        name for name, value in line.items() if isinstance(_figure(value), (int, float)) and name not in _NO_METRICS
    ]


def _mode(line: Line, chosen: bool) -> Mode:
    ours = line.get(OUR_KEY)
    told = ours.get("mode") if isinstance(ours, dict) else None
    return cast(Mode, told) if chosen and told == "letters" else "loglikelihood" if chosen else "generation"


class _Lane(Struct):
    """One request: what was asked, and each pass."""

    context: str
    what: dict[str, Any] | str
    responses: list[Response]
    finishes: list[str | None]
    failures: list[str | None]
    chat: bool


def _add(lanes: list[_Lane], more: list[_Lane]) -> None:
    """Of one filter another line has the other continuations of the item, or else further passes of the same."""
    by_asked = {(lane.context, str(lane.what)): lane for lane in lanes}
    for lane in more:
        same = by_asked.get((lane.context, str(lane.what)))
        if same is None:
            lanes.append(lane)
        else:
            same.responses += lane.responses
            same.finishes += lane.finishes
            same.failures += lane.failures


def _lanes(line: Line) -> list[_Lane]:
    resps = line.get("resps", line.get("filtered_resps")) or []
    asked = _arguments(line.get("arguments"), len(resps))
    passes = _passes(line)
    found = []
    for (context, what, chat), lane in zip(asked, resps, strict=True):
        responses = _responses(lane, isinstance(what, str) and what != "")
        told = passes if len(passes) == len(responses) else [{} for _ in responses]
        came = [None if one.get("outcome") == "failed" else response
                for one, response in zip(told, responses, strict=True)]  # fmt: skip
        found.append(_Lane(context, what, came, [one.get("finish") for one in told],
                           [one.get("failure") for one in told], chat))  # fmt: skip
    return found


def _passes(line: Line) -> list[dict[str, Any]]:
    ours = line.get(OUR_KEY)
    found = ours.get("passes") if isinstance(ours, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _arguments(told: Any, count: int) -> list[tuple[str, dict[str, Any] | str, bool]]:
    """Context, settings or continuation, whether it was a chat; of each request."""
    parts = list(told.values()) if isinstance(told, dict) else told if isinstance(told, list) else []
    found = [_argument(list(part.values()) if isinstance(part, dict) else list(part)) for part in parts]
    if found and len(found) != count:
        raise ValueError(f"{len(found)} arguments and {count} responses")
    return found or [("", "", False)] * count


def _argument(pair: list[Any]) -> tuple[str, dict[str, Any] | str, bool]:
    context, what = (*pair, "", "")[:2]
    chat = isinstance(context, list)
    context = context[0] if chat and context else context
    text = context if isinstance(context, str) else msgspec.json.encode(context).decode()
    return text, what if isinstance(what, (dict, str)) else str(what), chat


def _responses(lane: Any, chosen: bool) -> list[Response]:
    """All passes of a request. Older files have no list around the one pass of a choice."""
    if not isinstance(lane, list):
        return [str(lane)]
    if chosen and lane and not isinstance(lane[0], list):
        return [_pair(lane)]
    return [_pair(one) if isinstance(one, list) else one if one is None else str(one) for one in lane]


def _pair(told: Sequence[Any]) -> tuple[float, bool]:
    """(log-likelihood, whether greedy); either may be text."""
    value, greedy = (*told, False)[:2]
    return float(value), greedy is True or str(greedy).strip().lower() in ("true", "1", "1.0")


def _answered(task: str, ident: int, doc: dict[str, Any], target: Any, lanes: Sequence[_Lane]) -> ItemResponses:
    many = {len(lane.responses) for lane in lanes}
    if len(many) > 1:
        raise ValueError(f"its requests have {' and '.join(map(str, sorted(many)))} responses")
    return ItemResponses(
        task=task,
        doc_id=ident,
        doc=doc,
        target="" if target is None else str(target),
        arguments=[(lane.context, lane.what) for lane in lanes],
        responses=[lane.responses for lane in lanes],
        finishes=[lane.finishes for lane in lanes],
        failures=[lane.failures for lane in lanes],
    )
