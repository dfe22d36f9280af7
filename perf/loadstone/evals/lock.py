"""One evaluation at a time in a folder: two would take each other's unfinished runs for killed ones.

The folder itself is locked, by the kernel, so that a process that is killed leaves no lock behind. Only this file
imports fcntl. Without it (Windows), or on a file system without locks, nothing is locked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from loadstone.engine import run_folder
from loadstone.errors import ConfigError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep the folder for this process while the context lasts.

    A folder that is created for this and is still empty at the end is removed. Raises UsageError if another evaluation
    uses the folder, or it cannot be created.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    run_folder.RunFolder(folder, new=False)
    try:
        with _locked(folder):
            yield
    finally:
        with contextlib.suppress(OSError):
            for path in created:
                path.rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as exc:
        raise ConfigError(
            f"cannot read the folder {folder}: {exc.strerror}; give another with -o", field="output"
        ) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(handle)
        raise ConfigError(
            f"another evaluation is at work in {folder}: wait for its end, or give another -o", field="output"
        ) from exc
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)
