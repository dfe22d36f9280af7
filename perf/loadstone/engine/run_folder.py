"""Write and read the folder of a run. The only file that writes one.

A thread writes records line by line as they come, so that a slow disk does not hold up the load and a killed process
leaves every finished request behind. Other files are written as a whole. An existing run is never overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

import msgspec

from loadstone import text
from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.records import FORMAT, Record, from_lines, to_line
from loadstone.summary import RunInfo

# Seconds between two writes of records.
WRITE_INTERVAL = 0.002
# Files of a run folder.
RUN, RECORDS, SCHEDULE, BODIES = "run.json", "records.jsonl", "schedule.jsonl", "bodies.jsonl"
# Tokens of prompts by their ids, where the server did not count them.
INPUT_TOKENS = "input_tokens.json"
# Responses as they came (--export-raw).
RAW = "raw.jsonl"
# Bytes of that file at most.
MAX_RAW = 256 << 20
# Records of one of several processes, by its number.
SHARD = "records.{}.jsonl"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise UsageError for an OSError of the context: the operator can mend a disk that is full or gone."""
    try:
        yield
    except OSError as exc:
        kept = f"the records so far are in {path.parent}: make room, then loadstone report {path.parent}"
        raise UsageError(f"cannot write {path}: {exc.strerror or exc}; {kept}") from exc


class RunFolder:
    """A run folder.

    scrub: takes secrets out of what is written; None: there are none.
    """

    def __init__(self, path: Path, new: bool = True) -> None:
        """Create the folder if it is missing. Raises UsageError if that fails, or if `new` and it is not empty."""
        self.path = path
        self.scrub: Callable[[bytes], bytes] | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(
                f"cannot make the folder {path}: {exc.strerror}; give another with -o", field="output"
            ) from exc
        if new:
            check_free(path)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file at once, so that no reader sees half of it. Return its path."""
        path, half = self.path / name, self.path / f".{name}.part"
        data = text.to_utf8(content).encode() if isinstance(content, str) else content
        with writing(path):
            half.write_bytes(data if self.scrub is None else self.scrub(data))
            os.replace(half, path)
        return path

    def write_json(self, name: str, content: Any) -> Path:
        """Write a file of indented JSON. Return its path."""
        try:
            data = msgspec.json.encode(content)
        except UnicodeEncodeError:
            data = msgspec.json.encode(text.to_utf8_nested(msgspec.to_builtins(content)))
        return self.write(name, msgspec.json.format(data, indent=2) + b"\n")

    def write_lines(self, name: str, lines: Iterable[bytes]) -> str:
        """Write a file line by line. Return the SHA-256 digest of its content."""
        path, hasher = self.path / name, hashlib.sha256()
        with writing(path), path.open("wb") as file:
            for line in lines:
                hasher.update(line)
                file.write(line)
        return hasher.hexdigest()

    def shard(self, worker: int) -> Path:
        """Return the file into which one of several processes writes its records."""
        return self.path / SHARD.format(worker)

    def append(self, path: Path, records: Iterable[Record]) -> None:
        """Append records to a file of records."""
        with writing(path), path.open("ab") as file:
            file.writelines(map(to_line, records))

    def merge(self, name: str = RECORDS) -> None:
        """Merge the shards, if there are any, into one file of records. Until it is complete the shards stay.

        name: records or raw responses.
        """
        whole = self.path / name
        half = self.path / f".{name}.part"
        shards = find_shards(self.path, name)
        if not shards:
            return
        try:
            with writing(whole):
                with half.open("wb") as target:
                    for shard in shards:
                        with shard.open("rb") as source:
                            _copy_lines(source, target)
                os.replace(half, whole)
        finally:
            half.unlink(missing_ok=True)
        for shard in shards:
            shard.unlink()


class Recorder:
    """Appends records to a file, from a thread.

    error: of a disk that is full or gone. Nothing is written after it, so that the file stays readable up to there.
    """

    def __init__(self, path: Path, scrub: Callable[[bytes], bytes] | None = None) -> None:
        """scrub: takes out of a line what must not be written."""
        self._scrub = scrub
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self.error: OSError | None = None
        self._thread.start()

    def add(self, record: Record) -> None:
        """Add a record, to be written soon. Raises whatever hinders its encoding."""
        line = to_line(record)
        self._lines.put(line if self._scrub is None else self._scrub(line))

    def add_line(self, line: bytes) -> None:
        """Add a line, with its newline, to be written soon."""
        self._lines.put(line)

    def close(self) -> None:
        """Write the rest and close the file."""
        self._lines.put(None)
        self._thread.join()
        os.close(self._file)

    def _write(self) -> None:
        """Write lines until the end: after a pause the first one at once, then those of the next 2 ms together.

        A thread that wakes for every record would take more of the event loop's time than the record itself.
        """
        open_ = True
        while open_:
            batch = [self._lines.get()]
            with contextlib.suppress(Empty):
                while True:
                    batch.append(self._lines.get_nowait())
            open_ = batch[-1] is not None
            data = b"".join(line for line in batch if line is not None)
            try:
                while data and self.error is None:
                    data = data[os.write(self._file, data) :]
            except OSError as exc:
                self.error = exc
            time.sleep(WRITE_INTERVAL if open_ else 0)


def load_input_tokens(folder: Path) -> dict[str, int]:
    """Return the tokens of prompts by their ids, if they were counted. Raises DataError for a file that is broken."""
    path = folder / INPUT_TOKENS
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(f"cannot read {path}: {exc}; take the file away", file=str(path)) from exc


def find_runs(path: Path) -> list[Path]:
    """Return the run folders of a path: itself, or the repeats in it in order of their names. Raises UsageError."""
    if not path.is_dir():
        raise DataError(f"{path} is not a run: give a folder that loadstone run has written", file=str(path))
    if (path / RUN).exists():
        return [path]
    folders = [folder for folder in path.iterdir() if (folder / RUN).exists()]
    if not folders:
        raise DataError(f"{path} is not a run: no {RUN} in it, nor in a folder in it", file=str(path))
    return sorted(
        folders,
        key=lambda folder: [int(word) if word.isdigit() else word.lower() for word in re.split(r"(\d+)", folder.name)],
    )


def raw_path(records: Path) -> Path:
    """Return the file of raw responses of the process that writes this file of records."""
    stem = records.stem
    return records.with_name((f"raw{stem[7:]}" if stem.startswith("records") else f"{stem}.raw") + ".jsonl")


def find_shards(path: Path, name: str = RECORDS) -> list[Path]:
    """Return the files of several processes in a run folder, of records or others, in order of their numbers."""
    pattern = re.compile(re.escape(name.removesuffix(".jsonl")) + r"\.(\d+)\.jsonl")
    shards = {int(match[1]): file for file in path.iterdir() if (match := pattern.fullmatch(file.name))}
    return [shards[number] for number in sorted(shards)]


def _copy_lines(source: BinaryIO, target: BinaryIO) -> None:
    """Copy complete lines only: a last line that a kill cut short would run into the next file's first."""
    rest = b""
    while data := source.read(1 << 20):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        target.write(whole + newline)


def check_free(path: Path) -> None:
    """Check that nothing is at `path`, or an empty folder. Raises UsageError."""
    try:
        if path.exists() and any(path.iterdir()):
            raise ConfigError(f"{path} exists and is not empty; give another folder with -o", field="output")
    except OSError as exc:
        raise ConfigError(
            f"cannot make the folder {path}: {exc.strerror}; give another with -o", field="output"
        ) from exc


def default_path(label: str | None, root: Path = Path("reports")) -> Path:
    """Return `reports/<time>-<label>`, with a number behind it where two runs begin in one second."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", label or "run").strip("-") or "run"
    base = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{words}"
    path, number = base, 2
    while path.exists():
        path, number = Path(f"{base}-{number}"), number + 1
    return path


def load_run(path: Path) -> RunInfo:
    """Read run.json of a folder. Raises DataError if it is missing or not readable."""
    file = path / RUN
    try:
        run = msgspec.json.decode(file.read_bytes(), type=RunInfo)
    except OSError as exc:
        raise DataError(f"{path} is not a run: no {RUN} in it ({exc.strerror})", file=str(file)) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(f"{file} is not readable: {exc}", file=str(file)) from exc
    if (run.format or 0) > FORMAT:
        raise DataError(f"{file} has format {run.format}, from a later Loadstone: read it with that", file=str(file))
    return run


def load_records(path: Path) -> Iterator[Record]:
    """Yield the records of a run folder, or of a records file. Raises UsageError.

    Of a run that was killed before its shards were merged, the records of one shard after the other.
    """
    files = [path]
    if path.is_dir():
        whole = path / RECORDS
        files = [whole] if whole.exists() else find_shards(path) or [whole]
    for file in files:
        try:
            with file.open("rb") as lines:
                yield from from_lines(lines, str(file))
        except OSError as exc:
            raise DataError(f"cannot read {file}: {exc.strerror}", file=str(file)) from exc
