"""The requests of an evaluation as lines of a dataset: their digests, and which of them a cache can answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from loadstone.config.schema import Config
from loadstone.evals.requests import send
from loadstone.evals.requests.answers import CACHED, from_record
from loadstone.evals.requests.cache import Cache, key
from loadstone.evals.requests.eval_request import EvalRequest
from loadstone.evals.requests.send import Row
from loadstone.records import Record, to_line


def digests(requests: Sequence[EvalRequest], tasks: Iterable[str], load: Config) -> list[str]:
    """Return a digest of all requests of each task, which is equal if the same is sent."""
    hashers = {task: hashlib.sha256() for task in tasks}
    for request, row in zip(requests, send.rows(requests, load), strict=True):
        hashers[request.id.task].update(send.encode_row(row))
    return [hasher.hexdigest() for hasher in hashers.values()]


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

    def take_known(self, missing: Sequence[EvalRequest], folder: Path) -> list[EvalRequest]:
        """Write the records that the cache has into the evaluation's folder. Return the requests it cannot answer."""
        if self._cache is None:
            return list(missing)
        known = set[str]()
        for batch in filter(None, self._cache.find(self._keys(missing))):
            known.update(record.prompt for record in batch)
            with (folder / CACHED).open("ab") as file:
                file.writelines(map(to_line, batch))
        return [request for request in missing if str(request.id) not in known]

    def store(self, requests: Sequence[EvalRequest], records: Iterable[tuple[str | None, Record]]) -> None:
        """Store the successful answers of the evaluation's runs."""
        if self._cache is None:
            return
        keys, by_id = self._keys(requests), {str(request.id): request for request in requests}
        answers = (
            (keys[record.prompt], record)
            for run, record in records
            if run is not None and record.prompt in keys and from_record(record, by_id[record.prompt], run).ok
        )
        self._cache.add(answers)

    def _keys(self, requests: Sequence[EvalRequest]) -> dict[str, bytes]:
        """Return the keys by text of the id. Conversations have none: a later turn depends on earlier answers."""
        return {
            row["id"]: key({**self._target, "api": request.answer_mode.api}, row, request.id.attempt)
            for request, row in zip(requests, send.rows(requests, self._load), strict=True)
            if not request.later
        }
