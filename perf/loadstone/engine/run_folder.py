"""The folder of a run: records written as they come, everything else written whole. The only file that writes one.

Records go to the kernel line by line from a thread of their own, so that a slow disk does not hold up the load and a
killed process leaves every finished request behind. An existing run is never overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from loadstone import text
from loadstone.errors import UsageError
from loadstone.records import Record, from_lines, to_line

WRITE_INTERVAL = 0.002
RUN, RECORDS, SCHEDULE, BODIES = "run.json", "records.jsonl", "schedule.jsonl", "bodies.jsonl"
SHARD, _SHARD = "records.{}.jsonl", re.compile(r"records\.(\d+)\.jsonl")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A disk that is full or gone is the operator's to mend; the records stay."""
    try:
        yield
    except OSError as exc:
        kept = f"the records so far are in {path.parent}: make room, then loadstone report {path.parent}"
        raise UsageError(f"cannot write {path}: {exc.strerror or exc}; {kept}") from exc


class RunFolder:
    """A run folder. Raises UsageError when it cannot be made or, being `new`, holds anything already."""

    def __init__(self, path: Path, new: bool = True) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"cannot make the folder {path}: {exc.strerror}; give another with -o") from exc
        if new:
            check_free(path)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a whole file, so that no reader ever sees half of it."""
        path, half = self.path / name, self.path / f".{name}.part"
        with writing(path):
            half.write_bytes(text.to_utf8(content).encode() if isinstance(content, str) else content)
            os.replace(half, path)
        return path

    def write_json(self, name: str, content: Any) -> Path:
        try:
            data = msgspec.json.encode(content)
        except UnicodeEncodeError:
            data = msgspec.json.encode(text.to_utf8_nested(msgspec.to_builtins(content)))
        return self.write(name, msgspec.json.format(data, indent=2) + b"\n")

    def write_lines(self, name: str, lines: Iterable[bytes]) -> str:
        """Write line by line; returns their digest, by which two files are known to be the same."""
        path, hasher = self.path / name, hashlib.sha256()
        with writing(path), path.open("wb") as file:
            for line in lines:
                hasher.update(line)
                file.write(line)
        return hasher.hexdigest()

    def shard(self, worker: int) -> Path:
        """Where one of several processes writes its records."""
        return self.path / SHARD.format(worker)

    def append(self, path: Path, records: Iterable[Record]) -> None:
        """Write records that nobody else has written."""
        with writing(path), path.open("ab") as file:
            file.writelines(map(to_line, records))

    def merge(self) -> None:
        """The shards, if any, become one file of records. Until it is whole they stay, and are read in its stead."""
        whole, half, found = self.path / RECORDS, self.path / f".{RECORDS}.part", find_shards(self.path)
        if not found:
            return
        try:
            with writing(whole):
                _join(found, half)
                os.replace(half, whole)
        finally:
            half.unlink(missing_ok=True)
        for shard in found:
            shard.unlink()


class Recorder:
    """Appends records to a file. `error` tells of a disk that is full or gone; nothing is written after it, so that the
    file stays readable up to there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self.error: OSError | None = None
        self._thread.start()

    def add(self, record: Record) -> None:
        self._lines.put(to_line(record))

    def close(self) -> None:
        """Wait until everything is written."""
        self._lines.put(None)
        self._thread.join()
        os.close(self._file)

    def _write(self) -> None:
        """The first line of a lull is written at once, then those of the next 2 ms together: a thread that wakes for
        every record would take more of the event loop's time than the record itself."""
        open_ = True
        while open_:
            batch = [self._lines.get()]
            with contextlib.suppress(Empty):
                while True:
                    batch.append(self._lines.get_nowait())
            open_ = batch[-1] is not None
            self._append(b"".join(line for line in batch if line is not None))
            time.sleep(WRITE_INTERVAL if open_ else 0)

    def _append(self, data: bytes) -> None:
        try:
            while data and self.error is None:
                data = data[os.write(self._file, data) :]
        except OSError as exc:
            self.error = exc


def find_runs(path: Path) -> list[Path]:
    """The run that a folder is or, where it holds the repeats of one, those in order of their names; UsageError where
    it is neither."""
    if not path.is_dir():
        raise UsageError(f"{path} is not a run: give a folder that loadstone run has written")
    if (path / RUN).exists():
        return [path]
    found = [folder for folder in path.iterdir() if (folder / RUN).exists()]
    if not found:
        raise UsageError(f"{path} is not a run: no {RUN} in it, nor in a folder in it")
    return sorted(found, key=lambda folder: [int(part) if part.isdigit() else part.lower()
                                             for part in re.split(r"(\d+)", folder.name)])  # fmt: skip


def find_shards(path: Path) -> list[Path]:
    """Files of records that several processes have left in a run folder, in the order of their numbers."""
    found = {int(match[1]): file for file in path.iterdir() if (match := _SHARD.fullmatch(file.name))}
    return [found[number] for number in sorted(found)]


def _join(parts: Iterable[Path], whole: Path) -> None:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as lines:
                _copy_lines(lines, file)


def _copy_lines(source: BinaryIO, target: BinaryIO) -> None:
    """Whole lines only: one that a kill has cut short would run into the next file's first."""
    rest = b""
    while data := source.read(1 << 20):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        target.write(whole + newline)


def digest(lines: Iterable[bytes]) -> str:
    """What `write_lines` would return, without writing."""
    hasher = hashlib.sha256()
    for line in lines:
        hasher.update(line)
    return hasher.hexdigest()


def check_free(path: Path) -> None:
    """Raises UsageError unless nothing is there, or an empty folder."""
    try:
        if path.exists() and any(path.iterdir()):
            raise UsageError(f"{path} exists and is not empty; give another folder with -o")
    except OSError as exc:
        raise UsageError(f"cannot make the folder {path}: {exc.strerror}; give another with -o") from exc


def default_path(label: str | None, root: Path = Path("reports")) -> Path:
    """`reports/<time>-<label>`, with a number behind it where two runs begin in one second."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", label or "run").strip("-") or "run"
    base = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{words}"
    path, number = base, 2
    while path.exists():
        path, number = Path(f"{base}-{number}"), number + 1
    return path


class _Asked(Struct):
    url: str | list[str] | None = None
    api: str | None = None
    goodput: dict[str, float] | None = None
    concurrency: int | None = None
    rate: float | None = None
    stages: str | None = None


class _Told(Struct):
    """Of run.json what reports reckon with: a file that was changed by hand is refused before it confuses them."""

    config: _Asked | None = None
    model: str | None = None
    models: list[str | None] | None = None
    expected: int | None = None
    unsent_turns: int | None = None
    schedule: dict[str, Any] | None = None
    stages: list[dict[str, Any]] | None = None
    host: dict[str, Any] | None = None
    client: dict[str, float | None] | None = None
    workers: list[dict[str, Any]] | None = None
    ceiling: dict[str, Any] | None = None
    clocks: list[dict[str, Any]] | None = None
    lost: list[str] | None = None
    ended: str | None = None
    ended_because: str | None = None


def load_run(path: Path) -> dict[str, Any]:
    """run.json of a folder; UsageError where there is none."""
    try:
        content = (path / RUN).read_bytes()
        run = msgspec.json.decode(content, type=dict[str, Any])
        msgspec.convert(run, _Told)
        return run
    except OSError as exc:
        raise UsageError(f"{path} is not a run: no {RUN} in it ({exc.strerror})") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path / RUN} is not readable: {exc}") from exc


def load_records(path: Path) -> Iterator[Record]:
    """Records of a run folder, or of a records file. A run that was killed before the records of its worker processes
    were put together is read from those, one after the other."""
    for file in _files(path):
        try:
            with file.open("rb") as lines:
                yield from from_lines(lines, str(file))
        except OSError as exc:
            raise UsageError(f"cannot read {file}: {exc.strerror}") from exc


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    whole = path / RECORDS
    return [whole] if whole.exists() else find_shards(path) or [whole]
