"""A run several times over: which settings each has, the pause between, and the folder that holds them all.

What one run is, and what becomes of the table, is the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone import results
from loadstone.compare import repeats
from loadstone.compare.repeats import Repeats
from loadstone.config.parse import REPLAY
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import Notice, UsageError
from loadstone.loadtest import Result
from loadstone.summary import Summary
from loadstone.sweep import folder as sweeps

REPEATS = "repeats.json"


class RepeatedRuns(Struct, frozen=True):
    """The runs that there are results of, and whether the operator has ended them."""

    results: list[Result]
    folder: Path
    interrupted: bool

    @property
    def table(self) -> Repeats:
        return repeats.table({result.folder.name: result.summary for result in self.results})


def run(config: Config, count: int, run_once: Callable[[Config], Result], *, rest_s: float = 0.0, same_seed: bool = False,
        notice: Notice = lambda _: None, pause: Callable[[float], None] = time.sleep) -> RepeatedRuns:  # fmt: skip
    """`count` runs by `run_once`, in folders 1, 2 ... of `config.output`, and repeats.json beside them. `rest_s`: seconds
    between two. An interruption, in a run or between two, ends them. What is done is kept, also when a later run cannot
    begin (UsageError)."""
    if count < 2:
        raise UsageError(f"--repeat takes 2 or more, not {count}")
    folder = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(folder)
    done: list[Result] = []
    try:
        for number in range(1, count + 1):
            if number > 1:
                pause(rest_s)
            notice(f"run {number} of {count}")
            done.append(run_once(_settings(config, number, folder, same_seed, done)))
            if done[-1].summary.run.get("ended") == "interrupted":
                return _kept(RepeatedRuns(done, folder, True))
    except (UsageError, KeyboardInterrupt) as exc:
        if done:
            notice(f"{len(done)} of {count} runs are in {folder}")
            found = _kept(RepeatedRuns(done, folder, True))
        if not done or isinstance(exc, UsageError):
            raise
        return found
    return _kept(RepeatedRuns(done, folder, False))


def _kept(done: RepeatedRuns) -> RepeatedRuns:
    run_folder.RunFolder(done.folder, new=False).write_json(REPEATS, done.table)
    return done


def _settings(config: Config, number: int, folder: Path, same: bool, done: list[Result]) -> Config:
    """Of run `number`: later ones have seeds of their own, and take their prompts in another order, unless recorded
    times say which comes when."""
    config = msgspec.structs.replace(config, output=str(folder / str(number)))
    if same or not done:
        return config
    replayed = (done[0].summary.run.get("config") or {}).get("arrivals") == REPLAY
    return msgspec.structs.replace(config, seed=config.seed + number - 1, shuffle=config.shuffle or not replayed)


def is_repeated(path: Path) -> bool:
    """Whether a folder holds repeats of a run: says so, or, where they were killed, has numbered runs in it."""
    if not path.is_dir() or (path / run_folder.RUN).exists() or sweeps.is_sweep(path):
        return False
    runs = [run.name for run in path.iterdir() if (run / run_folder.RUN).exists()]
    return bool(runs) and ((path / REPEATS).exists() or all(name.isdigit() for name in runs))


def read(path: Path, tokenizer: str | None = None, goodput: dict[str, float] | None = None) -> Repeats:
    """Measured anew from the records of the runs in a folder."""
    return repeats.table(dict(_summaries(path, tokenizer, goodput)))


def _summaries(path: Path, tokenizer: str | None, goodput: dict[str, float] | None) -> Iterator[tuple[str, Summary]]:
    for run in run_folder.runs(path):
        yield run.name, results.read(run, tokenizer, goodput)
