"""The requests of an evaluation, sent: written down as a dataset, run as any other load, and only those not answered.

An evaluation's folder has `requests-N.jsonl` and `runs/N` for each run. One that was killed leaves its records, so that
the next sends what they lack; what failed is asked again. Nothing here knows what an answer means.
"""

from __future__ import annotations

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
from loadstone.dataset.rows import LATER, REQUEST
from loadstone.engine import prepare, run_folder
from loadstone.errors import Notice, UsageError
from loadstone.evals.requests import loglikelihood
from loadstone.evals.requests.answers import RUNS, runs
from loadstone.evals.requests.build import EvalRequest, cut_stops
from loadstone.evals.requests.mode import AnswerMode
from loadstone.loadtest import Live, Result
from loadstone.records import Prompt

REQUESTS, _REQUESTS = "requests-{}.jsonl", re.compile(r"requests-(\d+)\.jsonl")
Row = dict[str, Any]
# A request, and its route.
PlannedRequest = tuple[EvalRequest, AnswerMode]


async def infer(
    requests: Iterable[PlannedRequest],
    load: Config,
    folder: Path,
    notice: Notice = lambda _: None,
    live: Live | None = None,
) -> list[Result]:
    """Send these requests, by a run for each API that they need, into the evaluation's folder. Returns the runs, of
    which the last may have been interrupted: then what is left has not been sent."""
    made: list[Result] = []
    for api, batch in group_by_api(requests).items():
        made.append(await _run(batch, msgspec.structs.replace(load, api=api), folder, notice, live))
        if made[-1].summary.run.get("ended") != "done":
            break
    return made


def group_by_api(requests: Iterable[PlannedRequest]) -> dict[str, list[PlannedRequest]]:
    """Requests by the API that they go to."""
    found: dict[str, list[PlannedRequest]] = {}
    for routed in requests:
        found.setdefault(routed[1].api, []).append(routed)
    return found


async def _run(
    batch: Sequence[PlannedRequest], load: Config, folder: Path, notice: Notice, live: Live | None
) -> Result:
    number = _next(folder)
    path = folder / REQUESTS.format(number)
    run_folder.RunFolder(folder, new=False).write_lines(path.name, map(encode_row, rows(batch, load)))
    stream = load.stream and any(one.mode == "generation" for one, _ in batch)
    config = msgspec.structs.replace(
        load, dataset=f"jsonl:{path}", requests=len(batch), stream=stream, save_text=True,
        output=str(folder / RUNS / str(number)),
    )  # fmt: skip
    try:
        return await loadtest.load_test(config, notice=_quieter(path, notice), live=live)
    except UsageError:
        if not (folder / RUNS / str(number)).exists():
            path.unlink()
        raise


def _quieter(path: Path, notice: Notice) -> Notice:
    """That the rows are request bodies is news to nobody here."""

    def say(text: str) -> None:
        if not (text.startswith(str(path)) and "request bodies" in text):
            notice(text)

    return say


def rows(batch: Iterable[PlannedRequest], load: Config) -> Iterator[Row]:
    """The rows of a dataset: request bodies, each with its id. All go to one API."""
    api, known = None, dict[bytes, Row]()
    for one, route in batch:
        if route.method is not None:
            yield {"id": one.id, **loglikelihood.body(one, route.method)}
            continue
        api = api or prepare.find_api(msgspec.structs.replace(load, api=route.api))
        settings = cut_stops(one.settings, route.stops)
        key = msgspec.json.encode(settings)
        if key not in known:
            known[key] = fields(api, settings, load.stream)
        asked = "prompt" if isinstance(one.prompt, str) else "messages"
        later = {LATER: one.later} if one.later else {}
        yield {"id": one.id, asked: one.prompt, **known[key], **later}


def fields(api: base.API, settings: Row, stream: bool = True) -> Row:
    """The settings of a generation under the names of a protocol. A seed is left out where the protocol has none."""
    bare = api.build_body(_EMPTY, base.RequestSettings(model=""))
    try:
        body = _body(api, settings)
    except UsageError:
        settings = {name: value for name, value in settings.items() if name != "seed"}
        body = _body(api, settings)
    said = {name: value for name, value in body.items() if bare.get(name) != value}
    own = {name: value for name, value in settings.items() if name not in (*SAMPLING, "max_tokens", "temperature")}
    return {**said, **own} if not REQUEST.isdisjoint({*said, *own}) else {"stream": stream, **said, **own}


_EMPTY = Prompt(id="", text=".")


def _body(api: base.API, settings: Row) -> Row:
    sampling = {name: settings[name] for name in SAMPLING if name in settings}
    prompt = Prompt(id="", text=".", output_len=settings.get("max_tokens"))
    return api.build_body(
        prompt, base.RequestSettings(model="", temperature=settings.get("temperature"), sampling=sampling)
    )


def encode_row(row: Row) -> bytes:
    return msgspec.json.encode(row) + b"\n"


def check_unchanged(folder: Path, lines: Iterable[tuple[str, bytes]]) -> None:
    """Raises UsageError where an evaluation under way has asked something else under the same id: `wanted` are ids and
    the lines of their rows."""
    before = _asked(folder)
    if not before:
        return
    for name, said in lines:
        if before.get(name, digest(said)) != digest(said):
            raise UsageError(
                f"{folder} has asked {name} in other words: the data, a template or the API has changed since;"
                " give another -o"
            )


def digest(said: bytes) -> bytes:
    return hashlib.blake2b(said, digest_size=16).digest()


def _asked(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("requests-*.jsonl")):
        with path.open("rb") as lines:
            for said in lines:
                if said.endswith(b"\n"):
                    found[msgspec.json.decode(said, type=_Named).id] = digest(said)
    return found


class _Named(msgspec.Struct):
    id: str


def finish_killed_runs(folder: Path, load: Config) -> list[Path]:
    """Runs that were killed get their results from the records that they left; returns them."""
    left = [path for path in runs(folder) if not (path / "summary.json").exists()]
    for path in left:
        run = run_folder.RunFolder(path, new=False)
        run.merge()
        results.write_results(run, load.tokenizer, load.html)
    return left


def _next(folder: Path) -> int:
    """The number of the next run: none that a file or a run has had."""
    files = [match[1] for path in folder.glob("requests-*.jsonl") if (match := _REQUESTS.fullmatch(path.name))]
    folders = [path.name for path in (folder / RUNS).glob("*") if path.name.isdigit()]
    return max(map(int, [*files, *folders]), default=0) + 1
