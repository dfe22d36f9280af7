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

from loadstone import apis, results, session, setup, store
from loadstone.apis.shared import SAMPLING
from loadstone.config import Config
from loadstone.evals import likelihood
from loadstone.evals.answers import RUNS, runs
from loadstone.evals.asking import Wanted
from loadstone.evals.likelihood import Way
from loadstone.readers.rows import REQUEST
from loadstone.records import Prompt, UsageError
from loadstone.session import Live, Result
from loadstone.setup import Notice

REQUESTS, _REQUESTS = "requests-{}.jsonl", re.compile(r"requests-(\d+)\.jsonl")
TEXTS = ("completions", "generate", "tgi")
"""Protocols whose prompts are texts."""
Row = dict[str, Any]


async def infer(
    wanted: Sequence[Wanted],
    load: Config,
    folder: Path,
    way: Way | None = None,
    notice: Notice = lambda _: None,
    live: Live | None = None,
) -> list[Result]:
    """Send these requests, by a run for each API that they need, into the evaluation's folder. `way`: how the server
    tells log-probabilities, for likelihood.py. Returns the runs, the last of which may have been interrupted."""
    made: list[Result] = []
    for api, batch in by_api(wanted, load).items():
        made.append(await _run(batch, of_api(load, api), folder, way, notice, live))
        if made[-1].summary.run.get("ended") not in ("done",):
            break
    return made


def by_api(wanted: Iterable[Wanted], load: Config) -> dict[str, list[Wanted]]:
    """Requests by the API that they go to: generation to the one asked for, log-likelihoods to completions."""
    found: dict[str, list[Wanted]] = {}
    for one in wanted:
        found.setdefault(api_of(one, load), []).append(one)
    return found


def api_of(wanted: Wanted, load: Config) -> str:
    if wanted.mode == "generation":
        return load.api
    return "completions" if isinstance(wanted.asked, str) else "chat"


def of_api(load: Config, api: str) -> Config:
    """Log-likelihoods come in one piece."""
    return load if api == load.api else msgspec.structs.replace(load, api=api)


async def _run(
    batch: Sequence[Wanted], load: Config, folder: Path, way: Way | None, notice: Notice, live: Live | None
) -> Result:
    number = _next(folder)
    path = folder / REQUESTS.format(number)
    store.Folder(folder, new=False).write_lines(path.name, map(line, rows(batch, load, way)))
    stream = load.stream and any(one.mode == "generation" for one in batch)
    config = msgspec.structs.replace(
        load, dataset=f"jsonl:{path}", requests=len(batch), stream=stream, save_text=True,
        output=str(folder / RUNS / str(number)),
    )  # fmt: skip
    try:
        return await session.load_test(config, notice=notice, live=live)
    except UsageError:
        if not (folder / RUNS / str(number)).exists():
            path.unlink()
        raise


def rows(batch: Iterable[Wanted], load: Config, way: Way | None = None) -> Iterator[Row]:
    """The rows of a dataset: request bodies, each with its id."""
    api, known = setup.protocol(load), dict[bytes, Row]()
    for one in batch:
        if one.mode == "generation":
            key = msgspec.json.encode(one.settings)
            if key not in known:
                known[key] = fields(api, one.settings, load.stream)
            asked = "prompt" if isinstance(one.asked, str) else "messages"
            yield {"id": one.id, asked: one.asked, **known[key]}
        else:
            yield {"id": one.id, **likelihood.body(one, way or Way("echo"))}


def fields(api: apis.API, settings: Row, stream: bool = True) -> Row:
    """The settings of a generation under the names of a protocol. A seed is left out where the protocol has none."""
    bare = api.body(_EMPTY, apis.Settings(model=""))
    try:
        body = _body(api, settings)
    except UsageError:
        settings = {name: value for name, value in settings.items() if name != "seed"}
        body = _body(api, settings)
    said = {name: value for name, value in body.items() if bare.get(name) != value}
    own = {name: value for name, value in settings.items() if name not in (*SAMPLING, "max_tokens", "temperature")}
    return {**said, **own} if not REQUEST.isdisjoint({*said, *own}) else {"stream": stream, **said, **own}


_EMPTY = Prompt(id="", text=".")


def _body(api: apis.API, settings: Row) -> Row:
    sampling = {name: settings[name] for name in SAMPLING if name in settings}
    prompt = Prompt(id="", text=".", output_len=settings.get("max_tokens"))
    return api.body(prompt, apis.Settings(model="", temperature=settings.get("temperature"), sampling=sampling))


def line(row: Row) -> bytes:
    return msgspec.json.encode(row) + b"\n"


def check_same(folder: Path, wanted: Iterable[tuple[str, bytes]]) -> None:
    """Raises UsageError where an evaluation under way has asked something else under the same id: `wanted` are ids and
    the lines of their rows."""
    before = _asked(folder)
    if not before:
        return
    for name, said in wanted:
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


def close(folder: Path, load: Config) -> list[Path]:
    """Runs that were killed get their results from the records that they left; returns them."""
    left = [path for path in runs(folder) if not (path / "summary.json").exists()]
    for path in left:
        run = store.Folder(path, new=False)
        run.merge()
        results.finish(run, load.tokenizer, load.html)
    return left


def _next(folder: Path) -> int:
    """The number of the next run: none that a file or a run has had."""
    files = [match[1] for path in folder.glob("requests-*.jsonl") if (match := _REQUESTS.fullmatch(path.name))]
    folders = [path.name for path in (folder / RUNS).glob("*") if path.name.isdigit()]
    return max(map(int, [*files, *folders]), default=0) + 1
