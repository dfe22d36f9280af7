"""Files of a run in the current folder, and a dataset for it."""

from __future__ import annotations

import json
from pathlib import Path

PARTS = ["records.jsonl", "report.html", "requests.csv", "run.json", "schedule.jsonl", "summary.csv", "summary.json"]


def prompts(path: str, count: int) -> str:
    Path(path).write_text("".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(count)), "utf-8")
    return path


def tree() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}
