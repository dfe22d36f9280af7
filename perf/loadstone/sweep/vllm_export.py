"""A sweep in the folders of `vllm bench sweep serve`, for `vllm bench sweep plot` and `plot_pareto`.

Each point has a folder with `run=N.json` and summary.json, which lists them; summary.csv is above. As vLLM's own, they
lack the arrays of --save-detailed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadstone.engine import run_folder
from loadstone.errors import ConfigError, DataError
from loadstone.report.exports import vllm
from loadstone.sweep.folder import finished_runs, read_sweep
from loadstone.sweep.points import SweepPoint
from loadstone.text import write_rows

# vLLM's names of the settings that a sweep varies most; others keep the names they have here.
NAMES = {"concurrency": "max_concurrency", "rate": "request_rate", "requests": "num_prompts"}
# Characters of a folder's name; file systems allow 255 bytes.
LONGEST = 200


def write(source: Path, target: Path) -> None:
    """Export the sweep in `source` into the new folder `target`.

    Raise ConfigError for a target inside the sweep, DataError for a sweep that cannot be read or has no
    finished run.
    """
    grid = read_sweep(source).grid
    if target.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"{target} is in the sweep itself, whose own files vLLM would read: give a folder elsewhere")
    exported = []
    for point in grid.places:
        results = []
        for number, (folder, summary) in enumerate(finished_runs(source / point.name)):
            result = vllm.result(summary, run_folder.load_records(folder))
            result = {key: value for key, value in result.items() if key not in vllm.DETAILS}
            gpus = {} if grid.gpus is None else {"num_gpus": grid.gpus}
            results.append(result | {"run_number": number} | gpus | _overrides(point))
        if results:
            exported.append((point, results))
    if not exported:
        raise DataError(
            f"{source} holds no finished run yet: loadstone sweep goes on where it stopped", file=str(source)
        )

    root = run_folder.RunFolder(target)
    for point, results in exported:
        point_folder = run_folder.RunFolder(target / folder_name(point))
        for number, result in enumerate(results):
            point_folder.write_json(f"run={number}.json", result)
        point_folder.write_json("summary.json", results)
    root.write("summary.csv", table([result for _, results in exported for result in results]))


def folder_name(point: SweepPoint) -> str:
    """Return the name that vLLM makes of the parameters that vary."""
    named = "-".join(f"{name}={value}" for name, value in _overrides(point).items()) or point.name
    return f"BENCH--{named if len(named) < LONGEST else point.name}".replace("/", "_").replace("..", "__")


def table(runs: list[dict[str, Any]]) -> str:
    """Return CSV as pandas writes records: numbered rows, a column for each key that any run has."""
    columns = list(dict.fromkeys(key for run in runs for key in run))
    return write_rows(["", *columns], ([number, *map(run.get, columns)] for number, run in enumerate(runs)))


def _overrides(point: SweepPoint) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in point.settings.items()}
