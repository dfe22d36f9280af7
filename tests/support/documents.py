"""The worked examples of docs/extending.md."""

from __future__ import annotations

import re
import shlex

from support.paths import ROOT

EXTENDING = (ROOT / "docs" / "extending.md").read_text("utf-8")


def section(title: str) -> str:
    """Return the text of a section, by its title."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", EXTENDING, re.DOTALL | re.MULTILINE)
    return text


def example(name: str) -> str:
    """Return the code of an example: the block that is introduced by "`NAME`:"."""
    (code,) = re.findall(rf"`{re.escape(name)}`:\n\n```python\n(.*?)```", EXTENDING, re.DOTALL)
    return code


def commands(text: str) -> list[list[str]]:
    """Return the words of each `$ loadstone ...` line, without the program's name."""
    return [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("$ loadstone")]
