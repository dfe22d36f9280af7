"""Sends the requests of an evaluation: writes them as a dataset and runs that like any other load.

An evaluation's folder has `requests-N.jsonl` and `runs/N` for each run. A run that was killed leaves its records, so
that the next run only sends what is missing; failed requests are sent again. Nothing here depends on what an answer
means.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadstone import loadtest, results
from loadstone.apis import base
from loadstone.apis.common import SAMPLING
from loadstone.config.schema import Config
from loadstone.config.unused import UnusedNotice
from loadstone.dataset.rows import LATER, REQUEST
from loadstone.dataset.source import RequestBodiesNotice
from loadstone.engine import prepare, run_folder
from loadstone.errors import ConfigError, Notice, UsageError
from loadstone.evals.requests import loglikelihood
from loadstone.evals.requests.answers import RUNS, runs
from loadstone.evals.requests.build import cut_stops
from loadstone.evals.requests.eval_request import EvalRequest
from loadstone.loadtest import Live, Result
from loadstone.records import Prompt
from loadstone.summary import EndReason

REQUESTS = "requests-{}.jsonl"
_REQUESTS_NAME = re.compile(r"requests-(\d+)\.jsonl")
Row = dict[str, Any]
# A prompt to build a body with, of which only the settings are of interest.
_PROMPT = Prompt(id="", text=".")


async def infer(
    requests: Iterable[EvalRequest], load: Config, folder: Path, notice: Notice = lambda _: None,
    live: Live | None = None,
) -> list[Result]:  # fmt: skip
    """Send requests, with one run for each API they need, and leave the runs in the evaluation's folder.

    Returns the runs. The last one may have been interrupted; then the remaining requests have not been sent.
    """
    by_api: dict[str, list[EvalRequest]] = {}
    for request in requests:
        by_api.setdefault(request.answer_mode.api, []).append(request)
    done: list[Result] = []
    for api, batch in by_api.items():
        done.append(await _run(batch, dataclasses.replace(load, api=api), folder, notice, live))
        if done[-1].summary.run.ended != EndReason.DONE:
            break
    return done


async def _run(batch: Sequence[EvalRequest], load: Config, folder: Path, notice: Notice, live: Live | None) -> Result:
    """Send the requests of one API in one run."""
    number = next_run_number(folder)
    path = folder / REQUESTS.format(number)
    run_folder.RunFolder(folder, new=False).write_lines(path.name, map(encode_row, rows(batch, load)))
    config = dataclasses.replace(
        load,
        dataset=f"jsonl:{path}",
        requests=len(batch),
        stream=load.stream and any(request.answer_mode.mode == "generation" for request in batch),
        save_text=True,
        output=str(folder / RUNS / str(number)),
    )

    def forward(text: str) -> None:
        # The rows of an evaluation always are request bodies, and unused settings are named once for all runs.
        if not isinstance(text, RequestBodiesNotice | UnusedNotice):
            notice(text)

    try:
        return await loadtest.load_test(config, notice=forward, live=live)
    except UsageError:
        if not (folder / RUNS / str(number)).exists():
            path.unlink()
        raise


def next_run_number(folder: Path) -> int:
    """Return a number for a run that no file or run in the folder has had."""
    files = [match[1] for path in folder.glob("requests-*.jsonl") if (match := _REQUESTS_NAME.fullmatch(path.name))]
    folders = [path.name for path in (folder / RUNS).glob("*") if path.name.isdigit()]
    return max(map(int, [*files, *folders]), default=0) + 1


def rows(requests: Iterable[EvalRequest], load: Config) -> Iterator[Row]:
    """Yield the rows of a dataset: request bodies, each with the text of its id."""
    fields_of: dict[tuple[str, bytes], Row] = {}
    for request in requests:
        answer_mode = request.answer_mode
        if answer_mode.method is not None:
            yield {"id": str(request.id), **loglikelihood.body(request)}
            continue
        settings = cut_stops(request.settings, answer_mode.stops)
        key = answer_mode.api, msgspec.json.encode(settings)
        if key not in fields_of:
            api = prepare.find_api(dataclasses.replace(load, api=answer_mode.api))
            fields_of[key] = fields(api, settings, load.stream)
        name = "prompt" if isinstance(request.prompt, str) else "messages"
        later = {LATER: request.later} if request.later else {}
        yield {"id": str(request.id), name: request.prompt, **fields_of[key], **later}


def fields(api: base.API, settings: Row, stream: bool = True) -> Row:
    """Return the settings of a generation under a protocol's names. A protocol without seeds gets none."""
    default = api.build_body(_PROMPT, base.RequestSettings(model=""))
    try:
        body = _body(api, settings)
    except UsageError:
        settings = {name: value for name, value in settings.items() if name != "seed"}
        body = _body(api, settings)
    named = {name: value for name, value in body.items() if default.get(name) != value}
    other = {name: value for name, value in settings.items() if name not in (*SAMPLING, "max_tokens", "temperature")}
    row = {**named, **other}
    return {"stream": stream, **row} if REQUEST.isdisjoint(row) else row


def _body(api: base.API, settings: Row) -> Row:
    sampling = {name: settings[name] for name in SAMPLING if name in settings}
    prompt = Prompt(id="", text=".", output_len=settings.get("max_tokens"))
    return api.build_body(
        prompt, base.RequestSettings(model="", temperature=settings.get("temperature"), sampling=sampling)
    )


def encode_row(row: Row) -> bytes:
    """Encode a row as a line of a dataset."""
    return msgspec.json.encode(row) + b"\n"


class _RowId(msgspec.Struct):
    id: str


def check_unchanged(folder: Path, rows: Iterable[Row]) -> None:
    """Check that the evaluation in the folder has not sent another request under the id of one of the rows.

    Raises UsageError.
    """
    sent: dict[str, bytes] = {}
    for path in sorted(folder.glob("requests-*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # the last line of a killed evaluation may be incomplete
                    sent[msgspec.json.decode(line, type=_RowId).id] = digest(line)
    for row in rows if sent else ():
        if row["id"] in sent and sent[row["id"]] != digest(encode_row(row)):
            raise ConfigError(
                f"{folder} has asked {row['id']} in other words: the data, a template or the API has changed since;"
                " give another -o",
                field="output",
            )


def digest(line: bytes) -> bytes:
    """Return 16 bytes that differ for different lines."""
    return hashlib.blake2b(line, digest_size=16).digest()


def finish_killed_runs(folder: Path, load: Config) -> list[Path]:
    """Compute the results of runs that were killed from the records they left. Return their folders."""
    killed = [path for path in runs(folder) if not (path / "summary.json").exists()]
    for path in killed:
        run = run_folder.RunFolder(path, new=False)
        run.merge()
        results.write_results(run, load.tokenizer, load.html)
    return killed
