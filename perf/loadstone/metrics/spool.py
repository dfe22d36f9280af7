"""Storage for many integers in chunks: the first few million in memory, the rest in an unnamed temporary file.

The file is in the folder for temporary files (TMPDIR) and is removed with the spool.
"""

from __future__ import annotations

import tempfile
import weakref
from typing import IO

import numpy as np
from numpy.typing import NDArray

from loadstone.errors import UsageError

Integers = NDArray[np.int64]
# Most integers kept in memory.
HOLD = 4_000_000
# Chunks of small values are stored in half the space: gaps of up to 4.3 s in ns.
SMALL = np.dtype(np.uint32)


# A chunk in the file: where it begins, its number of integers, and their type.
_Spilled = tuple[int, int, np.dtype[np.uint32] | np.dtype[np.int64]]


class Spool:
    """Chunks of integers: `spool.add(values)`, then `spool[0]`, `spool[1]`, ..."""

    def __init__(self, hold: int | None = None) -> None:
        self._hold = HOLD if hold is None else hold
        self._chunks: list[NDArray[np.uint32] | Integers | _Spilled] = []
        self._count = 0
        self._file: IO[bytes] | None = None

    @property
    def spilled(self) -> bool:
        return self._file is not None

    def add(self, values: Integers) -> None:
        """Store one chunk. Raises UsageError if there is no room for the file."""
        small = not len(values) or (values.min() >= 0 and values.max() <= np.iinfo(SMALL).max)
        packed = values.astype(SMALL) if small else values.astype(np.int64)
        self._count += len(values)
        self._chunks.append(packed if self._count <= self._hold else self._spill(packed))

    def __getitem__(self, place: int) -> Integers:
        chunk = self._chunks[place]
        if isinstance(chunk, tuple):
            assert self._file is not None
            offset, count, kind = chunk
            values = np.empty(count, kind)
            self._file.seek(offset)
            self._file.readinto(values.data)  # type: ignore[attr-defined]
            return values.astype(np.int64)
        return chunk.astype(np.int64)

    def _spill(self, values: NDArray[np.uint32] | Integers) -> _Spilled:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="loadstone-")  # noqa: SIM115  it lives as long as the spool
                weakref.finalize(self, self._file.close)
            offset = self._file.seek(0, 2)
            self._file.write(values.data)
            self._file.flush()
        except OSError as exc:
            room = f"{self._count * values.itemsize / 1e6:,.0f} MB or more in {tempfile.gettempdir()}"
            raise UsageError(f"no room for {room}: {exc.strerror}; set TMPDIR to a folder that has it") from exc
        return offset, len(values), values.dtype
