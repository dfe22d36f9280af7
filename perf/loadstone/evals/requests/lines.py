"""The requests of an evaluation beside their sending: as lines of a dataset, their digest, and what a cache knows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from loadstone.config.schema import Config
from loadstone.evals.requests import send
from loadstone.evals.requests.answers import CACHED, from_record
from loadstone.evals.requests.cache import Cache, key
from loadstone.evals.requests.send import PlannedRequest, Row
from loadstone.evals.requests.task_run import TaskRun
from loadstone.records import Record, to_line


def with_rows(routed: Iterable[PlannedRequest], load: Config) -> Iterator[tuple[PlannedRequest, Row]]:
    """Each request with its row, those of one API after the other."""
    for batch in send.group_by_api(routed).values():
        yield from zip(batch, send.rows(batch, load), strict=True)


def request_lines(routed: Iterable[PlannedRequest], load: Config) -> Iterator[tuple[str, bytes]]:
    """The id of each request, and its line."""
    return ((one.id, send.encode_row(row)) for (one, _), row in with_rows(routed, load))


def digests(routed: Iterable[PlannedRequest], task_runs: Iterable[TaskRun], load: Config) -> list[str]:
    """Of all requests of each task: equal where the same is asked."""
    made = [(hashlib.sha256(), paper) for paper in task_runs]
    hashers = {one.id: hasher for hasher, paper in made for one in paper.requests()}
    for name, said in request_lines(routed, load):
        hashers[_whole(name)].update(said)
    return [hasher.hexdigest() for hasher, _ in made]


def _whole(name: str) -> str:
    """Of a text that is asked about in several windows, the first (tokenising.py)."""
    return re.sub(r"~\d+$", "", name)


class EvalCache:
    """The cache of an evaluation; without a folder it knows nothing and keeps nothing."""

    def __init__(self, folder: str | None, load: Config, model: str) -> None:
        self._cache = None if folder is None else Cache(Path(folder).expanduser())
        self._load = load
        self._place: Row = {
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
        """What the cache does not know of what is missing; what it knows goes into the evaluation's folder."""
        if self._cache is None:
            return list(missing)
        known = set[str]()
        for batch in filter(None, self._cache.find(self._keys(missing))):
            known.update(record.prompt for record in batch)
            with (folder / CACHED).open("ab") as file:
                file.writelines(map(to_line, batch))
        return [routed for routed in missing if routed[0].id not in known]

    def store(self, routed: Sequence[PlannedRequest], records: Iterable[tuple[str | None, Record]]) -> None:
        """Good answers of the evaluation's runs."""
        if self._cache is None:
            return
        keys, wanted = self._keys(routed), {one.id: one for one, _ in routed}
        good = (
            (keys[record.prompt], record)
            for run, record in records
            if run is not None and record.prompt in keys and from_record(record, wanted[record.prompt], run).ok
        )
        self._cache.add(good)

    def _keys(self, routed: Iterable[PlannedRequest]) -> dict[str, bytes]:
        """Conversations have none: what a later turn asks depends on the answer before."""
        return {
            one.id: key({**self._place, "api": way.api}, row, one.attempt)
            for (one, way), row in with_rows(routed, self._load)
            if not one.later
        }
