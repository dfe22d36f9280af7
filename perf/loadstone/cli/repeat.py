"""`loadstone run --repeat N`, and `loadstone report` of its folder: several runs of one load, and their spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from loadstone.cli.options import Shown
from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import Summary

if TYPE_CHECKING:
    from loadstone.cli.report_options import ReportOptions
    from loadstone.compare.repeat_runs import RepeatedRuns
    from loadstone.compare.repeats import Repeats
    from loadstone.loadtest import Result

FORMS = (*output.FORMS, "json")
_BETWEEN = "it is between several runs"


@dataclass(frozen=True, kw_only=True)
class RepeatOptions:
    """Repeated runs."""

    GROUP: ClassVar = "repeats (docs/statistics.md)"

    repeat: Annotated[int | None, Flag("run N times, in folders DIR/1 to DIR/N, and compare the runs", least=1)] = None
    rest: Annotated[
        float,
        Flag("pause between two runs (default: 0)", kinds.TIME, least=0, needs=(("repeat",), _BETWEEN)),
    ] = 0.0
    same_prompts: Annotated[
        bool,
        Flag(
            "use the same seed, order and prompts in each run; later runs then hit the server's caches",
            needs=(("repeat",), _BETWEEN),
        ),
    ] = False


def run(repeats: RepeatOptions, shown: Shown, config: Config, one: Callable[[Config], Result]) -> RepeatedRuns:
    """Run the load several times and print the table of the runs. `one` makes a single run."""
    from loadstone.compare import repeat_runs

    form = _check_form(shown.view)
    repeated = repeat_runs.run(
        config, repeats.repeat or 1, one, rest_s=repeats.rest, same_seed=repeats.same_prompts, notice=notice
    )
    output.write(_render(repeated.table, repeated.folder, form), None)
    _for_ci(shown, repeated.table, repeated.folder, [result.summary for result in repeated.results])
    notice(f"results are in {repeated.folder}")
    return repeated


def report(options: ReportOptions, path: Path) -> int:
    """Show the table of a folder of repeats, recomputed from their records. Return the exit status."""
    from loadstone.compare import repeat_runs

    form = _check_form(options.view)
    repeats = repeat_runs.read(path, options.tokenizer, options.changes)
    output.write(_render(repeats, path, form), options.output)
    _for_ci(options, repeats, path)
    return 0 if any(once.succeeded for once in repeats.runs) else 1


def _check_form(form: str) -> str:
    """Return the format of `--as`. Raises ConfigError if repeats do not have it."""
    if form not in FORMS:
        sentence = f"--as takes {', '.join(FORMS)} for repeats, not {form}; a run among them has all views"
        raise ConfigError(sentence, field="view")
    return form


def _for_ci(shown: Shown | ReportOptions, repeats: Repeats, path: Path, runs: Sequence[Summary] = ()) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.report import junit

    output.write_ci_files(
        shown.junit,
        shown.summary,
        lambda: junit.draw([junit.of_run(run) for run in runs]),
        lambda: _render(repeats, path, "md"),
    )


def _render(repeats: Repeats, path: Path, form: str) -> str:
    """Render the table of repeats as one of FORMS."""
    from loadstone.compare.repeats_page import page
    from loadstone.report.json import to_json

    if form == "json":
        return to_json(repeats)
    return output.render(page(repeats, f"Repeats: {path.name or path}"), form)
