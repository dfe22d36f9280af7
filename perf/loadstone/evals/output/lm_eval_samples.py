"""lm-eval 0.4.13's files, key by key: their names and hashes, and what stands in `samples_<task>_<time>.jsonl`.

Pure. The results file is layout_results.py's. A failed answer is an empty text here, as lm-eval knows no failure, and
counts 0; our own key `loadstone` says what became of it. Nothing in a line tells when it was asked: the same answers
give the same line.
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

# lm-eval's filters say so where they find nothing.
INVALID = "[invalid]"
# What lm-eval's --predict_only writes for the metric of an answer that is not judged.
BYPASS = 999
OUR_KEY = "loadstone"


class EvalMetadata(Struct, frozen=True, kw_only=True):
    """What lm-eval's results tell of an evaluation beside its figures. `began`: Unix time, and `took`, in seconds."""

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
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def doc_hash(doc: Mapping[str, Any]) -> str:
    """Of a row, in the form that lm-eval takes the hash of."""
    return digest(json.dumps(doc, indent=2, default=str, ensure_ascii=False))


def encode_line(line: Mapping[str, Any]) -> bytes:
    """As lm-eval writes it."""
    return json.dumps(line, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def decode_line(line: bytes) -> Any:
    """Inverse of `encode_line`. lm-eval also writes NaN and Infinity, which are no JSON. Raises ValueError."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError(str(exc)) from exc


def sanitize(model: str) -> str:
    """A model's name as lm-eval makes a folder of it."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)


def samples_name(task: str, stamp: str) -> str:
    return f"samples_{task}_{stamp}.jsonl"


def results_name(stamp: str) -> str:
    return f"results_{stamp}.json"


def task_of(name: str) -> str | None:
    """The task that a samples file is of, by its name."""
    found = re.fullmatch(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d.:-]+\.jsonl", name)
    return found.group(1) if found else None


def sample_lines(setup: TaskSetup, answered: ItemResponses, scores: Sequence[Score]) -> Iterator[dict[str, Any]]:
    """An item as lm-eval logs it: a line for each filter, of all its requests and passes."""
    shared = _shared(setup, answered)
    for name in setup.filters:
        passes = [score for score in scores if score.filter == name]
        metrics = _metrics(passes) if passes else {"bypass": BYPASS}
        yield {
            **{key: shared[key] for key in ("doc_id", "doc", "target", "arguments", "resps")},
            "filtered_resps": _filtered(setup, answered, passes),
            "filter": name,
            "metrics": list(metrics),
            **{key: shared[key] for key in ("doc_hash", "prompt_hash", "target_hash")},
            **metrics,
            OUR_KEY: _ours(setup, answered, passes),
        }


def _shared(setup: TaskSetup, answered: ItemResponses) -> dict[str, Any]:
    target = _target(setup, answered)
    return {
        "doc_id": answered.doc_id,
        "doc": answered.doc,
        "target": target,
        "arguments": {
            f"gen_args_{number}": {"arg_0": [context] if setup.chat else context, "arg_1": lm_eval_argument(what)}
            for number, (context, what) in enumerate(answered.arguments)
        },
        "resps": [[_text(response, setup.mode) for response in passes] for passes in answered.responses],
        "doc_hash": doc_hash(answered.doc),
        "prompt_hash": digest(answered.arguments[0][0] if answered.arguments else ""),
        "target_hash": digest(target),
    }


def _target(setup: TaskSetup, answered: ItemResponses) -> str:
    """Of a choice lm-eval tells the number."""
    if setup.mode == "generation" or setup.task.gold is None:
        return answered.target
    gold = setup.task.gold(answered.doc)
    return str(gold[0] if len(gold) == 1 else gold)


def lm_eval_argument(what: dict[str, Any] | str) -> dict[str, Any] | str:
    """Under lm-eval's names: `until`, `max_gen_toks`, `do_sample`, and the rest as it was sent."""
    if isinstance(what, str) or "until" in what:
        return what
    rest = {name: value for name, value in what.items() if name not in _RENAMED}
    named = {_RENAMED[name]: value for name, value in what.items() if name in _RENAMED}
    until = named.get("until", [])
    return {"until": [until] if isinstance(until, str) else until,
            **{name: value for name, value in named.items() if name != "until"},
            "do_sample": bool(what.get("temperature")), **rest}  # fmt: skip


_RENAMED = {"stop": "until", "max_tokens": "max_gen_toks", "max_completion_tokens": "max_gen_toks"}


def _text(response: str | tuple[float, bool] | None, mode: Mode) -> str | list[str]:
    """lm-eval turns all to text."""
    if mode == "generation":
        return response if isinstance(response, str) else ""
    value, greedy = response if isinstance(response, tuple) else (float("-inf"), False)
    return [str(value), str(greedy)]


def _filtered(setup: TaskSetup, answered: ItemResponses, passes: Sequence[Score]) -> list[Any]:
    """Of a choice the first pass of each request; of a text what was extracted, of several passes as a list."""
    if setup.mode != "generation":
        return [_text(lane[0], setup.mode) for lane in answered.responses]
    if not passes:
        return [_text(response, setup.mode) for response in answered.responses[0][:1]]
    found = [_extracted(score) for score in passes]
    return found if len(found) == 1 else [found]


def _extracted(score: Score) -> str:
    if score.extracted is not None:
        return str(score.extracted)
    return "" if score.outcome == "failed" else INVALID


def _metrics(passes: Sequence[Score]) -> dict[str, float | list[float]]:
    """Means over the passes; of several parts each."""
    return {name: _mean([score.metrics[name] for score in passes if name in score.metrics])
            for name in dict.fromkeys(name for score in passes for name in score.metrics)}  # fmt: skip


def _mean(found: Sequence[float | list[float]]) -> float | list[float]:
    parts = [each for each in found if isinstance(each, list)]
    if parts:
        return [sum(column) / len(column) for column in zip(*parts, strict=True)]
    values = [each for each in found if not isinstance(each, list)]
    return sum(values) / len(values)


def _ours(setup: TaskSetup, answered: ItemResponses, passes: Sequence[Score]) -> dict[str, Any]:
    """What became of each pass. `finish` and `failure` only where known, `turns` of conversations."""
    count = max(map(len, answered.responses), default=0)
    told: list[dict[str, Any]] = [{} for _ in range(count)]
    for score in passes:
        told[score.attempt] |= {"outcome": score.outcome, "extracted": score.extracted}
        told[score.attempt] |= {"note": score.note} if score.note else {}
    for name, table in (("finish", answered.finishes), ("failure", answered.failures)):
        for attempt, one in enumerate(told):
            known = [lane[attempt] for lane in table if attempt < len(lane) and lane[attempt] is not None]
            one.update({name: known[0]} if known else {})
    for one, turns in zip(told, answered.turns, strict=False):
        one.update({"turns": turns} if turns else {})
    cluster = passes[0].cluster if passes else None
    return {"mode": setup.mode, **({"cluster": cluster} if cluster is not None else {}), "passes": told}
