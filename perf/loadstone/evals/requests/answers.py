"""Reads the responses to an evaluation's requests from the records of its runs and of the cache.

Of each request the last attempt with a result counts. A response that ended properly is an answer even if it is empty;
reasoning is never taken for the answer. Records are read one by one, and only what scoring needs is kept. Scores
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.evals.requests import loglikelihood
from loadstone.evals.requests.build import Item, cut_at_stop
from loadstone.evals.requests.eval_request import EvalRequest, RequestId
from loadstone.evals.requests.loglikelihood import MissingLogprobsError
from loadstone.records import FailureCause, Record, Usage, from_lines
from loadstone.samples import ItemResponses

# In an evaluation's folder: the folder of its runs, and the records that the cache already had.
RUNS = "runs"
CACHED = "cached.jsonl"
ResponseValue = str | tuple[float, bool]
# Called with each record and the number of its run, which is None for a record of the cache.
RecordCallback = Callable[[str | None, Record], None]


class Response(Struct, frozen=True, kw_only=True):
    """The response to one request.

    values: a text, (log-likelihood, whether greedy) of the continuation, or one such pair for each letter; empty if the
        request failed. Of a conversation, the text of the last turn
    finish: finish reason
    failure: kind of failure
    usage: token counts
    record: (run, index); None if it came from the cache
    turns: all turns of a conversation after the first prompt, of both sides
    """

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
    folder: Path, requests: Iterable[EvalRequest], on_record: RecordCallback = lambda *_: None
) -> dict[RequestId, Response]:
    """Read the responses, by id of the request, from the records of all runs and of the cache.

    A request that failed and was sent again counts by its successful response; one that never succeeded, by its last
    failure.
    requests: records of others are ignored
    on_record: called for every record, so that a large file is read only once
    """
    by_text = {str(request.id): request for request in requests}
    responses: dict[RequestId, Response] = {}
    conversations: dict[tuple[str | None, RequestId], dict[int, Response]] = {}
    for run, record in records(folder):
        on_record(run, record)
        # Records of later turns name the request that started their conversation.
        later_turn = record.turn is not None and record.turn > 1
        request = by_text.get((later_turn and record.conversation) or record.prompt)
        if request is None or (record.error is not None and record.error.kind == FailureCause.STOPPED):
            continue
        response: Response | None = from_record(record, request, run)
        if request.later and response is not None:
            turns = conversations.setdefault((run, request.id), {})
            turns[record.turn or 1] = response
            response = response if record.abandoned else join_turns(request, turns)
        earlier = responses.get(request.id)
        if response is not None and (earlier is None or response.ok or not earlier.ok):
            responses[request.id] = response
    return responses


def join_turns(request: EvalRequest, turns: Mapping[int, Response]) -> Response | None:
    """Return the response of a conversation from those of its turns: the last, or the failure that ended it.

    Returns None if turns are missing: an interrupted conversation has no answer.
    turns: by number of the turn, from 1
    """
    if failed := next((response for response in turns.values() if not response.ok), None):
        return failed
    if len(turns) <= len(request.later):
        return None
    texts = [str(turns[number].values[0]) for number in sorted(turns)]
    between = [text for pair in zip(texts, request.later, strict=False) for text in pair]
    return msgspec.structs.replace(turns[max(turns)], turns=[*between, texts[-1]])


def records(folder: Path) -> Iterator[tuple[str | None, Record]]:
    """Yield all records of an evaluation with the number of their run, which is None for those of the cache."""
    cached = folder / CACHED
    if cached.exists():
        with cached.open("rb") as lines:
            yield from ((None, record) for record in from_lines(lines, str(cached)))
    for run in runs(folder):
        yield from ((run.name, record) for record in run_folder.load_records(run))


def runs(folder: Path) -> list[Path]:
    """Return the run folders of an evaluation that hold records, finished or not, in order."""
    numbered = [path for path in (folder / RUNS).glob("*") if path.name.isdigit()]
    with_records = [path for path in numbered if (path / run_folder.RECORDS).exists() or run_folder.find_shards(path)]
    return sorted(with_records, key=lambda path: int(path.name))


def from_record(record: Record, request: EvalRequest, run: str | None) -> Response:
    """Return the response that a record holds.

    A text that goes on after one of the request's stop texts ends there: servers take a limited number of them, and
    some ignore them.
    run: number of the record's run; None for a record of the cache
    """
    # An empty answer that ended properly is no failure.
    failure: str | None = None if record.error is None else record.error.kind
    if failure == FailureCause.EMPTY and record.status == 200 and record.finish is not None:
        failure = None

    values: list[ResponseValue] = []
    finish = record.finish
    if failure is None and request.answer_mode.mode == "generation":
        text = cut_at_stop(record.text or "", request.settings)
        values = [text]
        if text != (record.text or ""):
            finish = "stop"
    elif failure is None:
        try:
            values = list(loglikelihood.from_record(record, request))
        except MissingLogprobsError as exc:
            failure = f"untold: {exc}"
    return Response(
        values=values,
        finish=finish,
        failure=failure,
        usage=record.usage,
        record=None if run is None else (run, record.index),
    )


def item_responses(items: Iterable[Item], responses: Mapping[RequestId, Response]) -> Iterator[ItemResponses]:
    """Yield the responses to each item, in order. A request without a response has failed with `unsent`."""
    unsent = Response(failure="unsent")
    for item in items:
        sample = item.sample
        by_request = [[responses.get(request.id, unsent) for request in passes] for passes in item.requests]

        # Arguments, the responses of all passes, and which of their values: a request for letters counts as one
        # request for each of them.
        columns: list[tuple[tuple[str, dict[str, object] | str], list[Response], int]] = []
        for passes, received in zip(item.requests, by_request, strict=True):
            request = passes[0]
            prompt = request.prompt
            context = prompt if isinstance(prompt, str) else msgspec.json.encode(prompt).decode()
            if request.answer_mode.mode == "letters":
                columns += [((context, letter), received, index) for index, letter in enumerate(request.letters)]
            else:
                argument = request.settings if request.continuation is None else request.continuation
                columns.append(((context, argument), received, 0))

        yield ItemResponses(
            task=sample.task,
            doc_id=sample.doc_id,
            doc=sample.doc,
            target=sample.target,
            arguments=[arguments for arguments, _, _ in columns],
            responses=[
                [response.values[index] if response.ok else None for response in received]
                for _, received, index in columns
            ],
            finishes=[[response.finish for response in received] for _, received, _ in columns],
            failures=[[response.failure for response in received] for _, received, _ in columns],
            records=[[response.record for response in received] for _, received, _ in columns],
            turns=[response.turns for response in by_request[0]] if sample.later and by_request else [],
        )
