"""Finds the tasks that names stand for, and limits them to those for which there are data."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from loadstone.errors import DataError
from loadstone.evals.data.rows import BUNDLED, has_rows, load_rows
from loadstone.tasks import catalogue, custom
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Data, Task


def find_tasks(names: Sequence[str], root: str | None) -> Selection:
    """Return the tasks with these names, with one for each category of a custom file.

    root: folder with data, `bundled`, or None. With `bundled` the tasks that the small sets lack are in `absent`

    Raises UsageError, also if no task is left.
    """
    selection = catalogue.find(names, categories)
    if root != BUNDLED:
        return selection
    tasks = [task for task in selection.tasks if is_bundled(task)]
    if selection.tasks and not tasks:
        first = selection.tasks[0]
        load_rows(first.data, BUNDLED)  # raises an error with the names of the missing files
        raise DataError(f"the small sets have no question of {first.name}: give --data-dir DIR with its files")
    absent = [task.name for task in selection.tasks if task not in tasks]
    return replace(selection, tasks=tasks, without_data=absent)


def is_bundled(task: Task) -> bool:
    """Return True if the small sets have questions of the task."""
    if not has_rows(task.data, BUNDLED):
        return False
    return task.keep is None or any(map(task.keep, load_rows(task.data, BUNDLED).docs))


def categories(data: Data) -> list[str]:
    """Return the categories of the rows of a custom file, in the order of the file."""
    names = (custom.category(doc) or custom.NO_CATEGORY for doc in load_rows(data, None).docs)
    return list(dict.fromkeys(names))
