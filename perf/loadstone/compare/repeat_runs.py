"""Run one load several times: the settings of each run, the pause between runs, and the folder that holds them.

The caller does each run, and shows the table.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from loadstone import results
from loadstone.compare import repeats
from loadstone.compare.repeats import Repeats
from loadstone.config.parse import REPLAY
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import ConfigError, Notice, UsageError
from loadstone.loadtest import Result
from loadstone.summary import EndReason
from loadstone.sweep.folder import is_sweep

REPEATS = "repeats.json"


class RepeatedRuns(Struct, frozen=True):
    """The runs that have results.

    folder: holds a folder for each run
    interrupted: the operator ended them, or a later run could not start
    """

    results: list[Result]
    folder: Path
    interrupted: bool

    @property
    def table(self) -> Repeats:
        """Return the figures over the runs."""
        return repeats.table({result.folder.name: result.summary for result in self.results})


def run(
    config: Config,
    count: int,
    run_once: Callable[[Config], Result],
    *,
    rest_s: float = 0.0,
    same_seed: bool = False,
    notice: Notice = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> RepeatedRuns:
    """Do `count` runs in the folders 1, 2, ... of `config.output`, and write repeats.json beside them.

    rest_s: seconds between two runs
    same_seed: keep the seed and the order of the prompts in all runs

    An interruption, in a run or between two, ends them. Results so far are kept, also when a later run cannot start.
    Raise UsageError then, and ConfigError for a count below 2.
    """
    if count < 2:
        raise ConfigError(f"--repeat takes 2 or more, not {count}", field="repeat")
    folder = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(folder)
    finished: list[Result] = []
    try:
        for number in range(1, count + 1):
            if number > 1:
                pause(rest_s)
            notice(f"run {number} of {count}")
            settings = dataclasses.replace(config, output=str(folder / str(number)))
            if finished and not same_seed:
                # Another seed and another order of the prompts, unless recorded times fix that order.
                replayed = finished[0].summary.run.config.arrivals == REPLAY
                settings = dataclasses.replace(
                    settings, seed=config.seed + number - 1, shuffle=config.shuffle or not replayed
                )
            finished.append(run_once(settings))
            if finished[-1].summary.run.ended == EndReason.INTERRUPTED:
                return _save(RepeatedRuns(finished, folder, True))
    except (UsageError, KeyboardInterrupt) as exc:
        if finished:
            notice(f"{len(finished)} of {count} runs are in {folder}")
            saved = _save(RepeatedRuns(finished, folder, True))
        if not finished or isinstance(exc, UsageError):
            raise
        return saved
    return _save(RepeatedRuns(finished, folder, False))


def _save(runs: RepeatedRuns) -> RepeatedRuns:
    run_folder.RunFolder(runs.folder, new=False).write_json(REPEATS, runs.table)
    return runs


def is_repeated(path: Path) -> bool:
    """Return True if a folder holds repeats: it has repeats.json or, if they were killed, numbered runs."""
    if not path.is_dir() or (path / run_folder.RUN).exists() or is_sweep(path):
        return False
    runs = [run.name for run in path.iterdir() if (run / run_folder.RUN).exists()]
    return bool(runs) and ((path / REPEATS).exists() or all(name.isdigit() for name in runs))


def read(path: Path, tokenizer: str | None = None, changes: results.Changes | None = None) -> Repeats:
    """Measure the runs in a folder again from their records, and return the table."""
    return repeats.table(
        {run.name: results.read_summary(run, tokenizer, changes) for run in run_folder.find_runs(path)}
    )
