"""The answers of an ordinary run as items of a task: `loadstone score RUN --task NAME`, where it replayed the rows.

A record tells the row by its id: the row's own, or its place in the file. Several answers to one row are passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from loadstone.dataset.rows import IDS
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.requests import answers
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import IdFilter
from loadstone.records import Record
from loadstone.samples import ItemResponses
from loadstone.tasks.spec import Doc, Task

PLACED = re.compile(r".*:([1-9]\d*)")


def is_run(path: Path) -> bool:
    return path.is_dir() and (path / run_folder.RUN).is_file()


class RunSource:
    """The answers of one run, read as the samples of a task. Raises UsageError where texts were not kept, or where what
    was asked is no row of the task's."""

    def __init__(self, task: Task, path: Path, root: str | None, accepts: IdFilter | None = None) -> None:
        self.task, self.paths, self.filters = task.name, [path], ["none"]
        rows = library.load_rows(task.data, root)
        self.original, self.sha256 = len(rows.docs), rows.sha256
        self._docs, self._spec = rows.docs, task
        self._passes = self._read(path, _own(rows.docs), accepts)

    def _read(self, path: Path, own: dict[str, int], wanted: IdFilter | None) -> dict[int, list[Response]]:
        found: dict[int, list[Response]] = {}
        for record in run_folder.load_records(path):
            number = self._row(record, own)
            if record.phase != "measure" or (wanted is not None and not wanted(str(number))):
                continue
            if record.error is None and record.text is None:
                raise UsageError(f"{path} kept no texts to judge: run with --save-text")
            told = answers.from_record(record, EvalRequest(id=record.prompt, mode="generation", prompt=""), path.name)
            found.setdefault(number, []).append(told)
        return dict(sorted(found.items()))

    def _row(self, record: Record, own: dict[str, int]) -> int:
        placed = PLACED.fullmatch(record.prompt)
        number = own.get(record.prompt, int(placed[1]) - 1 if placed else -1)
        if not 0 <= number < len(self._docs):
            raise UsageError(f"{self.paths[0]}, record {record.index} asked {record.prompt!r}, which is no row of "
                             f"{self.task}: give with --data-dir the data that the run replayed")  # fmt: skip
        return number

    def __len__(self) -> int:
        return len(self._passes)

    def __iter__(self) -> Iterator[SavedSample]:
        for number, came in self._passes.items():
            answered = self._answered(number, self._docs[number], came)
            yield SavedSample(
                responses=answered, mode="generation", chat=False, filtered={}, metrics={}, position=number
            )

    def _answered(self, number: int, doc: Doc, came: list[Response]) -> ItemResponses:
        generation = self._spec.generation
        return ItemResponses(
            task=self.task,
            doc_id=number,
            doc=doc,
            target=((generation.target if generation else None) or self._spec.target)(doc),
            arguments=[("", {})],
            responses=[[one.values[0] if one.ok else None for one in came]],
            finishes=[[one.finish for one in came]],
            failures=[[one.failure for one in came]],
            records=[[one.record for one in came]],
        )

    def error_at(self, place: int, exc: Exception) -> UsageError:
        """A mistake at a row, named."""
        return UsageError(f"{self.paths[0]}, row {place} of {self.task}: {exc}")


def _own(docs: list[Doc]) -> dict[str, int]:
    """Rows by their own ids."""
    return {str(doc[name]): number for number, doc in enumerate(docs) for name in IDS if name in doc}
