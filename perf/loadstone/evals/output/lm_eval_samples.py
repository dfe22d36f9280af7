"""lm-eval 0.4.13's files, key by key: their names and hashes, and the lines of `samples_<task>_<time>.jsonl`.

lm_eval_results.py has the results file. lm-eval knows no failures: a failed answer is an empty text that counts 0, and
our own key `loadstone` has its outcome. A line contains no time, so that the same answers give the same line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import ItemResponses, Score
from loadstone.tasks.spec import Mode

# The result of lm-eval's filters if they find nothing.
INVALID = "[invalid]"
# The metric that lm-eval's --predict_only writes for an answer that is not scored.
BYPASS = 999
# Our key in lm-eval's files.
OUR_KEY = "loadstone"


class EvalMetadata(Struct, frozen=True, kw_only=True):
    """What lm-eval's results contain besides figures.

    began: Unix time, seconds. took: seconds.
    """

    model: str
    source: str = OUR_KEY
    arguments: dict[str, Any] = {}
    limit: float | None = None
    gen: dict[str, Any] = {}
    seed: int | None = None
    system: str | None = None
    multiturn: bool | None = None
    cache: str | None = None
    began: float
    took: float


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def doc_hash(doc: Mapping[str, Any]) -> str:
    """Return the hash of a row, in the form that lm-eval hashes."""
    return digest(json.dumps(doc, indent=2, default=str, ensure_ascii=False))


def encode_line(line: Mapping[str, Any]) -> bytes:
    """Encode a line as lm-eval does."""
    return json.dumps(line, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def decode_line(line: bytes) -> Any:
    """Decode a line. lm-eval also writes NaN and Infinity, which are not JSON. Raises ValueError."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError(str(exc)) from exc


def sanitize(model: str) -> str:
    """Return a model's name as lm-eval names a folder by it."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)


def samples_name(task: str, when: str) -> str:
    """Return the name of a task's samples file. A `/` in the name of the task is `%2F` in it."""
    return f"samples_{task.replace('/', '%2F')}_{when}.jsonl"


def results_name(when: str) -> str:
    """Return the name of a results file."""
    return f"results_{when}.json"


def task_of(name: str) -> str | None:
    """Return the task in the name of a samples file, None for another name."""
    match = re.fullmatch(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d.:-]+\.jsonl", name)
    return match.group(1).replace("%2F", "/") if match else None


def sample_lines(setup: TaskSetup, item: ItemResponses, scores: Sequence[Score]) -> Iterator[dict[str, Any]]:
    """Yield the lines of an item: one for each filter, with all requests and passes."""
    target = item.target
    if setup.mode != "generation" and setup.task.gold is not None:
        # For choices lm-eval writes the number of the right one, or their list.
        gold = setup.task.gold(item.doc)
        target = str(gold[0] if len(gold) == 1 else gold)
    arguments = {
        f"gen_args_{number}": {"arg_0": [context] if setup.chat else context, "arg_1": lm_eval_argument(argument)}
        for number, (context, argument) in enumerate(item.arguments)
    }
    responses = [[_text(response, setup.mode) for response in passes] for passes in item.responses]
    for name in setup.filters:
        passes = [score for score in scores if score.filter == name]
        metrics = _metrics(passes) if passes else {"bypass": BYPASS}
        yield {
            "doc_id": item.doc_id,
            "doc": item.doc,
            "target": target,
            "arguments": arguments,
            "resps": responses,
            "filtered_resps": _filtered(setup, item, passes),
            "filter": name,
            "metrics": list(metrics),
            "doc_hash": doc_hash(item.doc),
            "prompt_hash": digest(item.arguments[0][0] if item.arguments else ""),
            "target_hash": digest(target),
            **metrics,
            OUR_KEY: _our_fields(setup, item, passes),
        }


# lm-eval's names of request fields.
_RENAMED = {"stop": "until", "max_tokens": "max_gen_toks", "max_completion_tokens": "max_gen_toks"}


def lm_eval_argument(argument: dict[str, Any] | str) -> dict[str, Any] | str:
    """Return the settings of a generation under lm-eval's names: `until`, `max_gen_toks`, `do_sample`, then the rest.

    A continuation (text) stays as it is.
    """
    if isinstance(argument, str) or "until" in argument:
        return argument
    rest = {name: value for name, value in argument.items() if name not in _RENAMED}
    renamed = {_RENAMED[name]: value for name, value in argument.items() if name in _RENAMED}
    until = renamed.pop("until", [])
    return {"until": [until] if isinstance(until, str) else until, **renamed,
            "do_sample": bool(argument.get("temperature")), **rest}  # fmt: skip


def _text(response: str | tuple[float, bool] | None, mode: Mode) -> str | list[str]:
    """Return a response as lm-eval writes it: all is text."""
    if mode == "generation":
        return response if isinstance(response, str) else ""
    value, greedy = response if isinstance(response, tuple) else (float("-inf"), False)
    return [str(value), str(greedy)]


def _filtered(setup: TaskSetup, item: ItemResponses, passes: Sequence[Score]) -> list[Any]:
    """Return the filtered responses.

    For choices, the first pass of each request. For texts, the extracted answer; of several passes, a list.
    """
    if setup.mode != "generation":
        return [_text(responses[0], setup.mode) for responses in item.responses]
    if not passes:
        return [_text(response, setup.mode) for response in item.responses[0][:1]]
    extracted = []
    for score in passes:
        missing = "" if score.outcome == "failed" else INVALID
        extracted.append(missing if score.extracted is None else str(score.extracted))
    return extracted if len(extracted) == 1 else [extracted]


def _metrics(passes: Sequence[Score]) -> dict[str, float | list[float]]:
    """Return the means over the passes, by metric; of metrics with several parts, a mean for each part."""
    names = dict.fromkeys(name for score in passes for name in score.metrics)
    return {name: _mean([score.metrics[name] for score in passes if name in score.metrics]) for name in names}


def _mean(values: Sequence[float | list[float]]) -> float | list[float]:
    lists = [value for value in values if isinstance(value, list)]
    if lists:
        return [sum(column) / len(column) for column in zip(*lists, strict=True)]
    numbers = [value for value in values if not isinstance(value, list)]
    return sum(numbers) / len(numbers)


def _our_fields(setup: TaskSetup, item: ItemResponses, passes: Sequence[Score]) -> dict[str, Any]:
    """Return the outcome of each pass; `finish` and `failure` only if known, `turns` only of conversations."""
    count = max(map(len, item.responses), default=0)
    fields: list[dict[str, Any]] = [{} for _ in range(count)]
    for score in passes:
        fields[score.attempt] |= {"outcome": score.outcome, "extracted": score.extracted}
        fields[score.attempt] |= {"note": score.note} if score.note else {}
    for name, table in (("finish", item.finishes), ("failure", item.failures)):
        for attempt, each in enumerate(fields):
            known = [row[attempt] for row in table if attempt < len(row) and row[attempt] is not None]
            if known:
                each[name] = known[0]
    for each, turns in zip(fields, item.turns, strict=False):
        if turns:
            each["turns"] = turns
    cluster = passes[0].cluster if passes else None
    return {"mode": setup.mode, **({"cluster": cluster} if cluster is not None else {}), "passes": fields}
