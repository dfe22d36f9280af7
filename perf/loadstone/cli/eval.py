"""`loadstone eval`: measure the accuracy of one model or several on benchmarks, under any load."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from loadstone.cli.flags import add_flags
from loadstone.cli.options import read_options
from loadstone.cli.score import VIEWS
from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.errors import ConfigError, UsageError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import EndReason

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What is shown of an evaluation, and where its settings are."""

    GROUP: ClassVar = "steps and results"

    view: Annotated[
        str,
        Flag(
            "format of the report: text (default), md, html, json, csv, leaderboard",
            kinds.choice(VIEWS),
            name="as",
        ),
    ] = "text"
    quiet: Annotated[bool, Flag("show no progress")] = False
    config: Annotated[
        str | None,
        Flag("TOML, YAML or JSON file with these settings by their long names; flags take precedence", metavar="FILE"),
    ] = None


def add(parser: ArgumentParser) -> None:
    """Add the flags of `eval`."""
    from loadstone.evals.settings import Eval

    add_flags(parser, Eval)
    add_flags(parser, EvalOptions)


def run(options: Namespace) -> int:
    """Evaluate one model, or several one after the other. Return the highest exit status."""
    from loadstone.config.loading import merge_settings
    from loadstone.evals import evaluate, settings

    asked = read_options(EvalOptions, options)
    named = merge_settings(settings.Eval, vars(options))
    evals = settings.from_mapping(named, asked.config or "the command line", asked.config)
    evals = evaluate.separate_folders([each.check() for each in evals])
    if evals[0].dry_run:
        # A dry run shows what the evaluation would send.
        from loadstone.evals import dry_run

        if asked.view not in output.FORMS:
            raise ConfigError(f"--dry-run takes --as {', '.join(output.FORMS)}, not {asked.view}", field="view")
        output.write(output.render(dry_run.page(dry_run.forecast(evals[0], notice)), asked.view), None)
        return 0
    if len(evals) == 1:
        return _one(evals[0], asked)
    statuses = []
    for each in evals:
        try:
            statuses.append(_one(each, asked))
        except UsageError as exc:
            # A model that cannot be evaluated must not cost the others their results.
            notice(f"{each.model} was not evaluated: {exc}")
            statuses.append(1)
        if statuses[-1] == 130:
            break
    return max(statuses)


def _one(settings: Eval, options: EvalOptions) -> int:
    """Evaluate one model and show its report. Return the exit status."""
    from loadstone.cli import run as run_command
    from loadstone.cli import score
    from loadstone.evals import evaluate
    from loadstone.evals.output import report
    from loadstone.host import event_loop
    from loadstone.sim import spawn

    live = None if options.quiet else run_command.show_progress
    scoring_only = settings.stage == "score"
    with contextlib.nullcontext(settings.load) if scoring_only else spawn.with_server(settings.load, notice) as load:
        evaluated = event_loop.run(evaluate.evaluate(settings, served=load, notice=notice, live=live))
    if evaluated.results is not None:
        score.show(evaluated.results, report.read_serving(evaluated.folder), options.view, None)
    notice(f"results are in {evaluated.folder}")
    return exit_status(evaluated, settings)


def exit_status(evaluated: Evaluated, settings: Eval) -> int:
    """Return 130 after Ctrl-C, 1 if too few requests were answered, else 0. Low accuracy is no failure."""
    from loadstone.evals.requests import answers

    counts = evaluated.journal.counts
    if evaluated.journal.interrupted:
        notice(f"interrupted with {counts['answered']:,} of {counts['wanted']:,} requests answered: the same command"
               f" with -o {evaluated.folder} goes on")  # fmt: skip
        return 130 if any(run.run.ended == EndReason.INTERRUPTED for run in evaluated.runs) else 1
    if not counts["answered"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in evaluated.journal.failures.items())
        errors = (record.error.message for _, record in answers.records(evaluated.folder) if record.error)
        first = next(errors, None)
        notice(f"nothing was answered: {kinds}" + (f"; the first: {first}" if first else ""))
        return 1
    lost = counts["failed"] + counts["unsent"]
    if lost > settings.max_error_rate * counts["wanted"]:
        notice(f"{lost} of {counts['wanted']} requests have no answer, above --max-error-rate"
               f" {settings.max_error_rate:g}")  # fmt: skip
        return 1
    return 0
