"""Which tasks are asked: what their names mean, and of that what the data at hand allow.

What names mean is tasks/catalogue.py's, where data are found library.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from loadstone.errors import Notice, UsageError
from loadstone.evals.data import rows
from loadstone.evals.data.rows import BUNDLED
from loadstone.evals.lm_eval import harness
from loadstone.evals.settings import Eval
from loadstone.tasks import catalogue, custom
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Data, Task


def select_tasks(settings: Eval, notice: Notice) -> Selection:
    """The tasks that are meant, ours and lm-eval's. Raises UsageError."""
    ours = find_tasks(settings.tasks, settings.data)
    if ours.without_data:
        first, left = ours.without_data[0], len(ours.without_data)
        notice(f"the small sets have no questions of {left} of the tasks, such as {first}: they are left out")
    found = harness.add_tasks(ours, settings.include_path)
    _check_samples(settings.samples, found.tasks)
    return found


def find_tasks(names: Sequence[str], root: str | None) -> Selection:
    """What the names mean, with a task for each category of files of one's own. Of benchmarks with many tasks the small
    sets have a few: with `bundled` the others stand in `absent`. Raises UsageError, also where none is left."""
    found = catalogue.find(names, categories)
    if root != BUNDLED:
        return found
    tasks = [task for task in found.tasks if is_bundled(task)]
    if found.tasks and not tasks:
        first = found.tasks[0]
        rows.load_rows(first.data, BUNDLED)  # says what is missing
        raise UsageError(f"the small sets have no question of {first.name}: give --data-dir DIR with its files")
    absent = [task.name for task in found.tasks if task not in tasks]
    return replace(found, tasks=tasks, without_data=absent)


def is_bundled(task: Task) -> bool:
    """Whether the small sets have questions of the task."""
    if not rows.has_rows(task.data, BUNDLED):
        return False
    return task.keep is None or any(map(task.keep, rows.load_rows(task.data, BUNDLED).docs))


def categories(data: Data) -> list[str]:
    """What the rows of a file of one's own say that they belong to, in the order of the file."""
    found = (custom.category(doc) or custom.NO_CATEGORY for doc in rows.load_rows(data, None).docs)
    return list(dict.fromkeys(found))


def _check_samples(asked: Iterable[str], tasks: Iterable[Task]) -> None:
    """Raises UsageError where --samples names a task that is not among them."""
    known = [task.name for task in tasks]
    for name in asked:
        if name not in known:
            raise UsageError(f"--samples names {name}, which is none of the tasks asked: {', '.join(known[:8])}")
