"""From the records of an evaluation's runs to what was answered: of each request the last attempt that came to an end.

An answer that ended properly is an answer, also an empty one; reasoning is never taken for it. Reads run folders record
by record and keeps only what scoring needs. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.evals.requests import loglikelihood
from loadstone.evals.requests.build import EvalRequest, Item, cut_at_stop
from loadstone.evals.requests.loglikelihood import MissingLogprobsError
from loadstone.records import Record, Usage, from_lines
from loadstone.samples import ItemResponses

RUNS, CACHED = "runs", "cached.jsonl"
ResponseValue = str | tuple[float, bool]
RecordCallback = Callable[[str | None, Record], None]


class Response(Struct, frozen=True, kw_only=True):
    """What came back for one request. `responses`: a text, the log-likelihood of the continuation, or of each of the
    letters; none where it failed. Of a conversation the text is the last, and `turns` are all that was said after the
    first prompt. `record`: (run, index), None where it came from the cache."""

    values: list[ResponseValue] = []
    finish: str | None = None
    failure: str | None = None
    usage: Usage | None = None
    record: tuple[str, int] | None = None
    turns: list[str] = []

    @property
    def ok(self) -> bool:
        return self.failure is None


def read(
    folder: Path, requests: Mapping[str, EvalRequest], on_record: RecordCallback = lambda *_: None
) -> dict[str, Response]:
    """Answers by id of the request, from the records of all runs and from what the cache knew. What failed and was
    asked again counts by its good answer; what never had one by its last failure. `seen` is told of every record, so
    that a file of gigabytes is read once."""
    found: dict[str, Response] = {}
    talks: dict[tuple[str | None, str], dict[int, Response]] = {}
    for run, record in records(folder):
        on_record(run, record)
        name = request_of(record)
        asked, before = requests.get(name), found.get(name)
        if asked is None or (record.error is not None and record.error.kind == "stopped"):
            continue
        now: Response | None = from_record(record, asked, run)
        if asked.later and now is not None:
            said = talks.setdefault((run, name), {})
            said[record.turn or 1] = now
            now = now if record.abandoned else join_turns(asked, said)
        if now is not None and (before is None or now.ok or not before.ok):
            found[name] = now
    return found


def request_of(record: Record) -> str:
    """The id of the request; a later turn is of the one that its conversation began with."""
    return record.prompt.rpartition(".")[0] if record.turn is not None and record.turn > 1 else record.prompt


def join_turns(wanted: EvalRequest, said: Mapping[int, Response]) -> Response | None:
    """The answer of a conversation, of its turns by number: the last, or the failure that ended it. None where turns
    are missing, as it was cut short: those that came say nothing without the rest."""
    if failed := next((one for one in said.values() if not one.ok), None):
        return failed
    if len(said) <= len(wanted.later):
        return None
    texts = [str(said[turn].values[0]) for turn in sorted(said)]
    between = [part for pair in zip(texts, wanted.later, strict=False) for part in pair]
    return msgspec.structs.replace(said[max(said)], turns=[*between, texts[-1]])


def records(folder: Path) -> Iterator[tuple[str | None, Record]]:
    """All records of an evaluation with the number of their run; None for those of the cache."""
    cached = folder / CACHED
    if cached.exists():
        with cached.open("rb") as lines:
            yield from ((None, record) for record in from_lines(lines, str(cached)))
    for run in runs(folder):
        yield from ((run.name, record) for record in run_folder.load_records(run))


def runs(folder: Path) -> list[Path]:
    """Run folders of an evaluation that hold records, finished or not, in order."""
    inside = (folder / RUNS).iterdir() if (folder / RUNS).is_dir() else []
    found = [
        path
        for path in inside
        if path.name.isdigit() and ((path / run_folder.RECORDS).exists() or run_folder.find_shards(path))
    ]
    return sorted(found, key=lambda path: int(path.name))


def from_record(record: Record, request: EvalRequest, run: str | None) -> Response:
    """What a record says to what was wanted. A text that goes on behind a stop text of its settings, as the server took
    no more of them or heeds none, ended there."""
    failure, responses = _failure(record), list[ResponseValue]()
    try:
        responses = [] if failure else _responses(record, request)
    except MissingLogprobsError as exc:
        failure = f"untold: {exc}"
    cut = request.mode == "generation" and responses and responses[0] != (record.text or "")
    return Response(
        values=responses,
        finish="stop" if cut else record.finish,
        failure=failure,
        usage=record.usage,
        record=None if run is None else (run, record.index),
    )


def item_responses(items: Iterable[Item], answers: Mapping[str, Response]) -> Iterator[ItemResponses]:
    """What came back for each item, in its order. What has not been asked yet has failed with `unsent`."""
    unsent = Response(failure="unsent")
    for item in items:
        sample = item.sample
        told = [[answers.get(wanted.id, unsent) for wanted in passes] for passes in item.requests]
        lanes = [lane for passes, came in zip(item.requests, told, strict=True) for lane in _lanes(passes[0], came)]
        yield ItemResponses(
            task=sample.task,
            doc_id=sample.doc_id,
            doc=sample.doc,
            target=sample.target,
            arguments=[argument for argument, _ in lanes],
            responses=[[_nth(one, place) for one in came] for (_, (came, place)) in lanes],
            finishes=[[one.finish for one in came] for (_, (came, _)) in lanes],
            failures=[[one.failure for one in came] for (_, (came, _)) in lanes],
            records=[[one.record for one in came] for (_, (came, _)) in lanes],
            turns=[one.turns for one in told[0]] if sample.later and told else [],
        )


_Lane = tuple[tuple[str, dict[str, Any] | str], tuple[list[Response], int]]


def _lanes(wanted: EvalRequest, came: list[Response]) -> list[_Lane]:
    """A request of letters answers for each of them, as if each had been asked by itself."""
    context = wanted.prompt if isinstance(wanted.prompt, str) else msgspec.json.encode(wanted.prompt).decode()
    if wanted.mode == "letters":
        return [((context, letter), (came, place)) for place, letter in enumerate(wanted.letters)]
    return [((context, wanted.settings if wanted.continuation is None else wanted.continuation), (came, 0))]


def _nth(answer: Response, place: int) -> ResponseValue | None:
    return answer.values[place] if answer.ok else None


def _failure(record: Record) -> str | None:
    """How it failed; an answer that is empty, but came to its end, did not."""
    if record.error is None:
        return None
    proper = record.error.kind == "empty" and record.status == 200 and record.finish is not None
    return None if proper else record.error.kind


def _responses(record: Record, wanted: EvalRequest) -> list[ResponseValue]:
    if wanted.mode == "generation":
        return [cut_at_stop(record.text or "", wanted.settings)]
    return list(loglikelihood.from_record(record, wanted))
