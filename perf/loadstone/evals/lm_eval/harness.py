"""Loads tasks of an installed lm-eval (`--tasks lm-eval:NAME`).

lm-eval builds the requests, and filters, processes and aggregates the answers; Loadstone sends the requests as load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.evals.lm_eval.tasks import LmEvalTask
from loadstone.tasks.catalogue import Selection
from loadstone.tasks.spec import Group

INSTALL = "--tasks lm-eval:NAME needs lm-eval: pip install 'loadstone[lm-eval]'"


def add_tasks(selection: Selection, include_path: str | None = None) -> Selection:
    """Add the selected tasks of lm-eval, and the groups that hold them. Raises UsageError.

    include_path: folder with further tasks
    """
    if not selection.lm_eval_names:
        return selection
    tasks, groups = load_tasks(selection.lm_eval_names, include_path)
    known = {task.name for task in selection.tasks}
    if twice := [task.name for task in tasks if task.name in known]:
        raise ConfigError(f"{twice[0]} and lm-eval:{twice[0]} have the same name: evaluate them apart")
    specs = [task.spec for task in tasks]
    return replace(selection, tasks=[*selection.tasks, *specs], groups=[*selection.groups, *groups])


def load_tasks(names: Sequence[str], include_path: str | None = None) -> tuple[list[LmEvalTask], list[Group]]:
    """Load the tasks that lm-eval has under these names, with the groups that hold them. Raises UsageError.

    names: of tasks or groups, or `FOLDER/NAME` for a task in that folder
    """
    tasks: dict[str, LmEvalTask] = {}
    groups: list[Group] = []
    for folder, inside in group_by_folder(names, include_path).items():
        loaded = _load(inside, folder)
        for name, task in loaded["tasks"].items():
            _check_supported(name, task)
            tasks[name] = LmEvalTask(name, task)
        for name, group in loaded["groups"].items():
            members = [getattr(member, "task_name", None) or member.name for member in group]
            groups.append(Group(name=name, title=group.alias or name, tasks=tuple(members)))
    return list(tasks.values()), groups


def group_by_folder(names: Sequence[str], include_path: str | None) -> dict[str | None, list[str]]:
    """Return the names to load from each folder; None stands for lm-eval's own tasks. Raises ConfigError."""
    by_folder: dict[str | None, list[str]] = {}
    for name in names:
        path = Path(name).expanduser()
        folder = str(path.parent) if "/" in name else include_path
        if folder is not None and not Path(folder).is_dir():
            raise ConfigError(f"--tasks lm-eval:{name}: there is no folder {folder}", field="tasks")
        by_folder.setdefault(folder, []).append(path.stem if path.suffix == ".yaml" else path.name)
    return by_folder


def _load(names: list[str], folder: str | None) -> dict[str, Any]:
    """Load tasks with lm-eval's TaskManager."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    # Indexing lm-eval's own tasks takes seconds: that is left out if the folder has all names.
    manager = TaskManager(include_path=folder, include_defaults=False) if folder else None
    if manager is None or not set(names) <= set(manager.all_tasks):
        manager = TaskManager(include_path=folder)
    if unknown := [name for name in names if name not in manager.all_tasks]:
        raise ConfigError(f"lm-eval has no task {unknown[0]!r}: `lm_eval ls tasks` names those it has")
    try:
        loaded: dict[str, Any] = manager.load(names)
    except Exception as exc:  # a task is a program, and its data may be anywhere
        raise DataError(f"lm-eval cannot load {', '.join(names)}: {type(exc).__name__}: {exc}") from exc
    return loaded


def _check_supported(name: str, task: Any) -> None:
    """Raise ConfigError for a task that cannot be run here."""
    if getattr(task, "UNSAFE_CODE", False):
        raise ConfigError(
            f"lm-eval:{name} runs programs of the model unguarded: take --tasks humaneval, which does not"
        )
    if getattr(task, "MULTIMODAL", False):
        raise ConfigError(f"lm-eval:{name} shows pictures or sounds, which cannot be asked here: take another task")
