"""A sweep as `vllm bench sweep serve` leaves it, for `vllm bench sweep plot` and `plot_pareto`.

A folder a point with `run=N.json` and summary.json, which lists them, and summary.csv above. Without the arrays of
--save-detailed, as vLLM's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.report.exports import vllm
from loadstone.summary import Summary
from loadstone.sweep import folder as sweeps
from loadstone.sweep.points import SweepPoint
from loadstone.text import write_rows

# What vLLM calls the settings that a sweep varies most; the others keep the names they have here.
NAMES = {"concurrency": "max_concurrency", "rate": "request_rate", "requests": "num_prompts"}
# Characters of a folder's name; file systems end at 255 bytes.
LONGEST = 200


def write(source: Path, target: Path) -> None:
    """Export the sweep in `source` into the new folder `target`. Raises UsageError."""
    grid = sweeps.read_sweep(source).grid
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{target} is in the sweep itself, whose own files vLLM would read: give a folder elsewhere")
    found = [
        (
            place,
            [
                _run(*run, place, grid.gpus, number)
                for number, run in enumerate(sweeps.finished_runs(source / place.name))
            ],
        )
        for place in grid.places
    ]
    found = [(place, data) for place, data in found if data]
    if not found:
        raise UsageError(f"{source} holds no finished run yet: loadstone sweep goes on where it stopped")
    folder = run_folder.RunFolder(target)
    for place, data in found:
        point = run_folder.RunFolder(target / folder_name(place))
        for number, run in enumerate(data):
            point.write_json(f"run={number}.json", run)
        point.write_json("summary.json", data)
    folder.write("summary.csv", table([run for _, data in found for run in data]))


def folder_name(place: SweepPoint) -> str:
    """As vLLM makes it of the parameters that vary."""
    named = "-".join(f"{name}={value}" for name, value in _overrides(place).items()) or place.name
    return f"BENCH--{named if len(named) < LONGEST else place.name}".replace("/", "_").replace("..", "__")


def table(runs: list[dict[str, Any]]) -> str:
    """As pandas writes records: numbered rows, a column for each key that any has."""
    columns = list(dict.fromkeys(key for run in runs for key in run))
    return write_rows(["", *columns], ([number, *map(run.get, columns)] for number, run in enumerate(runs)))


def _run(folder: Path, summary: Summary, place: SweepPoint, gpus: int | None, number: int) -> dict[str, Any]:
    whole = vllm.result(summary, run_folder.load_records(folder))
    found = {key: value for key, value in whole.items() if key not in vllm.DETAILS} | {"run_number": number}
    return found | ({} if gpus is None else {"num_gpus": gpus}) | _overrides(place)


def _overrides(place: SweepPoint) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in place.settings.items()}
