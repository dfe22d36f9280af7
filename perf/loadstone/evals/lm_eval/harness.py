"""Tasks of an installed lm-eval (`--tasks lm-eval:NAME`): it builds the requests, filters, processes and aggregates the
answers; Loadstone asks them, as load. With lm_eval_model.py the only door to `lm_eval`; what its tasks are to us is
foreign.py's and judging.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from loadstone.errors import UsageError
from loadstone.evals.lm_eval.tasks import LmEvalTask
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Group

INSTALL = "--tasks lm-eval:NAME needs lm-eval: pip install 'loadstone[lm-eval]'"


def add_tasks(selection: Selection, include_path: str | None = None) -> Selection:
    """With the tasks of lm-eval's that are meant, and the groups that hold them. Raises UsageError."""
    if not selection.lm_eval_names:
        return selection
    tasks, groups = load_tasks(selection.lm_eval_names, include_path)
    known = {task.name for task in selection.tasks}
    if twice := [task.name for task in tasks if task.name in known]:
        raise UsageError(f"{twice[0]} and lm-eval:{twice[0]} have the same name: evaluate them apart")
    specs = [task.spec for task in tasks]
    return replace(selection, tasks=[*selection.tasks, *specs], groups=[*selection.groups, *groups])


def load_tasks(names: Sequence[str], include_path: str | None = None) -> tuple[list[LmEvalTask], list[Group]]:
    """The tasks that lm-eval has under these names (`FOLDER/NAME` for one of a folder of one's own), with the groups
    that hold them. Raises UsageError."""
    found: dict[str, LmEvalTask] = {}
    groups: list[Group] = []
    for folder, inside in _by_folder(names, include_path).items():
        loaded = _loaded(inside, folder)
        for name, task in loaded["tasks"].items():
            found[name] = LmEvalTask(name, _allowed(name, task))
        for name, group in loaded["groups"].items():
            parts = [getattr(part, "task_name", None) or part.name for part in group]
            groups.append(Group(name=name, title=group.alias or name, tasks=tuple(parts)))
    return list(found.values()), groups


def _by_folder(names: Sequence[str], include_path: str | None) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for name in names:
        path = Path(name).expanduser()
        folder = str(path.parent) if "/" in name else include_path
        if folder is not None and not Path(folder).is_dir():
            raise UsageError(f"--tasks lm-eval:{name}: there is no folder {folder}")
        found.setdefault(folder, []).append(path.stem if path.suffix == ".yaml" else path.name)
    return found


def _loaded(names: list[str], folder: str | None) -> dict[str, Any]:
    """The index of lm-eval's own tasks takes seconds, and is left out where the folder has all that is asked for."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    own = TaskManager(include_path=folder, include_defaults=False) if folder else None
    manager = own if own and set(names) <= set(own.all_tasks) else TaskManager(include_path=folder)
    if unknown := [name for name in names if name not in manager.all_tasks]:
        raise UsageError(f"lm-eval has no task {unknown[0]!r}: `lm_eval ls tasks` names those it has")
    try:
        loaded: dict[str, Any] = manager.load(names)
    except Exception as exc:  # a task is a program, and its data may be anywhere
        raise UsageError(f"lm-eval cannot load {', '.join(names)}: {type(exc).__name__}: {exc}") from exc
    return loaded


def _allowed(name: str, task: Any) -> Any:
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(f"lm-eval:{name} runs programs of the model unguarded: take --tasks humaneval, which does not")
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"lm-eval:{name} shows pictures or sounds, which cannot be asked here: take another task")
    return task
