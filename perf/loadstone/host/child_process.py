"""How a process of ours is started: by the same Python, with modules from where ours are from."""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """`python -m MODULE ARGUMENTS`."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Ours, and our module path: `-m` would look in the working folder first, whatever is there."""
    places = [place or os.getcwd() for place in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
