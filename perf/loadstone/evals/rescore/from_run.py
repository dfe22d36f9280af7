"""The answers of an ordinary run that replayed the rows of a task: `loadstone score RUN --task NAME`.

A record belongs to the row with its id: the row's own id, or its position in the file. Several answers to one row are
passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from loadstone.dataset.rows import IDS
from loadstone.engine import run_folder
from loadstone.errors import DataError, UsageError
from loadstone.evals.data.rows import load_rows
from loadstone.evals.requests import answers
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, RequestId
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import IdFilter
from loadstone.samples import ItemResponses
from loadstone.tasks.spec import Task

# The id that a dataset gives to a row without its own: `FILE:N`, from 1.
_ROW_NUMBER = re.compile(r".*:([1-9]\d*)")


def is_run(path: Path) -> bool:
    """Return True if a folder holds a run."""
    return path.is_dir() and (path / run_folder.RUN).is_file()


class RunSource:
    """The answers of one run as the samples of a task.

    Raises UsageError if the run kept no texts, or sent something that is no row of the task.

    task: name of the task
    paths: the run's folder
    filters: names of filters, as in a samples file
    original, sha256: number of rows of the task, and digest of their files
    """

    def __init__(self, task: Task, path: Path, root: str | None, accepts: IdFilter | None = None) -> None:
        self.task, self.paths, self.filters = task.name, [path], ["none"]
        rows = load_rows(task.data, root)
        self.original, self.sha256 = len(rows.docs), rows.sha256
        self._docs, self._spec = rows.docs, task

        # The responses of each row, by its number.
        number_of = {str(doc[name]): number for number, doc in enumerate(rows.docs) for name in IDS if name in doc}
        passes: dict[int, list[Response]] = {}
        for record in run_folder.load_records(path):
            match = _ROW_NUMBER.fullmatch(record.prompt)
            number = number_of.get(record.prompt, int(match[1]) - 1 if match else -1)
            if not 0 <= number < len(rows.docs):
                raise DataError(
                    f"{path}, record {record.index} asked {record.prompt!r}, which is no row of {self.task}: give with"
                    " --data-dir the data that the run replayed",
                    file=str(path),
                )
            if record.phase != "measure" or (accepts is not None and not accepts(str(number))):
                continue
            if record.error is None and record.text is None:
                raise DataError(f"{path} kept no texts to score: run with --save-text", file=str(path))
            how = AnswerMode("generation", "chat")
            request = EvalRequest(id=RequestId(task.name, number), answer_mode=how, prompt="")
            passes.setdefault(number, []).append(answers.from_record(record, request, path.name))
        self._passes = dict(sorted(passes.items()))

    def __len__(self) -> int:
        return len(self._passes)

    def __iter__(self) -> Iterator[SavedSample]:
        generation = self._spec.generation
        target = (generation.target if generation else None) or self._spec.target
        for number, passes in self._passes.items():
            doc = self._docs[number]
            responses = ItemResponses(
                task=self.task,
                doc_id=number,
                doc=doc,
                target=target(doc),
                arguments=[("", {})],
                responses=[[response.values[0] if response.ok else None for response in passes]],
                finishes=[[response.finish for response in passes]],
                failures=[[response.failure for response in passes]],
                records=[[response.record for response in passes]],
            )
            yield SavedSample(
                responses=responses, mode="generation", chat=False, filtered={}, metrics={}, position=number
            )

    def error_at(self, position: int, exc: Exception) -> UsageError:
        """Return the error for a row, with its number."""
        return DataError(f"{self.paths[0]}, row {position} of {self.task}: {exc}")
