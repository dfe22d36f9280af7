"""`loadstone eval`: measure the accuracy of one model or several on benchmarks, under any load.

This file decides which flags of `loadstone run` an evaluation takes; evals/settings.py checks their values.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from loadstone.cli import run_flags
from loadstone.cli.flag_types import key_values, whole_number
from loadstone.cli.score import VIEWS
from loadstone.errors import ConfigError, UsageError
from loadstone.report import output
from loadstone.report.output import notice

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval

# Flags of `loadstone run` that an evaluation refuses. They are hidden but parsed, so that evals/settings.py can say
# what to type instead.
REFUSED = (
    *("--dataset", "--prompt-field", "--shuffle", "--skip", "--input-len", "--range-ratio", "--prefix-len"),
    *("--prefix-count", "--system-len", "--turns", "--think-time", "--history", "--scale-lengths", "--min-input-len"),
    *("--max-input-len", "--max-total-len", "--ignore-eos", "--match-output-length", "--logprobs", "--n-choices"),
    *("--apply-chat-template", "--tokenize-prompt", "--cancel-share", "--cancel-after", "--stages", "--speed"),
    *("--from", "--to", "--requests", "--duration", "--warmup", "--cooldown", "--stop-saturated", "--save-text"),
)
# Flags that it replaces by its own, or does not have.
OMITTED = ("--as", "--junit", "--summary")


class _EvalFlags:
    """Adds the flags of `run` to a parser: hides refused ones, omits others, changes some (`_OVERRIDES`)."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def add_argument_group(self, *arguments: Any) -> _EvalFlags:
        return _EvalFlags(self._target.add_argument_group(*arguments))

    def add_mutually_exclusive_group(self) -> _EvalFlags:
        return _EvalFlags(self._target.add_mutually_exclusive_group())

    def add_argument(self, *names: str, **options: Any) -> None:
        if set(names) & set(OMITTED):
            return
        hidden = {"help": argparse.SUPPRESS} if set(names) & set(REFUSED) else {}
        self._target.add_argument(*names, **{**options, **_OVERRIDES.get(names[-1], {}), **hidden})


_OVERRIDES: dict[str, dict[str, Any]] = {
    "--model": {
        "action": "append",
        "help": "model to evaluate; repeat for several (default: the first that the server lists)",
    },
    "--output-len": {
        "type": whole_number,
        "metavar": "N",
        "help": "maximum tokens of an answer (default: the task's)",
    },
    "--temperature": {"help": "sampling temperature (default: the task's, mostly 0)"},
    "--output": {"help": "folder of the evaluation, one for each model (default: reports/TIME-eval)"},
    "--config": {"help": "TOML or YAML file with these settings by their long names; flags take precedence"},
}


def add(parser: ArgumentParser) -> None:
    """Add the flags of `eval`."""
    tasks = parser.add_argument_group("evaluation (docs/evals.md)")
    tasks.add_argument(
        "--tasks", metavar="LIST", help="tasks to run: gsm8k,mmlu,qa:FILE ... (see loadstone list tasks)"
    )
    tasks.add_argument("--data-dir", metavar="DIR", help="folder with the data, or bundled (default: hub cache)")
    tasks.add_argument(
        "--include-path", metavar="DIR", help="folder with your own lm-eval tasks, to be named as lm-eval:NAME"
    )
    tasks.add_argument(
        "--limit", type=float, metavar="N|SHARE", help="items of each task, as a number or a fraction (default: all)"
    )
    tasks.add_argument("--samples", metavar="JSON|FILE", help='doc_ids to run, as {"gsm8k": [0, 7]}')
    tasks.add_argument("--num-fewshot", type=whole_number, metavar="N", help="few-shot examples (default: the task's)")
    tasks.add_argument(
        "--multiturn", action="store_true", help="send few-shot examples as chat turns, not in one message"
    )
    tasks.add_argument(
        "--mode",
        choices=["auto", "generation", "loglikelihood", "letters"],
        help="how the model answers (default: auto, the task's mode)",
    )
    tasks.add_argument(
        "--repeat", type=whole_number, metavar="K", help="passes, for avg@k, pass@k and maj@k (default: the task's)"
    )
    tasks.add_argument("--gen", type=key_values, metavar="K=V,K=V", help="request fields that override the task's")
    tasks.add_argument("--system", metavar="TEXT", help="system prompt of all requests")
    tasks.add_argument("--allow-code-execution", action="store_true", help="run programs that the model writes")

    steps = parser.add_argument_group("steps and results")
    steps.add_argument(
        "--stage",
        choices=["all", "infer", "score"],
        help="send the requests only (infer), score saved answers only (score), or both (default: all)",
    )
    steps.add_argument("--predict-only", action="store_true", help="save the answers, score nothing")
    steps.add_argument(
        "--dry-run", action="store_true", help="send nothing; show counts, tokens and the first prompts in full"
    )
    steps.add_argument("--cache", metavar="DIR", help="folder of answers to reuse, shared by evaluations")
    steps.add_argument("--price-in", type=float, metavar="X", help="price of a million input tokens")
    steps.add_argument("--price-out", type=float, metavar="X", help="price of a million output tokens")
    steps.add_argument(
        "--target", type=key_values, metavar="K=V,K=V", help="official scores to show in the leaderboard row"
    )
    steps.add_argument(
        "--as",
        dest="view",
        choices=VIEWS,
        help="format of the report: text (default), md, html, json, csv, leaderboard",
    )
    run_flags.add(_EvalFlags(parser))  # type: ignore[arg-type]


def run(options: Namespace) -> int:
    """Evaluate one model, or several one after the other. Return the highest exit status."""
    from loadstone.config import load
    from loadstone.evals import evaluate, settings

    named = load.merge_settings(vars(options))
    if "repeat" in options:  # load takes it for the `--repeat` of `run`, which counts runs
        named["repeat"] = options.repeat
    evals = settings.from_mapping(named, getattr(options, "config", None) or "the command line")
    evals = evaluate.separate_folders([each.check() for each in evals])
    if evals[0].dry_run:
        # A dry run shows what the evaluation would send.
        from loadstone.evals import dry_run

        view = getattr(options, "view", "text")
        if view not in output.FORMS:
            raise ConfigError(f"--dry-run takes --as {', '.join(output.FORMS)}, not {view}", field="dry_run")
        output.write(output.render(dry_run.page(dry_run.forecast(evals[0], notice)), view), None)
        return 0
    if len(evals) == 1:
        return _one(evals[0], options)
    statuses = []
    for each in evals:
        try:
            statuses.append(_one(each, options))
        except UsageError as exc:
            # A model that cannot be evaluated must not cost the others their results.
            notice(f"{each.load.model} was not evaluated: {exc}")
            statuses.append(1)
        if statuses[-1] == 130:
            break
    return max(statuses)


def _one(settings: Eval, options: Namespace) -> int:
    """Evaluate one model and show its report. Return the exit status."""
    from loadstone.cli import run as run_command
    from loadstone.cli import score
    from loadstone.evals import evaluate
    from loadstone.evals.output import report
    from loadstone.host import event_loop

    live = None if getattr(options, "quiet", False) else run_command.show_progress
    scoring_only = settings.stage == "score"
    with contextlib.nullcontext(settings.load) if scoring_only else run_command.with_server(settings.load) as load:
        evaluated = event_loop.run(evaluate.evaluate(settings, served=load, notice=notice, live=live))
    if evaluated.results is not None:
        view = getattr(options, "view", "text")
        score.show(evaluated.results, report.read_serving(evaluated.folder), view, None)
    notice(f"results are in {evaluated.folder}")
    return exit_status(evaluated, settings)


def exit_status(evaluated: Evaluated, settings: Eval) -> int:
    """Return 130 after Ctrl-C, 1 if too few requests were answered, else 0. Low accuracy is no failure."""
    from loadstone.evals.requests import answers

    counts = evaluated.journal.counts
    if evaluated.journal.interrupted:
        notice(f"interrupted with {counts['answered']:,} of {counts['wanted']:,} requests answered: the same command"
               f" with -o {evaluated.folder} goes on")  # fmt: skip
        return 130 if any(run.run.get("ended") == "interrupted" for run in evaluated.runs) else 1
    if not counts["answered"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in evaluated.journal.failures.items())
        errors = (record.error.message for _, record in answers.records(evaluated.folder) if record.error)
        first = next(errors, None)
        notice(f"nothing was answered: {kinds}" + (f"; the first: {first}" if first else ""))
        return 1
    lost = counts["failed"] + counts["unsent"]
    if lost > settings.load.max_error_rate * counts["wanted"]:
        notice(f"{lost} of {counts['wanted']} requests have no answer, above --max-error-rate"
               f" {settings.load.max_error_rate:g}")  # fmt: skip
        return 1
    return 0
