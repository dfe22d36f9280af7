"""The requests of an evaluation as lines of a dataset: their digests, and which of them a cache can answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from loadstone.config.schema import Config
from loadstone.evals.requests import send
from loadstone.evals.requests.answers import CACHED, from_record
from loadstone.evals.requests.cache import Cache, key
from loadstone.evals.requests.request_id import RequestId
from loadstone.evals.requests.send import PlannedRequest, Row
from loadstone.evals.requests.task_run import TaskRun
from loadstone.records import Record, to_line


def with_rows(requests: Iterable[PlannedRequest], load: Config) -> Iterator[tuple[PlannedRequest, Row]]:
    """Yield each request with its row, API by API."""
    for batch in send.group_by_api(requests).values():
        yield from zip(batch, send.rows(batch, load), strict=True)


def request_lines(requests: Iterable[PlannedRequest], load: Config) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the line of each request."""
    return ((request.id, send.encode_row(row)) for (request, _), row in with_rows(requests, load))


def digests(requests: Iterable[PlannedRequest], task_runs: Iterable[TaskRun], load: Config) -> list[str]:
    """Return a digest of all requests of each task, which is equal if the same is sent."""
    hashers = []
    hasher_of: dict[str, Any] = {}
    for task_run in task_runs:
        hashers.append(hashlib.sha256())
        hasher_of |= {request.id: hashers[-1] for request in task_run.requests()}
    for name, line in request_lines(requests, load):
        first_window = str(replace(RequestId.parse(name), window=0))
        hasher_of[first_window].update(line)
    return [hasher.hexdigest() for hasher in hashers]


class EvalCache:
    """The cache of an evaluation. Without a folder it is empty and stores nothing."""

    def __init__(self, folder: str | None, load: Config, model: str) -> None:
        self._cache = None if folder is None else Cache(Path(folder).expanduser())
        self._load = load
        self._target: Row = {
            "urls": sorted(load.urls), "model": model, "extra_body": load.extra_body,
            "chat_template_kwargs": load.chat_template_kwargs, "template": [load.body_template, load.text_path],
        }  # fmt: skip

    def __enter__(self) -> EvalCache:
        if self._cache is not None:
            self._cache.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if self._cache is not None:
            self._cache.__exit__(kind, exc, at)

    def take_known(self, missing: Sequence[PlannedRequest], folder: Path) -> list[PlannedRequest]:
        """Write the records that the cache has into the evaluation's folder. Return the requests it cannot answer."""
        if self._cache is None:
            return list(missing)
        known = set[str]()
        for batch in filter(None, self._cache.find(self._keys(missing))):
            known.update(record.prompt for record in batch)
            with (folder / CACHED).open("ab") as file:
                file.writelines(map(to_line, batch))
        return [planned for planned in missing if planned[0].id not in known]

    def store(self, requests: Sequence[PlannedRequest], records: Iterable[tuple[str | None, Record]]) -> None:
        """Store the successful answers of the evaluation's runs."""
        if self._cache is None:
            return
        keys, by_id = self._keys(requests), {request.id: request for request, _ in requests}
        answers = (
            (keys[record.prompt], record)
            for run, record in records
            if run is not None and record.prompt in keys and from_record(record, by_id[record.prompt], run).ok
        )
        self._cache.add(answers)

    def _keys(self, requests: Iterable[PlannedRequest]) -> dict[str, bytes]:
        """Return the keys by id. Conversations have none: what a later turn sends depends on earlier answers."""
        return {
            request.id: key({**self._target, "api": answer_mode.api}, row, request.attempt)
            for (request, answer_mode), row in with_rows(requests, self._load)
            if not request.later
        }
