"""`loadstone eval`: the accuracy of one model or several on benchmarks, asked as any other load, scored, and told.

Which flags of `loadstone run` fit is settled here; what they mean is evals/settings.py's to say.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from loadstone.cli import run_flags
from loadstone.cli.flag_types import key_values, whole_number
from loadstone.cli.score import VIEWS
from loadstone.errors import UsageError
from loadstone.report import output
from loadstone.report.output import notice

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.evals.evaluate import Evaluated
    from loadstone.evals.settings import Eval

# Flags of `loadstone run` that an evaluation has no use for: settings.py says what to type instead.
REFUSED = (
    *("--dataset", "--prompt-field", "--shuffle", "--skip", "--input-len", "--range-ratio", "--prefix-len"),
    *("--prefix-count", "--system-len", "--turns", "--think-time", "--history", "--scale-lengths", "--min-input-len"),
    *("--max-input-len", "--max-total-len", "--ignore-eos", "--match-output-length", "--logprobs", "--n-choices"),
    *("--apply-chat-template", "--tokenize-prompt", "--cancel-share", "--cancel-after", "--stages", "--speed"),
    *("--from", "--to", "--requests", "--duration", "--warmup", "--cooldown", "--stop-saturated", "--save-text"),
)
# Those that it has of its own, or not at all.
LEFT_OUT = ("--as", "--junit", "--summary")


class _Fitting:
    """Takes the flags of `run` for a parser, but for those that do not fit; a model may be given several times."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def add_argument_group(self, *given: Any) -> _Fitting:
        return _Fitting(self._target.add_argument_group(*given))

    def add_mutually_exclusive_group(self) -> _Fitting:
        return _Fitting(self._target.add_mutually_exclusive_group())

    def add_argument(self, *names: str, **options: Any) -> None:
        if set(names) & set(LEFT_OUT):
            return
        hidden = {"help": argparse.SUPPRESS} if set(names) & set(REFUSED) else {}
        self._target.add_argument(*names, **{**options, **_OTHERWISE.get(names[-1], {}), **hidden})


_OTHERWISE: dict[str, dict[str, Any]] = {
    "--model": {"action": "append", "help": "model to ask; again for more (default: the first that the server lists)"},
    "--output-len": {
        "type": whole_number,
        "metavar": "N",
        "help": "tokens of an answer at the most (default: the task's)",
    },
    "--temperature": {"help": "(default: the task's, which mostly is 0)"},
    "--output": {"help": "folder of the evaluation (default: reports/TIME-eval); of several models each has its own"},
    "--config": {"help": "TOML or YAML file with these settings by their long names; flags win"},
}


def add(parser: ArgumentParser) -> None:
    asked = parser.add_argument_group("evaluation (docs/evals.md)")
    asked.add_argument("--tasks", metavar="LIST", help="gsm8k,mmlu,qa:FILE ... (loadstone list tasks)")
    asked.add_argument("--data-dir", metavar="DIR", help="folder with the data, or bundled (default: hub cache)")
    asked.add_argument("--include-path", metavar="DIR", help="lm-eval tasks of one's own, for lm-eval:NAME")
    asked.add_argument("--limit", type=float, metavar="N|SHARE", help="items of each task, below 1 a share (all)")
    asked.add_argument("--samples", metavar="JSON|FILE", help='doc_ids to ask, as {"gsm8k": [0, 7]}')
    asked.add_argument("--num-fewshot", type=whole_number, metavar="N", help="worked examples (default: the task's)")
    asked.add_argument("--multiturn", action="store_true", help="examples as turns of the chat, not in one message")
    asked.add_argument(
        "--mode", choices=["auto", "generation", "loglikelihood", "letters"], help="how to answer (auto: the task's)"
    )
    asked.add_argument(
        "--repeat", type=whole_number, metavar="K", help="passes: avg@k, pass@k, maj@k (default: the task's)"
    )
    asked.add_argument("--gen", type=key_values, metavar="K=V,K=V", help="fields of the requests, over the task's")
    asked.add_argument("--system", metavar="TEXT", help="system prompt before all questions")
    asked.add_argument("--allow-code-execution", action="store_true", help="run programs that the model writes")
    _add_stages(parser)
    run_flags.add(_Fitting(parser))  # type: ignore[arg-type]


def _add_stages(parser: ArgumentParser) -> None:
    stages = parser.add_argument_group("what is done")
    stages.add_argument("--stage", choices=["all", "infer", "score"], help="ask only, or score what was asked (all)")
    stages.add_argument("--predict-only", action="store_true", help="write the answers down, score nothing")
    stages.add_argument("--dry-run", action="store_true", help="send nothing: counts, tokens, first prompts in full")
    stages.add_argument("--cache", metavar="DIR", help="answers that need not be asked again, of any evaluation")
    stages.add_argument("--price-in", type=float, metavar="X", help="of a million input tokens")
    stages.add_argument("--price-out", type=float, metavar="X", help="of a million output tokens")
    stages.add_argument("--target", type=key_values, metavar="K=V,K=V", help="official scores, for the leaderboard row")
    stages.add_argument("--as", dest="view", choices=VIEWS, help="text (default), md, html, json, csv, leaderboard")


def run(options: Namespace) -> int:
    from loadstone.config import load as given
    from loadstone.evals import evaluate, settings

    named = given.merge_settings(vars(options))
    named |= {"repeat": options.repeat} if "repeat" in options else {}  # not run's, which counts runs
    each = settings.from_mapping(named, getattr(options, "config", None) or "the command line")
    each = evaluate.separate_folders([one.check() for one in each])
    if each[0].dry_run:
        return _dry(each[0], getattr(options, "view", "text"))
    statuses = []
    for one in each:
        statuses.append(_one(one, options) if len(each) == 1 else _of_several(one, options))
        if statuses[-1] == 130:
            break
    return max(statuses)


def _of_several(settings: Eval, options: Namespace) -> int:
    """A model that cannot be evaluated must not cost the others their results."""
    try:
        return _one(settings, options)
    except UsageError as exc:
        notice(f"{settings.load.model} was not evaluated: {exc}")
        return 1


def _one(settings: Eval, options: Namespace) -> int:
    from loadstone.cli import run as one
    from loadstone.cli import score
    from loadstone.evals import evaluate
    from loadstone.evals.output import report
    from loadstone.host import event_loop

    live = None if getattr(options, "quiet", False) else one.show_progress
    scoring = settings.stage == "score"
    with contextlib.nullcontext(settings.load) if scoring else one.served(settings.load) as served:
        done = event_loop.run(evaluate.evaluate(settings, served=served, notice=notice, live=live))
    if done.results is not None:
        score.show(done.results, report.read_serving(done.folder), getattr(options, "view", "text"), None)
    notice(f"results are in {done.folder}")
    return status(done, settings)


def _dry(settings: Eval, view: str) -> int:
    from loadstone.evals import dry_run

    if view not in output.FORMS:
        raise UsageError(f"--dry-run can be told as {', '.join(output.FORMS)}, not as {view}")
    output.write(output.render(dry_run.page(dry_run.forecast(settings, notice)), view), None)
    return 0


def status(done: Evaluated, settings: Eval) -> int:
    """1 where too little came back; what the answers are worth is no failure."""
    from loadstone.evals.requests import answers

    counts = done.journal.counts
    if done.journal.interrupted:
        notice(f"interrupted with {counts['answered']:,} of {counts['wanted']:,} requests answered: the same command"
               f" with -o {done.folder} goes on")  # fmt: skip
        return 130 if any(run.run.get("ended") == "interrupted" for run in done.runs) else 1
    if not counts["answered"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in done.journal.failures.items())
        first = next((record.error.message for _, record in answers.records(done.folder) if record.error), None)
        notice(f"nothing was answered: {kinds}" + (f"; the first: {first}" if first else ""))
        return 1
    lost = counts["failed"] + counts["unsent"]
    if lost > settings.load.max_error_rate * counts["wanted"]:
        notice(f"{lost} of {counts['wanted']} requests have no answer, above --max-error-rate"
               f" {settings.load.max_error_rate:g}")  # fmt: skip
        return 1
    return 0
